package appliance

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/appliance/config"
	"github.com/pawelmojski/inside/policy"
)

// insider is a person inside by one grant, without a database behind.
func insider(t *testing.T, g policy.Grant) (*Appliance, *visit) {
	t.Helper()
	a := &Appliance{clock: newMoments(0), log: slog.New(slog.DiscardHandler), metrics: NewMetrics(), settings: newSettings(config.Config{})}
	a.ledger = newLedger(nil, a.metrics, a.log)
	a.live = newLive(a)
	a.news = NewBus(a.clock.now)
	a.lookout = NewLookout("gate-1", a.log, func(api.Alert) {})
	turn(t, a, g)
	client, far := net.Pipe()
	t.Cleanup(func() { client.Close(); far.Close() })
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	v := &visit{
		house: a, client: client, ctx: ctx, cancel: cancel, notices: make(chan string, 8),
		flow: policy.Flow{
			Client: netip.MustParseAddrPort("10.50.0.2:1234"), Dest: netip.MustParseAddrPort("10.30.0.140:22"),
			Protocol: policy.SSH, Login: "root", Inside: true,
		},
		began:   time.Now(),
		session: policy.Session{ID: "s1", Person: "p", Grant: g.ID, Stay: "1"},
	}
	v.verdict = v.house.book.Load().Decide(v.flow, a.clock.now())
	if !v.verdict.Allowed() {
		t.Fatalf("the insider is denied: %s", v.verdict.Denial)
	}
	a.live.add(v, v.session)
	return a, v
}

// turn makes the grant the only one in the book.
func turn(t *testing.T, a *Appliance, g policy.Grant) {
	t.Helper()
	g.Person, g.Server = "p", "v"
	book, err := policy.NewBook(policy.Facts{
		Persons: []policy.Person{{ID: "p", Name: "p", Addresses: []policy.Address{{ID: "1", Prefix: netip.MustParsePrefix("10.50.0.2/32")}}}},
		Servers: []policy.Server{{ID: "v", Name: "v", Prefix: netip.MustParsePrefix("10.30.0.140/32")}},
		Grants:  []policy.Grant{g},
	})
	if err != nil {
		t.Fatal(err)
	}
	a.book.Store(book)
	a.live.reconsider()
}

func told(v *visit) string {
	select {
	case line := <-v.notices:
		return line
	default:
		return ""
	}
}

func TestAPersonIsWarnedFiveMinutesAndOneMinuteBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(8 * time.Hour)
		_, v := insider(t, policy.Grant{ID: "1", End: end})
		for _, step := range []struct {
			before time.Duration
			notice string
		}{
			{5*time.Minute + time.Nanosecond, ""},
			{5 * time.Minute, "your stay ends in 5 minutes, when your grant expires"},
			{time.Minute + time.Nanosecond, ""},
			{time.Minute, "your stay ends in 1 minute, when your grant expires"},
			{time.Nanosecond, ""},
		} {
			time.Sleep(time.Until(end.Add(-step.before)))
			synctest.Wait()
			if got := told(v); got != step.notice {
				t.Errorf("%s before the end the person is told %q, want %q", step.before, got, step.notice)
			}
			if v.ctx.Err() != nil {
				t.Fatalf("ended %s early: %v", step.before, context.Cause(v.ctx))
			}
		}
		time.Sleep(time.Until(end))
		synctest.Wait()
		if cause := context.Cause(v.ctx); cause != policy.GrantExpired {
			t.Errorf("at the end the cause is %v, want %v", cause, policy.GrantExpired)
		}
	})
}

func TestAnExtensionPutsTheEndAndItsWarningsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := time.Now().Add(10 * time.Minute)
		a, v := insider(t, policy.Grant{ID: "1", End: first})
		later := first.Add(2 * time.Hour)
		turn(t, a, policy.Grant{ID: "1", End: later})
		if got := told(v); got == "" {
			t.Error("the person is not told of the extension")
		}
		time.Sleep(time.Until(later.Add(-5*time.Minute - time.Second)))
		synctest.Wait()
		if got := told(v); got != "" || v.ctx.Err() != nil {
			t.Errorf("before the new end: told %q, ended: %v", got, context.Cause(v.ctx))
		}
		turn(t, a, policy.Grant{ID: "1", End: time.Now().Add(time.Second)})
		time.Sleep(time.Second)
		synctest.Wait()
		if cause := context.Cause(v.ctx); cause != policy.GrantExpired {
			t.Errorf("after shortening the cause is %v, want %v", cause, policy.GrantExpired)
		}
	})
}

func TestEveryReasonAGrantStopsServingEndsTheSessionByItsName(t *testing.T) {
	closed, err := policy.ParseSchedule("Mon 00:00-00:01", "UTC")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[policy.EndCause]policy.Grant{
		policy.GrantRevoked:    {ID: "1", Revoked: time.Unix(1, 0)},
		policy.ScheduleClosed:  {ID: "1", Schedules: []policy.Schedule{closed}},
		policy.GrantExpired:    {ID: "1", End: time.Unix(1, 0)},
		policy.NoLongerAllowed: {ID: "1", Logins: []string{"somebody else"}},
	}
	for want, grant := range tests {
		t.Run(string(want), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // the bubble begins on a Saturday
				a, v := insider(t, policy.Grant{ID: "1"})
				turn(t, a, grant)
				if cause := context.Cause(v.ctx); cause != want {
					t.Errorf("cause %v, want %v", cause, want)
				}
			})
		})
	}
}

// The sockets end a session even if nobody else should.
func TestTheDeadlineOfTheSocketIsABackstop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(time.Hour)
		_, v := insider(t, policy.Grant{ID: "1", End: end})
		v.disarm()
		if _, err := v.client.Read(make([]byte, 1)); err == nil || !time.Now().Equal(end.Add(backstop)) {
			t.Errorf("reading ended %s after the end with %v, want %s", time.Since(end), err, backstop)
		}
	})
}

func TestDurationsAreSaidInWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 seconds", time.Second: "1 second", 59 * time.Second: "59 seconds", time.Minute: "1 minute",
		5*time.Minute + time.Second: "5 minutes", 119 * time.Minute: "119 minutes", 2 * time.Hour: "2 hours",
		47 * time.Hour: "47 hours", 49 * time.Hour: "2 days", -time.Second: "0 seconds",
	} {
		if got := inWords(d); got != want {
			t.Errorf("%s is said as %q, want %q", d, got, want)
		}
	}
}

// maintain puts the server of the insider under maintenance.
func maintain(t *testing.T, a *Appliance, m *policy.Maintenance) {
	t.Helper()
	facts := *a.book.Load().Facts()
	facts.Servers = []policy.Server{facts.Servers[0]}
	facts.Servers[0].Maintenance = m
	book, err := policy.NewBook(facts)
	if err != nil {
		t.Fatal(err)
	}
	a.book.Store(book)
	a.live.reconsider()
}

func TestMaintenanceEndsASessionAtItsTimeWithWarnings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, v := insider(t, policy.Grant{ID: "1", End: time.Now().Add(time.Hour)})
		now := time.Now()
		end := now.Add(15 * time.Minute)
		maintain(t, a, &policy.Maintenance{From: now, Clear: end})
		if got, want := told(v), "your session now ends in 15 minutes, at "+end.Local().Format("15:04 MST")+", when maintenance of the server begins"; got != want {
			t.Errorf("told %q, want %q", got, want)
		}
		if f := v.flow; a.book.Load().Decide(policy.Flow{Client: f.Client, Dest: f.Dest, Protocol: f.Protocol}, now).Denial != policy.UnderMaintenance {
			t.Error("somebody new is let in")
		}
		wantAt(t, v, now, 10*time.Minute, "your session ends in 5 minutes, when maintenance of the server begins")
		wantAt(t, v, now, 14*time.Minute, "your session ends in 1 minute, when maintenance of the server begins")
		wantAt(t, v, now, 15*time.Minute-1, "")
		if v.ctx.Err() != nil {
			t.Fatalf("ended early: %v", context.Cause(v.ctx))
		}
		wantAt(t, v, now, 15*time.Minute, "")
		if cause := context.Cause(v.ctx); cause != policy.ServerMaintained {
			t.Errorf("cause %v, want %v", cause, policy.ServerMaintained)
		}
		if !a.live.isOpen("1") {
			t.Error("maintenance of one server has ended the stay")
		}
	})
}

func TestMaintenanceThatIsCalledOffEndsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, v := insider(t, policy.Grant{ID: "1"})
		now := time.Now()
		maintain(t, a, &policy.Maintenance{From: now, Clear: now.Add(time.Minute)})
		told(v)
		maintain(t, a, nil)
		if got := told(v); got != "your stay no longer ends by itself" {
			t.Errorf("told %q", got)
		}
		maintain(t, a, &policy.Maintenance{From: now, Clear: now.Add(time.Minute), Exempt: []policy.PersonID{"p"}})
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := told(v); got != "" || v.ctx.Err() != nil {
			t.Errorf("an exempt person is told %q, ended by %v", got, context.Cause(v.ctx))
		}
	})
}

func TestAWarningNamesTheClosingOfTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the bubble begins on a Saturday at midnight, UTC
		hours, err := policy.ParseSchedule("Sat 00:00-09:00", "UTC")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, v := insider(t, policy.Grant{ID: "1", Schedules: []policy.Schedule{hours}})
		wantAt(t, v, began, 9*time.Hour-5*time.Minute, "your stay ends in 5 minutes, when the hours of your grant are over")
	})
}

func TestAnEndInCenturiesEndsNobodyNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, v := insider(t, policy.Grant{ID: "1", End: time.Date(2999, 12, 31, 0, 0, 0, 0, time.UTC)})
		if v.Over(0) || v.ends.Load() < 0 || !v.endDeadline.After(time.Now()) {
			t.Errorf("it ends in %d, and at %s", v.ends.Load(), v.endDeadline)
		}
	})
}
