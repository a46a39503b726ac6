package recording

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/pawelmojski/inside/proxy/recording/internal/ondisk"
)

// A sidecar is a head of 64 bytes and an [ondisk.Record] for every frame of the
// .cast file.
const (
	sidecarHead = "inside recording index 1\n"
	frameSize   = maxLine

	recordFrame     = 'f' // made while the recording was written
	recordReframed  = 'r' // made by Recover over lines that had no frame yet
	recordEnd       = 'e' // the recording was closed; no length
	recordRecovered = 'x' // the recording was ended by Recover; no length
)

// frames holds buffers for the bytes of a frame.
var frames = sync.Pool{New: func() any { return new([frameSize]byte) }}

// A sidecar frames a recording as it grows.
type sidecar struct {
	f     *os.File
	chain [sha256.Size]byte // the last record's SHA-256
	off   int64             // the recording is framed up to here
}

// newSidecar begins an empty sidecar.
func newSidecar(f *os.File) (sidecar, error) {
	var head [ondisk.RecordSize]byte
	copy(head[:], sidecarHead)
	if _, err := f.Write(head[:]); err != nil {
		return sidecar{}, err
	}
	return sidecar{f: f, chain: sha256.Sum256(head[:])}, nil
}

// frame frames the recording up to size, which is the end of a line.
func (s *sidecar) frame(kind byte, cast io.ReaderAt, size int64) error {
	buf := frames.Get().(*[frameSize]byte)
	defer frames.Put(buf)
	for s.off < size {
		var records []byte
		off, chain := s.off, s.chain
		for off < size && len(records) < 64*ondisk.RecordSize {
			b := buf[:min(size-off, frameSize)]
			if _, err := cast.ReadAt(b, off); err != nil {
				return fmt.Errorf("framing bytes %d to %d: %w", off, off+int64(len(b)), err)
			}
			if b = b[:bytes.LastIndexByte(b, '\n')+1]; len(b) == 0 {
				return &Damage{Offset: off, What: "a line is too long"}
			}
			r := ondisk.Record{Kind: kind, Length: uint32(len(b)), Offset: off, Time: lineTime(b), Sum: crc32.Checksum(b, ondisk.Castagnoli)}
			chain = r.Next(chain, b)
			records = r.Append(records, chain)
			off += int64(len(b))
		}
		if err := s.write(records); err != nil {
			return err
		}
		s.off, s.chain = off, chain
	}
	return nil
}

// end marks the end of the recording and makes the sidecar durable.
func (s *sidecar) end(kind byte) error {
	r := ondisk.Record{Kind: kind, Offset: s.off}
	chain := r.Next(s.chain, nil)
	if err := s.write(r.Append(nil, chain)); err != nil {
		return err
	}
	s.chain = chain
	return ondisk.Datasync(s.f)
}

// write appends whole records or none.
func (s *sidecar) write(records []byte) error {
	n, err := s.f.Write(records)
	if err != nil && n > 0 {
		if at, e := s.f.Seek(0, io.SeekEnd); e == nil {
			err = errors.Join(err, s.f.Truncate(at-int64(n)))
		}
	}
	return err
}

func ends(r ondisk.Record) bool { return r.Kind == recordEnd || r.Kind == recordRecovered }

// lineTime returns the time at the beginning of an event's line; zero for the
// header.
func lineTime(line []byte) time.Duration {
	line, ok := bytes.CutPrefix(line, []byte{'['})
	if !ok {
		return 0
	}
	text, _, _ := bytes.Cut(line[:min(len(line), 32)], []byte{','})
	t, _ := parseTime(text)
	return t
}

// parseTime reads seconds with at most six digits after the point, as they
// were written, without a detour over a float.
func parseTime(text []byte) (time.Duration, error) {
	whole, part, _ := bytes.Cut(text, []byte{'.'})
	s, err := strconv.ParseUint(string(whole), 10, 32)
	if err != nil {
		return 0, err
	}
	if len(part) > 6 {
		part = part[:6]
	}
	us := uint64(0)
	if len(part) > 0 {
		if us, err = strconv.ParseUint(string(part), 10, 32); err != nil {
			return 0, err
		}
		for range 6 - len(part) {
			us *= 10
		}
	}
	return time.Duration(s)*time.Second + time.Duration(us)*time.Microsecond, nil
}
