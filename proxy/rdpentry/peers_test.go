package rdpentry

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/rdpentry/codec"
	"github.com/pawelmojski/inside/proxy/rdpentry/credssp"
	"github.com/pawelmojski/inside/proxy/rdpentry/rdptest"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// A gate is an entry between a client and a server that tests play byte by
// byte; what real ones make of it stands in cmd/insided.
type gate struct {
	t    testing.TB
	dest netip.AddrPort

	verdict atomic.Pointer[policy.Verdict]
	decide  func(login string) policy.Verdict
	dialled atomic.Int32
	over    atomic.Bool // the session's end has come
	late    atomic.Bool // and was a second ago
	used    atomic.Int32
	notices chan string
	root    *os.Root
	closed  atomic.Bool // root is: nothing can be recorded any more

	mu       sync.Mutex
	admitted []string
	events   []recording.Event
	pins     [][]byte

	own         tls.Certificate
	stored      []storedPassword
	imported    bool // own is the server's
	guessing    bool // too much was guessed
	taken       int
	heldRefused atomic.Bool
	server      net.Listener
	ended       chan error
	stop        context.CancelCauseFunc
}

const waiting = 10 * time.Second

func newGate(t testing.TB) *gate {
	t.Helper()
	g := &gate{t: t, notices: make(chan string), own: rdptest.Certificate(t), ended: make(chan error, 1)}
	allowed := policy.Verdict{
		Person: &policy.Person{ID: "1", Name: "p.mojski"}, Server: &policy.Server{ID: "1", Name: "desk"},
		Grant: &policy.Grant{ID: "1"}, Protocol: policy.RDP,
	}
	g.verdict.Store(&allowed)
	g.decide = func(string) policy.Verdict { return *g.verdict.Load() }
	var err error
	if g.server, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.server.Close() })
	g.dest = g.server.Addr().(*net.TCPAddr).AddrPort()
	if g.root, err = os.OpenRoot(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	return g
}

// deny makes the book say no.
func (g *gate) deny(d policy.Denial) {
	v := *g.verdict.Load()
	v.Denial = d
	g.verdict.Store(&v)
}

// serve runs the entry for one connection and returns the client's end of it.
func (g *gate) serve(e Entry) net.Conn {
	g.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		g.t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		g.t.Fatal(err)
	}
	conn, err := ln.Accept()
	if err != nil {
		g.t.Fatal(err)
	}
	client.SetDeadline(time.Now().Add(waiting))
	e.Certificates = g
	ctx, stop := context.WithCancelCause(context.Background())
	g.stop = stop
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.ended <- e.Serve(ctx, conn, g)
	}()
	g.t.Cleanup(func() {
		client.Close()
		stop(policy.GateShutdown)
		<-done
	})
	return client
}

// end waits until the entry has returned.
func (g *gate) end() error {
	g.t.Helper()
	select {
	case err := <-g.ended:
		return err
	case <-time.After(waiting):
		g.t.Fatal("the entry does not return")
		return nil
	}
}

// refused waits for the end and wants it to be a refusal.
func (g *gate) refused(want policy.Denial) *proxy.Refusal {
	g.t.Helper()
	err := g.end()
	var r *proxy.Refusal
	if !errors.As(err, &r) || r.Verdict.Denial != want {
		g.t.Fatalf("the entry ended with %v, want the refusal %s", err, want)
	}
	return r
}

func (g *gate) Flow() policy.Flow {
	return policy.Flow{Client: netip.MustParseAddrPort("10.50.0.2:40000"), Dest: g.dest, Protocol: policy.RDP}
}
func (g *gate) Verdict() policy.Verdict            { return *g.verdict.Load() }
func (g *gate) Decide(login string) policy.Verdict { return g.decide(login) }
func (g *gate) Notices() <-chan string             { return g.notices }
func (g *gate) Used()                              { g.used.Add(1) }

func (g *gate) Over(since time.Duration) bool {
	return g.over.Load() && (since == 0 || g.late.Load())
}

func (g *gate) Admit(_ context.Context, login string) (policy.Session, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.admitted = append(g.admitted, login)
	return policy.Session{ID: "s"}, nil
}

func (g *gate) Passwords(context.Context) (held []proxy.PasswordFor, err error) {
	for _, s := range g.stored {
		held = append(held, s.PasswordFor)
	}
	return held, nil
}

func (g *gate) Keyring(_ context.Context, login string) (proxy.Keyring, error) {
	return &ring{gate: g, login: login}, nil
}

func (g *gate) Dial(ctx context.Context) (net.Conn, error) {
	g.dialled.Add(1)
	return new(net.Dialer).DialContext(ctx, "tcp", g.dest.String())
}

func (g *gate) Record(int, recording.Header) (*recording.Writer, error) {
	return nil, errors.ErrUnsupported
}

func (g *gate) RecordDesktop(h recording.Header) (*desktop.Writer, error) {
	if g.closed.Load() {
		return nil, errors.New("no room")
	}
	return desktop.Create(g.root, desktop.Name, h)
}

func (g *gate) Note(e recording.Event) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.events = append(g.events, e)
	return nil
}

func (g *gate) Own(context.Context, netip.AddrPort, string) (*tls.Certificate, bool, error) {
	return &g.own, g.imported, nil
}

func (g *gate) Pinned(context.Context, netip.AddrPort) ([][]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pins, nil
}

func (g *gate) Pin(_ context.Context, _ netip.AddrPort, key []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pins = append(g.pins, key)
	return nil
}

// A peer is what a test plays: a client or a server.
type peer struct {
	t     testing.TB
	side  *side
	asked uint32 // what it was asked for, as a server
	nla   error  // what the gate said to its login, as a client
}

func (p *peer) send(frame []byte) {
	p.t.Helper()
	if err := p.side.write(frame); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) next() wire.MCS {
	p.t.Helper()
	pdu, err := p.side.next()
	if err != nil {
		p.t.Fatalf("%v", err)
	}
	return pdu
}

func (p *peer) payload() []byte {
	p.t.Helper()
	b, err := p.side.nextPayload()
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

// share waits for a share PDU of a kind, passing over others.
func (p *peer) share(kind int) wire.Share {
	p.t.Helper()
	for {
		pdu := p.next()
		if s, _, err := wire.ParseShare(pdu.Data); err == nil && s.Kind == kind && isShare(pdu.Data) {
			return s
		}
	}
}

// data waits for a share data PDU of a kind.
func (p *peer) data(kind byte) wire.Data {
	p.t.Helper()
	for {
		if d, err := wire.ParseData(p.share(wire.ShareData).Body); err == nil && d.Kind == kind {
			return d
		}
	}
}

// farewell reads to the end and returns the error code that came before it.
func (p *peer) farewell() (code uint32, said bool) {
	p.t.Helper()
	for {
		pdu, err := p.side.next()
		if err != nil {
			p.t.Fatalf("the connection ended without an ultimatum: %v", err)
		}
		if pdu.Kind == wire.DisconnectUltimatum {
			return code, said
		}
		s, _, err := wire.ParseShare(pdu.Data)
		if err != nil || s.Kind != wire.ShareData {
			continue
		}
		if d, err := wire.ParseData(s.Body); err == nil && d.Kind == wire.DataErrorInfo {
			code, said = le.Uint32(d.Body), true
		}
	}
}

// clientWishes is what a client of these tests asks for.
type clientWishes struct {
	request  wire.ConnectionRequest
	channels []wire.Channel
	info     wire.ClientInfo
	nla      credssp.Credentials // what it logs in with where the gate asks for it
}

func usual() clientWishes {
	return clientWishes{
		request:  wire.ConnectionRequest{Negotiation: true, Protocols: wire.ProtocolSSL | wire.ProtocolHybrid},
		channels: []wire.Channel{{Name: "cliprdr"}, {Name: "rdpsnd"}},
		info:     wire.ClientInfo{User: "ideo", Password: "correct horse"},
	}
}

// enter is a client up to its login.
func (g *gate) enter(w clientWishes) *peer {
	g.t.Helper()
	return g.enterWith(Entry{}, w)
}

// enterWith is enter by an entry of the test's own.
func (g *gate) enterWith(e Entry, w clientWishes) *peer {
	g.t.Helper()
	p := &peer{t: g.t, side: newSide(g.serve(e))}
	p.send(w.request.Frame())
	frame, err := p.side.frames.Next()
	if err != nil {
		g.t.Fatal(err)
	}
	confirm, err := wire.ParseConnectionConfirm(frame.Body)
	want := uint32(wire.ProtocolSSL)
	if w.nla.User != "" {
		want = wire.ProtocolHybrid
	}
	if err != nil || confirm.Protocol != want || confirm.Failure != 0 {
		g.t.Fatalf("confirm %+v, %v, want protocol %d", confirm, err, want)
	}
	conn := tls.Client(p.side.raw, &tls.Config{InsecureSkipVerify: true})
	if err := conn.Handshake(); err != nil {
		g.t.Fatal(err)
	}
	if w.nla.User != "" {
		if err := credssp.Login(conn, conn.ConnectionState().PeerCertificates[0], w.nla); err != nil {
			p.nla = err
			return p
		}
	}
	p.side.secured(conn)
	core := make(wire.Core, 216)
	le.PutUint16(core[4:], 640)
	le.PutUint16(core[6:], 480)
	core.SetDepth24()
	core.SetEarly(wire.EarlyErrorInfo | wire.EarlyGraphics)
	p.send(wire.ConnectInitial(wire.ClientData{Core: core, Channels: w.channels}.Bytes(true)))
	data, err := wire.ParseConnectResponse(p.payload())
	if err != nil {
		g.t.Fatal(err)
	}
	if s, err := wire.ParseServerData(data); err != nil || s.Requested != w.request.Protocols || len(s.Channels) != len(w.channels) {
		g.t.Fatalf("server data %+v, %v", s, err)
	}
	p.send(wire.MCS{Kind: wire.ErectDomainRequest}.Frame())
	p.send(wire.MCS{Kind: wire.AttachUserRequest}.Frame())
	user := p.next().User
	for id := uint16(clientIO); id <= user; id++ {
		p.send(wire.MCS{Kind: wire.ChannelJoinRequest, User: user, Channel: id}.Frame())
		if c := p.next(); c.Kind != wire.ChannelJoinConfirm || c.Result != 0 {
			g.t.Fatalf("channel %d: %+v", id, c)
		}
	}
	p.tell(w.info.Bytes())
	return p
}

// tell sends on the I/O channel of the client's side.
func (p *peer) tell(data []byte) {
	p.t.Helper()
	p.send(wire.MCS{Kind: wire.SendDataRequest, User: 1006, Channel: clientIO, Data: data}.Frame())
}

// The numbers of the server these tests play: all of them others than the
// gate's.
const (
	playedIO    = 2000
	playedFirst = 2001
	playedUser  = 2100
	playedShare = 0x00050001
)

// played is what a server has learned of the gate.
type played struct {
	*peer
	client wire.ClientData
	info   wire.ClientInfo
}

// accept is a server up to the client's login.
func (g *gate) accept(cert tls.Certificate) *played {
	g.t.Helper()
	p := g.acceptRaw(wire.ConnectionConfirm{Negotiation: true, Flags: wire.ExtendedClientData, Protocol: wire.ProtocolSSL})
	conn := tls.Server(p.side.raw, &tls.Config{Certificates: []tls.Certificate{cert}})
	if err := conn.Handshake(); err != nil {
		g.t.Fatal(err)
	}
	p.side.secured(conn)
	return g.join(p)
}

// join is MCS and GCC of a server up to the client's login.
func (g *gate) join(p *peer) *played {
	g.t.Helper()
	s := &played{peer: p}
	data, err := wire.ParseConnectInitial(p.payload())
	if err != nil {
		g.t.Fatal(err)
	}
	if s.client, err = wire.ParseClientData(data); err != nil {
		g.t.Fatal(err)
	}
	answer := wire.ServerData{Version: serverVersion, Requested: p.asked, IO: playedIO}
	for i := range s.client.Channels {
		answer.Channels = append(answer.Channels, playedFirst+uint16(i))
	}
	p.send(wire.ConnectResponse(answer.Bytes()))
	for {
		switch pdu := p.next(); pdu.Kind {
		case wire.AttachUserRequest:
			p.send(wire.MCS{Kind: wire.AttachUserConfirm, User: playedUser}.Frame())
		case wire.ChannelJoinRequest:
			p.send(wire.MCS{Kind: wire.ChannelJoinConfirm, User: pdu.User, Channel: pdu.Channel}.Frame())
		case wire.SendDataRequest:
			_, rest, _ := wire.ParseSecurity(pdu.Data)
			if s.info, err = wire.ParseClientInfo(rest); err != nil || pdu.Channel != playedIO || pdu.User != playedUser {
				g.t.Fatalf("login %+v in %+v: %v", s.info, pdu, err)
			}
			return s
		}
	}
}

// acceptRaw answers the negotiation.
func (g *gate) acceptRaw(answer wire.ConnectionConfirm) *peer {
	g.t.Helper()
	conn, err := g.server.Accept()
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(waiting))
	p := &peer{t: g.t, side: newSide(conn)}
	frame, err := p.side.frames.Next()
	if err != nil {
		g.t.Fatal(err)
	}
	request, err := wire.ParseConnectionRequest(frame.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	p.asked = request.Protocols
	p.send(answer.Frame())
	return p
}

// say sends on the I/O channel of the server's side.
func (p *played) say(data []byte) {
	p.t.Helper()
	p.send(wire.MCS{Kind: wire.SendDataIndication, User: wire.ServerUser, Channel: playedIO, Data: data}.Frame())
}

// begin has both sides tell what they can do.
func (p *played) begin(c *peer) wire.Active {
	p.t.Helper()
	p.say(wire.ValidClient())
	demand := wire.Active{Share: playedShare, Source: []byte("RDP\x00"), Capabilities: ownCapabilities(640, 480, 24)}
	p.say(wire.Share{Kind: wire.DemandActive, Source: wire.ServerUser, Body: demand.Bytes()}.Bytes())
	c.share(wire.DemandActive)
	sets := append(ownCapabilities(640, 480, 24), wire.Capability{Kind: wire.CapSurface, Body: make([]byte, 8)},
		wire.Capability{Kind: wire.CapBitmapCache2, Body: make([]byte, 36)})
	for i := range sets {
		if sets[i].Kind == wire.CapOrder {
			for o := range 32 {
				sets[i].Body[orderSupport+o] = 1
			}
		}
	}
	c.tell(wire.Share{Kind: wire.ConfirmActive, Source: 1006, Body: wire.Active{Confirm: true, Share: playedShare, Capabilities: sets}.Bytes()}.Bytes())
	confirm, err := wire.ParseActive(p.share(wire.ConfirmActive).Body, true)
	if err != nil {
		p.t.Fatal(err)
	}
	return confirm
}

// draw sends a rectangle of one colour by the fast path.
func (p *played) draw(left, top, size int, colour uint32) []byte {
	p.t.Helper()
	frame := rectangle(left, top, size, colour)
	p.send(frame)
	return frame
}

// rectangle is a rectangle of one colour by the fast path.
func rectangle(left, top, size int, colour uint32) []byte {
	pix := make([]uint32, size*size)
	for i := range pix {
		pix[i] = colour
	}
	return fastFrame(wire.FastBitmap, codec.AppendBitmaps(nil, codec.Raw(left, top, size, size, pix, size, 24, maxBitmap)...))
}

func fastFrame(kind byte, update []byte) []byte {
	n := 3 + 3 + len(update)
	frame := []byte{0, 0x80 | byte(n>>8), byte(n), kind, byte(len(update)), byte(len(update) >> 8)}
	return append(frame, update...)
}

// recorded reads the recording of a session that has ended.
func (g *gate) recorded() (events []desktop.Event) {
	g.t.Helper()
	f, err := g.root.Open(desktop.Name)
	if err != nil {
		g.t.Fatal(err)
	}
	defer f.Close()
	_, all, err := desktop.Read(f)
	if err != nil {
		g.t.Fatal(err)
	}
	for e, err := range all {
		if err != nil && err != io.EOF {
			g.t.Fatal(err)
		}
		e.Data = append([]byte(nil), e.Data...)
		events = append(events, e)
	}
	return events
}

func serverTLS(conn net.Conn, cert tls.Certificate) *tls.Conn {
	return tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}})
}

// acceptQuietly is a server that only wants to be left alone.
func (g *gate) acceptQuietly(t testing.TB) {
	conn, err := g.server.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	s := newSide(conn)
	frame, err := s.frames.Next()
	if err != nil {
		return
	}
	request, _ := wire.ParseConnectionRequest(frame.Body)
	s.write(wire.ConnectionConfirm{Negotiation: true, Protocol: wire.ProtocolSSL}.Frame())
	s.secured(serverTLS(conn, rdptest.Certificate(t)))
	p, err := s.nextPayload()
	if err != nil {
		return
	}
	data, _ := wire.ParseConnectInitial(p)
	client, _ := wire.ParseClientData(data)
	answer := wire.ServerData{Version: serverVersion, Requested: request.Protocols, IO: playedIO, Channels: make([]uint16, len(client.Channels))}
	s.write(wire.ConnectResponse(answer.Bytes()))
	for {
		pdu, err := s.next()
		switch {
		case err != nil:
			return
		case pdu.Kind == wire.AttachUserRequest:
			s.write(wire.MCS{Kind: wire.AttachUserConfirm, User: playedUser}.Frame())
		case pdu.Kind == wire.ChannelJoinRequest:
			s.write(wire.MCS{Kind: wire.ChannelJoinConfirm, User: pdu.User, Channel: pdu.Channel}.Frame())
		}
	}
}

var recordingHeader = recording.Header{Width: 640, Height: 480}
