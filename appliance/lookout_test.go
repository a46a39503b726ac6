package appliance

import (
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
)

var (
	webAt = netip.MustParsePrefix("10.30.0.140/32")
	web   = &policy.Server{ID: "v", Name: "web", Prefix: webAt}
	dest  = netip.MustParseAddrPort("10.30.0.140:22")
)

// A watched lookout remembers what it told: "began grant-ending grant 1".
type watched struct {
	*Lookout
	t    *testing.T
	told []string
	now  time.Time
	book *policy.Book
}

func watch(t *testing.T) *watched {
	w := &watched{t: t, now: noon, book: bookOf(t)}
	w.Lookout = NewLookout("gate-1", slog.New(slog.DiscardHandler), func(a api.Alert) {
		word := "began "
		if !a.End.IsZero() {
			word = "ended "
		}
		w.told = append(w.told, word+a.Kind+" "+a.Object)
	})
	return w
}

// hears looks with these signs and wants to be told exactly this.
func (w *watched) hears(s signs, want ...string) {
	w.t.Helper()
	w.told = nil
	s.now = w.now
	w.look(s, w.book)
	if diff := cmp.Diff(want, w.told); diff != "" {
		w.t.Errorf("told (-want +got):\n%s", diff)
	}
	w.now = w.now.Add(time.Second)
}

func TestAGrantThatEndsSoonIsToldOnceAndAgainWhenItsEndChanges(t *testing.T) {
	w := watch(t)
	w.book = bookOf(t, noon.Add(30*time.Minute))
	w.hears(signs{}, "began grant-ending grant 1")
	w.hears(signs{})
	w.book = bookOf(t, noon.Add(30*time.Minute)) // another fact changed
	w.hears(signs{})
	w.book = bookOf(t, noon.Add(20*time.Minute))
	w.now = w.now.Add(time.Second)
	w.told = nil
	w.look(signs{now: w.now}, w.book)
	if len(w.told) != 2 || len(w.Alerts(false)) != 1 {
		t.Errorf("a new end: told %q", w.told)
	}
	w.book = bookOf(t, noon.Add(48*time.Hour)) // extended
	w.hears(signs{}, "ended grant-ending grant 1")
	w.now = noon.Add(47*time.Hour + time.Minute)
	w.hears(signs{}, "began grant-ending grant 1")
	w.now = noon.Add(48 * time.Hour)
	w.hears(signs{}, "ended grant-ending grant 1")
	if n := len(w.Alerts(true)); n != 4-1 || len(w.Alerts(false)) != 0 {
		t.Errorf("%d alerts in all", n)
	}
}

func TestAServerIsUnreachableUntilItIsReached(t *testing.T) {
	w := watch(t)
	for range 2 {
		w.dialled(dest, web, errors.New("connection refused"))
	}
	w.hears(signs{})
	w.dialled(dest, web, nil)
	for range 2 {
		w.dialled(dest, web, errors.New("connection refused"))
	}
	w.hears(signs{}) // not in a row
	w.dialled(dest, web, errors.New("connection refused"))
	w.hears(signs{}, "began server-unreachable server web (10.30.0.140:22)")
	w.dialled(dest, web, errors.New("connection refused"))
	w.hears(signs{})
	if a := w.Alerts(false)[0]; a.Gate != "gate-1" || !strings.Contains(a.Text, "connection refused") || !a.End.IsZero() {
		t.Errorf("%+v", a)
	}
	w.dialled(dest, web, nil)
	w.hears(signs{}, "ended server-unreachable server web (10.30.0.140:22)")
}

func TestAServerThatIsNoLongerKnownIsNoAlert(t *testing.T) {
	w := watch(t)
	for range 3 {
		w.dialled(dest, web, errors.New("x"))
	}
	w.hears(signs{}, "began server-unreachable server web (10.30.0.140:22)")
	f := *w.book.Facts()
	f.Servers = []policy.Server{{ID: "v", Name: "web", Prefix: webAt, Disabled: true}}
	b, err := policy.NewBook(f)
	if err != nil {
		t.Fatal(err)
	}
	w.book = b
	w.hears(signs{}, "ended server-unreachable server web (10.30.0.140:22)")
}

func TestAChangedHostKeyIsToldUntilItIsRight(t *testing.T) {
	w := watch(t)
	w.denied(policy.HostKeyChanged, dest, web, w.now)
	w.hears(signs{}, "began host-key-changed server web (10.30.0.140:22)")
	w.denied(policy.HostKeyChanged, dest, web, w.now)
	w.hears(signs{})
	w.keyRight(dest)
	w.hears(signs{}, "ended host-key-changed server web (10.30.0.140:22)")
}

func TestARepairIsToldForTenMinutes(t *testing.T) {
	w := watch(t)
	w.repaired("table inet inside", w.now)
	w.hears(signs{}, "began rules-repaired rules")
	w.now = noon.Add(9 * time.Minute)
	w.repaired("table inet inside", w.now)
	w.hears(signs{})
	w.now = noon.Add(18 * time.Minute)
	w.hears(signs{})
	w.now = noon.Add(19 * time.Minute)
	w.hears(signs{}, "ended rules-repaired rules")
}

func TestAStormOfDenialsIsOneAlert(t *testing.T) {
	w := watch(t)
	for range 5000 {
		w.denied(policy.UnknownPerson, dest, nil, w.now)
	}
	w.hears(signs{}, "began denials-spike entries")
	for range 5000 {
		w.denied(policy.UnknownPerson, dest, nil, w.now)
	}
	w.hears(signs{})
	w.now = w.now.Add(6 * time.Minute)
	w.hears(signs{}, "ended denials-spike entries")
}

func TestWhatIsKeptHasABound(t *testing.T) {
	w := watch(t)
	for i := range 3000 {
		to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 30, byte(i >> 8), byte(i)}), 22)
		for range 3 {
			w.dialled(to, web, errors.New("x"))
		}
		w.denied(policy.HostKeyChanged, to, web, w.now)
	}
	w.look(signs{now: w.now}, w.book)
	if n := len(w.Alerts(false)); n > 2*serversKept+1 {
		t.Errorf("%d alerts", n)
	}
	for i := range 3000 {
		to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 30, byte(i >> 8), byte(i)}), 22)
		w.dialled(to, web, nil)
		w.keyRight(to)
	}
	w.look(signs{now: w.now.Add(time.Hour)}, w.book)
	if n := len(w.Alerts(true)); n != endedKept {
		t.Errorf("%d ended alerts are kept, want %d", n, endedKept)
	}
}

func TestTheGateLooksAroundEachSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := insider(t, policy.Grant{ID: "1", Start: time.Now().Add(-time.Hour), End: time.Now().Add(time.Hour + 90*time.Second)})
		var err error
		if a.records, err = openRecords(t.TempDir(), 0); err != nil {
			t.Fatal(err)
		}
		a.doors = newDoors(func(netip.Addr) {})
		began := time.Now()
		a.lookout = NewLookout("gate-1", a.log, func(al api.Alert) {
			if al.Kind == api.AlertGrantEnding {
				if after := time.Since(began); after < 90*time.Second || after > 91*time.Second {
					t.Errorf("told after %s", after)
				}
			}
		})
		go a.lookOut(t.Context())
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if a.lookout.count(api.AlertGrantEnding) != 1 {
			t.Errorf("alerts: %+v", a.lookout.Alerts(true))
		}
	})
}

func BenchmarkLookAtManyGrants(b *testing.B) {
	ends := make([]time.Time, 100_000)
	for i := range ends {
		ends[i] = noon.Add(time.Duration(i) * time.Hour)
	}
	book := bookOf(b, ends...)
	l := NewLookout("gate-1", slog.New(slog.DiscardHandler), func(api.Alert) {})
	for b.Loop() {
		l.look(signs{now: noon}, book)
	}
}
