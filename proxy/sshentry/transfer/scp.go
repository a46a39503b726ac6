package transfer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"slices"
	"strconv"
	"strings"

	"github.com/pawelmojski/inside/proxy/recording"
)

const (
	maxSCPLine = 16 << 10 // of OpenSSH's scp
	maxDepth   = 256      // of folders
	maxWaiting = 64       // answers; scp itself never waits for more than one
)

// An scp follows the protocol that scp spoke before SFTP, and still does with
// -O: the source sends lines ("C0644 12 name", "D0755 0 folder", "E", "T…"),
// contents and a zero byte behind them; the sink answers each with a zero
// byte, or with 1 or 2 and a line that says what is wrong. There is no
// document of it but the program, OpenSSH's scp.c.
type scp struct {
	findings
	upload bool
	given  string // the path of the command line

	// The source.
	state   int
	line    []byte
	dirs    []string
	current *scpFile

	// The sink.
	answer  []byte // an answer that is not zero
	waiting []wait
}

// What the source sends next.
const (
	inLine = iota
	inBody
	inTail
	inTailError // a message in the place of the zero byte
)

type scpFile struct {
	path  string
	size  int64
	moved int64
	began bool // more than its line was seen
	hash  hash.Hash
}

// A wait is what the sink has to answer.
type wait struct {
	to   byte     // 0 is the beginning, 'C', 'D', 'T', 'E', '.' is the end of a file
	file *scpFile // of 'C' and '.'
	err  string   // what the source said about it
}

func newSCP(upload bool, given string) *scp {
	return &scp{upload: upload, given: clip([]byte(given)), waiting: []wait{{}}}
}

func (s *scp) up(p []byte) error {
	if s.upload {
		return s.source(p)
	}
	return s.sink(p)
}

func (s *scp) down(p []byte) error {
	if s.upload {
		return s.sink(p)
	}
	return s.source(p)
}

// source takes bytes of the side that has the files. Contents are hashed
// without the lock; only this side touches the hash.
func (s *scp) source(p []byte) error {
	for len(p) > 0 {
		n, f, err := s.control(p)
		if err != nil {
			return err
		}
		if f != nil {
			f.hash.Write(p[:n])
		}
		p = p[n:]
	}
	return nil
}

// control takes what stands at the beginning of p. If these are contents it
// only counts them and returns whose.
func (s *scp) control(p []byte) (int, *scpFile, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.state {
	case inBody:
		f := s.current
		n := int(min(int64(len(p)), f.size-f.moved))
		f.began = true
		if f.moved += int64(n); f.moved == f.size {
			s.state = inTail
		}
		return n, f, nil
	case inTail:
		s.current.began = true
		switch p[0] {
		case 0:
			return 1, nil, s.fileSent("")
		case 1, 2:
			s.state = inTailError
			return 1, nil, nil
		}
		return 0, nil, errors.New("a file is longer than it was said to be")
	}
	end := bytes.IndexByte(p, '\n') + 1
	if end == 0 {
		end = len(p)
	}
	if len(s.line)+end > maxSCPLine {
		return 0, nil, errors.New("a line is too long")
	}
	s.line = append(s.line, p[:end]...)
	if !bytes.HasSuffix(s.line, []byte{'\n'}) {
		return end, nil, nil
	}
	line := string(s.line[:len(s.line)-1])
	s.line = nil
	if s.state == inTailError {
		return end, nil, s.fileSent(line)
	}
	return end, nil, s.command(line)
}

// command takes a line of the source.
func (s *scp) command(line string) error {
	if line == "" {
		return errors.New("an empty line")
	}
	what, rest := line[0], line[1:]
	switch what {
	case 1, 2: // the source cannot read something; the sink does not answer
		s.add(recording.Event{Op: s.op(), Path: s.given, Detail: "failed: " + rest})
		return nil
	case 'T':
		return s.wait(wait{to: 'T'})
	case 'E':
		if len(s.dirs) == 0 {
			return errors.New("a folder ends that did not begin")
		}
		s.dirs = s.dirs[:len(s.dirs)-1]
		return s.wait(wait{to: 'E'})
	case 'C', 'D':
		size, name, err := parseEntry(rest)
		if err != nil {
			return err
		}
		if what == 'D' {
			if len(s.dirs) == maxDepth {
				return errors.New("folders are nested too deep")
			}
			s.dirs = append(s.dirs, name)
			return s.wait(wait{to: 'D'})
		}
		f := &scpFile{path: s.pathOf(append(slices.Clone(s.dirs), name)), size: size, hash: sha256.New()}
		s.current, s.state = f, inBody
		if size == 0 {
			s.state = inTail
		}
		return s.wait(wait{to: 'C', file: f})
	}
	return errors.New("this is no line of scp")
}

// parseEntry reads what follows C or D: mode, size and name.
func parseEntry(line string) (size int64, name string, err error) {
	mode, line, _ := strings.Cut(line, " ")
	digits, name, ok := strings.Cut(line, " ")
	if _, e := strconv.ParseUint(mode, 8, 16); e != nil || !ok || name == "" {
		return 0, "", errors.New("a line names no file")
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return 0, "", errors.New("a line has no size")
	}
	return int64(n), clip([]byte(name)), nil
}

// fileSent takes the end of a file's contents.
func (s *scp) fileSent(problem string) error {
	f := s.current
	s.current, s.state = nil, inLine
	return s.wait(wait{to: '.', file: f, err: problem})
}

func (s *scp) wait(w wait) error {
	if len(s.waiting) >= maxWaiting {
		return errors.New("the other side does not answer")
	}
	s.waiting = append(s.waiting, w)
	return nil
}

// sink takes bytes of the side that writes the files.
func (s *scp) sink(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range p {
		switch {
		case len(s.answer) > 0: // within a message
			if c != '\n' {
				if len(s.answer) > maxSCPLine {
					return errors.New("a message is too long")
				}
				s.answer = append(s.answer, c)
				continue
			}
			problem := string(s.answer[1:])
			s.answer = nil
			if problem == "" {
				problem = "no reason was given"
			}
			if err := s.answered(problem); err != nil {
				return err
			}
		case c == 0:
			if err := s.answered(""); err != nil {
				return err
			}
		case c == 1 || c == 2:
			s.answer = append(s.answer, c)
		default:
			return errors.New("this is no answer of scp")
		}
	}
	return nil
}

// answered takes one answer; problem is empty when all is well.
func (s *scp) answered(problem string) error {
	if len(s.waiting) == 0 {
		return errors.New("an answer to nothing")
	}
	w := s.waiting[0]
	s.waiting = s.waiting[1:]
	switch {
	case w.to == '.':
		s.done(w, problem)
	case problem == "":
	case w.to == 'C':
		if w.file.began {
			return errors.New("contents were sent for a file that was refused")
		}
		s.current, s.state = nil, inLine
		s.add(s.event(w.file, "failed: "+problem))
	case w.to == 'D':
		if len(s.dirs) > 0 {
			s.add(recording.Event{Op: s.op(), Path: s.pathOf(s.dirs), To: s.given, Detail: "failed: " + problem})
			s.dirs = s.dirs[:len(s.dirs)-1]
		}
	case w.to == 0:
		s.add(recording.Event{Op: s.op(), Path: s.given, Detail: "failed: " + problem})
	}
	return nil
}

// done reports a file that has arrived, or has not.
func (s *scp) done(w wait, problem string) {
	if problem == "" {
		problem = w.err
	}
	if problem != "" {
		s.add(s.event(w.file, "failed: "+problem))
		return
	}
	e := s.event(w.file, "")
	e.SHA256 = hex.EncodeToString(w.file.hash.Sum(nil))
	s.add(e)
}

// end reports files that did not arrive.
func (s *scp) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.waiting {
		if w.to == '.' {
			s.add(s.event(w.file, "unfinished"))
		}
	}
	if s.current != nil {
		s.add(s.event(s.current, "unfinished"))
	}
	s.waiting, s.current = nil, nil
}

func (s *scp) op() string {
	if s.upload {
		return "upload"
	}
	return "download"
}

// event tells what was moved of f.
func (s *scp) event(f *scpFile, detail string) recording.Event {
	e := recording.Event{Op: s.op(), Path: f.path, Detail: detail}
	if s.upload {
		// Whether this is the file or the folder it goes to is not said.
		e.In, e.To = f.moved, s.given
		return e
	}
	e.Out = f.moved
	if _, ok := s.folder(f.path); !ok { // a pattern, or a folder's contents
		e.Detail = strings.TrimSuffix("asked for as "+s.given+"; "+detail, "; ")
	}
	return e
}

// pathOf returns the path of a file or folder, as far as it is known: scp sends only
// the last part of a path it was asked for.
func (s *scp) pathOf(parts []string) string {
	p := strings.Join(parts, "/")
	if folder, ok := s.folder(p); ok {
		p = folder + p
	}
	return clip([]byte(p))
}

// folder returns the folder of what was asked for; ok says that p begins with
// its name, or is it.
func (s *scp) folder(p string) (folder string, ok bool) {
	given := strings.TrimRight(s.given, "/")
	folder = given[:strings.LastIndexByte(given, '/')+1]
	first, _, _ := strings.Cut(strings.TrimPrefix(p, folder), "/")
	return folder, !s.upload && first == given[len(folder):]
}
