package desktop

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/recording/internal/ondisk"
)

// decoder expands blocks for all readers of the process.
var decoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxBlock), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		panic(err)
	}
	return d
})

// expand returns what the payload of a block holds.
func expand(dst, payload []byte) ([]byte, error) {
	plain, err := decoder().DecodeAll(payload, dst[:0])
	if err != nil {
		return nil, fmt.Errorf("a block cannot be expanded: %w", err)
	}
	return plain, nil
}

// Read reads a recording as far as its blocks are written now. A torn tail
// ends it: the last element is then an error that is [recording.ErrTorn]. The
// events can be ranged over once.
func Read(r io.Reader) (recording.Header, iter.Seq2[Event, error], error) {
	in := newBlockReader(r)
	h, err := in.header()
	if err != nil {
		return recording.Header{}, nil, fmt.Errorf("recording: %w", err)
	}
	return h, func(yield func(Event, error) bool) {
		var plain []byte
		for {
			rec, payload, err := in.next()
			if err == io.EOF {
				return
			}
			if err == nil && rec.Length > 0 {
				plain, err = expand(plain, payload)
			}
			more := true
			if err == nil && rec.Length > 0 {
				more, err = events(plain, rec.Time, func(e Event) bool { return yield(e, nil) })
			}
			if err != nil {
				yield(Event{}, fmt.Errorf("recording: %w", err))
				return
			}
			if !more {
				return
			}
		}
	}, nil
}

// A blockReader reads a recording block by block and checks the chain.
type blockReader struct {
	in     *bufio.Reader
	off    int64 // of the next block
	chain  [sha256.Size]byte
	ended  bool
	buffer []byte
}

func newBlockReader(r io.Reader) *blockReader {
	return &blockReader{in: bufio.NewReaderSize(r, 64<<10)}
}

func (r *blockReader) header() (recording.Header, error) {
	b, err := r.in.ReadSlice('\n')
	switch {
	case err == io.EOF:
		return recording.Header{}, fmt.Errorf("there is no header: %w", recording.ErrTorn)
	case err == bufio.ErrBufferFull:
		return recording.Header{}, &recording.Damage{What: "the header is too long"}
	case err != nil:
		return recording.Header{}, err
	}
	r.off, r.chain = int64(len(b)), sha256.Sum256(b)
	return parseHeader(bytes.TrimSuffix(b, []byte{'\n'}))
}

// next returns the next block. io.EOF is the end, ErrTorn one in the middle of
// a block, and a *recording.Damage a block that is not what was written.
func (r *blockReader) next() (ondisk.Record, []byte, error) {
	var head [ondisk.RecordSize]byte
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		return ondisk.Record{}, nil, r.torn(err)
	}
	rec, chain, ok := ondisk.ParseRecord(head[:])
	if what := misfit(rec, ok, r.off, r.ended); what != "" {
		return rec, nil, &recording.Damage{Offset: r.off, What: what}
	}
	// The length is believed only as far as there are bytes.
	r.buffer = r.buffer[:0]
	for int64(len(r.buffer)) < int64(rec.Length) {
		at := len(r.buffer)
		piece := min(int(rec.Length)-at, 1<<20)
		r.buffer = append(r.buffer, make([]byte, piece)...)
		if _, err := io.ReadFull(r.in, r.buffer[at:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return rec, nil, r.torn(err)
		}
	}
	if crc32.Checksum(r.buffer, ondisk.Castagnoli) != rec.Sum || rec.Next(r.chain, r.buffer) != chain {
		return rec, nil, &recording.Damage{Offset: r.off, What: "the bytes differ from what was written"}
	}
	r.off += ondisk.RecordSize + int64(rec.Length)
	r.chain, r.ended = chain, ends(rec)
	return rec, r.buffer, nil
}

func (r *blockReader) torn(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("byte %d: %w", r.off, recording.ErrTorn)
	}
	return err
}

func ends(r ondisk.Record) bool { return r.Kind == kindEnd || r.Kind == kindCrashed }

// misfit says why r cannot be the next record.
func misfit(r ondisk.Record, ok bool, off int64, ended bool) string {
	switch {
	case !ok:
		return "a record differs from what was written"
	case ended:
		return "it goes on behind the end"
	case r.Time < 0 || r.Time > longest:
		return "a block is of an impossible time"
	case r.Offset != off:
		return "blocks are missing or in another order"
	case ends(r):
		if r.Length != 0 {
			return "the end has a length"
		}
	case r.Kind != kindEvents && r.Kind != kindKey && r.Kind != kindRescued:
		return "a block is of an unknown kind"
	case r.Length == 0 || r.Length > maxBlock:
		return "a block has an impossible length"
	}
	return ""
}
