package transfer

import (
	"errors"
	"fmt"
	"hash"

	"github.com/pawelmojski/inside/proxy/recording"
)

// Packet types of SFTP version 3, draft-ietf-secsh-filexfer-02 section 3.
const (
	typeInit     = 1
	typeVersion  = 2
	typeOpen     = 3
	typeClose    = 4
	typeRead     = 5
	typeWrite    = 6
	typeOpendir  = 11
	typeRemove   = 13
	typeMkdir    = 14
	typeRmdir    = 15
	typeRename   = 18
	typeSymlink  = 20
	typeExtended = 200

	typeStatus = 101
	typeHandle = 102
	typeData   = 103
)

const (
	maxHandle   = 256     // the draft's limit of a handle's length
	maxFiles    = 1024    // that are open at once
	maxRequests = 4096    // without an answer
	maxAsked    = 1 << 20 // bytes of paths in them
)

// An sftp follows the requests of a client and the answers of the server.
// What both directions share is guarded by mu; the packets of a direction,
// and the hash a direction writes to, belong to it alone.
type sftp struct {
	findings
	client, server packets
	started        bool // the client sent INIT
	answered       bool // the server sent VERSION

	asked   map[uint32]*request // by id, the oldest first
	waiting int                 // requests without an answer
	paths   int                 // bytes of paths in them
	files   map[string]*file    // by handle
	opened  int                 // files so far
}

// A request waits for its answer. Ids are the client's choice: the same one
// may be used by several.
type request struct {
	kind     byte
	op       string // for requests that change something: what is reported
	path, to string
	flags    uint32
	file     *file
	offset   uint64
	length   int
	next     *request // with the same id
}

func newSFTP() *sftp {
	s := &sftp{asked: make(map[uint32]*request), files: make(map[string]*file)}
	s.client = packets{need: needOfRequest, packet: s.request}
	s.server = packets{need: needOfAnswer, packet: s.answer}
	return s
}

func (s *sftp) up(p []byte) error   { return s.client.feed(p) }
func (s *sftp) down(p []byte) error { return s.server.feed(p) }

// needOfRequest: everything of most requests, but only the head of a WRITE.
func needOfRequest(head []byte, total int) (int, error) {
	switch head[4] {
	case typeInit:
		return lead + 4, nil
	case typeWrite:
		const toHandle = lead + 4 + 4 // id and length of the handle
		if len(head) < toHandle {
			return toHandle, nil
		}
		f := fields{b: head[lead+4:]}
		n := f.uint32()
		if n > maxHandle {
			return 0, errors.New("a handle is too long")
		}
		return toHandle + int(n) + 8 + 4, nil // offset and length of the data
	}
	return min(total, maxGather), nil
}

// needOfAnswer: enough to know what became of the request.
func needOfAnswer(head []byte, total int) (int, error) {
	switch head[4] {
	case typeVersion:
		return lead + 4, nil
	case typeStatus, typeData: // id and code, or length
		return lead + 8, nil
	case typeHandle:
		if total > lead+8+maxHandle {
			return 0, errors.New("a handle is too long")
		}
		return total, nil
	}
	return lead + 4, nil
}

// request takes a packet of the client.
func (s *sftp) request(head []byte, total int) (hash.Hash, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := fields{b: head[lead:]}
	if head[4] == typeInit {
		s.started = true
		return nil, nil
	}
	if !s.started {
		return nil, errors.New("the client did not begin with INIT")
	}
	id := f.uint32()
	r := &request{kind: head[4]}
	h, err := s.read(r, &f, total-len(head))
	if err != nil {
		return nil, err
	}
	if f.cut && total <= maxGather { // a longer one was not gathered as a whole
		return nil, errShort
	}
	return h, s.ask(id, r)
}

// read reads the fields of a request, whose body has rest bytes.
func (s *sftp) read(r *request, f *fields, rest int) (hash.Hash, error) {
	switch r.kind {
	case typeOpen:
		r.path, r.op = clip(f.string()), "open"
		r.flags = f.uint32()
	case typeClose:
		if r.file = s.files[string(f.string())]; r.file != nil {
			r.file.closing()
		}
	case typeRead:
		r.file = s.files[string(f.string())]
		r.offset = f.uint64()
	case typeWrite:
		r.file = s.files[string(f.string())]
		r.offset = f.uint64()
		if r.length = int(f.uint32()); r.length != rest {
			return nil, errors.New("a WRITE has another length than its packet")
		}
		if r.file != nil {
			return r.file.sent(r.offset, r.length), nil
		}
	case typeRemove:
		r.op, r.path = "remove", clip(f.string())
	case typeMkdir:
		r.op, r.path = "mkdir", clip(f.string())
	case typeRmdir:
		r.op, r.path = "rmdir", clip(f.string())
	case typeRename:
		r.op, r.path, r.to = "rename", clip(f.string()), clip(f.string())
	case typeSymlink:
		// OpenSSH, and who wants to talk to it, sends the target first,
		// against the draft (OpenSSH's PROTOCOL, section 4.1).
		r.op, r.to, r.path = "symlink", clip(f.string()), clip(f.string())
	case typeExtended:
		s.readExtended(r, f)
	}
	return nil, nil
}

// readExtended knows the extensions of OpenSSH that move files or contents.
func (s *sftp) readExtended(r *request, f *fields) {
	switch string(f.string()) {
	case "posix-rename@openssh.com":
		r.op, r.path, r.to = "rename", clip(f.string()), clip(f.string())
	case "hardlink@openssh.com":
		r.op, r.path, r.to = "link", clip(f.string()), clip(f.string())
	case "copy-data":
		from := s.files[string(f.string())]
		f.uint64()
		f.uint64()
		to := s.files[string(f.string())]
		if from != nil && to != nil {
			r.op, r.path, r.to = "copy", from.path, to.path
			to.copied = true
		}
	}
}

// ask keeps a request until its answer.
func (s *sftp) ask(id uint32, r *request) error {
	s.waiting++
	s.paths += len(r.path) + len(r.to)
	if s.waiting > maxRequests || s.paths > maxAsked {
		return errors.New("too many requests have no answer")
	}
	last := s.asked[id]
	if last == nil {
		s.asked[id] = r
		return nil
	}
	for last.next != nil {
		last = last.next
	}
	last.next = r
	return nil
}

// answerTo takes the oldest request with this id; nil if there is none.
func (s *sftp) answerTo(id uint32) *request {
	r := s.asked[id]
	if r == nil {
		return nil
	}
	if r.next == nil {
		delete(s.asked, id)
	} else {
		s.asked[id] = r.next
	}
	s.waiting--
	s.paths -= len(r.path) + len(r.to)
	return r
}

// answer takes a packet of the server.
func (s *sftp) answer(head []byte, total int) (hash.Hash, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := fields{b: head[lead:]}
	if head[4] == typeVersion {
		if v := f.uint32(); v > 3 {
			return nil, fmt.Errorf("SFTP version %d is not known here", v)
		}
		s.answered = true
		return nil, nil
	}
	if !s.answered {
		return nil, errors.New("the server did not begin with VERSION")
	}
	r := s.answerTo(f.uint32())
	if r == nil {
		return nil, nil
	}
	switch head[4] {
	case typeStatus:
		s.status(r, f.uint32())
	case typeHandle:
		if handle := f.string(); r.kind == typeOpen && r.op != "" {
			s.open(string(handle), r)
		}
	case typeData:
		n := int(f.uint32())
		if n != total-len(head) {
			return nil, errors.New("a DATA has another length than its packet")
		}
		if r.kind == typeRead && r.file != nil {
			return r.file.received(r.offset, n), nil
		}
	}
	return nil, nil
}

// status takes the outcome of a request.
func (s *sftp) status(r *request, code uint32) {
	switch {
	case r.kind == typeClose:
		if r.file != nil {
			s.closed(r.file, code)
		}
	case r.kind == typeWrite:
		if r.file != nil {
			r.file.written(r.length, code)
		}
	case r.kind == typeRead:
		if r.file != nil {
			r.file.ended(r.offset, code)
		}
	case r.kind == typeOpen && r.op != "":
		s.add(recording.Event{Op: opOf(r.flags), Path: r.path, Detail: failure(code)})
	case r.op != "":
		s.add(recording.Event{Op: r.op, Path: r.path, To: r.to, Detail: failure(code)})
	}
}

// end reports what has no end.
func (s *sftp) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.openFiles() {
		s.add(f.event("unfinished"))
	}
	clear(s.files)
	for _, r := range s.asked {
		for ; r != nil; r = r.next {
			if r.op == "" {
				continue
			}
			e := recording.Event{Op: r.op, Path: r.path, To: r.to, Detail: "no answer was seen"}
			if r.kind == typeOpen {
				e.Op = opOf(r.flags)
			}
			s.add(e)
		}
	}
	clear(s.asked)
}

// Status codes, draft-ietf-secsh-filexfer-02 section 7.
const (
	statusOK  = 0
	statusEOF = 1
)

// failure says in words what a status code means; "" is success. The server's
// own words are not taken: they may be anything.
func failure(code uint32) string {
	words := [...]string{"", "end of file", "no such file", "permission denied", "failure", "bad message", "no connection", "connection lost", "not supported"}
	switch {
	case code == statusOK:
		return ""
	case int64(code) < int64(len(words)):
		return "failed: " + words[code]
	}
	return fmt.Sprintf("failed: status %d", code)
}
