package appliance

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry"
	"github.com/pawelmojski/inside/store"
)

// lookPatience is how long a look at a server takes at the most: less than the
// API has for an answer.
const lookPatience = 20 * time.Second

// LookAtRDP dials the server as for a session, and says what it found.
func (h *House) LookAtRDP(ctx context.Context, server string, f api.HostKeyFilter) (api.RDPLook, error) {
	s, dest, err := h.addressOf(server, f.Address, policy.RDP)
	if err != nil {
		return api.RDPLook{}, err
	}
	if h.Dial == nil {
		return api.RDPLook{}, api.NewProblem(api.CodeUnavailable, "this box is a tower and reaches no server", "ask the gate")
	}
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	l, err := rdpentry.LookAt(ctx, func(ctx context.Context) (net.Conn, error) { return h.Dial(ctx, dest) })
	if err != nil {
		return api.RDPLook{}, api.NewProblem(api.CodeUnavailable, fmt.Sprintf("%s at %s: %v", s.Name, dest, err), "is RDP running there, and reachable from the gate?")
	}
	pinned, err := h.Store.HostKeys(ctx, dest)
	if err != nil {
		return api.RDPLook{}, asProblem(err, "")
	}
	return wireLook(s, dest, l, pinned), nil
}

func wireLook(s *policy.Server, dest netip.AddrPort, l rdpentry.Look, pinned []store.HostKey) api.RDPLook {
	look := api.RDPLook{
		Server: s.Name, Address: dest.String(), Usable: l.Usable(), Takes: []string{}, Insists: l.Insists,
		TLS: l.Version, CredSSP: l.CredSSP, Advice: l.Advice(), Trouble: l.Trouble,
	}
	for _, t := range []struct {
		takes bool
		name  string
	}{{l.TLS, "tls"}, {l.NLA, "nla"}, {l.NLAEx, "nla-ex"}, {l.RDSTLS, "rdstls"}, {l.Standard, "standard"}} {
		if t.takes {
			look.Takes = append(look.Takes, t.name)
		}
	}
	if l.Certificate == nil {
		return look
	}
	sum := sha256.Sum256(l.Certificate.Raw)
	key := l.Certificate.RawSubjectPublicKeyInfo
	look.Certificate = &api.Certificate{
		Subject: l.Certificate.Subject.String(), Until: l.Certificate.NotAfter.UTC(),
		Fingerprint: strings.ToUpper(hex.EncodeToString(sum[:])), Key: rdpentry.Fingerprint(key), Pinned: "no",
	}
	pinned = slices.DeleteFunc(pinned, func(k store.HostKey) bool { return k.Type != keyTypeRDP })
	if len(pinned) > 0 {
		look.Certificate.Pinned = "yes"
		if !slices.ContainsFunc(pinned, func(k store.HostKey) bool { return bytes.Equal(k.Key, key) }) {
			look.Certificate.Pinned, look.Usable = "changed", false
			look.Advice = append([]string{fmt.Sprintf("The key of its certificate is not the pinned one: nobody gets in until an admin has found out why and says that the change is meant: inside server host-key forget %s --address %s", s.Name, dest)}, look.Advice...)
		}
	}
	return look
}
