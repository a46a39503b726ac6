package storetest

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// Run proves the contract of a store; open gives an empty one for each test.
func Run(t *testing.T, open func(testing.TB) *store.Store) {
	for _, part := range [][]proof{persons, servers, groups, grants, stays, sessions, record, hostKeys, credentials, facts, statistics, versions, maintenance, limits, renewals, templates, tokens, admins, history, renders, removals, approval, graphics, observed, waived, chain} {
		for _, p := range part {
			t.Run(p.sentence, func(t *testing.T) {
				p.prove(&subject{T: t, Store: open(t), ctx: t.Context()})
			})
		}
	}
}

// A proof is one sentence of the contract and the test that holds it.
type proof struct {
	sentence string
	prove    func(*subject)
}

// A subject is a store under test.
type subject struct {
	*testing.T
	*store.Store
	ctx context.Context
}

// Who and when, wherever a test does not care.
const by = "root"

var (
	noon   = time.Date(2026, 6, 1, 12, 0, 0, 123456000, time.UTC)
	later  = noon.Add(time.Hour)
	client = netip.MustParseAddrPort("100.64.0.20:50022")
	dest   = netip.MustParseAddrPort("10.30.0.140:22")
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// check ends the test on an error.
func (s *subject) check(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// refused wants an error of a kind that speaks of all these things.
func (s *subject) refused(err, kind error, things ...string) {
	s.Helper()
	if !errors.Is(err, kind) {
		s.Fatalf("got error %v, want one that is %q", err, kind)
	}
	for _, thing := range things {
		if !strings.Contains(err.Error(), thing) {
			s.Errorf("%q does not mention %q", err, thing)
		}
	}
	if first := err.Error()[:1]; first != strings.ToLower(first) || strings.Contains(err.Error(), "\n") {
		s.Errorf("%q is not one line in lower case", err)
	}
}

// same compares; addresses and schedules by what they say.
func (s *subject) same(got, want any) {
	s.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}, netip.AddrPort{}), cmp.Comparer(sameSchedule), cmpopts.EquateEmpty()); diff != "" {
		s.Errorf("want -, got +:\n%s", diff)
	}
}

func sameSchedule(a, b policy.Schedule) bool { return a.Zone() == b.Zone() && a.String() == b.String() }

func (s *subject) person(name string, addresses ...string) policy.Person {
	s.Helper()
	p := policy.Person{Name: name}
	for _, a := range addresses {
		p.Addresses = append(p.Addresses, policy.Address{Prefix: prefix(a), Label: "at " + a})
	}
	p, err := s.AddPerson(s.ctx, by, p)
	s.check(err)
	return p
}

func (s *subject) server(name, at string) policy.Server {
	s.Helper()
	v, err := s.AddServer(s.ctx, by, policy.Server{Name: name, Prefix: prefix(at)})
	s.check(err)
	return v
}

func (s *subject) group(k store.Kind, name string) policy.Group {
	s.Helper()
	g, err := s.CreateGroup(s.ctx, by, k, policy.Group{Name: name})
	s.check(err)
	return g
}

// grant lets p into v from noon on.
func (s *subject) grant(p policy.Person, v policy.Server) policy.Grant {
	s.Helper()
	g, err := s.CreateGrant(s.ctx, by, policy.Grant{Person: p.ID, Server: v.ID, Start: noon})
	s.check(err)
	return g
}

// granted sets a person, a server and a grant up.
func (s *subject) granted() (policy.Person, policy.Server, policy.Grant) {
	s.Helper()
	p, v := s.person("p.mojski", "100.64.0.20/32"), s.server("test-ssh-server", "10.30.0.140/32")
	return p, v, s.grant(p, v)
}

// visit is a session of a person under a grant, to be entered.
func visit(p policy.Person, v policy.Server, g policy.Grant) policy.Session {
	return policy.Session{
		Person: p.ID, Server: v.ID, Grant: g.ID, Protocol: policy.SSH, Login: "ideo",
		Client: client, Dest: dest, Gate: "gate-1", Start: noon,
	}
}

func (s *subject) enter(se policy.Session) policy.Session {
	s.Helper()
	se, _, err := s.Enter(s.ctx, se)
	s.check(err)
	return se
}

func (s *subject) facts() policy.Facts {
	s.Helper()
	f, err := s.Facts(s.ctx)
	s.check(err)
	return f
}

// seen is the revision of the facts whoever changes something has looked at.
func (s *subject) seen() int64 { return s.facts().Revision }

// lastDeed is the newest line of the audit trail.
func (s *subject) lastDeed() store.AuditRow {
	s.Helper()
	rows, err := s.AuditRows(s.ctx, store.AuditFilter{Limit: 1})
	s.check(err)
	if len(rows) == 0 {
		s.Fatal("the audit trail is empty")
	}
	return rows[0]
}

// changed wants the call to move the revision on by one and to leave one line
// in the audit trail that says so.
func (s *subject) changed(action, object, detail string, call func() error) {
	s.Helper()
	revision, last := s.trace()
	s.check(call())
	revisionNow, lastNow := s.trace()
	if revisionNow != revision+1 || lastNow != last+1 {
		s.Errorf("revision %d → %d, audit %d → %d: want each to grow by one", revision, revisionNow, last, lastNow)
	}
	row := s.lastDeed()
	if row.By != by || row.Action != action || row.Object != object || !strings.Contains(row.Detail, detail) {
		s.Errorf("audit says %+v: want %s, %s, %s and in the detail %q", row, by, action, object, detail)
	}
	if age := time.Since(row.Time); age < 0 || age > time.Minute {
		s.Errorf("audit row of %s is %s old", row.Time, age)
	}
}

// unchanged wants the call to leave no trace.
func (s *subject) unchanged(call func()) {
	s.Helper()
	revision, last := s.trace()
	call()
	if revisionNow, lastNow := s.trace(); revisionNow != revision || lastNow != last {
		s.Errorf("revision %d → %d, audit %d → %d: want no change", revision, revisionNow, last, lastNow)
	}
}

func (s *subject) trace() (revision, lastAudit int64) {
	s.Helper()
	rows, err := s.AuditRows(s.ctx, store.AuditFilter{Limit: 1})
	s.check(err)
	if len(rows) > 0 {
		lastAudit = rows[0].ID
	}
	return s.facts().Revision, lastAudit
}
