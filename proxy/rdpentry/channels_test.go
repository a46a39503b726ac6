package rdpentry

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry/channels"
	"github.com/pawelmojski/inside/proxy/rdpentry/rdptest"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// withChannels is a session whose client has asked for these channels, and
// whose desktop has begun.
func (g *gate) withChannels(names ...string) (*peer, *played) {
	g.t.Helper()
	w := usual()
	w.channels = nil
	for _, name := range names {
		w.channels = append(w.channels, wire.Channel{Name: name, Options: channels.OptionShow | channels.OptionCompress})
	}
	c := g.enter(w)
	s := g.accept(rdptest.Certificate(g.t))
	s.begin(c)
	return c, s
}

// on sends a message on the first channel of the client's side, or of the
// server's.
func (p *peer) on(msg []byte) {
	p.t.Helper()
	p.send(frames(wire.SendDataRequest, 1006, firstChannel, msg, 0))
}

func (p *played) on(msg []byte) {
	p.t.Helper()
	p.send(frames(wire.SendDataIndication, wire.ServerUser, playedFirst, msg, 0))
}

// hears waits for a message on a channel.
func (p *peer) hears(channel uint16) []byte {
	p.t.Helper()
	a := channels.NewAssembler(1 << 20)
	for {
		pdu := p.next()
		if pdu.Channel != channel {
			continue
		}
		got, err := a.Add(pdu.Data)
		if err != nil {
			p.t.Fatal(err)
		}
		if got.Complete {
			return bytes.Clone(got.Message)
		}
	}
}

func TestTheClientNeverHearsOfADynamicChannelThatIsNotPermitted(t *testing.T) {
	g := newGate(t)
	c, s := g.withChannels("drdynvc")
	if asked := s.client.Channels[0]; asked.Name != "drdynvc" || asked.Options&channels.OptionCompress != 0 {
		t.Errorf("the server is asked for %+v", asked)
	}
	s.on([]byte{0x50, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	if v := c.hears(firstChannel); v[2] != 2 {
		t.Errorf("the client is offered version %d", v[2])
	}
	c.on([]byte{0x50, 0, 2, 0})
	s.hears(playedFirst)
	for _, name := range []string{"URBDRC", "RDCamera_Device_Enumerator", "AUDIO_INPUT", "Microsoft::Windows::RDS::Graphics", "Microsoft::Windows::RDS::Video::Control::v08.01"} {
		s.on(append([]byte{0x10, 5}, name+"\x00"...))
		if r := s.hears(playedFirst); !bytes.Equal(r, []byte{0x10, 5, 0x25, 2, 0, 0xc0}) {
			t.Errorf("%s is answered with % x", name, r)
		}
	}
	s.on(append([]byte{0x10, 6}, "Microsoft::Windows::RDS::DisplayControl\x00"...))
	if r := c.hears(firstChannel); r[1] != 6 || !bytes.Contains(r, []byte("DisplayControl")) {
		t.Errorf("the client hears % x", r)
	}
	denied := g.kinds("denied")
	if len(denied) != 5 || !slices.Contains(denied, "dynamic channel URBDRC") {
		t.Errorf("written down: %q", denied)
	}
}

// allow gives the grant permissions.
func (g *gate) allow(r policy.Redirection) {
	v := *g.verdict.Load()
	grant := *v.Grant
	grant.Redirection = r
	v.Grant = &grant
	g.verdict.Store(&v)
}

// kinds are the events of a kind that were written down.
func (g *gate) kinds(kind string) (details []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.events {
		if e.Kind == kind {
			details = append(details, e.Detail)
		}
	}
	return details
}

var redirected = []string{"cliprdr", "rdpdr", "rail", "remdesk"}

func TestStaticChannelsAreOpenedByPermission(t *testing.T) {
	for permitted, want := range map[policy.Redirection]string{
		0:                               "none0 none1 none2 none3",
		policy.Clipboard:                "cliprdr none1 none2 none3",
		policy.Printer:                  "none0 rdpdr none2 none3",
		policy.USB | policy.AudioInput:  "none0 none1 none2 none3",
		policy.Clipboard | policy.Drive: "cliprdr rdpdr none2 none3",
		policy.AllRedirections:          "cliprdr rdpdr none2 none3",
	} {
		t.Run(permitted.String(), func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			g.allow(permitted)
			_, s := g.withChannels(redirected...)
			var names []string
			for _, ch := range s.client.Channels {
				names = append(names, ch.Name)
			}
			if got := strings.Join(names, " "); got != want {
				t.Errorf("the server is asked for %s, want %s", got, want)
			}
		})
	}
}

// A session that moves to another grant keeps nothing that the other does not
// permit.
func TestWhatAnotherGrantDoesNotPermitIsClosed(t *testing.T) {
	g := newGate(t)
	g.allow(policy.Clipboard | policy.USB)
	c, s := g.withChannels("cliprdr", "drdynvc")
	dynamic := func(msg []byte) { s.send(frames(wire.SendDataIndication, wire.ServerUser, playedFirst+1, msg, 0)) }
	dynamic(append([]byte{0x10, 5}, "URBDRC\x00"...))
	c.hears(firstChannel + 1)
	c.send(frames(wire.SendDataRequest, 1006, firstChannel+1, []byte{0x10, 5, 0, 0, 0, 0}, 0))
	s.hears(playedFirst + 1)
	ready := []byte{1, 0, 0, 0, 0, 0, 0, 0}
	s.on(ready)
	c.hears(firstChannel)

	g.allow(policy.Drive)
	s.on(ready)
	dynamic([]byte{0x30, 5, 1, 2, 3})
	for _, side := range []*peer{c, s.peer} { // the first they hear: nothing of the clipboard
		channel := uint16(firstChannel + 1)
		if side == s.peer {
			channel = playedFirst + 1
		}
		if pdu := side.next(); pdu.Channel != channel || !bytes.Equal(pdu.Data[8:], []byte{0x40, 5}) {
			t.Errorf("heard %+v", pdu)
		}
	}
	g.allow(policy.AllRedirections) // what is closed stays closed
	s.on(ready)
	s.draw(0, 0, 8, 1)
	if frame, err := c.side.frames.Next(); err != nil || !frame.Fast {
		t.Errorf("the clipboard is open again: %v", err)
	}
	if denied := g.kinds("denied"); len(denied) != 1 || denied[0] != "channel cliprdr, from now on" {
		t.Errorf("written down: %q", denied)
	}
}

// What a session opened by one permission never did, it cannot do by another.
func TestTheLoginsGrantDecidesWhatIsOpen(t *testing.T) {
	g := newGate(t)
	g.allow(policy.AllRedirections)
	g.decide = func(string) policy.Verdict {
		v := *g.verdict.Load()
		v.Grant = &policy.Grant{ID: "2"}
		return v
	}
	_, s := g.withChannels("cliprdr")
	if name := s.client.Channels[0].Name; name != "none0" {
		t.Errorf("the server is asked for %s", name)
	}
}

func TestALongMessagePassesInOrderBesideOthers(t *testing.T) {
	g := newGate(t)
	g.allow(policy.Clipboard)
	c, s := g.withChannels("cliprdr")
	picture := make([]byte, 300_000)
	for i := range picture {
		picture[i] = byte(i)
	}
	c.on(append([]byte{2, 0, 0, 0, 36, 0, 0, 0, 8, 0, 0, 0}, make([]byte, 32)...))
	s.hears(playedFirst)
	s.on([]byte{4, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0})
	c.hears(firstChannel)
	c.on(append([]byte{5, 0, 1, 0, 0xe0, 0x93, 4, 0}, picture...))
	s.on([]byte{1, 0, 0, 0, 0, 0, 0, 0})
	if got := s.hears(playedFirst); !bytes.Equal(got[8:], picture) {
		t.Errorf("%d bytes arrive", len(got))
	}
	c.hears(firstChannel)
	if noted := g.kinds("clipboard"); len(noted) != 1 || noted[0] != "picture" {
		t.Errorf("written down: %q", noted)
	}
}

// What goes over rdpdr, by the bytes (MS-RDPEFS): the client offers a drive
// and a printer, the grant opens printers.
func TestADriveIsUsedOnlyWhereTheGrantSaysSo(t *testing.T) {
	device := func(kind, id byte, name string) []byte {
		b := append([]byte{kind, 0, 0, 0, id, 0, 0, 0}, name...)
		return append(append(b, make([]byte, 8-len(name))...), 0, 0, 0, 0)
	}
	drive, printer := device(8, 1, "home"), device(4, 2, "PRN1")
	list := func(n byte, devices ...[]byte) []byte {
		return append([]byte{0x72, 0x44, 0x41, 0x44, n, 0, 0, 0}, bytes.Join(devices, nil)...)
	}
	// The server wants to open a file of the drive.
	open := append([]byte{0x72, 0x44, 0x52, 0x49, 1, 0, 0, 0}, make([]byte, 44)...)
	open = append(open, 6, 0, 0, 0, '\\', 0, 'x', 0, 0, 0)

	g := newGate(t)
	g.allow(policy.Printer)
	c, s := g.withChannels("rdpdr")
	c.on(list(2, drive, printer))
	if got := s.hears(playedFirst); !bytes.Equal(got, list(1, printer)) {
		t.Errorf("the server hears of % x", got)
	}
	s.on(open)
	if got := s.hears(playedFirst); !bytes.Equal(got[:16], []byte{0x72, 0x44, 0x43, 0x49, 1, 0, 0, 0, 0, 0, 0, 0, 0x0e, 0, 0, 0xc0}) {
		t.Errorf("the server is answered % x", got)
	}
	logged := []byte{0x72, 0x44, 0x4c, 0x55} // the next the client hears
	s.on(logged)
	if got := c.hears(firstChannel); !bytes.Equal(got, logged) {
		t.Errorf("the client hears % x", got)
	}
	if denied, passed := g.kinds("denied"), g.kinds("device"); len(denied) != 1 || denied[0] != "drive home" || len(passed) != 1 || passed[0] != "printer PRN1" {
		t.Errorf("written down: %q and %q", denied, passed)
	}

	g = newGate(t)
	g.allow(policy.Drive)
	c, s = g.withChannels("rdpdr")
	c.on(list(2, drive, printer))
	if got := s.hears(playedFirst); !bytes.Equal(got, list(1, drive)) {
		t.Errorf("the server hears of % x", got)
	}
	s.on(open)
	if got := c.hears(firstChannel); !bytes.Equal(got, open) {
		t.Errorf("the client hears % x", got)
	}
	opened := []byte{0x72, 0x44, 0x43, 0x49, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1}
	c.on(opened)
	if got := s.hears(playedFirst); !bytes.Equal(got, opened) {
		t.Errorf("the server hears % x", got)
	}
	read := append([]byte{0x72, 0x44, 0x52, 0x49, 1, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0}, make([]byte, 28)...)
	s.on(read)
	c.hears(firstChannel)
	c.on(append([]byte{0x72, 0x44, 0x43, 0x49, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0}, "hello"...))
	s.hears(playedFirst)
	c.side.close()
	g.end() // which the file is still open at
	g.mu.Lock()
	defer g.mu.Unlock()
	if e := g.events[len(g.events)-1]; e.Kind != "file" || e.Op != "upload" || e.Path != `home:\x` || e.In != 5 {
		t.Errorf("written down: %+v", e)
	}
}

// A server that wants to go on by UDP (MS-RDPBCGR 2.2.15.1) is not heard.
func TestTheClientNeverHearsOfUDP(t *testing.T) {
	_, c, s := inside(t)
	request := append([]byte{2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0}, make([]byte, 16)...) // SEC_TRANSPORT_REQ, by reliable UDP
	for _, channel := range []uint16{playedFirst + 2, playedFirst + 50, wire.ServerUser, playedUser} {
		s.send(wire.MCS{Kind: wire.SendDataIndication, User: wire.ServerUser, Channel: channel, Data: request}.Frame())
	}
	s.draw(0, 0, 8, 1)
	if frame, err := c.side.frames.Next(); err != nil || !frame.Fast {
		t.Errorf("the client heard %x, %v", frame.Raw, err)
	}
}
