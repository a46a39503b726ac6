package appliance

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/appliance/doctor"
	"github.com/pawelmojski/inside/appliance/tailscale"
	"github.com/pawelmojski/inside/netfilter"
	"github.com/pawelmojski/inside/policy"
)

// Examine implements api.Doctor.
func (h *House) Examine(ctx context.Context, q api.Examination) ([]api.Check, error) {
	if h.Around == nil {
		return nil, api.NewProblem(api.CodeUnavailable, "nothing here knows what is around the gate", "")
	}
	f := h.Around(ctx)
	zones := map[string]bool{}
	for _, g := range h.Book().Facts().Grants {
		for _, s := range g.Schedules {
			zones[s.Zone()] = true
		}
	}
	for name := range zones {
		_, err := time.LoadLocation(name)
		f.Zones = append(f.Zones, doctor.Zone{Name: name, Err: err})
	}
	if q.Servers {
		f.Servers, f.Skipped = h.dialServers(ctx)
	}
	return doctor.Examine(f), nil
}

// Goroutines implements api.Doctor.
func (h *House) Goroutines(context.Context) (io.ReadCloser, error) {
	var b bytes.Buffer
	err := pprof.Lookup("goroutine").WriteTo(&b, 1) // without arguments: they may be somebody's secrets
	return io.NopCloser(&b), err
}

// surroundings are what the gate can see of itself and of what stands around
// it.
func (a *Appliance) surroundings(ctx context.Context) doctor.Facts {
	f := doctor.Facts{MinFree: a.records.leastShare(), NoRoom: a.records.ready()}
	f.Free, f.Share = a.records.free()
	f.Database = a.examineDatabase(ctx)
	if a.asksTailscale() {
		f.Identity = a.examineIdentity(ctx)
	}
	if a.gate != nil {
		f.Gate = a.examineGate()
	}
	return f
}

func (a *Appliance) examineDatabase(ctx context.Context) doctor.Database {
	d := doctor.Database{Name: a.store.Database(), Err: a.ledger.problem()}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	began := time.Now()
	if err := a.store.Ping(ctx); d.Err == nil {
		d.Err = err
	}
	d.Latency = time.Since(began)
	return d
}

func (a *Appliance) examineIdentity(ctx context.Context) *doctor.Identity {
	var i doctor.Identity
	i.Status, i.Err = a.tailscale.Status(ctx)
	for _, p := range a.book.Load().Facts().Persons {
		if p.Account != "" && !p.Disabled {
			i.Accounts++
		}
	}
	return &i
}

func (a *Appliance) examineGate() *doctor.Gate {
	c := a.gate.Config()
	g := &doctor.Gate{
		Interfaces: c.Interfaces, Protect: c.Protect, Forward: c.Other == netfilter.Forward,
		RDP:   slices.ContainsFunc(c.Entries, func(e netfilter.Entry) bool { return e.Name == string(policy.RDP) }),
		Rules: a.rulesRight(), Doors: a.doorsOpen(), Forwards: map[bool]doctor.Answer{},
	}
	if now, _ := a.settings.now(); now.Intercept != nil {
		g.Warn, g.Observe, g.Deaf = now.Intercept.Warn, now.Intercept.Observe, a.overhearing.problem()
	}
	g.Links, g.LinksErr = a.gate.Links()
	for _, p := range c.Protect {
		if _, done := g.Forwards[p.Addr().Is4()]; !done {
			yes, err := a.gate.Forwards(p.Addr())
			g.Forwards[p.Addr().Is4()] = doctor.Answer{Yes: yes, Err: err}
		}
		host, by, err := a.gate.Behind(p)
		g.Ways = append(g.Ways, doctor.Way{Prefix: p, Host: host, By: by, Err: err})
	}
	g.Obstacles, g.Unread = a.gate.Obstacles()
	if g.Unread == nil {
		g.MarkLost, g.Unread = a.gate.MarkLosses()
	}
	stopped, err := a.gate.UDPStopped(3389)
	g.UDPOpen = !stopped && err == nil
	g.Senders = a.examineSenders(g)
	_, err = os.Stat(tailscale.Socket)
	g.Tailscale = err == nil
	return g
}

func firstHost(p netip.Prefix) netip.Addr {
	if p.IsSingleIP() {
		return p.Addr()
	}
	return p.Addr().Next()
}

// mostSenders bounds how many addresses of persons the kernel is asked about.
const mostSenders = 256

// examineSenders asks the kernel about the addresses that persons are known
// by: whether it would deliver what comes from there at one of the interfaces
// that are up.
func (a *Appliance) examineSenders(g *doctor.Gate) (senders []doctor.Sender) {
	for _, p := range a.book.Load().Facts().Persons {
		for _, address := range p.Addresses {
			if p.Disabled || address.Disabled || len(senders) == mostSenders {
				continue
			}
			from := firstHost(address.Prefix)
			i := slices.IndexFunc(g.Ways, func(w doctor.Way) bool { return w.Host.Is4() == from.Is4() })
			if i < 0 {
				continue
			}
			var errs []error
			for _, l := range g.Links {
				if l.Up && slices.Contains(g.Interfaces, l.Name) {
					errs = append(errs, a.gate.Delivers(l.Name, from, g.Ways[i].Host))
				}
			}
			if len(errs) == 0 {
				continue // nobody comes in, which is said elsewhere
			}
			s := doctor.Sender{Person: p.Name, Address: from}
			if !slices.Contains(errs, nil) {
				s.Err = errors.Join(errs...)
			}
			senders = append(senders, s)
		}
	}
	return senders
}

// How servers are dialled: so many at once, and each for so long.
const (
	serversAtOnce  = 64
	serverPatience = 3 * time.Second
	serversInAll   = 20 * time.Second
)

// dialServers dials each server that is one address and in use.
func (h *House) dialServers(ctx context.Context) (tried []doctor.Server, skipped int) {
	ctx, cancel := context.WithTimeout(ctx, serversInAll)
	defer cancel()
	var dialling sync.WaitGroup
	places := make(chan struct{}, serversAtOnce)
	var servers []*policy.Server
	for i := range h.Book().Facts().Servers {
		s := &h.Book().Facts().Servers[i]
		switch {
		case s.Disabled:
		case !s.Prefix.IsSingleIP():
			skipped++
		default:
			servers = append(servers, s)
		}
	}
	tried = make([]doctor.Server, len(servers))
	for i, s := range servers {
		places <- struct{}{}
		dialling.Go(func() {
			defer func() { <-places }()
			tried[i] = h.dialServer(ctx, s)
		})
	}
	dialling.Wait()
	return tried, skipped
}

// dialServer tries the ports of SSH and RDP: few servers have both.
func (h *House) dialServer(ctx context.Context, s *policy.Server) doctor.Server {
	d := doctor.Server{Name: s.Name}
	dialer := net.Dialer{Timeout: serverPatience}
	dialer.SetMultipathTCP(false)
	for _, protocol := range []policy.Protocol{policy.SSH, policy.RDP} {
		address := net.JoinHostPort(s.Prefix.Addr().String(), strconv.Itoa(int(h.portOf(s, protocol))))
		d.Tried = append(d.Tried, address)
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			conn.Close()
			return doctor.Server{Name: s.Name, Tried: d.Tried}
		}
		d.Err = err
	}
	return d
}
