package storetest

import (
	"net/netip"
	"strings"
	"time"

	"github.com/pawelmojski/inside/store"
)

var hostKeys = []proof{
	{"host keys are pinned by address and type, and audited", func(s *subject) {
		other := netip.MustParseAddrPort("[fd00::1]:22")
		keys := []store.HostKey{
			{Addr: dest, Type: "ssh-ed25519", Key: []byte{0, 1, 0xff}, Pinned: noon, By: "first-sight"},
			{Addr: dest, Type: "ssh-rsa", Key: []byte("rsa"), Pinned: noon, By: "root"},
			{Addr: other, Type: "ssh-ed25519", Key: []byte("other"), Pinned: noon, By: "root"},
		}
		for _, k := range keys {
			s.check(s.PinHostKey(s.ctx, k))
		}
		got, err := s.HostKeys(s.ctx, dest)
		s.check(err)
		s.same(got, keys[:2])
		got, err = s.HostKeys(s.ctx, mapped(dest))
		s.check(err)
		s.same(got, keys[:2])
		if row := s.lastDeed(); row.Action != "host-key.pin" || row.Object != "host key of [fd00::1]:22" || row.Detail != "pinned ssh-ed25519 b3RoZXI=" {
			s.Errorf("audit says %+v", row)
		}
		got, err = s.HostKeys(s.ctx, netip.MustParseAddrPort("10.30.0.140:2222"))
		s.check(err)
		s.same(got, []store.HostKey(nil))
	}},
	{"the same key again is no error, another one is a conflict", func(s *subject) {
		k := store.HostKey{Addr: dest, Type: "ssh-ed25519", Key: []byte("key"), By: "first-sight"}
		s.check(s.PinHostKey(s.ctx, k))
		s.unchanged(func() { s.check(s.PinHostKey(s.ctx, k)) })
		k.Key = []byte("evil")
		s.unchanged(func() {
			s.refused(s.PinHostKey(s.ctx, k), store.ErrConflict, "ssh-ed25519", "10.30.0.140:22", "first-sight")
		})
		got, err := s.HostKeys(s.ctx, dest)
		s.check(err)
		if len(got) != 1 || string(got[0].Key) != "key" || time.Since(got[0].Pinned) > time.Minute {
			s.Errorf("pinned are %+v", got)
		}
	}},
	{"host keys are forgotten all together", func(s *subject) {
		for _, typ := range []string{"ssh-ed25519", "ssh-rsa"} {
			s.check(s.PinHostKey(s.ctx, store.HostKey{Addr: dest, Type: typ, Key: []byte("key"), By: by}))
		}
		n, err := s.ForgetHostKeys(s.ctx, by, dest)
		s.check(err)
		if row := s.lastDeed(); n != 2 || row.Action != "host-key.forget" || row.Detail != "forgot ssh-ed25519 a2V5 ssh-rsa a2V5" {
			s.Errorf("forgot %d, audit says %+v", n, row)
		}
		s.unchanged(func() {
			n, err = s.ForgetHostKeys(s.ctx, by, dest)
			s.check(err)
			s.same(n, 0)
		})
		s.check(s.PinHostKey(s.ctx, store.HostKey{Addr: dest, Type: "ssh-rsa", Key: []byte("new"), By: by}))
	}},
	{"keys that are trusted take the place of all others, in one deed", func(s *subject) {
		for _, typ := range []string{"ssh-ed25519", "ssh-rsa"} {
			s.check(s.PinHostKey(s.ctx, store.HostKey{Addr: dest, Type: typ, Key: []byte("key"), By: "first-sight"}))
		}
		before := s.lastDeed().ID
		trusted := []store.HostKey{{Type: "ecdsa", Key: []byte("new"), Pinned: noon}, {Type: "ssh-rsa", Key: []byte("new"), Pinned: noon}}
		n, err := s.TrustHostKeys(s.ctx, by, mapped(dest), trusted)
		s.check(err)
		row := s.lastDeed()
		if n != 2 || row.ID != before+1 || row.Action != "host-key.trust" || !strings.Contains(row.Was, `"by":"first-sight"`) || !strings.Contains(row.Became, `"key":"bmV3"`) {
			s.Errorf("removed %d, audit says %+v", n, row)
		}
		got, err := s.HostKeys(s.ctx, dest)
		s.check(err)
		for i := range trusted {
			trusted[i].Addr, trusted[i].By = dest, by
		}
		s.same(got, trusted)
		s.unchanged(func() {
			_, err = s.TrustHostKeys(s.ctx, by, dest, nil)
			s.refused(err, store.ErrInvalid, "10.30.0.140:22")
			_, err = s.TrustHostKeys(s.ctx, by, dest, append(trusted, trusted[0]))
			s.refused(err, store.ErrConflict, "ecdsa")
			_, err = s.TrustHostKeys(s.ctx, by, dest, []store.HostKey{{Type: "t"}})
			s.refused(err, store.ErrInvalid, "0 bytes")
		})
	}},
	{"a host key that cannot be is refused", func(s *subject) {
		for mentions, k := range map[string]store.HostKey{
			"address":  {Type: "t", Key: []byte("k"), By: by},
			"type":     {Addr: dest, Key: []byte("k"), By: by},
			"0 bytes":  {Addr: dest, Type: "t", By: by},
			"65537":    {Addr: dest, Type: "t", Key: make([]byte, 65537), By: by},
			"who pins": {Addr: dest, Type: "t", Key: []byte("k")},
		} {
			s.refused(s.PinHostKey(s.ctx, k), store.ErrInvalid, mentions)
		}
		_, err := s.ForgetHostKeys(s.ctx, "", dest)
		s.refused(err, store.ErrInvalid, "who forgets")
	}},
}
