package rdpentry

import (
	"bytes"
	"slices"
	"testing"

	"github.com/pawelmojski/inside/proxy/rdpentry/channels"
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
	s := g.accept(certificate(g.t))
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
		msg, ok, err := a.Add(pdu.Data)
		if err != nil {
			p.t.Fatal(err)
		}
		if ok {
			return bytes.Clone(msg)
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
	var denied []string
	for _, e := range g.events {
		if e.Kind == "denied" {
			denied = append(denied, e.Detail)
		}
	}
	if len(denied) != 5 || !slices.Contains(denied, "dynamic channel URBDRC") {
		t.Errorf("written down: %q", denied)
	}
}
