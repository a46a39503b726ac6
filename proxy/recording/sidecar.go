package recording

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"sync"
	"time"
)

// A sidecar is a head of 64 bytes and records of 64 bytes, little endian:
//
//	 0  kind      1, then three zero bytes
//	 4  length    4  of the frame
//	 8  offset    8  of the frame in the .cast file
//	16  time      8  of the frame's first event, in microseconds
//	24  CRC-32C   4  of the frame's bytes
//	28  CRC-32C   4  of the record but for these four bytes
//	32  SHA-256  32  over the last record's SHA-256, bytes 0 to 27 of this
//	                 record, and the frame's bytes
const (
	sidecarHead = "inside recording index 1\n"
	recordSize  = 64
	frameSize   = maxLine

	recordFrame     = 'f' // made while the recording was written
	recordReframed  = 'r' // made by Recover over lines that had no frame yet
	recordEnd       = 'e' // the recording was closed; no length
	recordRecovered = 'x' // the recording was ended by Recover; no length
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

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
	var head [recordSize]byte
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
		for off < size && len(records) < 64*recordSize {
			b := buf[:min(size-off, frameSize)]
			if _, err := cast.ReadAt(b, off); err != nil {
				return fmt.Errorf("framing bytes %d to %d: %w", off, off+int64(len(b)), err)
			}
			if b = b[:bytes.LastIndexByte(b, '\n')+1]; len(b) == 0 {
				return &Damage{Offset: off, What: "a line is too long"}
			}
			r := record{kind: kind, length: uint32(len(b)), offset: off, time: lineTime(b), sum: crc32.Checksum(b, castagnoli)}
			chain = r.next(chain, b)
			records = r.append(records, chain)
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
	r := record{kind: kind, offset: s.off}
	chain := r.next(s.chain, nil)
	if err := s.write(r.append(nil, chain)); err != nil {
		return err
	}
	s.chain = chain
	return datasync(s.f)
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

// A record is one record of a sidecar, but for the chain.
type record struct {
	kind   byte
	length uint32
	offset int64
	time   time.Duration
	sum    uint32
}

func (r record) ends() bool { return r.kind == recordEnd || r.kind == recordRecovered }

// first returns the bytes that the chain covers.
func (r record) first() (b [28]byte) {
	b[0] = r.kind
	binary.LittleEndian.PutUint32(b[4:], r.length)
	binary.LittleEndian.PutUint64(b[8:], uint64(r.offset))
	binary.LittleEndian.PutUint64(b[16:], uint64(r.time.Microseconds()))
	binary.LittleEndian.PutUint32(b[24:], r.sum)
	return b
}

// next returns the chain after r, whose frame holds data.
func (r record) next(chain [sha256.Size]byte, data []byte) (sum [sha256.Size]byte) {
	first := r.first()
	h := sha256.New()
	h.Write(chain[:])
	h.Write(first[:])
	h.Write(data)
	h.Sum(sum[:0])
	return sum
}

func (r record) append(dst []byte, chain [sha256.Size]byte) []byte {
	first := r.first()
	sum := crc32.Update(crc32.Checksum(first[:], castagnoli), castagnoli, chain[:])
	dst = append(dst, first[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, sum)
	return append(dst, chain[:]...)
}

// parseRecord reads one record; ok says that it is as it was written.
func parseRecord(b []byte) (r record, chain [sha256.Size]byte, ok bool) {
	copy(chain[:], b[32:])
	r = record{
		kind:   b[0],
		length: binary.LittleEndian.Uint32(b[4:]),
		offset: int64(binary.LittleEndian.Uint64(b[8:])),
		time:   time.Duration(binary.LittleEndian.Uint64(b[16:])) * time.Microsecond,
		sum:    binary.LittleEndian.Uint32(b[24:]),
	}
	return r, chain, bytes.Equal(b, r.append(nil, chain))
}

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
