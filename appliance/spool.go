package appliance

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// A spool keeps on disk what has to be written down, in order, until the
// database has it: what waits for a database that is away outlives a crash of
// the daemon. It is one file of frames, each a length, a checksum and a line;
// the first frame holds the spool's id. A frame that a crash has torn is cut
// off.
//
// A line is with the kernel before anybody goes on, so no crash of the daemon
// loses it, and on the disk within a second, as recordings are.
type spool struct {
	file  *os.File
	id    string
	head  int64       // size of the first frame
	size  int64       // of all whole frames
	dirty atomic.Bool // not on the disk yet
}

// A line is one thing to write down.
type line struct {
	N    int64  `json:"n"` // counts from 1 for each spool
	Kind string `json:"kind"`

	Entry   *store.Entry     `json:"entry,omitempty"`
	Session policy.SessionID `json:"session,omitempty"`
	Stay    policy.StayID    `json:"stay,omitempty"`
	End     time.Time        `json:"end,omitzero"`
	Why     policy.EndCause  `json:"why,omitempty"`
	Carried policy.Carried   `json:"carried,omitzero"`
	By      string           `json:"by,omitempty"`
	Action  string           `json:"action,omitempty"`
	Object  string           `json:"object,omitempty"`
	Detail  string           `json:"detail,omitempty"`

	written chan<- struct{} // of lineSettled: closed when its turn comes
}

// Kinds of lines.
const (
	lineDenied  = "denied"
	lineLeft    = "left"
	lineStay    = "stay-ended"
	lineAudit   = "audit"
	lineSettled = "settled" // nothing to write: somebody waits for those before it
)

type spoolHead struct {
	Spool string `json:"spool"`
}

const (
	frameHead = 8 // length and checksum
	maxFrame  = 64 << 10
	maxSpool  = 1 << 30

	// spoolSlack is how much of lines that are written may lie in the file
	// before it is cut.
	spoolSlack = 256 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openSpool opens or makes the file and returns the lines in it. torn is how
// many bytes at its end were no whole line.
func openSpool(path string) (s *spool, lines []line, torn int64, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("spool: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			err = fmt.Errorf("spool %s: %w", path, err)
		}
	}()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, nil, 0, errors.New("another insided uses it: stop it first, or choose another [paths] state")
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSpool))
	if err != nil {
		return nil, nil, 0, err
	}
	s = &spool{file: f}
	lines = s.parse(text)
	torn = int64(len(text)) - s.size
	if s.id == "" { // new, or torn when it was
		err = s.begin()
	} else if torn > 0 {
		err = f.Truncate(s.size)
	}
	return s, lines, torn, err
}

// parse reads frames as far as they are whole.
func (s *spool) parse(text []byte) (lines []line) {
	for {
		body, ok := frameAt(text[s.size:])
		if !ok {
			return lines
		}
		if s.id == "" {
			var head spoolHead
			if json.Unmarshal(body, &head) != nil || head.Spool == "" {
				return nil
			}
			s.id, s.head = head.Spool, int64(frameHead+len(body))
		} else {
			var ln line
			if json.Unmarshal(body, &ln) != nil {
				return lines
			}
			lines = append(lines, ln)
		}
		s.size += int64(frameHead + len(body))
	}
}

func frameAt(b []byte) (body []byte, ok bool) {
	if len(b) < frameHead {
		return nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if n == 0 || n > maxFrame || uint64(len(b)-frameHead) < uint64(n) {
		return nil, false
	}
	body = b[frameHead : frameHead+int(n)]
	return body, crc32.Checksum(body, castagnoli) == binary.BigEndian.Uint32(b[4:])
}

// begin makes it a new spool, with an id nobody else has.
func (s *spool) begin() error {
	s.id = strings.ToLower(rand.Text())
	s.size, s.head = 0, 0
	if err := s.file.Truncate(0); err != nil {
		return err
	}
	if err := s.append(spoolHead{s.id}); err != nil {
		return err
	}
	s.head = s.size
	return s.sync()
}

// append adds one frame. What was written in part is taken back.
func (s *spool) append(value any) error {
	var b bytes.Buffer
	b.Write(make([]byte, frameHead))
	if err := json.NewEncoder(&b).Encode(value); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	frame := b.Bytes()
	body := frame[frameHead:]
	if len(body) > maxFrame {
		return fmt.Errorf("spool: a line of %d bytes", len(body))
	}
	binary.BigEndian.PutUint32(frame, uint32(len(body)))
	binary.BigEndian.PutUint32(frame[4:], crc32.Checksum(body, castagnoli))
	if s.size+int64(len(frame)) > maxSpool {
		return fmt.Errorf("spool: %d MiB wait for the database", s.size>>20)
	}
	if _, err := s.file.Write(frame); err != nil {
		return errors.Join(fmt.Errorf("spool: %w", err), s.file.Truncate(s.size))
	}
	s.size += int64(len(frame))
	s.dirty.Store(true)
	return nil
}

// clear takes every line out: all are written.
func (s *spool) clear() error {
	if err := s.file.Truncate(s.head); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	s.size = s.head
	return nil
}

// sync puts it on the disk.
func (s *spool) sync() error {
	s.dirty.Store(false)
	if err := unix.Fdatasync(int(s.file.Fd())); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}
