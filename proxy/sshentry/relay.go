package sshentry

import (
	"errors"
	"io"
	"slices"
	"sync"
)

// The sizes of a copy loop's buffer: a small one while a person types, a big
// one while data flows, so that an idle session costs next to nothing and a
// busy one few wake-ups.
const (
	smallBuffer = 2 << 10
	bigBuffer   = 256 << 10
)

var bigBuffers = sync.Pool{New: func() any { return new([bigBuffer]byte) }}

// maxPiece is how much is relayed at once: the piece that is under way when a
// session is cut off is still sent.
const maxPiece = 32 << 10

// pour hands over what src yields, in pieces, until it ends, which is no error.
func pour(src io.Reader, hand func([]byte) error) error {
	small := make([]byte, smallBuffer)
	buf := small
	var big *[bigBuffer]byte
	defer func() {
		if big != nil {
			bigBuffers.Put(big)
		}
	}()
	for {
		n, err := src.Read(buf)
		for piece := range slices.Chunk(buf[:n], maxPiece) {
			if err := hand(piece); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case big == nil && n == len(small):
			big = bigBuffers.Get().(*[bigBuffer]byte)
			buf = big[:]
		case big != nil && n <= len(small):
			bigBuffers.Put(big)
			big, buf = nil, small
		}
	}
}

// errCut stops a copy loop when nothing may be relayed any more.
var errCut = errors.New("the session was cut off")
