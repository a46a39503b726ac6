package wire

import (
	"bufio"
	"encoding/binary"
	"io"
)

// MaxFrame is the longest frame: a TPKT's length field has 16 bits, a
// fast-path one's 15.
const MaxFrame = 1<<16 - 1

// A Frame is what a connection carries one after the other: a TPKT packet
// (T.123 section 8) or a fast-path PDU (MS-RDPBCGR 2.2.8.1.2, 2.2.9.1.2).
type Frame struct {
	Raw    []byte // the whole of it
	Fast   bool
	Header byte   // of a fast-path PDU
	Body   []byte // without the header and length
}

// A Reader reads frames. It keeps one buffer: a frame is good until the next
// is read.
type Reader struct {
	r   *bufio.Reader
	buf []byte
}

// NewReader returns a reader of what comes over a connection.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 16<<10)} }

// Next reads a frame. io.EOF is the end between two frames.
func (r *Reader) Next() (Frame, error) {
	head, err := r.r.Peek(2)
	if err != nil {
		if len(head) > 0 && err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	switch {
	case head[0] == 3:
		return r.tpkt()
	case head[0]&3 == 0:
		return r.fast(head[0], head[1])
	}
	return Frame{}, malformed("a frame begins with %#x", head[0])
}

func (r *Reader) tpkt() (Frame, error) {
	head, err := r.r.Peek(4)
	if err != nil {
		return Frame{}, cutShort(err)
	}
	n := int(binary.BigEndian.Uint16(head[2:]))
	if n < 7 {
		return Frame{}, malformed("a TPKT of %d bytes", n)
	}
	raw, err := r.read(n)
	if err != nil {
		return Frame{}, err
	}
	return Frame{Raw: raw, Body: raw[4:]}, nil
}

func (r *Reader) fast(header, length byte) (Frame, error) {
	n, skip := int(length), 2
	if length&0x80 != 0 {
		head, err := r.r.Peek(3)
		if err != nil {
			return Frame{}, cutShort(err)
		}
		n, skip = int(length&0x7f)<<8|int(head[2]), 3
	}
	if n < skip {
		return Frame{}, malformed("a fast-path PDU of %d bytes", n)
	}
	raw, err := r.read(n)
	if err != nil {
		return Frame{}, err
	}
	return Frame{Raw: raw, Fast: true, Header: header, Body: raw[skip:]}, nil
}

func (r *Reader) read(n int) ([]byte, error) {
	if cap(r.buf) < n {
		r.buf = make([]byte, max(n, 4<<10))
	}
	raw := r.buf[:n]
	if _, err := io.ReadFull(r.r, raw); err != nil {
		return nil, cutShort(err)
	}
	return raw, nil
}

// Buffered returns what was read ahead of the frames: a TLS handshake must
// begin with nothing of it left.
func (r *Reader) Buffered() int { return r.r.Buffered() }

func cutShort(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Wrap puts an X.224 TPDU into a TPKT. The TPDU must fit.
func Wrap(tpdu []byte) []byte {
	b := make([]byte, 0, 4+len(tpdu))
	b = append(b, 3, 0)
	b = appendBE16(b, 4+len(tpdu))
	return append(b, tpdu...)
}
