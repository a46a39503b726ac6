package rdpentry

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry/codec"
	"github.com/pawelmojski/inside/proxy/rdpentry/rdptest"
	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// inside is a session whose desktop has begun.
func inside(t *testing.T) (*gate, *peer, *played) {
	t.Helper()
	g := newGate(t)
	c := g.enter(usual())
	s := g.accept(rdptest.Certificate(t))
	s.begin(c)
	return g, c, s
}

func TestTheTwoSidesHaveNumbersAndSettingsOfTheirOwn(t *testing.T) {
	g := newGate(t)
	c := g.enter(usual())
	s := g.accept(rdptest.Certificate(t))
	if s.info.User != "ideo" || s.info.Password != "correct horse" {
		t.Errorf("the server is logged in to with %+v", s.info)
	}
	if early := s.client.Core.Early(); early&wire.EarlyGraphics != 0 || s.client.Core.Depth() != 24 {
		t.Errorf("the server is told early flags %#x, depth %d", early, s.client.Core.Depth())
	}
	if names := []string{s.client.Channels[0].Name, s.client.Channels[1].Name}; names[0] == "cliprdr" || names[1] != "rdpsnd" {
		t.Errorf("the server is asked for the channels %q", names)
	}
	confirm := s.begin(c)
	if confirm.Find(wire.CapSurface) != nil || confirm.Find(wire.CapBitmapCache2) != nil {
		t.Error("the server is told of graphics that cannot be recorded")
	}
	if o := confirm.Find(wire.CapOrder); !bytes.Equal(o[orderSupport:orderSupport+32], make([]byte, 32)) {
		t.Errorf("the server is told of drawing orders % x", o[orderSupport:orderSupport+32])
	}

	// What is said on a channel that is closed goes nowhere, either way; of
	// sound, nothing else than what sound is.
	confirmed, wave := []byte{5, 0, 4, 0, 1, 0, 1, 0}, []byte{13, 0, 4, 0, 1, 2, 3, 4}
	for _, ch := range []uint16{firstChannel, firstChannel + 1} {
		for _, msg := range [][]byte{{99, 0, 0, 0}, confirmed} {
			c.send(frames(wire.SendDataRequest, 1006, ch, msg, 0))
		}
	}
	if got := s.next(); got.Channel != playedFirst+1 || !bytes.Equal(got.Data[8:], confirmed) || got.User != playedUser {
		t.Errorf("the server heard %+v, want what was said about sound", got)
	}
	for _, ch := range []uint16{playedFirst, playedFirst + 1} {
		for _, msg := range [][]byte{{99, 0, 0, 0}, wave} {
			s.send(frames(wire.SendDataIndication, wire.ServerUser, ch, msg, 0))
		}
	}
	if got := c.next(); got.Channel != firstChannel+1 || !bytes.Equal(got.Data[8:], wave) {
		t.Errorf("the client heard %+v, want what was said about sound", got)
	}
	if g.admitted[0] != "ideo" || len(g.admitted) != 1 {
		t.Errorf("admitted %q", g.admitted)
	}
}

func TestWhatIsShownIsRecordedFirst(t *testing.T) {
	g, c, s := inside(t)
	drawn := s.draw(10, 20, 30, 0x123456)
	frame, err := c.side.frames.Next()
	if err != nil || !bytes.Equal(frame.Raw, drawn) {
		t.Fatalf("the client saw % x, %v", frame.Raw, err)
	}
	// Now it is on disk, also if the gate dies this moment.
	picture, err := screen.New(640, 480)
	if err != nil {
		t.Fatal(err)
	}
	_, events, err := desktop.Follow(t.Context(), g.root, desktop.Name, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range events {
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Apply(picture); err != nil {
			t.Fatal(err)
		}
		if e.Kind == desktop.Update {
			break
		}
	}
	if p := picture.Picture(); p.Pix[20*p.W+10] != 0x123456 || p.Pix[49*p.W+39] != 0x123456 || p.Pix[50*p.W+40] != 0 {
		t.Error("the recording does not show what was drawn")
	}
	// Neither keys nor the login are in it.
	c.send([]byte{1 << 2, 4, 0, 0x1e})
	if f, err := s.side.frames.Next(); err != nil || !f.Fast {
		t.Fatalf("the key did not arrive: %v", err)
	}
	c.send(wire.MCS{Kind: wire.DisconnectUltimatum, Reason: wire.UserRequested}.Frame())
	if err := g.end(); !errors.Is(err, policy.ClientLeft) {
		t.Errorf("the session ended with %v", err)
	}
	for _, e := range g.recorded() {
		if strings.Contains(string(e.Data), "horse") || strings.Contains(string(e.Data), "h\x00o\x00r\x00s\x00e") {
			t.Errorf("event %c holds the password", e.Kind)
		}
	}
	if g.used.Load() != 1 {
		t.Errorf("the house heard %d times that the session is used, want once", g.used.Load())
	}
}

func TestANoticeStandsOverTheDesktopAndGoesAway(t *testing.T) {
	tap := func() *desktopTap {
		s, err := screen.New(640, 480)
		if err != nil {
			t.Fatal(err)
		}
		g := newGate(t)
		w, err := g.RecordDesktop(recordingHeader)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.Close("") })
		return &desktopTap{writer: w, screen: s, depth: 24}
	}()
	client, err := screen.New(640, 480) // what the client shows
	if err != nil {
		t.Fatal(err)
	}
	show := func(bitmaps []codec.Bitmap) {
		for _, b := range bitmaps {
			if err := client.Draw(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill := func(colour uint32) {
		pix := make([]uint32, 640*480)
		for i := range pix {
			pix[i] = colour
		}
		for _, b := range codec.Raw(0, 0, 640, 480, pix, 640, 24, maxBitmap) {
			if err := tap.update(wire.FastBitmap, codec.AppendBitmaps(nil, b)); err != nil {
				t.Fatal(err)
			}
			show([]codec.Bitmap{b})
		}
		show(tap.overlay())
	}
	yellow := func() (n int) {
		for _, c := range client.Picture().Pix {
			if c == 0xffd75f {
				n++
			}
		}
		return n
	}
	fill(0x101010)
	if err := tap.setNotice("Inside: your stay ends in 5 minutes"); err != nil {
		t.Fatal(err)
	}
	show(tap.overlay())
	before := yellow()
	if before < 1000 {
		t.Fatalf("the notice has %d pixels", before)
	}
	if tap.overlay() != nil {
		t.Error("the notice is drawn again where nothing has changed")
	}
	fill(0x202020)
	if yellow() != before {
		t.Errorf("after the server drew, the notice has %d pixels of %d", yellow(), before)
	}
	if err := tap.setNotice(""); err != nil {
		t.Fatal(err)
	}
	show(tap.overlay())
	if !slices.Equal(client.Picture().Pix, tap.screen.Picture().Pix) {
		t.Error("what was under the notice is not restored")
	}
}

func TestTheEndIsToldInRDP(t *testing.T) {
	for cause, want := range map[policy.EndCause]uint32{
		policy.GrantExpired: wire.ErrorSessionLimit, policy.GrantRevoked: wire.ErrorAdminDisconnect,
		policy.AdminEnded: wire.ErrorAdminDisconnect, policy.Idle: wire.ErrorIdle,
	} {
		t.Run(string(cause), func(t *testing.T) {
			t.Parallel()
			g, c, s := inside(t)
			g.stop(cause)
			if code, said := c.farewell(); !said || code != want {
				t.Errorf("told code %d (%v), want %d", code, said, want)
			}
			if err := g.end(); !errors.Is(err, cause) {
				t.Errorf("ended with %v", err)
			}
			if _, err := s.side.frames.Next(); err == nil {
				t.Error("the server's connection is open")
			}
		})
	}
}

func TestAfterItsEndNothingIsRelayed(t *testing.T) {
	g, c, s := inside(t)
	g.over.Store(true) // the moment has come; nobody was told yet
	c.send([]byte{1 << 2, 4, 0, 0x1e})
	s.draw(0, 0, 8, 1)
	g.stop(policy.GrantExpired)
	c.farewell()
	if f, err := s.side.frames.Next(); err == nil {
		t.Errorf("the server heard % x after the end", f.Raw)
	}
}

func TestTheServerIsNotAskedAboutWhoIsDenied(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*gate, *clientWishes)
		want   policy.Denial
	}{
		"at accept":               {func(g *gate, _ *clientWishes) { g.deny(policy.NoGrant) }, policy.NoGrant},
		"by login":                {func(g *gate, _ *clientWishes) { g.decide = loginOnly(g, "admin") }, policy.WrongLogin},
		"by domain":               {func(g *gate, w *clientWishes) { g.decide = loginOnly(g, "ideo"); w.info.Domain = "LAB" }, policy.WrongLogin},
		"a login to be misread":   {func(_ *gate, w *clientWishes) { w.info.User = "ideo\u202e" }, policy.WrongLogin},
		"restricted admin":        {func(_ *gate, w *clientWishes) { w.request.Flags = wire.RestrictedAdmin }, policy.NotServed},
		"remote credential guard": {func(_ *gate, w *clientWishes) { w.request.Flags = wire.RemoteCredentialGuard }, policy.NotServed},
		"a smart card":            {func(_ *gate, w *clientWishes) { w.info.Flags = 0x40000 }, policy.NotServed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, w := newGate(t), usual()
			c.change(g, &w)
			p := g.enter(w)
			page := p.openPage()
			if page[messageColour] < 10_000 {
				t.Errorf("the message has %d pixels", page[messageColour])
			}
			p.send([]byte{1 << 2, 4, 0, 0x1c}) // Enter
			if code, said := p.farewell(); !said || code != wire.ErrorDenied {
				t.Errorf("told code %d (%v), want %d", code, said, wire.ErrorDenied)
			}
			p.side.close()
			g.refused(c.want)
			if g.dialled.Load() != 0 {
				t.Error("the server was dialled")
			}
		})
	}
}

const messageColour = pagePaper

func loginOnly(g *gate, name string) func(string) policy.Verdict {
	return func(login string) policy.Verdict {
		v := *g.verdict.Load()
		if login != name {
			v.Denial = policy.WrongLogin
		}
		return v
	}
}

// openPage is a client to the gate's own page; it returns the colours of it.
func (p *peer) openPage() map[uint32]int {
	p.t.Helper()
	demand, err := wire.ParseActive(p.share(wire.DemandActive).Body, false)
	if err != nil {
		p.t.Fatal(err)
	}
	width, height, _, _ := demand.Desktop()
	picture, err := screen.New(width, height)
	if err != nil {
		p.t.Fatal(err)
	}
	p.tell(wire.Share{Kind: wire.ConfirmActive, Body: wire.Active{Confirm: true, Share: demand.Share}.Bytes()}.Bytes())
	for _, step := range []struct {
		kind byte
		body []byte
	}{{wire.DataSynchronize, []byte{1, 0, 0xea, 3}}, {wire.DataControl, []byte{4, 0, 0, 0, 0, 0, 0, 0}}, {wire.DataControl, []byte{1, 0, 0, 0, 0, 0, 0, 0}}, {wire.DataFontList, make([]byte, 8)}} {
		p.tell(wire.NewData(demand.Share, 1006, step.kind, step.body).Bytes())
	}
	p.data(wire.DataFontMap)
	colours := map[uint32]int{}
	for colours[messageColour] < 10_000 {
		if err := picture.Update(p.data(wire.DataUpdate).Body); err != nil {
			p.t.Fatal(err)
		}
		clear(colours)
		for _, c := range picture.Picture().Pix {
			colours[c]++
		}
	}
	return colours
}

func TestTheServersKeyIsPinned(t *testing.T) {
	g := newGate(t)
	first := rdptest.Certificate(t)
	c := g.enter(usual())
	g.accept(first).begin(c)
	c.side.close()
	g.end()
	if len(g.pins) != 1 {
		t.Fatalf("%d keys pinned at first sight", len(g.pins))
	}
	g.root.RemoveAll(".")
	var err error
	if g.root, err = g.root.OpenRoot("."); err != nil {
		t.Fatal(err)
	}
	c = g.enter(usual())
	go func() {
		if conn, err := g.server.Accept(); err == nil {
			p := &peer{t: t, side: newSide(conn)}
			p.side.frames.Next()
			p.side.write(wire.ConnectionConfirm{Negotiation: true, Protocol: wire.ProtocolSSL}.Frame())
			p.side.secured(serverTLS(conn, rdptest.Certificate(t)))
			p.side.frames.Next()
			conn.Close()
		}
	}()
	c.openPage()
	c.side.close()
	if r := g.refused(policy.HostKeyChanged); !strings.Contains(r.Err.Error(), "SHA256:") {
		t.Errorf("refusal %v does not name the key", r.Err)
	}
	if len(g.admitted) != 1 {
		t.Errorf("admitted %q: the second must not be", g.admitted)
	}
}

func TestServersThatCannotBeCarriedAreRefusedWithAReason(t *testing.T) {
	for name, c := range map[string]struct {
		answer wire.ConnectionConfirm
		want   policy.Denial
		reason string
	}{
		"NLA that is offered":   {wire.ConnectionConfirm{Failure: wire.FailHybridRequired}, policy.ProtocolError, "code 5"},
		"no TLS":                {wire.ConnectionConfirm{Failure: wire.FailSSLNotAllowed}, policy.NotServed, "standard RDP security"},
		"no negotiation":        {wire.ConnectionConfirm{}, policy.NotServed, "standard RDP security"},
		"another protocol":      {wire.ConnectionConfirm{Negotiation: true, Protocol: wire.ProtocolHybridEx}, policy.ProtocolError, "0x8"},
		"standard RDP security": {wire.ConnectionConfirm{Negotiation: true, Protocol: wire.ProtocolRDP}, policy.NotServed, "standard RDP security"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			p := g.enter(usual())
			g.acceptRaw(c.answer)
			p.openPage()
			p.side.close()
			if r := g.refused(c.want); !strings.Contains(r.Err.Error(), c.reason) {
				t.Errorf("reason %v, want one about %s", r.Err, c.reason)
			}
			if len(g.admitted) != 0 {
				t.Error("somebody was admitted")
			}
		})
	}
}

func TestWhatCannotBeRecordedEndsTheSession(t *testing.T) {
	order := []byte{1, 0, 0x09}
	for name, send := range map[string]func(*played){
		"a drawing order": func(s *played) { s.send(fastFrame(wire.FastOrders, order)) },
		"a slow drawing order": func(s *played) {
			s.say(wire.NewData(playedShare, wire.ServerUser, wire.DataUpdate, []byte{0, 0, 0, 0, 1, 0, 0, 0, 9}).Bytes())
		},
		"a surface":      func(s *played) { s.send(fastFrame(wire.FastSurface, make([]byte, 20))) },
		"a bad bitmap":   func(s *played) { s.send(fastFrame(wire.FastBitmap, []byte{1, 0, 9, 0, 1, 2, 3})) },
		"bad MPPC":       func(s *played) { s.send([]byte{0, 9, 0x80 | wire.FastBitmap, 0x21, 3, 0, 0xff, 0xff, 0xff}) },
		"a redirection":  func(s *played) { s.say(wire.Share{Kind: wire.Redirection, Body: make([]byte, 20)}.Bytes()) },
		"a huge desktop": func(s *played) { s.say(wire.Share{Kind: wire.DemandActive, Body: hugeDemand()}.Bytes()) },
		"an endless update": func(s *played) {
			part := fastFrame(wire.First<<4|wire.FastBitmap, make([]byte, 16<<10))
			for range maxUpdate / (16 << 10) {
				s.send(part)
				part[3] = wire.Next<<4 | wire.FastBitmap
			}
			s.side.write(part)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, c, s := inside(t)
			go func() { // a client that only listens
				for {
					if _, err := c.side.frames.Next(); err != nil {
						c.side.close()
						return
					}
				}
			}()
			send(s)
			if err := g.end(); !errors.Is(err, policy.Failed) {
				t.Errorf("the session ended with %v", err)
			}
		})
	}
}

func hugeDemand() []byte {
	return wire.Active{Share: playedShare, Capabilities: ownCapabilities(65535, 65535, 24)}.Bytes()
}

func TestNoRecordingNoSession(t *testing.T) {
	g := newGate(t)
	g.closed.Store(true)
	c := g.enter(usual())
	go g.acceptQuietly(t)
	if err := g.end(); !errors.Is(err, policy.RecordingFailed) {
		t.Errorf("the session ended with %v", err)
	}
	c.side.close()
}

func TestAnotherLoginAtTheServersPromptIsNoticed(t *testing.T) {
	logon := func(user string) []byte {
		body := make([]byte, 576)
		for i, c := range []byte(user) {
			body[4+4+52+4+2*i] = c
		}
		return wire.NewData(playedShare, wire.ServerUser, wire.DataLogon, body).Bytes()
	}
	g := newGate(t)
	g.verdict.Load().Grant.Logins = []string{"ideo"}
	g.decide = loginOnly(g, "ideo")
	c := g.enter(usual())
	s := g.accept(rdptest.Certificate(t))
	s.begin(c)
	s.say(logon("ideo"))
	c.data(wire.DataLogon)
	s.say(logon("admin"))
	c.farewell()
	c.side.close()
	if err := g.end(); !errors.Is(err, policy.NoLongerAllowed) {
		t.Errorf("the session ended with %v", err)
	}
}

func TestStrangersAndTheSilentAreSentAway(t *testing.T) {
	for name, c := range map[string]struct {
		say    string
		want   policy.Denial
		reason string
	}{
		"silence":               {"", policy.ProtocolError, "grace"},
		"half a header":         {"\x03\x00", policy.ProtocolError, "grace"},
		"another protocol":      {"GET / HTTP/1.1\r\n\r\n", policy.ProtocolError, "not RDP"},
		"standard RDP security": {string(wire.ConnectionRequest{}.Frame()), policy.NotServed, "standard RDP security"},
		"CredSSP only":          {string(wire.ConnectionRequest{Negotiation: true, Protocols: wire.ProtocolHybrid}.Frame()), policy.NotServed, "TLS"},
		"RDSAAD only":           {string(wire.ConnectionRequest{Negotiation: true, Protocols: wire.ProtocolRDSAAD}.Frame()), policy.NotServed, "RDSAAD"},
		"RDSTLS only":           {string(wire.ConnectionRequest{Negotiation: true, Protocols: wire.ProtocolRDSTLS}.Frame()), policy.NotServed, "RDSTLS"},
		"NLA as an admin only":  {string(wire.ConnectionRequest{Negotiation: true, Flags: wire.RestrictedAdmin, Protocols: wire.ProtocolHybrid}.Frame()), policy.NotServed, "restricted admin"},
		"NLA guarded only":      {string(wire.ConnectionRequest{Negotiation: true, Flags: wire.RemoteCredentialGuard, Protocols: wire.ProtocolHybrid}.Frame()), policy.NotServed, "remote credential guard"},
		"TLS at once":           {string(wire.ConnectionRequest{Negotiation: true, Protocols: 1}.Frame()) + "\x16\x03\x01", policy.ProtocolError, "follows"},
		"no TLS after it":       {string(wire.ConnectionRequest{Negotiation: true, Protocols: 1}.Frame()), policy.ProtocolError, "grace"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			conn := g.serve(Entry{LoginGrace: 2 * time.Second})
			conn.Write([]byte(c.say))
			if r := g.refused(c.want); !strings.Contains(r.Err.Error(), c.reason) {
				t.Errorf("reason %q, want one about %q", r.Err, c.reason)
			}
			if g.dialled.Load() != 0 {
				t.Error("the server was dialled")
			}
		})
	}
}
