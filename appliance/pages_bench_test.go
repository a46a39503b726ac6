package appliance

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	pages "github.com/pawelmojski/inside/appliance/web"
	"github.com/pawelmojski/inside/policy"
)

const (
	manyInside  = 500
	manyToday   = 5_000 // sessions, a live one for each person
	manyServers = 50
	manyOpen    = 50 // dashboards

	// pace is how often something happens where 5,000 sessions begin and end
	// within ten hours.
	pace = 10 * time.Hour / (2 * manyToday)
)

// A busyHouse is a gate in the middle of a day, its pages on a port, and
// somebody who is signed in on them.
type busyHouse struct {
	*House
	ctx    context.Context
	gate   *quietGate
	at     string
	secret string
	last   []policy.Session // of each person, live
}

func newBusyHouse(b testing.TB, persons, sessions int) *busyHouse {
	b.Helper()
	h, gate, ctx := newHouse(b)
	h.Bus = NewBus(time.Now)
	ok := api.Part{OK: true}
	gate.status = api.Status{Rules: ok, Database: ok, Recorder: ok, Doors: ok}
	busy := &busyHouse{House: h, ctx: ctx, gate: gate}
	busy.fill(b, persons, sessions)

	must[api.NamedAdmin](b)(h.AddAdmin(ctx, api.NewNamedAdmin{Name: "anna", Role: api.Operator, Password: api.Secret(goodPassword)}))
	signins := NewSignins(h.Store, time.Now, slog.New(slog.DiscardHandler))
	busy.secret = must[string](b)(signins.SignIn(ctx, "anna", api.Secret(goodPassword), "127.0.0.1"))
	serving, stop := context.WithCancel(b.Context())
	l, err := api.ListenTCP(serving, "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	busy.at = "http://" + l.Addr().String()
	served := make(chan error, 1)
	go func() {
		served <- api.ServeTCP(serving, l, h, nil, nil, pages.New(serving, api.NewLocalClient(serving, h), signins))
	}()
	b.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			b.Error(err)
		}
	})
	return busy
}

// fill has everybody come and go since midnight, and stay with their last
// session.
func (h *busyHouse) fill(b testing.TB, persons, sessions int) {
	b.Helper()
	var servers []policy.Server
	for i := range manyServers {
		at := netip.AddrFrom4([4]byte{10, 30, 0, byte(1 + i)})
		servers = append(servers, must[policy.Server](b)(h.Store.AddServer(h.ctx, "root", policy.Server{Name: fmt.Sprintf("server-%02d", i), Prefix: netip.PrefixFrom(at, 32)})))
	}
	now := time.Now()
	local := now.Local()
	midnight := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, time.Local)
	each := sessions / persons
	step := now.Sub(midnight) / time.Duration(each+1)
	for i := range persons {
		client := netip.AddrFrom4([4]byte{100, 64, byte(i >> 8), byte(i)})
		p := must[policy.Person](b)(h.Store.AddPerson(h.ctx, "root", policy.Person{Name: fmt.Sprintf("given.family-%03d", i), Addresses: []policy.Address{{Prefix: netip.PrefixFrom(client, 32)}}}))
		v := servers[i%manyServers]
		g := must[policy.Grant](b)(h.Store.CreateGrant(h.ctx, "root", policy.Grant{Person: p.ID, Server: v.ID}))
		for n := range each {
			se := policy.Session{
				Person: p.ID, Server: v.ID, Grant: g.ID, Protocol: policy.SSH, Login: "root", Gate: "gate-1",
				Client: netip.AddrPortFrom(client, 40000), Dest: netip.AddrPortFrom(v.Prefix.Addr(), 22),
				Start: midnight.Add(step*time.Duration(n) + step*time.Duration(i)/time.Duration(persons)),
			}
			entered, _, err := h.Store.Enter(h.ctx, se)
			if err != nil {
				b.Fatal(err)
			}
			if n == each-1 {
				h.gate.sessions[entered.ID] = Traffic{In: 1000, Out: 100_000, Recordings: 1}
				h.last = append(h.last, entered)
				continue
			}
			if err := h.Store.Leave(h.ctx, entered.ID, entered.Start.Add(step/2), policy.ClientLeft, policy.Carried{In: 1000, Out: 100_000, Recordings: 1}); err != nil {
				b.Fatal(err)
			}
			if n == each/2 {
				if err := h.Store.EndStay(h.ctx, entered.Stay, entered.Start.Add(step/2), policy.ClientLeft); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	if err := h.Refresh(h.ctx); err != nil {
		b.Fatal(err)
	}
}

// ask asks as a browser does that is signed in.
func (h *busyHouse) ask(ctx context.Context, path, accept string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, h.at+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Accept", accept)
	r.Header.Set("Accept-Encoding", "gzip")
	r.AddCookie(&http.Cookie{Name: "inside_signin", Value: h.secret})
	resp, err := http.DefaultClient.Do(r)
	if err == nil && resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		err = fmt.Errorf("%s: %s", path, resp.Status)
	}
	return resp, err
}

// load is how long a page takes from the request to its last byte, and how many
// bytes it has on the wire.
func (h *busyHouse) load(b *testing.B, path string) (took time.Duration, size int64) {
	b.Helper()
	began := time.Now()
	resp, err := h.ask(b.Context(), path, "text/html")
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	if size, err = io.Copy(io.Discard, resp.Body); err != nil {
		b.Fatal(err)
	}
	return time.Since(began), size
}

// BenchmarkPages is a gate with 500 people inside and 5,000 sessions today.
// p95-ms of the dashboard must stay under 50 and wire-kB under 150; what
// changes must be on every of 50 open dashboards within 1000 ms, at under 5 %
// of a core.
func BenchmarkPages(b *testing.B) {
	h := newBusyHouse(b, manyInside, manyToday)
	for name, path := range map[string]string{"dashboard": "/", "search": "/search"} {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			var wire int64
			for b.Loop() {
				t, size := h.load(b, path)
				took, wire = append(took, t), max(wire, size)
			}
			reportMillis(b, took)
			b.ReportMetric(float64(wire)/1000, "wire-kB")
		})
	}
	b.Run("open-dashboards", h.benchOpen)
}

func reportMillis(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	for name, share := range map[string]float64{"p50-ms": 0.5, "p95-ms": 0.95} {
		b.ReportMetric(float64(took[int(share*float64(len(took)-1))].Microseconds())/1000, name)
	}
	b.ReportMetric(0, "ns/op")
}

// benchOpen has somebody enter every so often and waits until all see them. The
// share of a core is that of everything here: the gate and the fifty readers.
func (h *busyHouse) benchOpen(b *testing.B) {
	ctx, stop := context.WithCancel(b.Context())
	var readers sync.WaitGroup
	defer readers.Wait()
	defer stop()
	seen := make(chan string, 1000*manyOpen)
	for range manyOpen {
		resp, err := h.ask(ctx, "/live", "text/event-stream")
		if err != nil {
			b.Fatal(err)
		}
		readers.Go(func() { readEntries(resp.Body, seen) })
	}
	all := func(login string) {
		for n := 0; n < manyOpen; {
			select {
			case l := <-seen:
				if l == login {
					n++
				}
			case <-time.After(30 * time.Second):
				b.Fatalf("%s is on %d of %d dashboards", login, n, manyOpen)
			}
		}
	}
	enter := func(n int) (login string) {
		se := h.last[n%len(h.last)]
		login = fmt.Sprintf("bench-%d", time.Now().UnixNano())
		se.ID, se.Stay, se.Start, se.Login = "", "", time.Now(), login
		if _, _, err := h.Store.Enter(b.Context(), se); err != nil {
			b.Fatal(err)
		}
		h.Bus.Tell(api.NewsEntry, nil)
		return login
	}
	all(enter(0)) // everybody looks
	time.Sleep(pace)
	var took []time.Duration
	began, before := time.Now(), cpuTime(b)
	for b.Loop() {
		for n := range 5 {
			next := time.Now().Add(pace)
			login := enter(n)
			told := time.Now()
			all(login)
			took = append(took, time.Since(told))
			time.Sleep(time.Until(next))
		}
	}
	share := float64(cpuTime(b)-before) / float64(time.Since(began))
	reportMillis(b, took)
	b.ReportMetric(float64(slices.Max(took).Microseconds())/1000, "slowest-ms")
	b.ReportMetric(100*share, "core-%")
}

// readEntries tells which logins of the benchmark a dashboard shows.
func readEntries(body io.ReadCloser, seen chan<- string) {
	defer body.Close()
	known := map[string]bool{}
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		_, rest, found := strings.Cut(lines.Text(), ">bench-")
		login := "bench-" + rest[:min(len(rest), 19)]
		if found && !known[login] {
			known[login] = true
			seen <- login
		}
	}
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
