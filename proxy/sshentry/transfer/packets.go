package transfer

import (
	"encoding/binary"
	"errors"
	"hash"
)

const (
	// Longest packet. OpenSSH takes 256 KiB, other servers more; nothing of
	// this size is kept.
	maxPacket = 16 << 20
	// Most that is gathered of a packet that is not data. A path behind that
	// is no path.
	maxGather = 64 << 10
)

var errShort = errors.New("a packet is too short for what it says")

// packets cuts one direction of an SFTP channel into packets. It gathers the
// head of a packet, as much as need asks for, and streams the rest.
type packets struct {
	// need says how much of a packet must be gathered, given its first bytes
	// (at least length and type); the same number again when it is enough.
	need func(head []byte, total int) (int, error)
	// packet takes what was gathered, and returns where the body goes.
	packet func(head []byte, total int) (hash.Hash, error)

	head []byte
	want int // bytes of head before the next look; 0: length and type
	rest int // of the body
	hash hash.Hash
}

// Length and type of a packet.
const lead = 5

func (d *packets) feed(p []byte) error {
	for len(p) > 0 {
		if d.rest > 0 {
			n := min(len(p), d.rest)
			if d.hash != nil {
				d.hash.Write(p[:n])
			}
			d.rest -= n
			p = p[n:]
			continue
		}
		n := min(len(p), max(d.want, lead)-len(d.head))
		d.head = append(d.head, p[:n]...)
		p = p[n:]
		if len(d.head) < max(d.want, lead) {
			return nil
		}
		if err := d.look(); err != nil {
			return err
		}
	}
	return nil
}

// look goes on with a packet whose head has what was wanted.
func (d *packets) look() error {
	length := binary.BigEndian.Uint32(d.head)
	if length == 0 || length > maxPacket {
		return errors.New("this is no SFTP packet")
	}
	total := 4 + int(length)
	want, err := d.need(d.head, total)
	if err != nil {
		return err
	}
	if want > total {
		return errShort
	}
	if d.want = want; want > len(d.head) {
		return nil
	}
	if d.hash, err = d.packet(d.head, total); err != nil {
		return err
	}
	d.rest = total - len(d.head)
	d.want = 0
	if d.head = d.head[:0]; cap(d.head) > 4<<10 {
		d.head = nil // an idle channel keeps little
	}
	return nil
}

// fields reads the fields of a packet.
type fields struct {
	b   []byte
	cut bool // more was announced than is there
}

func (f *fields) uint32() uint32 {
	if len(f.b) < 4 {
		f.cut, f.b = true, nil
		return 0
	}
	n := binary.BigEndian.Uint32(f.b)
	f.b = f.b[4:]
	return n
}

func (f *fields) uint64() uint64 {
	high := f.uint32()
	return uint64(high)<<32 | uint64(f.uint32())
}

// string returns a string, or what is there of it.
func (f *fields) string() []byte {
	n := f.uint32()
	if uint64(n) > uint64(len(f.b)) {
		n, f.cut = uint32(len(f.b)), true
	}
	s := f.b[:n]
	f.b = f.b[n:]
	return s
}
