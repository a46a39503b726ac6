package rdpentry

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry/channels"
	"github.com/pawelmojski/inside/proxy/rdpentry/gfx"
	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording"
)

// A channel is a static virtual channel (MS-RDPBCGR 1.3.3) on both sides.
type channel struct {
	wire.Channel
	client, server uint16
	needs          policy.Redirection // any of these; 0: no permission
	filter         channels.Filter    // nil: nothing passes
	up, down       *channels.Assembler
	lost           atomic.Bool // the permission has gone, for good
}

// channelsFor gives the channels a client asks for their numbers on its side.
func channelsFor(asked []wire.Channel) []*channel {
	all := make([]*channel, len(asked))
	for i, ch := range asked {
		all[i] = &channel{Channel: ch, client: firstChannel + uint16(i)}
	}
	return all
}

// openChannels decides which channels the server is asked for, once it is
// known under which grant the person comes. What a session does not begin with
// it never gets; what its grant no longer permits passes no more.
func (f *flow) openChannels() {
	grant := f.visit.Decide(f.login).Grant
	for _, c := range f.channels {
		limit := 0
		switch c.Name {
		case channels.SoundName:
			limit, c.filter = channels.MaxSound, channels.Static(&channels.Sound{})
		case channels.DynamicName:
			limit, c.filter = channels.MaxDynamicPDU, channels.NewDynamic(f.dynamic)
		case channels.ClipboardName:
			limit, c.filter, c.needs = channels.MaxClipboard, channels.NewClipboard(f.note), policy.Clipboard
		case channels.DevicesName:
			limit, c.filter, c.needs = channels.MaxDevices, channels.NewDevices(f.may, f.note), channels.OverDevices
		}
		if c.filter == nil || c.needs != 0 && (grant == nil || grant.Redirection&c.needs == 0) {
			c.filter = nil
			continue
		}
		c.up, c.down = channels.Assemblers(c.filter, limit)
		// Compression is a matter of each channel, too (MS-RDPBCGR 2.2.1.3.4.1).
		c.Options &^= channels.OptionCompress
	}
}

// noteClosed writes down what the client has asked for and does not get.
func (f *flow) noteClosed() {
	for _, c := range f.channels {
		if c.filter == nil {
			f.noteDenied("channel " + plainLine(c.Name, maxName))
		}
	}
}

// may reports whether the grant the person is in by at this moment permits any
// of these.
func (f *flow) may(any policy.Redirection) bool {
	g := f.visit.Verdict().Grant
	return g != nil && g.Redirection&any != 0
}

// dynamicNeeds are the dynamic channels that need a permission.
var dynamicNeeds = []struct {
	prefix string // of the name
	needs  policy.Redirection
}{
	{"AUDIO_INPUT", policy.AudioInput},                     // MS-RDPEAI
	{"RDCamera_Device", policy.Camera},                     // MS-RDPECAM: an enumerator, and one for each device
	{"URBDRC", policy.USB},                                 // MS-RDPEUSB
	{"PNPDR", policy.USB},                                  // MS-RDPEPNP
	{"FileRedirectorChannel", policy.USB},                  // likewise
	{"Microsoft::Windows::RDS::Location", policy.Location}, // MS-RDPEL
	{"WebAuthN_Channel", policy.WebAuthn},                  // MS-RDPEWA
}

// dynamic decides about a dynamic channel the server wants to open. Whatever
// draws past the recorder stays closed, so does what nobody here knows.
func (f *flow) dynamic(name string) channels.Way {
	switch name {
	case channels.DisplayName:
		return channels.Way{Open: true, Tap: channels.Display{Fits: func(w, h int) bool { return screen.CheckSize(w, h) == nil }}}
	case channels.TouchName:
		return channels.Way{Open: true, Tap: channels.Touch{Used: f.visit.Used}}
	case channels.DynamicSoundName:
		return channels.Way{Open: true, Tap: &channels.Sound{}}
	case "ECHO": // MS-RDPEECO: how long the way is
		return channels.Way{Open: true}
	}
	if name == gfx.Channel && f.native {
		f.drawing = &pipeline{flow: f}
		return channels.Way{Open: true, Tap: f.drawing}
	}
	for _, ch := range dynamicNeeds {
		if strings.HasPrefix(name, ch.prefix) && f.may(ch.needs) {
			f.note(recording.Event{Kind: "device", Detail: ch.needs.String() + ", " + plainLine(name, maxName)})
			return channels.Way{Open: true, Still: func() bool { return f.may(ch.needs) }}
		}
	}
	f.noteDenied("dynamic channel " + plainLine(name, maxName))
	return channels.Way{}
}

// askedOfServer are the channels in the words of the server's side. One that
// must not be used cannot be left out, since clients count on as many as they
// asked for and die of one that is zero. So the server is asked for one of
// another name, which stands for nothing, and what is sent on it goes nowhere.
func (f *flow) askedOfServer() []wire.Channel {
	asked := make([]wire.Channel, len(f.channels))
	for i, ch := range f.channels {
		asked[i] = ch.Channel
		if ch.filter == nil {
			asked[i].Name = fmt.Sprintf("none%d", i)
		}
	}
	return asked
}

// open finds a channel that data passes on. One whose permission has gone
// stays closed when it comes back: half a message is lost by then.
func (f *flow) open(is func(*channel) bool) *channel {
	for _, ch := range f.channels {
		if !is(ch) || ch.filter == nil || ch.server == 0 || ch.lost.Load() {
			continue
		}
		if ch.needs != 0 && !f.may(ch.needs) {
			if ch.lost.CompareAndSwap(false, true) {
				f.noteDenied("channel " + ch.Name + ", from now on")
			}
			return nil
		}
		return ch
	}
	return nil
}

// upChannel carries what the client sends on a channel.
func (f *flow) upChannel(id uint16, data []byte) error {
	ch := f.open(func(ch *channel) bool { return ch.client == id })
	if ch == nil {
		return nil
	}
	step, err := ch.up.Add(data)
	if err == nil && step.Complete {
		step.Out, err = ch.filter.Up(step.Message)
	}
	if err == nil && step.Chunk != nil {
		err = f.sent(f.toServer(ch.server, step.Chunk))
	}
	if err != nil {
		return err
	}
	return f.pour(ch, step.Out)
}

// downChannel carries what the server sends on one.
func (f *flow) downChannel(id uint16, data []byte) error {
	ch := f.open(func(ch *channel) bool { return ch.server == id })
	if ch == nil {
		return nil // closed, or the message channel, which nobody asked for
	}
	step, err := ch.down.Add(data)
	if err == nil && step.Complete {
		step.Out, err = ch.filter.Down(step.Message)
	}
	if err == nil && step.Chunk != nil {
		err = f.showOn(ch.client, step.Chunk)
	}
	if err != nil {
		return err
	}
	return f.pour(ch, step.Out)
}

// closeChannels writes down what was not finished.
func (f *flow) closeChannels() {
	for _, ch := range f.channels {
		if c, ok := ch.filter.(interface{ Close() }); ok {
			c.Close()
		}
	}
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

// maxNotes is how many events the channels of a session may have. A peer that
// copies and pastes by the thousand has a disk in mind.
const maxNotes = 20_000

// note writes an event down, or ends the session.
func (f *flow) note(e recording.Event) {
	if f.notes.Add(1) > maxNotes {
		f.end(fmt.Errorf("%w: more than %d events of channels", wire.ErrMalformed, maxNotes))
		return
	}
	if err := f.visit.Note(e); err != nil {
		f.log.Error("event not written down", "error", err)
		f.end(policy.RecordingFailed)
	}
}
