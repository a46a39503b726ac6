package ondisk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"sync/atomic"
	"time"
)

// RecordSize is the length of a record with its chain.
const RecordSize = 64

// Appended is how many bytes of recordings this process has written.
var Appended atomic.Int64

// Castagnoli is the table of CRC-32C.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A Record is RecordSize bytes, little endian, and stands for a piece of a
// recording; the chain is kept beside it:
//
//	 0  kind      1, then three zero bytes
//	 4  length    4  of the piece
//	 8  offset    8  of the piece
//	16  time      8  of the piece's first event, in microseconds
//	24  CRC-32C   4  of the piece's bytes
//	28  CRC-32C   4  of the record but for these four bytes
//	32  SHA-256  32  over the last record's SHA-256, bytes 0 to 27 of this
//	                 record, and the piece's bytes
type Record struct {
	Kind   byte
	Length uint32
	Offset int64
	Time   time.Duration
	Sum    uint32
}

// first returns the bytes that the chain covers.
func (r Record) first() (b [28]byte) {
	b[0] = r.Kind
	binary.LittleEndian.PutUint32(b[4:], r.Length)
	binary.LittleEndian.PutUint64(b[8:], uint64(r.Offset))
	binary.LittleEndian.PutUint64(b[16:], uint64(r.Time.Microseconds()))
	binary.LittleEndian.PutUint32(b[24:], r.Sum)
	return b
}

// Next returns the chain after r, whose frame holds data.
func (r Record) Next(chain [sha256.Size]byte, data []byte) (sum [sha256.Size]byte) {
	first := r.first()
	h := sha256.New()
	h.Write(chain[:])
	h.Write(first[:])
	h.Write(data)
	h.Sum(sum[:0])
	return sum
}

// Append appends the record with the chain as it is after it.
func (r Record) Append(dst []byte, chain [sha256.Size]byte) []byte {
	first := r.first()
	sum := crc32.Update(crc32.Checksum(first[:], Castagnoli), Castagnoli, chain[:])
	dst = append(dst, first[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, sum)
	return append(dst, chain[:]...)
}

// ParseRecord reads one record; ok says that it is as it was written.
func ParseRecord(b []byte) (r Record, chain [sha256.Size]byte, ok bool) {
	copy(chain[:], b[32:])
	r = Record{
		Kind:   b[0],
		Length: binary.LittleEndian.Uint32(b[4:]),
		Offset: int64(binary.LittleEndian.Uint64(b[8:])),
		Time:   time.Duration(binary.LittleEndian.Uint64(b[16:])) * time.Microsecond,
		Sum:    binary.LittleEndian.Uint32(b[24:]),
	}
	return r, chain, bytes.Equal(b, r.Append(nil, chain))
}
