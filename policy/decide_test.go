package policy_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/policy/policytest"
)

// An answer is a verdict in words, to be compared.
type answer struct {
	Person, Server string
	Grant          policy.GrantID
	Protocol       policy.Protocol
	Denial         policy.Denial
	Until          string
	Ends           policy.EndCause
}

func inWords(v policy.Verdict) answer {
	a := answer{Protocol: v.Protocol, Denial: v.Denial, Until: moment(v.Until), Ends: v.Ends}
	if v.Person != nil {
		a.Person = v.Person.Name
	}
	if v.Server != nil {
		a.Server = v.Server.Name
	}
	if v.Grant != nil {
		a.Grant = v.Grant.ID
	}
	return a
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func loadTable(t *testing.T) (policy.Facts, []policytest.Case) {
	t.Helper()
	facts, cases, err := policytest.Load("testdata/decisions.txt")
	if err != nil {
		t.Fatal(err)
	}
	return facts, cases
}

func newBook(t testing.TB, f policy.Facts) *policy.Book {
	t.Helper()
	b, err := policy.NewBook(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDecisionTable(t *testing.T) {
	facts, cases := loadTable(t)
	book := newBook(t, facts)
	for _, c := range cases {
		t.Run(fmt.Sprintf("%s/line %d %s", c.Section, c.Line, c.Flow.Login), func(t *testing.T) {
			want := answer{
				Person: c.Person, Server: c.Server, Grant: c.Grant,
				Protocol: c.Flow.Protocol, Denial: c.Denial, Until: moment(c.Until), Ends: c.Ends,
			}
			got := book.DecideWithout(c.Full, c.Flow, c.At)
			if c.Ends == "" {
				want.Ends = got.Ends // most rows do not say
			}
			if diff := cmp.Diff(want, inWords(got)); diff != "" {
				t.Errorf("testdata/decisions.txt:%d (-want +got):\n%s", c.Line, diff)
			}
			if got.Allowed() != (c.Denial == "") {
				t.Errorf("Allowed() = %v for denial %q", got.Allowed(), got.Denial)
			}
		})
	}
}

// What the book cannot know is for the appliance to find out: the table shows
// every other denial.
func TestDecisionTableShowsEveryDenial(t *testing.T) {
	_, cases := loadTable(t)
	var shown []policy.Denial
	for _, c := range cases {
		if c.Denial != "" && !slices.Contains(shown, c.Denial) {
			shown = append(shown, c.Denial)
		}
	}
	slices.Sort(shown)
	want := slices.Clone(decidable)
	slices.Sort(want)
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("denials (-want +shown):\n%s", diff)
	}
}

// decidable are the denials a book can say.
var decidable = []policy.Denial{
	policy.UnknownPerson, policy.AmbiguousPerson, policy.PersonDisabled,
	policy.UnknownServer, policy.ServerDisabled, policy.NoGrant,
	policy.WrongProtocol, policy.WrongSource, policy.WrongLogin,
	policy.NotApproved, policy.NotYet, policy.OutsideSchedule, policy.Expired, policy.Revoked,
	policy.UnderMaintenance, policy.TooManySessions, policy.TooManyEntries,
}

func TestDecideByAsksOneGrantOnly(t *testing.T) {
	facts, _ := loadTable(t)
	book := newBook(t, facts)
	flow := policy.Flow{
		Client:   netip.MustParseAddrPort("10.50.0.1:40000"),
		Dest:     netip.MustParseAddrPort("10.62.0.1:22"),
		Protocol: policy.SSH, Login: "d",
	}
	now := time.Date(2026, 3, 2, 11, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		grant  policy.GrantID
		denial policy.Denial
		until  string
		named  policy.GrantID
	}{
		{"24", "", "2026-03-02T12:00:00Z", "24"}, // though 25 lasts longer
		{"25", "", "2026-03-02T15:00:00Z", "25"},
		{"21", policy.WrongLogin, "never", "21"},
		{"10", policy.NoGrant, "never", ""}, // for another server
		{"11", policy.NoGrant, "never", ""}, // for other persons
		{"4711", policy.NoGrant, "never", ""},
	} {
		want := answer{Person: "anna", Server: "clock", Protocol: policy.SSH, Denial: c.denial, Until: c.until, Grant: c.named}
		if c.denial == "" {
			want.Ends = policy.GrantExpired
		}
		if diff := cmp.Diff(want, inWords(book.DecideBy(c.grant, flow, now))); diff != "" {
			t.Errorf("grant %s (-want +got):\n%s", c.grant, diff)
		}
	}
	flow.Client = netip.MustParseAddrPort("10.50.0.99:40000")
	if got := book.DecideBy("25", flow, now); got.Denial != policy.UnknownPerson {
		t.Errorf("from a deactivated address: denial %q, want %q", got.Denial, policy.UnknownPerson)
	}
}

func TestStandingJudgesTimesAlone(t *testing.T) {
	facts, _ := loadTable(t)
	book := newBook(t, facts)
	for _, c := range []struct {
		grant  policy.GrantID
		at     string
		denial policy.Denial
		until  string
	}{
		{"20", "2026-03-02T08:59:59Z", policy.NotYet, "never"},
		{"20", "2026-03-02T09:00:00Z", "", "2026-03-02T17:00:00Z"},
		{"20", "2026-03-02T17:00:00Z", policy.Expired, "never"},
		{"21", "2026-03-02T09:00:00Z", policy.Revoked, "never"},
		{"22", "2026-03-02T09:00:00Z", "", "2026-03-02T16:00:00Z"},
		{"22", "2026-03-01T09:00:00Z", policy.OutsideSchedule, "never"},
		{"27", "2026-03-01T09:00:00Z", "", "never"},
		{"4711", "2026-03-01T09:00:00Z", policy.NoGrant, "never"},
	} {
		now, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		until, denial := book.Standing(c.grant, now)
		if denial != c.denial || moment(until) != c.until {
			t.Errorf("Standing(%s, %s) = %s, %q, want %s, %q", c.grant, c.at, moment(until), denial, c.until, c.denial)
		}
	}
}

func TestAnAddressWithAZoneIsNobodys(t *testing.T) {
	book := newBook(t, policy.Facts{
		Persons: []policy.Person{{ID: "p", Name: "anna", Addresses: []policy.Address{{ID: "1", Prefix: netip.MustParsePrefix("fe80::/10")}}}},
	})
	flow := policy.Flow{Client: netip.MustParseAddrPort("[fe80::1]:4000")}
	if v := book.Decide(flow, time.Now()); v.Person == nil {
		t.Fatalf("fe80::1: %+v, want anna", v)
	}
	flow.Client = netip.MustParseAddrPort("[fe80::1%eth0]:4000")
	if v := book.Decide(flow, time.Now()); v.Denial != policy.UnknownPerson {
		t.Errorf("fe80::1%%eth0: denial %q, want %q", v.Denial, policy.UnknownPerson)
	}
	if v := book.Decide(policy.Flow{}, time.Now()); v.Denial != policy.UnknownPerson {
		t.Errorf("no address: denial %q, want %q", v.Denial, policy.UnknownPerson)
	}
}

// Whose address a prefix is, all the prefixes around it decide together.
func TestNestedPrefixesOfPersons(t *testing.T) {
	person := func(name, prefix string, disabled bool) policy.Person {
		return policy.Person{
			ID: policy.PersonID(name), Name: name, Disabled: disabled,
			Addresses: []policy.Address{{ID: "1", Prefix: netip.MustParsePrefix(prefix)}},
		}
	}
	book := newBook(t, policy.Facts{Persons: []policy.Person{
		person("outer", "10.0.0.0/8", false),
		person("middle", "10.1.0.0/16", true),
		person("inner", "10.1.1.0/24", false),
		person("first", "192.168.1.0/24", true),
		person("second", "192.168.0.0/16", true),
		person("third", "192.168.1.1/32", true),
	}})
	for _, c := range []struct {
		client, person string
		denial         policy.Denial
	}{
		{"10.1.1.1", "", policy.AmbiguousPerson}, // inner and outer, with nobody who counts between
		{"10.1.2.1", "outer", policy.UnknownServer},
		{"10.2.1.1", "outer", policy.UnknownServer},
		{"192.168.1.1", "first", policy.PersonDisabled},
		{"192.168.1.2", "first", policy.PersonDisabled},
		{"192.168.2.2", "second", policy.PersonDisabled},
	} {
		v := book.Decide(policy.Flow{Client: netip.AddrPortFrom(netip.MustParseAddr(c.client), 1)}, time.Now())
		if got := inWords(v); got.Person != c.person || got.Denial != c.denial {
			t.Errorf("%s: %q, %s, want %q, %s", c.client, got.Person, got.Denial, c.person, c.denial)
		}
	}
}

// The clocks of New York and Warsaw are six hours apart but for three weeks in
// March and one in autumn, when one has changed and the other has not.
func TestSchedulesOfTwoZonesLeaveAGapMonthsAhead(t *testing.T) {
	g := policy.Grant{ID: "1", Person: "p", Server: "s", Schedules: []policy.Schedule{
		schedule(t, "Mon-Sun 00:00-18:00", "Europe/Warsaw"),
		schedule(t, "Mon-Sun 12:00-18:00", "America/New_York"),
	}}
	facts := policy.Facts{
		Persons: []policy.Person{{ID: "p", Name: "anna"}},
		Servers: []policy.Server{{ID: "s", Name: "shop", Prefix: netip.MustParsePrefix("10.0.0.1/32")}},
		Grants:  []policy.Grant{g},
	}
	now := time.Date(2025, 12, 1, 12, 0, 0, 0, time.UTC)
	until, denial := newBook(t, facts).Standing("1", now)
	if got, want := moment(until), "2026-03-08T22:00:00Z"; got != want || denial != "" {
		t.Errorf("until %s, %q, want %s", got, denial, want)
	}
	// With the gap filled it is open for ever.
	facts.Grants[0].Schedules = append(facts.Grants[0].Schedules, schedule(t, "Mon-Sun 22:30-00:30", "Europe/Warsaw"))
	until, denial = newBook(t, facts).Standing("1", now)
	if !until.IsZero() || denial != "" {
		t.Errorf("until %s, %q, want never", until, denial)
	}
}

func TestAnEnabledServerReplacesADisabledOneOfTheSameAddress(t *testing.T) {
	at := netip.MustParsePrefix("10.0.0.1/32")
	for _, servers := range [][]policy.Server{
		{{ID: "1", Name: "old", Prefix: at, Disabled: true}, {ID: "2", Name: "new", Prefix: at}},
		{{ID: "2", Name: "new", Prefix: at}, {ID: "1", Name: "old", Prefix: at, Disabled: true}},
		{{ID: "2", Name: "new", Prefix: at}, {ID: "3", Name: "later", Prefix: at}},
	} {
		book := newBook(t, policy.Facts{
			Persons: []policy.Person{{ID: "p", Name: "anna", Addresses: []policy.Address{{ID: "1", Prefix: at}}}},
			Servers: servers,
		})
		v := book.Decide(policy.Flow{Client: netip.AddrPortFrom(at.Addr(), 1), Dest: netip.AddrPortFrom(at.Addr(), 22)}, time.Now())
		if got := inWords(v); got.Server != "new" || got.Denial != policy.NoGrant {
			t.Errorf("%v: %+v, want server new and no-grant", servers, got)
		}
	}
}

func TestDenialsSpeakToThePerson(t *testing.T) {
	var listed []string
	for _, d := range policy.Denials() {
		listed = append(listed, string(d))
	}
	if diff := cmp.Diff(constants(t, "denial.go", "Denial"), listed); diff != "" {
		t.Errorf("Denials() and the constants differ (-constants +Denials):\n%s", diff)
	}
	for _, d := range policy.Denials() {
		checkSentence(t, string(d), d.Sentence())
	}
	if got := policy.Denial("").Sentence(); got != "" {
		t.Errorf("no denial says %q", got)
	}
	if got, want := policy.Expired.Sentence(), "your grant for this server has expired"; got != want {
		t.Errorf("expired says %q, want %q", got, want)
	}
}

func TestEndCausesSpeakToThePerson(t *testing.T) {
	for _, token := range constants(t, "stay.go", "EndCause") {
		c := policy.EndCause(token)
		checkSentence(t, string(c), c.Error())
	}
	if got, want := policy.GrantExpired.Error(), "your grant has expired"; got != want {
		t.Errorf("grant-expired says %q, want %q", got, want)
	}
}

// constants returns the values of a file's string constants of one type, in
// the order they are declared in.
func constants(t *testing.T, file, typ string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == typ {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
		}
		return true
	})
	if len(values) == 0 {
		t.Fatalf("%s declares no constant of type %s", file, typ)
	}
	return values
}

func checkSentence(t *testing.T, token, sentence string) {
	t.Helper()
	if sentence == token || !strings.Contains(sentence, " ") || strings.HasSuffix(sentence, ".") || strings.ToLower(sentence[:1]) != sentence[:1] {
		t.Errorf("%s says %q, want a lower-case sentence without a full stop", token, sentence)
	}
}
