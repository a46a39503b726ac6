package policy_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/policy"
)

// contradict returns facts that make a book, changed.
func contradict(change func(*policy.Facts)) policy.Facts {
	f := policy.Facts{
		Revision: 7,
		Persons:  []policy.Person{{ID: "p1", Name: "anna", Addresses: []policy.Address{{ID: "1", Prefix: netip.MustParsePrefix("10.0.0.1/32")}}}},
		Servers:  []policy.Server{{ID: "s1", Name: "shop", Prefix: netip.MustParsePrefix("10.1.0.1/32")}},
		PersonGroups: []policy.Group{
			{ID: "g1", Name: "ops", Members: []string{"p1"}, Groups: []policy.GroupID{"g2"}},
			{ID: "g2", Name: "night", Groups: []policy.GroupID{"g3"}},
			{ID: "g3", Name: "guests"},
		},
		ServerGroups: []policy.Group{{ID: "h1", Name: "shops", Members: []string{"s1"}}},
		Grants:       []policy.Grant{{ID: "1", Person: "p1", Server: "s1"}},
	}
	change(&f)
	return f
}

func TestNewBookNamesWhatContradictsItself(t *testing.T) {
	newBook(t, contradict(func(*policy.Facts) {}))
	for _, c := range []struct {
		name   string
		change func(*policy.Facts)
		want   string
	}{
		{"unknown person", func(f *policy.Facts) { f.Grants[0].Person = "p9" }, `grant 1: unknown person "p9"`},
		{"unknown server", func(f *policy.Facts) { f.Grants[0].Server = "s9" }, `grant 1: unknown server "s9"`},
		{"unknown person group", func(f *policy.Facts) { f.Grants[0].Person, f.Grants[0].PersonGroup = "", "h1" }, `grant 1: unknown person group "h1"`},
		{"unknown server group", func(f *policy.Facts) { f.Grants[0].Server, f.Grants[0].ServerGroup = "", "g1" }, `grant 1: unknown server group "g1"`},
		{"nobody", func(f *policy.Facts) { f.Grants[0].Person = "" }, "grant 1: must name a person or a person group, and not both"},
		{"person and group", func(f *policy.Facts) { f.Grants[0].PersonGroup = "g1" }, "grant 1: must name a person or a person group, and not both"},
		{"nowhere", func(f *policy.Facts) { f.Grants[0].Server = "" }, "grant 1: must name a server or a server group, and not both"},
		{"server and group", func(f *policy.Facts) { f.Grants[0].ServerGroup = "h1" }, "grant 1: must name a server or a server group, and not both"},
		{"two grants of one id", func(f *policy.Facts) { f.Grants = append(f.Grants, f.Grants[0]) }, `grant id "1" is empty or given twice`},
		{"two persons of one id", func(f *policy.Facts) { f.Persons = append(f.Persons, policy.Person{ID: "p1", Name: "bob"}) }, `person id "p1" is empty or given twice (bob)`},
		{"two persons of one name", func(f *policy.Facts) { f.Persons = append(f.Persons, policy.Person{ID: "p2", Name: "anna"}) }, `person name "anna" is empty or given twice (id p2)`},
		{"a server without a name", func(f *policy.Facts) { f.Servers[0].Name = "" }, `server name "" is empty or given twice (id s1)`},
		{"unknown member", func(f *policy.Facts) { f.PersonGroups[0].Members = []string{"s1"} }, `person group ops holds the unknown person "s1"`},
		{"unknown server member", func(f *policy.Facts) { f.ServerGroups[0].Members = []string{"s2"} }, `server group shops holds the unknown server "s2"`},
		{"unknown inner group", func(f *policy.Facts) { f.PersonGroups[2].Groups = []policy.GroupID{"h1"} }, `person group guests holds the unknown person group "h1"`},
		{"a group in itself", func(f *policy.Facts) { f.ServerGroups[0].Groups = []policy.GroupID{"h1"} }, "server group shops holds itself: shops > shops"},
		{"a cycle", func(f *policy.Facts) { f.PersonGroups[2].Groups = []policy.GroupID{"g1"} }, "person group ops holds itself: ops > night > guests > ops"},
		{"a server without an address", func(f *policy.Facts) { f.Servers[0].Prefix = netip.Prefix{} }, "address of server shop: the prefix is not valid"},
		{"an IPv4 address in IPv6 notation", func(f *policy.Facts) {
			f.Persons[0].Addresses[0].Prefix = netip.MustParsePrefix("::ffff:10.0.0.1/128")
		}, "address 1 of person anna: ::ffff:10.0.0.1/128 is an IPv4 prefix in IPv6 notation"},
		// A broken prefix is not the zero one, which limits nothing.
		{"a broken source", func(f *policy.Facts) {
			f.Grants[0].From = netip.PrefixFrom(netip.MustParseAddr("10.0.0.1"), 33)
		}, "grant 1: source: the prefix is not valid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := policy.NewBook(contradict(c.change))
			if err == nil {
				t.Fatalf("NewBook accepted the facts, want %q", c.want)
			}
			if b != nil {
				t.Error("NewBook returned a book and an error")
			}
			if want := "facts of revision 7: " + c.want; err.Error() != want {
				t.Errorf("error %q\nwant  %q", err, want)
			}
		})
	}
}

func TestGroupsMayMeetAgain(t *testing.T) {
	f := contradict(func(f *policy.Facts) {
		f.PersonGroups = []policy.Group{
			{ID: "top", Name: "top", Groups: []policy.GroupID{"left", "right"}},
			{ID: "left", Name: "left", Groups: []policy.GroupID{"bottom"}},
			{ID: "right", Name: "right", Groups: []policy.GroupID{"bottom", "bottom"}},
			{ID: "bottom", Name: "bottom", Members: []string{"p1", "p1"}},
		}
		f.Grants = []policy.Grant{{ID: "1", PersonGroup: "top", ServerGroup: "h1"}}
	})
	v := newBook(t, f).Decide(policy.Flow{
		Client: netip.MustParseAddrPort("10.0.0.1:5"), Dest: netip.MustParseAddrPort("10.1.0.1:22"),
	}, f.Grants[0].Start)
	if !v.Allowed() {
		t.Errorf("denied: %s", v.Denial)
	}
}

func TestOverlapsNamesTheOtherPerson(t *testing.T) {
	book := newBook(t, policy.Facts{Persons: []policy.Person{
		{ID: "1", Name: "anna", Addresses: []policy.Address{
			{ID: "1", Prefix: netip.MustParsePrefix("10.0.0.1/32")},
			{ID: "2", Prefix: netip.MustParsePrefix("10.5.0.0/16")},
			{ID: "3", Prefix: netip.MustParsePrefix("10.9.0.0/16"), Disabled: true},
		}},
		{ID: "2", Name: "bob", Disabled: true, Addresses: []policy.Address{{ID: "4", Prefix: netip.MustParsePrefix("10.7.0.0/16")}}},
	}})
	for _, c := range []struct {
		prefix, person string
		address        policy.AddressID
		except         policy.PersonID
	}{
		{"10.0.0.1/32", "anna", "1", ""},
		{"10.0.0.0/24", "anna", "1", ""},
		{"10.5.7.7/32", "anna", "2", "2"},
		{"10.5.7.7/32", "", "", "1"},
		{"10.9.0.1/32", "", "", ""}, // deactivated
		{"10.7.0.1/32", "", "", ""}, // of a disabled person
		{"fd00::/8", "", "", ""},
	} {
		person, address := book.Overlaps(netip.MustParsePrefix(c.prefix), c.except)
		name := ""
		if person != nil {
			name = person.Name
		}
		if name != c.person || address.ID != c.address {
			t.Errorf("Overlaps(%s, except %q) = %q, address %q, want %q, %q", c.prefix, c.except, name, address.ID, c.person, c.address)
		}
	}
}

func TestLookupsFindByIDAndByName(t *testing.T) {
	b := newBook(t, contradict(func(*policy.Facts) {}))
	if p := b.Person("p1"); p == nil || p != b.PersonNamed("anna") || p != &b.Facts().Persons[0] {
		t.Error("person p1 is not anna")
	}
	if s := b.Server("s1"); s == nil || s != b.ServerNamed("shop") {
		t.Error("server s1 is not shop")
	}
	if g := b.PersonGroup("g2"); g == nil || g != b.PersonGroupNamed("night") {
		t.Error("person group g2 is not night")
	}
	if g := b.ServerGroup("h1"); g == nil || g != b.ServerGroupNamed("shops") {
		t.Error("server group h1 is not shops")
	}
	if g := b.Grant("1"); g != &b.Facts().Grants[0] {
		t.Error("grant 1 is not the one of the facts")
	}
	if b.Person("x") != nil || b.PersonNamed("x") != nil || b.Server("x") != nil || b.ServerNamed("x") != nil ||
		b.PersonGroup("h1") != nil || b.PersonGroupNamed("shops") != nil || b.ServerGroup("g1") != nil ||
		b.ServerGroupNamed("ops") != nil || b.Grant("x") != nil {
		t.Error("something unknown was found")
	}
}

func TestWhatRDPMayReachIsReadAsItIsWritten(t *testing.T) {
	for set := range policy.AllRedirections + 1 {
		got, err := policy.ParseRedirection(set.String())
		if err != nil || got != set {
			t.Errorf("ParseRedirection(%q) = %v, %v", set, got, err)
		}
	}
	if got := policy.AllRedirections.String(); got != strings.Join(policy.RedirectionNames(), ",") {
		t.Errorf("everything is %q", got)
	}
	for _, bad := range []string{"", "drive,", "Clipboard", "all", "clipboard drive", "none,drive", strings.Repeat("x", 1<<20)} {
		if _, err := policy.ParseRedirection(bad); err == nil || len(err.Error()) > 300 || !strings.Contains(err.Error(), "clipboard, drive, printer") {
			t.Errorf("ParseRedirection(%.20q): error %.300v, want one with the way out", bad, err)
		}
	}
}

func TestForwardingIsReadAsItIsWritten(t *testing.T) {
	for set := range policy.Forwarding(8) {
		got, err := policy.ParseForwarding(set.String())
		if err != nil || got != set {
			t.Errorf("ParseForwarding(%q) = %v, %v", set, got, err)
		}
	}
	if got := (policy.Local | policy.Remote | policy.Dynamic).String(); got != "local,remote,dynamic" {
		t.Errorf("all directions are %q", got)
	}
	for _, bad := range []string{"", "local,", "Local", "all", "local remote", "none,local", strings.Repeat("x", 1<<20)} {
		if _, err := policy.ParseForwarding(bad); err == nil || len(err.Error()) > 300 || !strings.Contains(err.Error(), "local, remote, dynamic") {
			t.Errorf("ParseForwarding(%.20q): error %.300v, want one with the way out", bad, err)
		}
	}
}
