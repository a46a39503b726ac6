package wire

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// redirectionOf is a packet with these fields, each with a length before it.
func redirectionOf(flags uint32, fields ...[]byte) []byte {
	b := le.AppendUint32(nil, 7)
	b = le.AppendUint32(b, flags)
	for _, f := range fields {
		b = le.AppendUint32(b, uint32(len(f)))
		b = append(b, f...)
	}
	return append([]byte{0, 4, byte(len(b) + 4), byte((len(b) + 4) >> 8)}, b...)
}

func TestRedirectionsAreRead(t *testing.T) {
	text := func(s string) []byte { return append(appendUTF16(nil, s), 0, 0) }
	list := le.AppendUint32(nil, 2)
	for _, s := range []string{"10.0.0.1", "10.0.0.2"} {
		list = le.AppendUint32(list, uint32(len(text(s))))
		list = append(list, text(s)...)
	}
	all := redirectionOf(redirectAddress|redirectBalance|redirectUser|redirectDomain|redirectPassword|redirectFQDN|redirectNetBIOS|redirectAddresses,
		text("10.0.0.9"), []byte("Cookie: msts=1"), text("u"), text("d"), text("secret"), text("nine.example"), text("NINE"), list)
	got, err := ParseRedirection(append(all, 0, 0, 0)) // padding
	want := Redirect{Session: 7, Targets: []string{"10.0.0.9", "nine.example", "NINE", "10.0.0.1", "10.0.0.2"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	for i := range all {
		if _, err := ParseRedirection(all[:i]); err == nil {
			t.Errorf("cut at %d it is still a redirection", i)
		}
	}
	if got, err := ParseRedirection(redirectionOf(redirectNot)); err != nil || !got.Not || got.Targets != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzRedirection(f *testing.F) {
	f.Add(redirectionOf(redirectAddress, []byte("1\x00")))
	f.Add(redirectionOf(redirectAddresses|redirectNot, []byte{2, 0, 0, 0, 2, 0, 0, 0, '1', 0}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRedirection(b)
		if n := len(b); err == nil && len(r.Targets) > n/4 {
			t.Errorf("%d targets in %d bytes", len(r.Targets), n)
		}
	})
}
