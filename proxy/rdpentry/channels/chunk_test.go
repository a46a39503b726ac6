package channels

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

func TestChunksAreTheMessageAgain(t *testing.T) {
	for _, n := range []int{0, 1, chunkLen, chunkLen + 1, 5 * chunkLen, 10_000} {
		msg := bytes.Repeat([]byte{7}, n)
		a := NewAssembler(10_000)
		chunks := Chunks(msg, OptionShow)
		for i, c := range chunks {
			if c[4]&chunkShow == 0 || len(c) > chunkLen+8 {
				t.Errorf("chunk % x", c[:8])
			}
			got, err := a.Add(c)
			if err != nil || got.Complete != (i == len(chunks)-1) || got.Complete && !bytes.Equal(got.Message, msg) {
				t.Errorf("%d bytes, chunk %d: %v %v", n, i, got.Complete, err)
			}
		}
	}
}

func TestChunksThatAreNoMessageAreRefused(t *testing.T) {
	chunk := func(total, flags uint32, body int) []byte {
		b := binary.LittleEndian.AppendUint32(nil, total)
		return append(binary.LittleEndian.AppendUint32(b, flags), make([]byte, body)...)
	}
	for name, chunks := range map[string][][]byte{
		"half a header":           {{1, 2, 3}},
		"compressed":              {chunk(4, chunkFirst|chunkLast|chunkCompressed, 4)},
		"no beginning":            {chunk(4, chunkLast, 4)},
		"two beginnings":          {chunk(8, chunkFirst, 4), chunk(8, chunkFirst|chunkLast, 8)},
		"too long":                {chunk(1<<31, chunkFirst, 4)},
		"longer than it says":     {chunk(4, chunkFirst|chunkLast, 5)},
		"shorter than it says":    {chunk(4, chunkFirst|chunkLast, 3)},
		"longer than the first":   {chunk(4, chunkFirst, 2), chunk(6, chunkLast, 4)},
		"longer than all":         {chunk(4, chunkFirst, 2), chunk(4, chunkLast, 4)},
		"one chunk without bound": {chunk(maxChunk+1, chunkFirst|chunkLast, maxChunk+1)},
	} {
		a := NewAssembler(1 << 20)
		var err error
		for _, c := range chunks {
			if _, err = a.Add(c); err != nil {
				break
			}
		}
		if !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := NewAssembler(10).Add(chunk(0, 0x20, 0)); got.Complete || err != nil {
		t.Errorf("a pause is %v, %v", got, err)
	}
}
