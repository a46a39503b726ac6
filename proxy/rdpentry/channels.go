package rdpentry

import (
	"fmt"

	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// A channel is a static virtual channel (MS-RDPBCGR 1.3.3) on both sides.
type channel struct {
	wire.Channel
	open           bool // data passes
	client, server uint16
}

// sound is the one channel that passes: audio output (MS-RDPEA).
const sound = "rdpsnd"

// policyOf decides about the channels a client asks for. A channel that must
// not be used cannot be left out, since clients count on as many as they asked
// for and die of one that is zero. So the server is asked for one of another
// name, which stands for nothing, and what is sent on it goes nowhere.
func policyOf(asked []wire.Channel) []channel {
	channels := make([]channel, len(asked))
	for i, ch := range asked {
		channels[i] = channel{Channel: ch, open: ch.Name == sound, client: firstChannel + uint16(i)}
	}
	return channels
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
func (f *flow) byClient(id uint16) (channel, bool) {
	for _, ch := range f.channels {
		if ch.client == id && ch.open && ch.server != 0 {
			return ch, true
		}
	}
	return channel{}, false
}

func (f *flow) byServer(id uint16) (channel, bool) {
	for _, ch := range f.channels {
		if ch.server == id && ch.open && id != 0 {
			return ch, true
		}
	}
	return channel{}, false
}
