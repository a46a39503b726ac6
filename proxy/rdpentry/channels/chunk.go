// Package channels knows what goes over the virtual channels of RDP, and lets
// pass what may: the chunks of static channels (MS-RDPBCGR 2.2.6), and on them
// dynamic channels (MS-RDPEDYC), each as a filter that is given whole messages
// and says what is sent on instead.
//
// It decides nothing: whoever carries the session, [rdpentry], tells each
// filter what is permitted, and sends what the filter says. It knows no
// connections and no channel numbers of MCS. Everything it reads is hostile;
// what does not fit is a [wire.ErrMalformed], which ends the session.
//
// [rdpentry]: github.com/pawelmojski/inside/proxy/rdpentry
package channels

import (
	"encoding/binary"
	"fmt"

	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// An Out is what is sent on of a message, to either side: whole messages of
// the same channel.
type Out struct {
	Server, Client [][]byte
}

// A Filter decides about the messages of one static channel. Both methods may
// be called at the same time, each by one goroutine. What they return may
// point into msg, which they do not keep.
type Filter interface {
	Up(msg []byte) (Out, error)   // from the client
	Down(msg []byte) (Out, error) // from the server
}

// The flags of a chunk (MS-RDPBCGR 2.2.6.1.1).
const (
	chunkFirst = 0x01
	chunkLast  = 0x02
	chunkShow  = 0x10 // the end point wants to see these flags

	chunkPaused     = 0x20 | 0x40 // suspend, resume
	chunkCompressed = 0x00200000
)

// The options of a static channel (2.2.1.3.4.1).
const (
	OptionShow     = 0x00200000 // its chunks carry chunkShow
	OptionCompress = 0x00400000 | 0x00800000
)

// chunkLen is how much of a message one chunk carries: no other length is
// offered by either side of the gate (2.2.7.1.10, VCChunkSize).
const chunkLen = 1600

// maxChunk is what is taken in one: servers may send more than the client
// said (MCS limits it), but not without end.
const maxChunk = 1 << 14

// An Assembler puts the messages of one direction of a static channel
// together. It holds no more than its limit, and no more than was sent.
type Assembler struct {
	limit int
	whole []byte
	total int
	open  bool // a message has begun
}

// NewAssembler returns one that takes messages up to a length.
func NewAssembler(limit int) *Assembler { return &Assembler{limit: limit} }

// Add takes a chunk with its header and returns the message it completes, if
// it does. The message is good until the next call.
func (a *Assembler) Add(chunk []byte) (msg []byte, ok bool, err error) {
	c := wire.Read(chunk)
	total, flags := c.U32(), c.U32()
	if err := c.End("a chunk of a virtual channel"); err != nil {
		return nil, false, err
	}
	body := c.Rest()
	switch first := flags&chunkFirst != 0; {
	case flags&chunkCompressed != 0:
		return nil, false, malformed("a compressed chunk, though nobody said it could be undone")
	case flags&chunkPaused != 0 && len(body) == 0:
		return nil, false, nil
	case len(body) > maxChunk:
		return nil, false, malformed("a chunk of %d bytes", len(body))
	case first == a.open:
		return nil, false, malformed("the chunks of a message are out of order")
	case int64(total) > int64(a.limit):
		return nil, false, malformed("a message of %d bytes on a virtual channel", total)
	case first:
		a.total, a.whole = int(total), a.whole[:0]
	case a.total != int(total):
		return nil, false, malformed("a message of %d bytes that becomes one of %d", a.total, total)
	}
	last := flags&chunkLast != 0
	if n := len(a.whole) + len(body); n > a.total || last && n != a.total {
		return nil, false, malformed("%d bytes of a message of %d", n, a.total)
	}
	if a.open = !last; last && len(a.whole) == 0 {
		return body, true, nil
	}
	a.whole = append(a.whole, body...)
	if !last {
		return nil, false, nil
	}
	msg = a.whole
	if cap(a.whole) > kept {
		a.whole = nil
	}
	return msg, true, nil
}

// kept is how large a buffer is kept for the next message.
const kept = 64 << 10

// Chunks cuts a message of a channel with these options into chunks, each with
// its header.
func Chunks(msg []byte, options uint32) [][]byte {
	var chunks [][]byte
	for first, rest := true, msg; first || len(rest) > 0; first = false {
		n := min(len(rest), chunkLen)
		var flags uint32
		if first {
			flags |= chunkFirst
		}
		if n == len(rest) {
			flags |= chunkLast
		}
		if options&OptionShow != 0 {
			flags |= chunkShow
		}
		chunk := binary.LittleEndian.AppendUint32(make([]byte, 0, 8+n), uint32(len(msg)))
		chunk = binary.LittleEndian.AppendUint32(chunk, flags)
		chunks = append(chunks, append(chunk, rest[:n]...))
		rest = rest[n:]
	}
	return chunks
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", wire.ErrMalformed, fmt.Sprintf(format, args...))
}
