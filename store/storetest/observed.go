package storetest

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

var observed = []proof{
	{"what is observed adds up, and is forgotten when it is not seen for long", func(s *subject) {
		a := store.Acquaintance{Client: client.Addr(), Server: dest, Protocol: policy.SSH, ClientVersion: "SSH-2.0-OpenSSH_9.2", ServerVersion: "SSH-2.0-dropbear", First: noon, Last: noon, Times: 1}
		s.check(s.Observe(s.ctx, []store.Acquaintance{a}, nil, noon))
		b := a
		b.ClientVersion, b.ServerVersion, b.Login, b.First, b.Last, b.Times = "SSH-2.0-\x1bevil", "", "root", later, later, 2
		s.check(s.Observe(s.ctx, []store.Acquaintance{b, {Client: netip.MustParseAddr("fd50::2"), Server: dest, Protocol: policy.RDP, First: noon, Last: noon, Times: 1}}, nil, later))
		seen, _, err := s.Observed(s.ctx)
		s.check(err)
		want := a
		want.ClientVersion, want.Login, want.Last, want.Times = "SSH-2.0-\\x1bevil", "root", later, 3
		if len(seen) != 2 || seen[0] != want || seen[1].Protocol != policy.RDP {
			s.Errorf("seen: %s\n%+v", cmp.Diff(want, seen[0], cmp.Comparer(func(x, y netip.Addr) bool { return x == y }), cmp.Comparer(func(x, y netip.AddrPort) bool { return x == y })), seen)
		}
		s.check(s.Observe(s.ctx, nil, nil, later.Add(90*24*time.Hour)))
		if seen, _, err = s.Observed(s.ctx); err != nil || len(seen) != 1 {
			s.Errorf("after 90 days: %+v, %v", seen, err)
		}
	}},
	{"a server's keys are observed, and no more than a few of each", func(s *subject) {
		key := func(n int) store.SeenKey {
			return store.SeenKey{Server: dest, Type: "ssh-ed25519", Key: fmt.Appendf(nil, "key %d", n), First: noon, Last: noon}
		}
		s.check(s.Observe(s.ctx, nil, []store.SeenKey{key(0)}, noon))
		again := key(0)
		again.Last = later
		s.check(s.Observe(s.ctx, nil, []store.SeenKey{again}, later))
		_, keys, err := s.Observed(s.ctx)
		s.check(err)
		if len(keys) != 1 || !keys[0].First.Equal(noon) || !keys[0].Last.Equal(later) || string(keys[0].Key) != "key 0" || keys[0].Server != dest {
			s.Errorf("%+v", keys)
		}
		for n := range 20 {
			s.check(s.Observe(s.ctx, nil, []store.SeenKey{key(n)}, noon))
		}
		if _, keys, err = s.Observed(s.ctx); err != nil || len(keys) != 8 {
			s.Errorf("%d keys, %v", len(keys), err)
		}
	}},
}
