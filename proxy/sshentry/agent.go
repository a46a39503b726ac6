package sshentry

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/recording"
)

// What the gate says to an agent (draft-ietf-sshm-ssh-agent): it asks which
// keys there are and for one signature, and nothing else.
const (
	agentRequestIdentities = 11
	agentIdentitiesAnswer  = 12
	agentSignRequest       = 13
	agentSignResponse      = 14

	agentRSASHA256 = 2
	agentRSASHA512 = 4

	maxAgentMessage = 256 << 10 // as OpenSSH's own limit
	maxAgentKeys    = 1000

	// A person may have to confirm the use of the key, or to touch it.
	agentPatience = 60 * time.Second
)

// lendAgent is the client's offer of its agent. The gate takes it up to finish
// the login at the server, and never passes it on.
func (s *session) lendAgent(ctx context.Context) bool {
	f := s.f
	f.entering.Lock()
	defer f.entering.Unlock()
	if f.isReady() || f.approach.open == nil {
		f.noteDenied(s.number, "agent forwarding")
		return false
	}
	open := f.approach.open
	sig, err := f.signByAgent(open)
	if err != nil {
		f.log.Info("agent did not sign", "error", err)
		s.agentErr = err
		return false
	}
	n := f.approach.sign(ctx, signature{sig: sig})
	if n.in == nil {
		s.agentErr = errors.New("the server does not take the key alone")
		return false
	}
	detail := "publickey " + ssh.FingerprintSHA256(open.key) + " signed by the agent"
	if f.note(recording.Event{Kind: "login", Channel: s.number, Detail: detail}) != nil {
		return false
	}
	f.loggedIn(proxy.Login{Own: true, Signed: open.key.Marshal()})
	f.join(n.in)
	return true
}

// signByAgent opens a channel to the client's agent for one signature.
func (f *flow) signByAgent(want *signing) (*ssh.Signature, error) {
	if err := f.checkSigned(want); err != nil {
		return nil, err
	}
	ch, requests, err := f.clientConn.OpenChannel("auth-agent@openssh.com", nil)
	if err != nil {
		return nil, fmt.Errorf("open the agent: %w", err)
	}
	f.serveChannel(ch, requests)
	f.spawn(func() {
		defer f.drained(ch)
		ssh.DiscardRequests(requests)
	})
	defer ch.Close()
	patience := time.AfterFunc(agentPatience, func() { ch.Close() })
	defer patience.Stop()

	blob := want.key.Marshal()
	answer, err := askAgent(ch, []byte{agentRequestIdentities})
	if err != nil {
		return nil, err
	}
	keys, err := parseIdentities(answer)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, blob) }) {
		return nil, errors.New("the agent does not hold the key")
	}
	answer, err = askAgent(ch, ssh.Marshal(struct {
		Type  byte
		Key   []byte
		Data  []byte
		Flags uint32
	}{agentSignRequest, blob, want.data, agentFlags(want.algo)}))
	if err != nil {
		return nil, err
	}
	sig, err := parseSignature(answer)
	if err != nil {
		return nil, err
	}
	if sig.Format != want.algo {
		return nil, fmt.Errorf("the agent signed with %s, not %s", plainLine(sig.Format, 64), want.algo)
	}
	if err := want.key.Verify(want.data, sig); err != nil {
		return nil, errors.New("the agent's signature is not the key's")
	}
	return sig, nil
}

func agentFlags(algo string) uint32 {
	switch algo {
	case ssh.KeyAlgoRSASHA256:
		return agentRSASHA256
	case ssh.KeyAlgoRSASHA512:
		return agentRSASHA512
	default:
		return 0
	}
}

// checkSigned makes sure that the agent is asked to sign a login at this
// server, in this session, as this user, with this key (RFC 4252 section 7),
// and nothing that could be used elsewhere.
func (f *flow) checkSigned(want *signing) error {
	f.mu.Lock()
	peer, ok := f.serverPeer.(ssh.ConnMetadata)
	f.mu.Unlock()
	if !ok {
		return errors.New("there is no login at the server")
	}
	return checkLoginBlob(want.data, peer.SessionID(), f.login, want.key)
}

func checkLoginBlob(data, session []byte, user string, key ssh.PublicKey) error {
	var blob struct {
		Session   []byte
		Type      byte
		User      string
		Service   string
		Method    string
		Signed    bool
		Algorithm string
		Key       []byte
	}
	if err := ssh.Unmarshal(data, &blob); err != nil {
		return fmt.Errorf("what is to be signed is no login: %w", err)
	}
	const userauthRequest = 50
	if len(session) == 0 || !bytes.Equal(blob.Session, session) || blob.Type != userauthRequest || blob.User != user ||
		blob.Service != "ssh-connection" || blob.Method != "publickey" || !blob.Signed || !bytes.Equal(blob.Key, key.Marshal()) {
		return errors.New("what is to be signed is not this login")
	}
	return nil
}

// askAgent sends one message and returns the answer.
func askAgent(ch io.ReadWriter, message []byte) ([]byte, error) {
	framed := binary.BigEndian.AppendUint32(nil, uint32(len(message)))
	if _, err := ch.Write(append(framed, message...)); err != nil {
		return nil, fmt.Errorf("ask the agent: %w", err)
	}
	var head [4]byte
	if _, err := io.ReadFull(ch, head[:]); err != nil {
		return nil, fmt.Errorf("ask the agent: %w", err)
	}
	size := binary.BigEndian.Uint32(head[:])
	if size == 0 || size > maxAgentMessage {
		return nil, fmt.Errorf("the agent's answer has %d bytes", size)
	}
	answer := make([]byte, size)
	if _, err := io.ReadFull(ch, answer); err != nil {
		return nil, fmt.Errorf("ask the agent: %w", err)
	}
	return answer, nil
}

// parseIdentities reads the keys an agent holds.
func parseIdentities(answer []byte) (keys [][]byte, err error) {
	var list struct {
		Type byte
		N    uint32
		Rest []byte `ssh:"rest"`
	}
	if err := ssh.Unmarshal(answer, &list); err != nil || list.Type != agentIdentitiesAnswer {
		return nil, errors.New("the agent does not list its keys")
	}
	if list.N > maxAgentKeys {
		return nil, fmt.Errorf("the agent holds %d keys", list.N)
	}
	for range list.N {
		var one struct {
			Key     []byte
			Comment string
			Rest    []byte `ssh:"rest"`
		}
		if err := ssh.Unmarshal(list.Rest, &one); err != nil {
			return nil, errors.New("the agent's list of keys is cut short")
		}
		keys = append(keys, one.Key)
		list.Rest = one.Rest
	}
	return keys, nil
}

// parseSignature reads the answer to a request to sign. Any other answer,
// success without a signature included, is a refusal.
func parseSignature(answer []byte) (*ssh.Signature, error) {
	if answer[0] != agentSignResponse {
		return nil, errors.New("the agent refuses to sign")
	}
	var response struct {
		Type byte
		Blob []byte
	}
	if err := ssh.Unmarshal(answer, &response); err != nil {
		return nil, fmt.Errorf("the agent's signature: %w", err)
	}
	sig := new(ssh.Signature)
	if err := ssh.Unmarshal(response.Blob, sig); err != nil {
		return nil, fmt.Errorf("the agent's signature: %w", err)
	}
	return sig, nil
}
