package rdpentry

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry/form"
	"github.com/pawelmojski/inside/proxy/rdpentry/rdptest"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// nobody is what a client asks for that sends no login.
func nobody() clientWishes {
	w := usual()
	w.info = wire.ClientInfo{}
	return w
}

// types sends keys by the fast path, each going down and up.
func (p *peer) types(codes ...byte) {
	p.t.Helper()
	for _, c := range codes {
		p.send([]byte{2 << 2, 6, 0, c, 1, c})
	}
}

// writes sends characters: by the fast path, or by the slow one.
func (p *peer) writes(text string, slow bool) {
	p.t.Helper()
	for _, c := range text {
		if slow {
			event := []byte{1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, byte(c), byte(c >> 8), 0, 0}
			p.tell(wire.NewData(pageShare, 1006, wire.DataInput, event).Bytes())
		} else {
			p.send([]byte{1 << 2, 5, 0x80, byte(c), byte(c >> 8)})
		}
	}
}

const enter, tab, escape = 0x1c, 0x0f, 0x01

// restricted is a gate whose grant holds for one login.
func restricted(t *testing.T) *gate {
	g := newGate(t)
	g.verdict.Load().Grant.Logins = []string{"ideo"}
	g.decide = loginOnly(g, "ideo")
	return g
}

func TestWhoSentNoLoginIsAskedAndGoesOnWithTheServersDesktop(t *testing.T) {
	g := restricted(t)
	c := g.enter(nobody())
	c.openPage()
	if g.dialled.Load() != 0 {
		t.Error("the server is asked before anybody said who they are")
	}
	c.writes("ideo", false)
	c.types(tab, tab)
	c.writes("zażółć", true)
	c.types(enter)
	// What is typed now is meant for nobody.
	c.types(0x1e)
	c.writes("late", true)
	s := g.accept(rdptest.Certificate(t))
	if s.info.User != "ideo" || s.info.Password != "zażółć" || !s.info.Autologon() {
		t.Errorf("the server is logged in to with %q, %q", s.info.User, s.info.Password)
	}
	s.say(wire.ValidClient())
	s.say(demand(640, 480, 24))
	c.share(wire.DeactivateAll)
	d, err := wire.ParseActive(c.share(wire.DemandActive).Body, false)
	if err != nil || d.Share != playedShare {
		t.Fatalf("demand %+v, %v", d, err)
	}
	c.writes("later", true)
	c.tell(wire.Share{Kind: wire.ConfirmActive, Source: 1006, Body: wire.Active{Confirm: true, Share: playedShare}.Bytes()}.Bytes())
	if got, _, err := wire.ParseShare(s.next().Data); err != nil || got.Kind != wire.ConfirmActive {
		t.Errorf("the first thing the server hears is %+v (%v)", got, err)
	}
	key := []byte{1 << 2, 4, 0, 0x1e}
	c.send(key)
	if f, err := s.side.frames.Next(); err != nil || string(f.Raw) != string(key) {
		t.Errorf("the server heard % x (%v), want the key", f.Raw, err)
	}
	drawn := s.draw(0, 0, 8, 0x123456)
	for {
		if f, err := c.side.frames.Next(); err != nil {
			t.Fatal(err)
		} else if f.Fast {
			if string(f.Raw) != string(drawn) {
				t.Errorf("the client sees % x", f.Raw)
			}
			break
		}
	}
	if len(g.admitted) != 1 || g.admitted[0] != "ideo" {
		t.Errorf("admitted %q", g.admitted)
	}
	c.send(wire.MCS{Kind: wire.DisconnectUltimatum, Reason: wire.UserRequested}.Frame())
	g.end()
	if e := g.events[0]; e.Kind != "login" || !strings.Contains(e.Detail, "sign-in form") {
		t.Errorf("the event log says %+v", e)
	}
	for _, e := range g.recorded() {
		if strings.Contains(string(e.Data), "zażółć") {
			t.Errorf("event %c holds the password", e.Kind)
		}
	}
}

// dismiss is a client that presses Enter at all it sees, until it is hung up on.
func (p *peer) dismiss() {
	go func() {
		for {
			if _, err := p.side.frames.Next(); err != nil {
				p.side.close()
				return
			}
			p.side.write([]byte{1 << 2, 4, 0, enter})
		}
	}()
}

// signIn is a client that fills in the form.
func (p *peer) signIn(user, password string) {
	p.t.Helper()
	p.writes(user, false)
	p.types(tab, tab)
	p.writes(password, false)
	p.types(enter)
}

func TestLoginsOutsideTheGrantCanBeTriedThreeTimes(t *testing.T) {
	g := restricted(t)
	c := g.enter(nobody())
	c.openPage()
	c.signIn("admin", "x")
	for range maxTries - 1 { // the form is back, at the password
		c.types(tab, tab)
		c.writes("n", false)
		c.types(tab, tab)
		c.writes("x", false)
		c.types(enter)
	}
	c.types(enter) // the message is read
	c.drain()
	r := g.refused(policy.WrongLogin)
	if r.Login != "adminnn" || !strings.Contains(r.Err.Error(), "3 logins were tried") {
		t.Errorf("refusal as %q: %v", r.Login, r.Err)
	}
	if g.dialled.Load() != 0 || len(g.admitted) != 0 {
		t.Error("the server was asked about somebody who is denied")
	}
}

func TestALoginThatWasRefusedBeforeIsNoted(t *testing.T) {
	g := restricted(t)
	c := g.enter(nobody())
	c.openPage()
	c.signIn("admin", "x")
	c.types(tab, tab)
	for range "admin" {
		c.types(0x0e)
	}
	c.signIn("ideo", "right")
	g.accept(rdptest.Certificate(t)).begin(c)
	c.side.close()
	g.end()
	if e := g.events[0]; e.Kind != "login-refused" || !strings.Contains(e.Detail, "admin") || e.Time.IsZero() {
		t.Errorf("the event log begins with %+v", e)
	}
	if e := g.events[1]; e.Kind != "login" {
		t.Errorf("the event log goes on with %+v", e)
	}
}

func TestAServerThatInsistsOnNLAIsNotKeptWaiting(t *testing.T) {
	g := newGate(t)
	w := usual()
	w.info.Password = ""
	c := g.enter(w)
	s := g.acceptRaw(wire.ConnectionConfirm{Failure: wire.FailHybridRequired})
	if s.asked != wire.ProtocolSSL {
		t.Errorf("the server is asked for protocols %#x without a password", s.asked)
	}
	c.openPage()
	if _, err := s.side.frames.Next(); err != io.EOF {
		t.Errorf("while the form is shown, the server's connection reads %v, want its end", err)
	}
	c.types(escape)
	if code, said := c.farewell(); !said || code != wire.ErrorDenied {
		t.Errorf("told code %d (%v), want %d", code, said, wire.ErrorDenied)
	}
	c.side.close()
	if r := g.refused(policy.NotAuthenticated); !errors.Is(r, errGivenUp) || r.Login != "ideo" {
		t.Errorf("refusal as %q: %v", r.Login, r.Err)
	}
}

func TestTheFormDoesNotStandForEver(t *testing.T) {
	g := restricted(t)
	c := g.enterWith(Entry{LoginGrace: 2 * time.Second}, nobody())
	c.openPage()
	c.types(0x1e, 0x1e)
	c.farewell()
	c.side.close()
	if r := g.refused(policy.NotAuthenticated); !errors.Is(r, errDawdled) {
		t.Errorf("ended with %v", r)
	}
}

func TestWhoLeavesTheFormOrBreaksItIsWrittenDown(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(*peer)
		want policy.Denial
	}{
		"hangs up":            {func(p *peer) { p.side.close() }, policy.NotAuthenticated},
		"says so":             {func(p *peer) { p.send(wire.MCS{Kind: wire.DisconnectUltimatum}.Frame()) }, policy.NotAuthenticated},
		"closes the window":   {func(p *peer) { p.tell(wire.NewData(pageShare, 1006, wire.DataShutdown, nil).Bytes()) }, policy.NotAuthenticated},
		"an event of no kind": {func(p *peer) { p.send([]byte{1 << 2, 3, 0xe0}) }, policy.ProtocolError},
		"half an event":       {func(p *peer) { p.send([]byte{1 << 2, 4, 0x80, 1}) }, policy.ProtocolError},
		"encrypted input":     {func(p *peer) { p.send([]byte{0x80 | 1<<2, 4, 0, 1}) }, policy.ProtocolError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := restricted(t)
			p := g.enter(nobody())
			p.openPage()
			c.do(p)
			p.dismiss()
			g.refused(c.want)
		})
	}
}

// A client that types like a machine is drawn for at the pace of a person.
func TestTypingFastIsDrawnSeldom(t *testing.T) {
	g := restricted(t)
	c := g.enter(nobody())
	c.openPage()
	began := time.Now()
	drawn := make(chan int)
	go func() {
		n := 0
		for {
			if frame, err := c.side.frames.Next(); err != nil {
				drawn <- n
				return
			} else if len(frame.Raw) > 100 {
				n++
			}
		}
	}()
	burst := []byte{}
	for range 127 { // an x that comes, and goes
		burst = append(burst, 0x80, 'x', 0, 0, 0x0e)
	}
	burst = append([]byte{0, 0x80 | byte((len(burst)+4)>>8), byte(len(burst) + 4), 254}, burst...)
	for range 40 { // ten thousand events
		c.send(burst)
	}
	c.types(escape)
	c.side.raw.SetDeadline(time.Now().Add(waiting))
	g.refused(policy.NotAuthenticated)
	took := time.Since(began)
	if n := <-drawn; float64(n) > 4*(float64(took)/float64(drawEvery)+2) {
		t.Errorf("%d updates were drawn in %s", n, took)
	}
}

// request is a server's license request, as far as anybody looks.
var request = []byte{wire.SecLicense, 0, 0, 0, 1, 3, 8, 0, 0, 0, 0, 0}

func TestAServerThatAsksForALicenseAfterTheFormIsTold(t *testing.T) {
	g := restricted(t)
	c := g.enter(nobody())
	c.openPage()
	c.signIn("ideo", "x")
	s := g.accept(rdptest.Certificate(t))
	s.say(request)
	if got := s.next(); string(got.Data) != string(wire.NoLicense()) {
		t.Errorf("the server hears % x", got.Data)
	}
	s.begin(c) // it does not mind
}

func TestAServerThatInsistsOnALicenseAfterTheFormCannotBeEntered(t *testing.T) {
	for name, then := range map[string]func(*played){
		"it hangs up":   func(s *played) { s.side.close() },
		"it says so":    func(s *played) { s.send(wire.MCS{Kind: wire.DisconnectUltimatum}.Frame()) },
		"it asks again": func(s *played) { s.say(request) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := restricted(t)
			c := g.enter(nobody())
			c.openPage()
			c.signIn("ideo", "x")
			s := g.accept(rdptest.Certificate(t))
			c.dismiss()
			s.say(request)
			s.next()
			then(s)
			if err := g.end(); !errors.Is(err, policy.Failed) {
				t.Errorf("the session ended with %v", err)
			}
			g.says("license")
		})
	}
}

// A client that asks for the page without end is not drawn for without end.
func TestAskingForThePageIsAnsweredSeldom(t *testing.T) {
	g := restricted(t)
	c := g.enter(nobody())
	c.openPage()
	took := make(chan int64)
	go func() {
		n, _ := io.Copy(io.Discard, c.side.conn)
		took <- n
	}()
	began := time.Now()
	for range 4 {
		c.tell(wire.NewData(pageShare, 1006, wire.DataRefresh, make([]byte, 12)).Bytes())
	}
	c.types(escape)
	g.refused(policy.NotAuthenticated)
	if lasted, n := time.Since(began), <-took; lasted < 3*againEvery || n < 1<<19 {
		t.Errorf("four pages came as %d bytes within %s", n, lasted)
	}
}

// Whatever a client sends while the form is shown, it is read to its end and
// nothing comes of it but what was typed.
func FuzzSignIn(f *testing.F) {
	f.Add([]byte{1 << 2, 4, 0, 0x1e, 2 << 2, 6, 0, 0x0f, 1, 0x0f})
	f.Add([]byte{1 << 2, 5, 0x80, 'x', 0})
	f.Add(wire.MCS{Kind: wire.SendDataRequest, User: 1006, Channel: clientIO,
		Data: wire.NewData(pageShare, 1006, wire.DataInput, []byte{1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0x40, 0x1e, 0, 0, 0}).Bytes()}.Frame())
	f.Add(wire.MCS{Kind: wire.DisconnectUltimatum}.Frame())
	flow := fuzzedFlow(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		fl := flow(t)
		fl.client.frames = wire.NewReader(bytes.NewReader(b))
		p := &page{f: fl, width: 640, height: 480, depth: 24}
		s := signIn{f: fl, page: p, form: form.New(640, 480, "desk", "", "", 0x409)}
		for {
			p.shownAgain = time.Time{}
			inputs, err := p.input()
			if err != nil {
				break
			}
			for _, in := range inputs {
				s.step(in)
			}
		}
	})
}

// xfreerdp 2.11 takes the size of pieces from the first desktop it is shown,
// where later ones say nothing of it, and sends pieces of that size until all
// is sent: of none, for ever.
func TestTheGatesOwnDesktopSaysHowLargePiecesAre(t *testing.T) {
	own := wire.Active{Capabilities: ownCapabilities(800, 600, 24)}
	if body := own.Find(wire.CapChannel); len(body) < 8 || le.Uint32(body[4:]) < 1600 {
		t.Errorf("the capability set of channels is % x", body)
	}
}
