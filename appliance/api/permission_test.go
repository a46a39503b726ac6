package api

import "testing"

func TestWhatEachRoleMay(t *testing.T) {
	for role, want := range map[Role][4]bool{
		"":       {},
		"root":   {},
		Viewer:   {true, false, false, false},
		Operator: {true, true, true, false},
		Admin:    {true, true, true, true},
	} {
		a := Actor{"x", role}
		if !a.may(toKnock) {
			t.Errorf("%q may not even knock", role)
		}
		for i, p := range []permission{toLook, toWatch, toOperate, toChange} {
			if a.may(p) != want[i] {
				t.Errorf("%q may %d: %v", role, p, a.may(p))
			}
			if a.may(p) && a.Role != Admin && p.needs() != role && p != toLook {
				t.Errorf("%q may %d, which is said to need %q", role, p, p.needs())
			}
		}
		if a.may(0) || a.may(toChange+1) {
			t.Errorf("%q may do what nobody declared", role)
		}
	}
}
