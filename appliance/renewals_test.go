package appliance

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pawelmojski/inside/appliance/config"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

func TestAGrantIsRenewedNearItsEndOnly(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		sentence    string
		length      time.Duration
		left        time.Duration
		revoked, is bool
	}{
		{"a tenth is left", time.Hour, 6 * time.Minute, false, false},
		{"less than a tenth is left", time.Hour, 6*time.Minute - 1, false, true},
		{"less than a tenth of a day is left", day, 2 * time.Hour, false, true},
		{"more than a tenth of a day is left", day, 3 * time.Hour, false, false},
		{"a day is left of a month", 30 * day, day, false, false},
		{"less than a day is left of a month", 30 * day, day - 1, false, true},
		{"two days are left of a month, which is less than a tenth", 30 * day, 2 * day, false, false},
		{"a tenth would be less than five minutes", 40 * time.Minute, 5*time.Minute - 1, false, true},
		{"the last moment", time.Hour, 1, false, true},
		{"it has ended", time.Hour, 0, false, false},
		{"it ended long ago", time.Hour, -day, false, false},
		{"it was revoked", time.Hour, time.Minute, true, false},
		{"it does not renew itself", 0, time.Minute, false, false},
	} {
		g := policy.Grant{End: now.Add(c.left), Renew: c.length}
		if c.revoked {
			g.Revoked = now
		}
		if got := renewable(&g, now); got != c.is {
			t.Errorf("%s: renewable is %v, want %v", c.sentence, got, c.is)
		}
	}
	if renewable(&policy.Grant{Renew: time.Hour}, now) {
		t.Error("a permanent grant is renewable")
	}
}

func TestNobodyNoticesARenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := policy.Grant{ID: "1", End: time.Now().Add(time.Hour), Renew: time.Hour}
		a, v := insider(t, g)
		renew := func() {
			g.End, g.Renewed = g.End.Add(g.Renew), time.Now()
			turn(t, a, g)
		}
		time.Sleep(time.Until(g.End.Add(-6 * time.Minute)))
		renew()
		time.Sleep(time.Until(g.End.Add(-5*time.Minute - time.Second)))
		synctest.Wait()
		if got := told(v); got != "" || v.ctx.Err() != nil {
			t.Errorf("told %q, ended: %v", got, context.Cause(v.ctx))
		}
		// Whoever was warned before, since it was late, is told that it goes on.
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := told(v); !strings.Contains(got, "ends in 5 minutes") {
			t.Errorf("warned by %q", got)
		}
		renew()
		if got := told(v); !strings.HasPrefix(got, "your stay now ends in 64 minutes") {
			t.Errorf("after the warning told %q", got)
		}
		// An end that an admin moves meanwhile is told as ever.
		g.End = g.End.Add(-10 * time.Minute)
		turn(t, a, g)
		if got := told(v); !strings.HasPrefix(got, "your stay now ends in 54 minutes") {
			t.Errorf("after shortening told %q", got)
		}
	})
}

// tower is a gate without interception, on a database of its own in a folder.
func tower(t *testing.T) (a *Appliance, dir string) {
	t.Helper()
	dir = t.TempDir()
	a, err := New(t.Context(), config.Config{
		Gate: config.Gate{Name: "gate-1"}, Paths: config.Paths{State: dir + "/state", Run: dir + "/run"},
		Recordings: config.Recordings{Keep: config.Forever},
	}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return a, dir
}

// The whole way: of two grants near their ends, the one that was used goes on.
func TestAGrantThatWasUsedRenewsItselfAndAnUnusedOneEnds(t *testing.T) {
	a, _ := tower(t)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	addr := netip.MustParsePrefix("10.0.0.1/32")
	p := must[policy.Person](t)(a.store.AddPerson(ctx, "root", policy.Person{Name: "alice", Addresses: []policy.Address{{Prefix: addr}}}))
	v := must[policy.Server](t)(a.store.AddServer(ctx, "root", policy.Server{Name: "db", Prefix: netip.MustParsePrefix("10.30.0.1/32")}))
	now := time.Now()
	g := policy.Grant{Person: p.ID, Server: v.ID, Start: now.Add(-55 * time.Minute), End: now.Add(5 * time.Minute), Renew: time.Hour}
	used := must[policy.Grant](t)(a.store.CreateGrant(ctx, "root", g))
	unused := must[policy.Grant](t)(a.store.CreateGrant(ctx, "root", g))
	early := must[policy.Grant](t)(a.store.CreateGrant(ctx, "root", policy.Grant{Person: p.ID, Server: v.ID, End: now.Add(time.Hour), Renew: time.Hour}))
	for _, by := range []policy.Grant{used, early} {
		if _, _, err := a.store.Enter(ctx, policy.Session{
			Person: p.ID, Server: v.ID, Grant: by.ID, Protocol: policy.SSH, Login: "root", Gate: "gate-1",
			Client: netip.MustParseAddrPort("10.0.0.1:5000"), Dest: netip.MustParseAddrPort("10.30.0.1:22"),
		}); err != nil {
			t.Fatal(err)
		}
	}
	renewed := make(chan struct{})
	running.Go(func() {
		for range a.store.Changes(ctx) {
			if rows, err := a.store.AuditRows(ctx, store.AuditFilter{Action: "grant.renew"}); err == nil && len(rows) > 0 {
				close(renewed)
				return
			}
		}
	})
	running.Go(func() {
		if err := a.Run(ctx, func() {}); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-renewed:
	case <-time.After(time.Minute):
		t.Fatal("nothing was renewed")
	}
	if err := a.refresh(ctx); err != nil {
		t.Fatal(err)
	}
	if err := a.renew(ctx); err != nil { // again: it is not due any more
		t.Error(err)
	}
	if err := a.refresh(ctx); err != nil {
		t.Fatal(err)
	}
	rows := must[[]store.AuditRow](t)(a.store.AuditRows(ctx, store.AuditFilter{Action: "grant.renew"}))
	if len(rows) != 1 || rows[0].By != "gate:gate-1" || rows[0].Object != "grant "+string(used.ID) {
		t.Errorf("audit says %+v", rows)
	}
	b := a.book.Load()
	for _, want := range []struct {
		g   policy.Grant
		end time.Time
	}{{used, used.End.Add(time.Hour)}, {unused, unused.End}, {early, early.End}} {
		if got := b.Grant(want.g.ID).End; !got.Equal(want.end) {
			t.Errorf("grant %s ends at %s, want %s", want.g.ID, got, want.end)
		}
		if _, denial := b.Standing(want.g.ID, want.end); denial != policy.Expired {
			t.Errorf("grant %s at its end: %q", want.g.ID, denial)
		}
	}
}

// A database that is busy, or away, over the end of a grant: the renewal that
// waited for it comes too late, as the person is outside already.
func TestAGrantThatHasEndedMeanwhileIsNotRenewed(t *testing.T) {
	a, dir := tower(t)
	defer a.store.Close()
	ctx := t.Context()
	p := must[policy.Person](t)(a.store.AddPerson(ctx, "root", policy.Person{Name: "alice"}))
	v := must[policy.Server](t)(a.store.AddServer(ctx, "root", policy.Server{Name: "db", Prefix: netip.MustParsePrefix("10.30.0.1/32")}))
	end := time.Now().Add(time.Second)
	g := must[policy.Grant](t)(a.store.CreateGrant(ctx, "root", policy.Grant{Person: p.ID, Server: v.ID, Start: end.Add(-time.Hour), End: end, Renew: time.Hour}))
	if _, _, err := a.store.Enter(ctx, policy.Session{
		Person: p.ID, Server: v.ID, Grant: g.ID, Protocol: policy.SSH, Login: "root", Gate: "gate-1",
		Client: netip.MustParseAddrPort("10.0.0.1:5000"), Dest: netip.MustParseAddrPort("10.30.0.1:22"),
	}); err != nil {
		t.Fatal(err)
	}
	if err := a.refresh(ctx); err != nil {
		t.Fatal(err)
	}
	db := must[*sql.DB](t)(sql.Open("sqlite", dir+"/state/inside.db?_txlock=immediate"))
	defer db.Close()
	busy := must[*sql.Tx](t)(db.BeginTx(ctx, nil))
	over := time.AfterFunc(time.Until(end)+200*time.Millisecond, func() { busy.Rollback() })
	defer over.Stop()
	if err := a.renew(ctx); err == nil {
		t.Error("it was renewed, or not due")
	}
	facts := must[policy.Facts](t)(a.store.Facts(ctx))
	if got := facts.Grants[0]; !got.Renewed.IsZero() || !got.End.Equal(g.End) {
		t.Errorf("renewed at %s, until %s", got.Renewed, got.End)
	}
}

// BenchmarkRenewalsLook looks through a hundred thousand grants, none of them
// due: this is what a change of the facts and each half minute cost.
func BenchmarkRenewalsLook(b *testing.B) {
	now := time.Now()
	facts := policy.Facts{
		Persons: []policy.Person{{ID: "p", Name: "p"}},
		Servers: []policy.Server{{ID: "v", Name: "v", Prefix: netip.MustParsePrefix("10.30.0.1/32")}},
	}
	for i := range 100_000 {
		facts.Grants = append(facts.Grants, policy.Grant{
			ID: policy.GrantID(fmt.Sprint(i + 1)), Person: "p", Server: "v", End: now.Add(1000 * time.Hour), Renew: 30 * 24 * time.Hour,
		})
	}
	book, err := policy.NewBook(facts)
	if err != nil {
		b.Fatal(err)
	}
	a := &Appliance{clock: newMoments(0)}
	a.book.Store(book)
	for b.Loop() {
		if err := a.renew(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
