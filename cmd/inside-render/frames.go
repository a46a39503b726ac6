package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/pawelmojski/inside/proxy/rdpentry/gfx"
)

// Frames reads the frames that ffmpeg has decoded out of the Matroska it writes
// them in (RFC 9559), with their times in milliseconds.
type frames struct {
	r       *bufio.Reader
	w, h    int
	cluster int64 // the time of
	time    int64 // of the frame that was read last
	data    []byte
}

// mostFrame bounds the bytes of a frame: those of the largest surface.
const mostFrame = 3 << 25 / 2

func newFrames(r io.Reader) *frames { return &frames{r: bufio.NewReaderSize(r, 256<<10), time: -1} }

var errMissing = errors.New("the picture is damaged")

// at returns the frame of a time. One that comes later is kept.
func (f *frames) at(time int64) (gfx.Frame, error) {
	for f.time < time {
		if err := f.next(); err != nil {
			return gfx.Frame{}, err
		}
	}
	if f.time > time {
		return gfx.Frame{}, errMissing
	}
	frame, ok := gfx.Planes(f.w, f.h, f.data)
	if !ok {
		return gfx.Frame{}, fmt.Errorf("a picture of %d × %d pixels has %d bytes", f.w, f.h, len(f.data))
	}
	return frame, nil
}

// next reads the next frame. Elements that hold others are gone into, those
// that say nothing here are skipped.
func (f *frames) next() error {
	for {
		id, err := f.number(false)
		if err != nil {
			return err
		}
		size, err := f.number(true)
		if err != nil {
			return err
		}
		switch id {
		case 0x18538067, 0x1f43b675, 0x1654ae6b, 0xae, 0xe0, 0xa0: // segment, cluster, tracks, track, video, block group
		case 0xe7, 0xb0, 0xba:
			v, err := f.value(size)
			if err != nil {
				return err
			}
			switch id {
			case 0xe7:
				f.cluster = v
			case 0xb0:
				f.w = int(min(v, 1<<16))
			case 0xba:
				f.h = int(min(v, 1<<16))
			}
		case 0xa3, 0xa1: // a block
			return f.block(size)
		default:
			if _, err := io.CopyN(io.Discard, f.r, size); err != nil {
				return err
			}
		}
	}
}

// number reads the id of an element, or its size without the bits that say how
// long the size is.
func (f *frames) number(size bool) (int64, error) {
	first, err := f.r.ReadByte()
	if err != nil {
		return 0, err
	}
	n := 1
	for n <= 8 && first&(0x80>>(n-1)) == 0 {
		n++
	}
	if n > 8 || !size && n > 4 {
		return 0, errors.New("ffmpeg wrote no Matroska")
	}
	v := int64(first)
	if size {
		v &= 1<<(8-n) - 1
	}
	for range n - 1 {
		b, err := f.r.ReadByte()
		if err != nil {
			return 0, err
		}
		v = v<<8 | int64(b)
	}
	return v, nil
}

func (f *frames) value(size int64) (v int64, err error) {
	if size > 8 {
		return 0, errors.New("ffmpeg wrote a number that is too long")
	}
	for range size {
		b, err := f.r.ReadByte()
		if err != nil {
			return 0, err
		}
		v = v<<8 | int64(b)
	}
	return v, nil
}

// block reads a frame: its track (one byte), the time since the cluster's, and
// flags come first.
func (f *frames) block(size int64) error {
	const head = 4
	if size < head || size > mostFrame+head {
		return fmt.Errorf("ffmpeg wrote a frame of %d bytes", size)
	}
	var track [head]byte
	if _, err := io.ReadFull(f.r, track[:]); err != nil {
		return err
	}
	f.time = f.cluster + int64(int16(binary.BigEndian.Uint16(track[1:])))
	if size -= head; int64(cap(f.data)) < size {
		f.data = make([]byte, size)
	}
	f.data = f.data[:size]
	_, err := io.ReadFull(f.r, f.data)
	return err
}
