package transfer

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"slices"

	"github.com/pawelmojski/inside/proxy/recording"
)

// Flags of OPEN, draft-ietf-secsh-filexfer-02 section 6.3.
const (
	flagWrite     = 0x02
	flagAppend    = 0x04
	flagCreate    = 0x08
	flagTruncate  = 0x10
	flagExclusive = 0x20
)

func opOf(flags uint32) string {
	if flags&(flagWrite|flagAppend|flagCreate|flagTruncate) != 0 {
		return "upload"
	}
	return "download"
}

// A file is open on the server.
type file struct {
	handle string
	number int // files in the order they were opened
	path   string
	flags  uint32
	down   contents
	up     contents
	out    int64 // bytes that were read
	in     int64 // bytes of writes that were confirmed
	asked  int64 // bytes of writes that were sent
	failed uint32
	atEOF  bool // a read found the end right behind what was hashed
	copied bool // the server copies contents into it
	closes bool // CLOSE was sent
}

// contents is hashed as long as it comes in order.
type contents struct {
	hash   hash.Hash
	next   uint64 // where the next bytes belong
	broken bool
	sum    string
}

// at returns where to hash n bytes that belong at offset; nil if they do not
// follow the last ones.
func (c *contents) at(offset uint64, n int) hash.Hash {
	if c.broken || n == 0 {
		return nil
	}
	if offset != c.next {
		c.broken = true
		return nil
	}
	if c.hash == nil {
		c.hash = sha256.New()
	}
	c.next += uint64(n)
	return c.hash
}

// finish is called by the direction that hashes.
func (c *contents) finish() {
	if c.hash != nil {
		c.sum = hex.EncodeToString(c.hash.Sum(nil))
	}
}

// sent takes the head of a WRITE and returns where its data is hashed.
func (f *file) sent(offset uint64, n int) hash.Hash {
	if f.closes {
		return nil // the server will refuse it
	}
	f.asked += int64(n)
	if f.flags&flagAppend != 0 {
		f.up.broken = true // the server decides where it belongs
	}
	return f.up.at(offset, n)
}

// written takes the answer to a WRITE.
func (f *file) written(n int, code uint32) {
	if code != statusOK {
		f.failed = code
		return
	}
	f.in += int64(n)
}

// received takes the head of a DATA and returns where its data is hashed.
func (f *file) received(offset uint64, n int) hash.Hash {
	f.out += int64(n)
	return f.down.at(offset, n)
}

// ended takes the answer that nothing could be read at offset.
func (f *file) ended(offset uint64, code uint32) {
	switch {
	case code != statusEOF:
		f.failed = code
	case offset == f.down.next:
		f.atEOF = true
	}
}

// closing takes the CLOSE itself: nothing is hashed upwards after it.
func (f *file) closing() {
	if !f.closes {
		f.closes = true
		f.up.finish()
	}
}

// open takes the handle that a file was given.
func (s *sftp) open(handle string, r *request) {
	f := &file{handle: handle, number: s.opened, path: r.path, flags: r.flags}
	if old := s.files[handle]; old != nil {
		s.add(old.event("unfinished"))
		delete(s.files, handle)
	}
	if len(s.files) >= maxFiles {
		s.add(f.event("too many files are open, what was moved is not known"))
		return
	}
	s.opened++
	s.files[handle] = f
}

// closed takes the answer to a CLOSE.
func (s *sftp) closed(f *file, code uint32) {
	if s.files[f.handle] != f {
		return // closed twice
	}
	delete(s.files, f.handle)
	f.down.finish()
	if f.failed == statusOK {
		f.failed = code
	}
	s.add(f.event(failure(f.failed)))
}

// openFiles returns the open files in the order they were opened.
func (s *sftp) openFiles() []*file {
	all := make([]*file, 0, len(s.files))
	for _, f := range s.files {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *file) int { return cmp.Compare(a.number, b.number) })
	return all
}

// event tells what was moved. detail is empty when all went well.
func (f *file) event(detail string) recording.Event {
	e := recording.Event{Op: opOf(f.flags), Path: f.path, In: f.in, Out: f.out, Detail: detail}
	switch {
	case f.asked > 0:
		e.Op = "upload"
	case f.out > 0:
		e.Op = "download"
	}
	if detail != "" || f.copied {
		return e
	}
	empty := hex.EncodeToString(sha256.New().Sum(nil))
	switch {
	case e.Op == "upload" && f.asked > 0:
		if !f.up.broken {
			e.SHA256 = f.up.sum
		}
	case e.Op == "upload":
		if f.flags&(flagTruncate|flagExclusive) != 0 {
			e.SHA256 = empty
		}
	case f.out > 0:
		if !f.down.broken {
			e.SHA256 = f.down.sum
		}
	case f.atEOF:
		e.SHA256 = empty
	}
	return e
}
