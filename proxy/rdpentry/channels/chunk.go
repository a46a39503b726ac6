// Package channels knows what goes over the virtual channels of RDP, and lets
// pass what may: the chunks of static channels (MS-RDPBCGR 2.2.6), and on them
// dynamic channels (MS-RDPEDYC), the clipboard (MS-RDPECLIP), devices (MS-RDPEFS),
// sound (MS-RDPEA), the size of the desktop (MS-RDPEDISP), each as a filter that
// is given messages and says what is sent on instead.
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

// Static is the filter of a static channel that is looked into as a dynamic
// one would be.
func Static(t Tap) Filter { return static{t} }

type static struct{ tap Tap }

func (s static) Up(msg []byte) (Out, error) {
	to, err := s.tap.Up(msg)
	return Out{Server: to}, err
}

func (s static) Down(msg []byte) (Out, error) {
	to, err := s.tap.Down(msg)
	return Out{Client: to}, err
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

// A Fate is what becomes of a message of which the first chunk has come.
type Fate int

const (
	Whole   Fate = iota // it is put together for the filter
	Through             // its chunks pass on one by one: nobody looks into it
	Dropped             // nothing of it passes
)

// A Beginner is a filter that lets long messages pass without putting them
// together. It is told what the first chunk holds and how long the message is
// to be.
type Beginner interface {
	BeginUp(head []byte, total int) (Fate, Out, error)
	BeginDown(head []byte, total int) (Fate, Out, error)
}

// An Assembler puts the messages of one direction of a static channel
// together. It holds no more than its limit, and no more than was sent.
type Assembler struct {
	limit int
	begin func(head []byte, total int) (Fate, Out, error) // nil: all are put together
	whole []byte
	total int
	have  int
	fate  Fate
	open  bool // a message has begun
}

// NewAssembler returns one that puts messages up to a length together.
func NewAssembler(limit int) *Assembler { return &Assembler{limit: limit} }

// Assemblers are those of both directions for a filter.
func Assemblers(f Filter, limit int) (up, down *Assembler) {
	up, down = NewAssembler(limit), NewAssembler(limit)
	if b, ok := f.(Beginner); ok {
		up.begin, down.begin = b.BeginUp, b.BeginDown
	}
	return up, down
}

// A Step is what a chunk leads to. What it holds is good until the next.
type Step struct {
	Complete bool
	Message  []byte // where Complete
	Chunk    []byte // to be passed on as it is, or nil
	Out      Out    // what the filter has to say to a message that begins
}

// Add takes a chunk with its header, which it may change.
func (a *Assembler) Add(chunk []byte) (s Step, err error) {
	c := wire.Read(chunk)
	total, flags := c.U32(), c.U32()
	if err := c.End("a chunk of a virtual channel"); err != nil {
		return s, err
	}
	body := c.Rest()
	first, last := flags&chunkFirst != 0, flags&chunkLast != 0
	switch {
	case flags&chunkCompressed != 0:
		return s, malformed("a compressed chunk, though nobody said it could be undone")
	case flags&chunkPaused != 0 && len(body) == 0:
		return s, nil
	case len(body) > maxChunk:
		return s, malformed("a chunk of %d bytes", len(body))
	case first == a.open:
		return s, malformed("the chunks of a message are out of order")
	case first:
		if err := a.start(body, total, &s); err != nil {
			return s, err
		}
	case a.total != int(total):
		return s, malformed("a message of %d bytes that becomes one of %d", a.total, total)
	}
	a.have += len(body)
	if a.have > a.total || last && a.have != a.total {
		return s, malformed("%d bytes of a message of %d", a.have, a.total)
	}
	a.open = !last
	switch a.fate {
	case Whole:
		a.add(body, first && last, &s)
		s.Complete = last
	case Through:
		binary.LittleEndian.PutUint32(chunk[4:], flags&(chunkFirst|chunkLast|chunkShow))
		s.Chunk = chunk
	}
	return s, nil
}

// start is for the first chunk of a message.
func (a *Assembler) start(body []byte, total uint32, s *Step) (err error) {
	a.total, a.have, a.fate, a.whole = int(total), 0, Whole, a.whole[:0]
	if a.begin != nil {
		if a.fate, s.Out, err = a.begin(body, a.total); err != nil {
			return err
		}
	}
	if a.fate == Whole && a.total > a.limit {
		return malformed("a message of %d bytes on a virtual channel", total)
	}
	return nil
}

// add puts a part to the message; one that is all of it is not copied.
func (a *Assembler) add(body []byte, all bool, s *Step) {
	if s.Message = body; all {
		return
	}
	a.whole = append(a.whole, body...)
	if s.Message = a.whole; a.have == a.total && cap(a.whole) > kept {
		a.whole = nil
	}
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
