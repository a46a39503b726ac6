// Package observer learns from what it overhears at the beginning of
// conversations between persons and servers: who dials which server, with which
// client, and which host key the server shows. It asks nobody, remembers nothing
// for long and decides nothing; the appliance feeds it and keeps what it learned.
//
// All it hears are strangers' bytes. They come one packet at a time, and what a
// packet does not hold whole is not learned from it.
package observer

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/policy"
)

// A Glimpse is the beginning of one packet.
type Glimpse struct {
	Person, Server netip.AddrPort
	FromServer     bool
	Protocol       policy.Protocol
	Said           []byte
}

// A Sighting is what was learned of a conversation since it was last asked.
type Sighting struct {
	Person        netip.AddrPort
	Server        netip.AddrPort
	Protocol      policy.Protocol
	ClientVersion string // "SSH-2.0-OpenSSH_9.2"; "" where the protocol tells none
	ServerVersion string
	Login         string // that an RDP client named in clear: mstshash
	Key           ssh.PublicKey
	At            time.Time
	First         bool // of this conversation
}

// How much is remembered: conversations at the same time, and how long one takes
// from its first word to the server's key.
const (
	mostTalks = 4096
	talkTime  = time.Minute
)

// An Observer is for one goroutine.
type Observer struct {
	talks map[pair]*talk
}

type pair struct{ person, server netip.AddrPort }

type talk struct {
	began           time.Time
	protocol        policy.Protocol
	client, server  string
	login           string
	asked, answered bool
	key             ssh.PublicKey
	told, toldKey   bool
}

// New makes an observer that knows nothing.
func New() *Observer { return &Observer{talks: map[pair]*talk{}} }

// See learns from one glimpse.
func (o *Observer) See(g Glimpse, now time.Time) {
	p := pair{g.Person, g.Server}
	t := o.talks[p]
	if t == nil || now.Sub(t.began) > talkTime {
		if t == nil && len(o.talks) >= mostTalks {
			return
		}
		t = &talk{began: now, protocol: g.Protocol}
		if !t.hear(g) || t.key != nil { // a key that nobody asked for
			return
		}
		o.talks[p] = t
		return
	}
	t.hear(g)
}

// Take returns what was learned since the last time, of conversations in which
// both sides have spoken, and forgets what is over.
func (o *Observer) Take(now time.Time) (seen []Sighting) {
	for p, t := range o.talks {
		if t.asked && t.answered && (!t.told || t.key != nil && !t.toldKey) {
			seen = append(seen, Sighting{
				Person: p.person, Server: p.server, Protocol: t.protocol, ClientVersion: t.client, ServerVersion: t.server,
				Login: t.login, Key: t.key, At: now, First: !t.told,
			})
			t.told, t.toldKey = true, t.key != nil
		}
		if now.Sub(t.began) > talkTime {
			delete(o.talks, p)
		}
	}
	return seen
}

// hear reports whether a packet said something.
func (t *talk) hear(g Glimpse) bool {
	switch g.Protocol {
	case policy.SSH:
		return t.hearSSH(g.FromServer, g.Said)
	case policy.RDP:
		return t.hearRDP(g.FromServer, g.Said)
	}
	return false
}

func (t *talk) hearSSH(fromServer bool, said []byte) bool {
	if version, ok := readVersion(said); ok {
		switch {
		case fromServer && !t.answered:
			t.server, t.answered = version, true
		case !fromServer && !t.asked:
			t.client, t.asked = version, true
		}
		return true
	}
	if !fromServer || t.key != nil {
		return false
	}
	t.key = readHostKey(said)
	return t.key != nil
}

func (t *talk) hearRDP(fromServer bool, said []byte) bool {
	if fromServer {
		if isX224(said, 0xd0) {
			t.answered = true
		}
		return t.answered
	}
	if !isX224(said, 0xe0) {
		return false
	}
	if !t.asked {
		t.asked, t.login = true, readCookie(said)
	}
	return true
}

// longestVersion is that of an identification string (RFC 4253, 4.2).
const longestVersion = 255

// readVersion reads an identification string: "SSH-2.0-", and then printable
// ASCII up to the end of the line.
func readVersion(said []byte) (string, bool) {
	end := bytes.IndexByte(said[:min(len(said), longestVersion+1)], '\n')
	if end < 0 || !bytes.HasPrefix(said, []byte("SSH-")) {
		return "", false
	}
	line := strings.TrimSuffix(string(said[:end]), "\r")
	return line, isPrintable(line)
}

func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// The messages in which a server shows its host key, as the first field: RFC
// 4253, 8, and RFC 5656, 4, have one number, RFC 4419, 3, another.
const (
	kexReply    = 31
	kexGEXReply = 33
)

// readHostKey reads the host key of an unencrypted packet (RFC 4253, 6):
// length, length of the padding, message.
func readHostKey(said []byte) ssh.PublicKey {
	if len(said) < 10 || said[5] != kexReply && said[5] != kexGEXReply {
		return nil
	}
	packet, size := binary.BigEndian.Uint32(said), binary.BigEndian.Uint32(said[6:])
	if packet > 256<<10 || size > packet || uint64(size) > uint64(len(said)-10) {
		return nil
	}
	key, err := ssh.ParsePublicKey(said[10 : 10+size])
	if err != nil {
		return nil // a group of RFC 4419 has the number of a reply
	}
	if cert, is := key.(*ssh.Certificate); is {
		return cert.Key
	}
	return key
}

// isX224 recognises a TPKT packet (RFC 1006, 6) with an X.224 message of a kind.
func isX224(said []byte, kind byte) bool {
	return len(said) >= 7 && said[0] == 3 && said[1] == 0 && said[5] == kind
}

// readCookie reads the name that a client gives in its request for a connection
// ([MS-RDPBCGR] 2.2.1.1): an account, or as much of it as nine characters are.
func readCookie(said []byte) string {
	const label = "Cookie: mstshash="
	at := bytes.Index(said[:min(len(said), 512)], []byte(label))
	if at < 0 {
		return ""
	}
	rest := said[at+len(label):]
	end := bytes.Index(rest[:min(len(rest), 256)], []byte("\r\n"))
	if end < 0 || !isPrintable(string(rest[:end])) {
		return ""
	}
	return string(rest[:end])
}
