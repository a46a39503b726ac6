// Package bulk undoes and makes the bulk compression of RDP, as far as the
// gate lets it be negotiated: MPPC with a history of 8 KiB or 64 KiB
// (MS-RDPBCGR 3.1.8; RFC 2118 describes its ancestor). RDP 6.0 and 6.1 bulk
// compression (NCRUSH, XCRUSH) are refused; the entry never offers them.
//
// A history belongs to one direction of one connection: both ends hold the
// same bytes as long as no compressed packet is left out. Packets without
// [Compressed] do not touch it, so that the gate may put updates of its own
// between those of the server without compressing them, and passes the
// server's packets on as they came. The [Compressor] is for an entry that
// changes what was inside. Package rdpentry is the caller.
package bulk

import (
	"errors"
	"fmt"
)

// Flags of a packet (compressedType, compressionFlags): MS-RDPBCGR 3.1.8.2.1.
const (
	Compressed = 0x20 // the data is compressed
	AtFront    = 0x40 // the history goes on at its beginning
	Flushed    = 0x80 // the history is void and starts anew

	typeMask = 0x0f
)

// A Kind is a type of compression, by its number on the wire.
type Kind byte

const (
	K8  Kind = 0 // RDP 4.0: a history of 8 KiB
	K64 Kind = 1 // RDP 5.0: a history of 64 KiB
)

// size is the length of the history: no packet holds more.
func (k Kind) size() int {
	if k == K8 {
		return 8 << 10
	}
	return 64 << 10
}

// The ways a copy offset is written, the longest prefix first: MS-RDPBCGR
// 3.1.8.4.1.2.1 and 3.1.8.4.2.2.1.
type offsetCode struct {
	prefix uint64
	ones   int // prefix bits
	bits   int // that follow
	base   int
}

var offsetCodes = [2][]offsetCode{
	K8:  {{0b1111, 4, 6, 0}, {0b1110, 4, 8, 64}, {0b110, 3, 13, 320}},
	K64: {{0b11111, 5, 6, 0}, {0b11110, 5, 8, 64}, {0b1110, 4, 11, 320}, {0b110, 3, 16, 2368}},
}

// longestPrefix is how many ones the prefix of a length of match may have
// before its zero: 3.1.8.4.1.2.2 and 3.1.8.4.2.2.2.
func (k Kind) longestPrefix() int {
	if k == K8 {
		return 11 // 4096 … 8191
	}
	return 14 // 32768 … 65535
}

var (
	errShort    = errors.New("bulk: the compressed data ends in the middle of a symbol")
	errOverflow = errors.New("bulk: the compressed data is longer than the history")
	errOffset   = errors.New("bulk: a copy from nowhere")
)

// A history is the window that both ends share.
type history struct {
	data []byte
	at   int // where the next packet goes
}

// A Decompressor undoes the compression of one direction.
type Decompressor struct {
	histories [2]history
}

// Decompress returns what was in a packet with these flags. The result is
// valid until the next call; data that is not compressed is returned itself.
// It is never longer than 64 KiB if data was compressed. After an error the
// histories of the two ends differ and the connection cannot go on.
func (d *Decompressor) Decompress(flags byte, data []byte) ([]byte, error) {
	if flags&(Compressed|AtFront|Flushed) == 0 {
		return data, nil
	}
	kind := Kind(flags & typeMask)
	if kind > K64 {
		return nil, fmt.Errorf("bulk: compression type %d was not negotiated", kind)
	}
	h := &d.histories[kind]
	if h.data == nil {
		h.data = make([]byte, kind.size())
	}
	if flags&Flushed != 0 {
		clear(h.data)
		h.at = 0
	}
	if flags&AtFront != 0 {
		h.at = 0
	}
	if flags&Compressed == 0 {
		return data, nil
	}
	return h.expand(kind, data)
}

// expand appends what data holds to the history and returns it.
func (h *history) expand(kind Kind, data []byte) ([]byte, error) {
	in := bitReader{rest: data}
	from := h.at
	for {
		in.fill()
		if in.left() < 8 { // what remains is padding
			return h.data[from:h.at], nil
		}
		b, literal, err := in.literal()
		if err != nil {
			return nil, err
		}
		if literal {
			if h.at == len(h.data) {
				return nil, errOverflow
			}
			h.data[h.at] = b
			h.at++
			continue
		}
		offset, err := in.offset(kind)
		if err != nil {
			return nil, err
		}
		length, err := in.length(kind)
		if err != nil {
			return nil, err
		}
		if err := h.repeat(offset, length); err != nil {
			return nil, err
		}
	}
}

// repeat copies length bytes from offset before the end. The copy may reach
// into what it writes, and around the end of the history into what was there
// before AtFront.
func (h *history) repeat(offset, length int) error {
	switch {
	case offset == 0:
		return errOffset
	case length > len(h.data)-h.at:
		return errOverflow
	}
	mask := len(h.data) - 1
	src := (h.at - offset) & mask
	if src+length <= len(h.data) && (src >= h.at || offset >= length) {
		copy(h.data[h.at:h.at+length], h.data[src:src+length])
		h.at += length
		return nil
	}
	for range length {
		h.data[h.at] = h.data[src]
		h.at++
		src = (src + 1) & mask
	}
	return nil
}
