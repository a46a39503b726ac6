package channels

import (
	"bytes"
	"encoding/binary"
	"sync"

	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// DynamicName is the static channel that carries the dynamic ones.
const DynamicName = "drdynvc"

// MaxDynamicPDU is the longest message on that static channel. One is sent to
// carry at most chunkLen bytes (MS-RDPEDYC 3.1.5.1.4); some send more.
const MaxDynamicPDU = 64 << 10

// A Way is what is decided about a dynamic channel that a server wants to
// open.
type Way struct {
	Open bool // it may
	Tap  Tap  // looks into what passes; nil passes all of it

	// Still reports whether it still may, before anything passes; nil is for
	// as long as the session lasts.
	Still func() bool
}

// A Tap decides about the messages of one open dynamic channel: what it
// returns is sent on instead, before anything else of the channel. Both
// methods may be called at the same time, each by one goroutine. A new one is
// asked for whenever a channel is opened.
type Tap interface {
	Up(msg []byte) ([][]byte, error)   // from the client
	Down(msg []byte) ([][]byte, error) // from the server

	// Limit is how long a message may be, either way.
	Limit() int
}

// Dynamic filters dynamic channels (MS-RDPEDYC), which the server opens by
// name. One that may not be opened is refused by the gate: the client never
// hears of it. Compression, which comes with version 3, is negotiated away,
// so is the move of channels to UDP.
type Dynamic struct {
	decide func(name string) Way

	mu    sync.Mutex
	ways  map[uint32]*way
	ready bool // the server has told its version
}

// A way is a dynamic channel, by its number.
type way struct {
	Way
	name     string
	open     bool   // the client has taken it
	closing  bool   // the client was told that it is closed, and may say so, too
	byGate   bool   // the gate has closed it, and the server knows
	echoes   []bool // the client has yet to say that those before it are closed; byGate of each
	up, down fragments
}

// maxWays bounds how many dynamic channels are open at once, maxEchoes how many
// of one number the client has not yet said anything about.
const (
	maxWays   = 256
	maxEchoes = 16
)

// NewDynamic returns a filter that asks decide about each channel the server
// wants to open. decide is called under a lock: it must not call back.
func NewDynamic(decide func(name string) Way) *Dynamic {
	return &Dynamic{decide: decide, ways: map[uint32]*way{}}
}

// The commands of MS-RDPEDYC 2.2.
const (
	dynCreate    = 1
	dynDataFirst = 2
	dynData      = 3
	dynClose     = 4
	dynVersion   = 5
)

// dynVersionMax is the newest version without compression.
const dynVersionMax = 2

// notFound is how a client refuses a channel it does not know
// (STATUS_NOT_FOUND, as mstsc says it).
const notFound = 0xc0000225

// A dynPDU is the head of any PDU but the version's.
type dynPDU struct {
	command byte
	id      uint32
	length  uint32 // of the whole message: where its first fragment says so
	rest    []byte
}

func parseDynamic(b []byte) (dynPDU, error) {
	c := wire.Read(b)
	head := c.U8()
	p := dynPDU{command: head >> 4}
	if p.command == dynVersion {
		p.rest = c.Rest()
		return p, c.End("a PDU of dynamic channels")
	}
	p.id = number(&c, head&3)
	if p.command == dynDataFirst {
		p.length = number(&c, head>>2&3)
	}
	p.rest = c.Rest()
	return p, c.End("a PDU of dynamic channels")
}

// number reads a number of one, two or four bytes.
func number(c *wire.Cursor, size byte) uint32 {
	switch size {
	case 0:
		return uint32(c.U8())
	case 1:
		return uint32(c.U16())
	case 2:
		return c.U32()
	}
	c.Take(-1)
	return 0
}

// appendNumber appends one and says in which size.
func appendNumber(b []byte, n uint32) ([]byte, byte) {
	switch {
	case n < 1<<8:
		return append(b, byte(n)), 0
	case n < 1<<16:
		return binary.LittleEndian.AppendUint16(b, uint16(n)), 1
	}
	return binary.LittleEndian.AppendUint32(b, n), 2
}

// Down implements [Filter].
func (d *Dynamic) Down(msg []byte) (Out, error) {
	p, err := parseDynamic(msg)
	if err != nil {
		return Out{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.ways[p.id]
	switch p.command {
	case dynVersion:
		return d.offer(msg)
	case dynCreate:
		return d.create(p, msg)
	case dynClose:
		if w == nil || w.closing {
			return Out{}, nil
		}
		w.closing, w.open = true, false
		return Out{Client: [][]byte{msg}}, nil
	case dynDataFirst, dynData:
		if w == nil || !w.open {
			return Out{}, nil
		}
		if !w.still() {
			return w.shut(p.id), nil
		}
		pdus, err := d.tapped(w, &w.down, p, msg, Tap.Down)
		return Out{Client: pdus}, err
	}
	return Out{}, unknownCommand(p.command)
}

// Up implements [Filter].
func (d *Dynamic) Up(msg []byte) (Out, error) {
	p, err := parseDynamic(msg)
	if err != nil {
		return Out{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.ways[p.id]
	switch {
	case p.command == dynVersion:
		return d.version(msg)
	case w == nil:
		return Out{}, nil // closed meanwhile, or never there
	}
	switch p.command {
	case dynCreate:
		return d.created(w, p, msg)
	case dynClose:
		return d.closed(w, p, msg), nil
	case dynDataFirst, dynData:
		if !w.open {
			return Out{}, nil
		}
		if !w.still() {
			return w.shut(p.id), nil
		}
		pdus, err := d.tapped(w, &w.up, p, msg, Tap.Up)
		return Out{Server: pdus}, err
	}
	return Out{}, unknownCommand(p.command)
}

func unknownCommand(command byte) error {
	return malformed("command %d of dynamic channels, which nobody said it understands", command)
}

// tapped returns what is sent on of a PDU with data. A tap is asked without
// the lock, so that what it does with one direction does not hold up the
// other; each direction has one goroutine.
func (d *Dynamic) tapped(w *way, f *fragments, p dynPDU, msg []byte, ask func(Tap, []byte) ([][]byte, error)) ([][]byte, error) {
	if w.Tap == nil {
		return [][]byte{msg}, nil
	}
	d.mu.Unlock()
	defer d.mu.Lock()
	whole, ok, err := f.add(p, w.Tap.Limit())
	if err != nil || !ok {
		return nil, err
	}
	messages, err := ask(w.Tap, whole)
	if err != nil {
		return nil, err
	}
	var pdus [][]byte
	for _, m := range messages {
		pdus = append(pdus, dynPDUs(p.id, m)...)
	}
	return pdus, nil
}

// Sayer returns a function that makes the PDUs by which something is said to
// the client on the channel a tap looks into, between the server's messages;
// nil, if it is not open.
func (d *Dynamic) Sayer(t Tap) func(msg []byte) [][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, w := range d.ways {
		if w.open && w.Tap == t {
			return func(msg []byte) [][]byte { return dynPDUs(id, msg) }
		}
	}
	return nil
}

// offer passes the server's version on, but none that compresses.
func (d *Dynamic) offer(msg []byte) (Out, error) {
	c := wire.Read(msg[1:])
	c.U8()
	version := c.U16()
	if err := c.End("the version of dynamic channels"); err != nil {
		return Out{}, err
	}
	if version == 0 || version > 1 && len(c.Rest()) < 8 {
		return Out{}, malformed("version %d of dynamic channels", version)
	}
	d.ready = true
	msg = bytes.Clone(msg)
	binary.LittleEndian.PutUint16(msg[2:], min(version, dynVersionMax))
	return Out{Client: [][]byte{msg}}, nil
}

// version passes the client's answer on.
func (d *Dynamic) version(msg []byte) (Out, error) {
	c := wire.Read(msg[1:])
	c.U8()
	version := c.U16()
	if err := c.End("the version of dynamic channels"); err != nil {
		return Out{}, err
	}
	if !d.ready || version == 0 || version > dynVersionMax {
		return Out{}, malformed("version %d of dynamic channels, which was not offered", version)
	}
	return Out{Server: [][]byte{msg}}, nil
}

// create decides about a channel the server wants.
func (d *Dynamic) create(p dynPDU, msg []byte) (Out, error) {
	name, _, found := bytes.Cut(p.rest, []byte{0})
	if !found || len(name) == 0 || len(name) > maxName {
		return Out{}, malformed("a dynamic channel without a name")
	}
	old := d.ways[p.id]
	if old != nil && !old.closing {
		return Out{}, malformed("dynamic channel %d is opened twice", p.id)
	}
	var to Way
	if (old != nil || len(d.ways) < maxWays) && !d.tappedAlready(string(name)) {
		to = d.decide(string(name))
	}
	if !to.Open {
		answer := append([]byte(nil), msg[:len(msg)-len(p.rest)]...)
		return Out{Server: [][]byte{binary.LittleEndian.AppendUint32(answer, notFound)}}, nil
	}
	w := &way{Way: to, name: string(name)}
	if old != nil {
		w.echoes = append(old.echoes, old.byGate)
		w.echoes = w.echoes[max(0, len(w.echoes)-maxEchoes):]
	}
	d.ways[p.id] = w
	return Out{Client: [][]byte{msg}}, nil
}

// tappedAlready reports whether a channel of this name is open that is looked
// into: there is one of these at a time, and each may hold a message.
func (d *Dynamic) tappedAlready(name string) bool {
	for _, w := range d.ways {
		if w.name == name && w.Tap != nil && !w.closing {
			return true
		}
	}
	return false
}

// maxName bounds the name of a dynamic channel; the longest known has 52
// characters.
const maxName = 255

// created takes the client's answer to a channel it was asked to open.
func (d *Dynamic) created(w *way, p dynPDU, msg []byte) (Out, error) {
	if len(p.rest) < 4 {
		return Out{}, malformed("the answer to a dynamic channel is cut short")
	}
	if w.open || w.closing {
		return Out{}, nil
	}
	if status := int32(binary.LittleEndian.Uint32(p.rest)); status < 0 {
		delete(d.ways, p.id)
	} else {
		w.open = true
	}
	return Out{Server: [][]byte{msg}}, nil
}

// closed takes the client's word that a channel is closed: its own, or the
// echo of what it was told. The echo of a channel whose number is in use again
// comes before the client answers to the new one.
func (d *Dynamic) closed(w *way, p dynPDU, msg []byte) Out {
	byGate := w.byGate
	if len(w.echoes) > 0 {
		byGate, w.echoes = w.echoes[0], w.echoes[1:]
	} else {
		delete(d.ways, p.id)
	}
	if byGate {
		return Out{} // the server has been told
	}
	return Out{Server: [][]byte{msg}}
}

func (w *way) still() bool { return w.Still == nil || w.Still() }

// shut closes a channel that may be used no more, as either side would.
func (w *way) shut(id uint32) Out {
	w.open, w.closing, w.byGate = false, true, true
	b, size := appendNumber([]byte{0}, id)
	b[0] = dynClose<<4 | size
	return Out{Server: [][]byte{b}, Client: [][]byte{b}}
}
