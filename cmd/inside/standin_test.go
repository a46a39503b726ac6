package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/appliance"
	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/appliance/config"
	"github.com/pawelmojski/inside/appliance/doctor"
	"github.com/pawelmojski/inside/appliance/tailscale"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/store"
)

// A standIn takes the place of the part of a gate that needs a kernel and
// people: it carries sessions that nobody typed. Everything else is the real
// thing: API, house, book, store, recordings.
type standIn struct {
	socket string
	store  *store.Store
	book   atomic.Pointer[policy.Book]
	root   *os.Root
	stop   func()
	keyDir string // of the data key
	notary *appliance.Notary

	database string // its URL
	renders  *appliance.Renders
	certs    *appliance.Certificates
	filming  func() // ends the making of videos; nil: none are made

	url     string // of the port for tokens
	bus     *appliance.Bus
	bearers *appliance.Bearers

	mu       sync.Mutex
	sessions map[policy.SessionID]*carried
	keys     map[netip.AddrPort][]ssh.Signer
	logins   map[netip.Addr]string // at Tailscale; nil: it is not asked
}

type carried struct {
	policy.Session
	flow     policy.Flow
	terminal *recording.Writer
	log      *recording.Log
}

func openGate(t *testing.T, database, dir string) *standIn {
	ctx := context.Background()
	s, err := store.Open(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	recordings := filepath.Join(dir, "recordings")
	if err := os.Mkdir(recordings, 0o750); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(recordings)
	if err != nil {
		t.Fatal(err)
	}
	g := &standIn{
		socket: filepath.Join(dir, "run", "inside.sock"), database: database, store: s, root: root, keyDir: filepath.Join(dir, "keys"),
		sessions: map[policy.SessionID]*carried{}, keys: map[netip.AddrPort][]ssh.Signer{},
	}
	g.bus = appliance.NewBus(time.Now)
	g.bearers = appliance.NewBearers(s, time.Now, slog.New(slog.DiscardHandler))
	if err := g.refresh(ctx); err != nil {
		t.Fatal(err)
	}
	g.renders = appliance.NewRenders("gate-1", s, root, func() error { return nil }, "inside-render", time.Now, slog.New(slog.DiscardHandler))
	if g.notary, err = appliance.OpenNotary(g.keyDir, "gate-1", s, root, time.Now, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if g.certs, err = appliance.OpenCertificates(g.keyDir, s, "gate-1", time.Now); err != nil {
		t.Fatal(err)
	}
	g.serve(t)
	return g
}

// serve answers at the socket and at a port of its own.
func (g *standIn) serve(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	l, err := api.Listen(g.socket)
	if err != nil {
		t.Fatal(err)
	}
	port, err := api.ListenTCP(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.url = "http://" + port.Addr().String()
	house := g.house()
	var served sync.WaitGroup
	served.Go(func() { g.bearers.Keep(ctx) })
	served.Go(func() {
		if err := api.Serve(ctx, l, house); err != nil {
			t.Errorf("api: %v", err)
		}
	})
	served.Go(func() {
		if err := api.ServeTCP(ctx, port, house, g.bearers, nil, nil); err != nil {
			t.Errorf("api: %v", err)
		}
	})
	g.stop = func() {
		cancel()
		served.Wait()
	}
}

func (g *standIn) house() *appliance.House {
	return &appliance.House{
		Gate: "gate-1", Store: g.store, Book: g.book.Load, Refresh: g.refresh, Live: g, Keys: g, Bus: g.bus,
		Vault:  appliance.OpenVault(g.keyDir),
		Certs:  g.certs,
		Notary: g.notary, Renders: g.renders,
		Around: func(ctx context.Context) doctor.Facts {
			return doctor.Facts{Free: 1 << 40, Share: 1, Database: doctor.Database{Name: "the story's", Err: g.store.Ping(ctx)}}
		},
		Numbers: appliance.NewMetrics(), Lookout: appliance.NewLookout("gate-1", slog.New(slog.DiscardHandler), func(api.Alert) {}),
		Records: g.root, Now: time.Now,
		Intercept: func() config.Intercept {
			return config.Intercept{Protect: []netip.Prefix{netip.MustParsePrefix("10.30.0.0/16")}, SSHPorts: []uint16{22}, RDPPorts: []uint16{3389}}
		},
		Tailscale: func() bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.logins != nil
		},
		WhoComes: func(_ context.Context, client netip.AddrPort) (policy.Identity, error) {
			g.mu.Lock()
			defer g.mu.Unlock()
			if login := g.logins[client.Addr()]; login != "" {
				return policy.Identity{Account: login, Node: "laptop"}, nil
			}
			return policy.Identity{}, fmt.Errorf("%w: tailscaled knows no node at %s", tailscale.ErrNobody, client.Addr())
		},
	}
}

func (g *standIn) close() {
	g.stop()
	for id := range g.Sessions() {
		g.EndSession(id, policy.GateShutdown)
	}
	if g.filming != nil {
		g.filming()
	}
	g.notary.Close()
	g.store.Close()
	g.root.Close()
}

// refresh does what a gate does: a new book, and everybody is asked again.
func (g *standIn) refresh(ctx context.Context) error {
	facts, err := g.store.Facts(ctx)
	if err != nil {
		return err
	}
	book, err := policy.NewBook(facts)
	if err != nil {
		return err
	}
	g.book.Store(book)
	g.mu.Lock()
	var over []policy.SessionID
	for id, se := range g.sessions {
		if !book.DecideBy(se.Grant, se.flow, time.Now()).Allowed() {
			over = append(over, id)
		}
	}
	g.mu.Unlock()
	for _, id := range over {
		g.EndSession(id, policy.GrantRevoked)
	}
	g.bus.Tell(api.NewsFacts, api.Facts{Revision: facts.Revision})
	return g.bearers.Read(ctx, facts.Revision)
}

func (g *standIn) enter(ctx context.Context, person, server, login string) (string, error) {
	b := g.book.Load()
	p, s := b.PersonNamed(person), b.ServerNamed(server)
	f := policy.Flow{
		Client: netip.MustParseAddrPort("100.64.0.2:50123"), Dest: netip.AddrPortFrom(s.Prefix.Addr(), 22),
		Protocol: policy.SSH, Login: login,
	}
	if len(p.Addresses) > 0 {
		f.Client = netip.AddrPortFrom(p.Addresses[0].Prefix.Addr(), 50123)
	} else {
		f.Identity = policy.Identity{Account: p.Account, Node: "laptop"}
	}
	v := b.Decide(f, time.Now())
	if !v.Allowed() {
		e := store.Entry{Time: time.Now(), Gate: "gate-1", Client: f.Client, Dest: f.Dest, Protocol: f.Protocol, Login: login,
			Person: p.ID, Server: s.ID, Denial: v.Denial, Detail: "asked for by a story", Identity: f.Identity}
		g.bus.Tell(api.NewsEntry, api.Entry{Time: e.Time, Person: person, Server: server, Login: login, Protocol: "ssh", Client: f.Client.String(),
			Dest: f.Dest.String(), Denial: string(v.Denial), Sentence: v.Denial.Sentence()})
		return "", errors.Join(fmt.Errorf("denied: %s", v.Denial), g.store.Deny(ctx, e))
	}
	se, _, err := g.store.Enter(ctx, policy.Session{
		ID: policy.SessionID(strings.ToLower(rand.Text())), Person: p.ID, Server: s.ID, Grant: v.Grant.ID, Protocol: f.Protocol,
		Login: login, Client: f.Client, Identity: f.Identity, Dest: f.Dest, Gate: "gate-1", Start: time.Now(),
	})
	if err != nil {
		return "", err
	}
	folder := se.Start.UTC().Format("2006/01/02/") + string(se.ID)
	if err := g.root.MkdirAll(folder, 0o750); err != nil {
		return "", err
	}
	dir, err := g.root.OpenRoot(folder)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	f.Inside = true
	c := &carried{Session: se, flow: f}
	if c.log, err = recording.CreateLog(dir); err != nil {
		return "", err
	}
	c.terminal, err = recording.Create(dir, "0.cast", recording.Header{Width: 80, Height: 24, Start: se.Start, Person: person, Session: string(se.ID)})
	if err != nil {
		return "", err
	}
	g.mu.Lock()
	g.sessions[se.ID] = c
	g.mu.Unlock()
	g.bus.Tell(api.NewsEntry, api.Entry{Time: se.Start, Person: person, Server: server, Login: login, Protocol: "ssh", Client: f.Client.String(),
		Dest: f.Dest.String(), Allowed: true, Session: string(se.ID)})
	g.bus.Tell(api.NewsSession, g.wireSession(se, ""))
	g.bus.Tell(api.NewsStay, api.StayNews{ID: string(se.Stay), State: api.StayBegan, Person: person, Where: server, Grant: string(se.Grant)})
	return string(se.ID), c.log.Append(recording.Event{Time: se.Start, Kind: "exec", Command: "uptime"})
}

func (g *standIn) wireSession(se policy.Session, why policy.EndCause) api.Session {
	b := g.book.Load()
	wire := api.Session{ID: string(se.ID), Person: b.Person(se.Person).Name, Server: b.Server(se.Server).Name, Login: se.Login, Grant: string(se.Grant)}
	if why != "" {
		wire.End, wire.Cause, wire.Sentence = time.Now(), string(why), why.Error()
	}
	return wire
}

func (g *standIn) show(id, text string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sessions[policy.SessionID(id)].terminal.Output([]byte(text))
}

func (g *standIn) leave(id string) error {
	if !g.EndSession(policy.SessionID(id), policy.ClientLeft) {
		return fmt.Errorf("no session %s", id)
	}
	return nil
}

// madeUpTraffic is what every session carries.
var madeUpTraffic = appliance.Traffic{In: 1500, Out: 3 << 20, Recordings: 1}

// Sessions, EndSession, EndStay and Status make it an appliance.Live.

func (g *standIn) Sessions() map[policy.SessionID]appliance.Traffic {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := map[policy.SessionID]appliance.Traffic{}
	for id := range g.sessions {
		all[id] = madeUpTraffic
	}
	return all
}

func (g *standIn) EndSession(id policy.SessionID, why policy.EndCause) bool {
	g.mu.Lock()
	c, ok := g.sessions[id]
	delete(g.sessions, id)
	g.mu.Unlock()
	if ok {
		exit := 0
		c.log.Append(recording.Event{Kind: "exit", Exit: &exit})
		c.terminal.Close()
		c.log.Close()
		g.store.Leave(context.Background(), id, time.Now(), why, madeUpTraffic)
		g.bus.Tell(api.NewsSession, g.wireSession(c.Session, why))
	}
	return ok
}

func (g *standIn) EndStay(id policy.StayID, why policy.EndCause) {
	g.mu.Lock()
	var resting []policy.SessionID
	for session, c := range g.sessions {
		if c.Stay == id {
			resting = append(resting, session)
		}
	}
	g.mu.Unlock()
	for _, session := range resting {
		g.EndSession(session, why)
	}
}

func (g *standIn) Status(ctx context.Context) api.Status {
	s := api.Status{Version: "test", Started: time.Now(), Rules: api.Part{OK: true}, Recorder: api.Part{OK: true}, Doors: api.Part{OK: true}, Database: api.Part{OK: true}}
	if err := g.store.Ping(ctx); err != nil {
		s.Database = api.Part{Detail: err.Error()}
	}
	return s
}

// Own and Import make it an appliance.Keys.

func (g *standIn) Own(_ context.Context, dest netip.AddrPort) ([]ssh.Signer, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.keys[dest]) == 0 {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		key, err := ssh.NewSignerFromKey(private)
		if err != nil {
			return nil, err
		}
		g.keys[dest] = []ssh.Signer{key}
	}
	return g.keys[dest], nil
}

func (g *standIn) Import(dest netip.AddrPort, pem []byte) (ssh.PublicKey, error) {
	key, err := ssh.ParsePrivateKey(pem)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keys[dest] = []ssh.Signer{key}
	return key.PublicKey(), nil
}
