package policy_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/pawelmojski/inside/policy"
)

func TestADenialThatIsWaivedKeepsWhoItWas(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	book, err := policy.NewBook(policy.Facts{
		Revision: 1,
		Persons:  []policy.Person{{ID: "a", Name: "alice", Addresses: []policy.Address{{ID: "1", Prefix: netip.MustParsePrefix("100.64.0.7/32")}}}},
		Servers:  []policy.Server{{ID: "s", Name: "db", Prefix: netip.MustParsePrefix("10.30.0.1/32")}, {ID: "t", Name: "old", Prefix: netip.MustParsePrefix("10.30.0.2/32")}},
		Grants: []policy.Grant{
			{ID: "1", Person: "a", Server: "s", End: now.Add(time.Hour)},
			{ID: "2", Person: "a", Server: "t", End: now.Add(-time.Hour), Idle: time.Minute},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		from, to       string
		person, server string
		ids            string
		waived         policy.Denial
	}{
		"nobody on a server nobody knows": {"::ffff:100.64.0.9", "10.30.0.9", "100.64.0.9", "10.30.0.9", "", policy.UnknownPerson},
		"nobody on a server":              {"100.64.0.9", "10.30.0.1", "100.64.0.9", "db", "s", policy.UnknownPerson},
		"a person on no server":           {"100.64.0.7", "10.30.0.9", "alice", "10.30.0.9", "a", policy.UnknownServer},
		"a grant that is over":            {"100.64.0.7", "10.30.0.2", "alice", "old", "at", policy.Expired},
	} {
		f := policy.Flow{Client: netip.AddrPortFrom(netip.MustParseAddr(c.from), 1), Dest: netip.AddrPortFrom(netip.MustParseAddr(c.to), 22), Protocol: policy.SSH}
		v := book.Waive(book.Decide(f, now), f)
		if !v.Allowed() || v.Waived != c.waived || v.Person.Name != c.person || v.Server.Name != c.server || string(v.Person.ID)+string(v.Server.ID) != c.ids {
			t.Errorf("%s: %+v of %+v on %+v", name, v, v.Person, v.Server)
		}
		if v.Grant.ID != "" || v.Grant.Idle != 0 || !v.Until.IsZero() || v.Grant.Forwarding != policy.AllForwarding || v.Grant.Redirection != policy.AllRedirections {
			t.Errorf("%s: something limits it: %+v", name, v.Grant)
		}
	}
	f := policy.Flow{Client: netip.MustParseAddrPort("100.64.0.7:1"), Dest: netip.MustParseAddrPort("10.30.0.1:22"), Protocol: policy.SSH}
	if v := book.Decide(f, now); book.Waive(v, f) != v {
		t.Error("a grant that serves is waived")
	}
}
