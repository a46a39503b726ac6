package rdpentry

import (
	"fmt"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry/channels"
	"github.com/pawelmojski/inside/proxy/rdpentry/gfx"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording"
)

// A channel is a static virtual channel (MS-RDPBCGR 1.3.3) on both sides.
type channel struct {
	wire.Channel
	open           bool // data passes
	client, server uint16
	filter         channels.Filter // nil lets everything pass as it is
	up, down       *channels.Assembler
}

// sound is audio output (MS-RDPEA).
const sound = "rdpsnd"

// channelsFor decides about the channels a client asks for. A channel that
// must not be used cannot be left out, since clients count on as many as they
// asked for and die of one that is zero. So the server is asked for one of
// another name, which stands for nothing, and what is sent on it goes nowhere.
func (f *flow) channelsFor(asked []wire.Channel) []*channel {
	all := make([]*channel, len(asked))
	for i, ch := range asked {
		c := &channel{Channel: ch, client: firstChannel + uint16(i)}
		switch ch.Name {
		case sound:
			c.open = true
		case channels.DynamicName:
			c.filtered(channels.NewDynamic(f.dynamic), channels.MaxDynamicPDU)
		}
		all[i] = c
	}
	return all
}

// filtered opens a channel whose messages a filter decides about.
func (c *channel) filtered(by channels.Filter, limit int) {
	c.open, c.filter = true, by
	c.up, c.down = channels.NewAssembler(limit), channels.NewAssembler(limit)
	// Compression is a matter of each channel, too (MS-RDPBCGR 2.2.1.3.4.1).
	c.Options &^= channels.OptionCompress
}

// The dynamic channels that need no permission (see the documents named).
const (
	displayControl = "Microsoft::Windows::RDS::DisplayControl" // MS-RDPEDISP: another size of the desktop
	touchInput     = "Microsoft::Windows::RDS::Input"          // MS-RDPEI: fingers and pens
	echo           = "ECHO"                                    // MS-RDPEECO: how long the way is
)

// dynamic decides about a dynamic channel the server wants to open.
func (f *flow) dynamic(name string) channels.Way {
	switch name {
	case displayControl, touchInput, echo:
		return channels.Way{Open: true}
	}
	if name == gfx.Channel && f.native {
		f.drawing = &pipeline{flow: f}
		return channels.Way{Open: true, Tap: f.drawing}
	}
	f.noteDenied("dynamic channel " + plainLine(name, maxName))
	return channels.Way{}
}

// askedOfServer are the channels in the words of the server's side.
func (f *flow) askedOfServer() []wire.Channel {
	asked := make([]wire.Channel, len(f.channels))
	for i, ch := range f.channels {
		asked[i] = ch.Channel
		if !ch.open {
			asked[i].Name = fmt.Sprintf("none%d", i)
		}
	}
	return asked
}

// byClient and byServer find a channel that data passes on.
func (f *flow) byClient(id uint16) *channel {
	for _, ch := range f.channels {
		if ch.client == id && ch.open && ch.server != 0 {
			return ch
		}
	}
	return nil
}

func (f *flow) byServer(id uint16) *channel {
	for _, ch := range f.channels {
		if ch.server == id && ch.open && id != 0 {
			return ch
		}
	}
	return nil
}

// upChannel carries what the client sends on a channel, downChannel what the
// server does.
func (f *flow) upChannel(ch *channel, data []byte) error {
	if ch.filter == nil {
		return f.sent(f.toServer(ch.server, data))
	}
	msg, whole, err := ch.up.Add(data)
	if err != nil || !whole {
		return err
	}
	out, err := ch.filter.Up(msg)
	if err != nil {
		return err
	}
	return f.pour(ch, out)
}

func (f *flow) downChannel(ch *channel, data []byte) error {
	if ch.filter == nil {
		return f.showOn(ch.client, data)
	}
	msg, whole, err := ch.down.Add(data)
	if err != nil || !whole {
		return err
	}
	out, err := ch.filter.Down(msg)
	if err != nil {
		return err
	}
	return f.pour(ch, out)
}

// pour sends what a filter says. Both directions may do so at the same time,
// so that a message is one write: its chunks stay together.
func (f *flow) pour(ch *channel, out channels.Out) error {
	for _, msg := range out.Client {
		if err := f.show(frames(wire.SendDataIndication, wire.ServerUser, ch.client, msg, ch.Options)); err != nil {
			return err
		}
	}
	for _, msg := range out.Server {
		if f.isOver() {
			return nil
		}
		if err := f.sent(f.server.write(frames(wire.SendDataRequest, f.us, ch.server, msg, ch.Options))); err != nil {
			return err
		}
	}
	return nil
}

// frames are the chunks of a message, each in a frame of its own.
func frames(kind int, user, channel uint16, msg []byte, options uint32) []byte {
	var b []byte
	for _, chunk := range channels.Chunks(msg, options) {
		b = append(b, wire.MCS{Kind: kind, User: user, Channel: channel, Data: chunk}.Frame()...)
	}
	return b
}

// maxDenials is how many things of a session that did not pass are written
// down.
const maxDenials = 100

// noteDenied writes down what did not pass.
func (f *flow) noteDenied(what string) {
	n := f.denials.Add(1)
	if n == maxDenials {
		what += "; what else is denied is not written down"
	}
	if n <= maxDenials {
		f.note(recording.Event{Kind: "denied", Detail: what})
	}
}

// note writes an event down, or ends the session.
func (f *flow) note(e recording.Event) {
	if err := f.visit.Note(e); err != nil {
		f.log.Error("event not written down", "error", err)
		f.end(policy.RecordingFailed)
	}
}
