package transfer

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/proxy/recording"
)

// packet makes an SFTP packet. Strings and byte slices become strings of the
// protocol, raw its last bytes as they are.
type raw []byte

func packet(kind byte, fields ...any) []byte {
	b := []byte{0, 0, 0, 0, kind}
	for _, f := range fields {
		switch f := f.(type) {
		case int:
			b = binary.BigEndian.AppendUint32(b, uint32(f))
		case uint64:
			b = binary.BigEndian.AppendUint64(b, f)
		case string:
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(f))), f...)
		case []byte:
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(f))), f...)
		case raw:
			b = append(b, f...)
		default:
			panic(fmt.Sprintf("%T", f))
		}
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// A step is a packet and its direction.
type step struct {
	up bool
	b  []byte
}

func up(kind byte, fields ...any) step   { return step{true, packet(kind, fields...)} }
func down(kind byte, fields ...any) step { return step{false, packet(kind, fields...)} }

var greeting = []step{up(typeInit, 3), down(typeVersion, 3, "posix-rename@openssh.com", "1")}

const (
	readFlag  = 0x01
	writeFlag = flagWrite | flagCreate | flagTruncate
)

func opened(id int, path string, flags int, handle string) []step {
	return []step{up(typeOpen, id, path, flags, 0), down(typeHandle, id, handle)}
}

func join(parts ...any) (all []step) {
	for _, p := range parts {
		switch p := p.(type) {
		case step:
			all = append(all, p)
		case []step:
			all = append(all, p...)
		}
	}
	return all
}

// sniff feeds steps in pieces of at most size bytes, then closes.
func sniff(s *Sniffer, steps []step, size int) {
	for _, st := range steps {
		for b := st.b; len(b) > 0; {
			n := min(len(b), size)
			if st.up {
				s.Up(b[:n])
			} else {
				s.Down(b[:n])
			}
			b = b[n:]
		}
	}
	s.Close()
}

// sftpEvents feeds steps in several ways and checks that they give the same.
func sftpEvents(t testing.TB, steps []step) (events []recording.Event, lost bool) {
	t.Helper()
	last := ""
	for _, size := range []int{1 << 30, 1, 7, 1000} {
		events = nil
		s := SFTP(func(e recording.Event) { events = append(events, e) })
		sniff(s, steps, size)
		lost = s.Lost()
		if now := fmt.Sprintf("%+v", events); last != "" && now != last {
			t.Fatalf("in pieces of %d bytes:\n%s\nbefore:\n%s", size, now, last)
		} else {
			last = now
		}
	}
	return events, lost
}

func sumOf(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func TestSFTPConversations(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 5000)
	a, b := data[:30000], data[30000:]
	ok := func(id int) step { return down(typeStatus, id, statusOK, "", "") }
	write := func(id int, h string, off int, p []byte) step { return up(typeWrite, id, h, uint64(off), p) }
	read := func(id int, h string, off, n int) step { return up(typeRead, id, h, uint64(off), n) }
	for name, c := range map[string]struct {
		steps []step
		want  []recording.Event
	}{
		"writes in flight": {
			join(opened(1, "/f", writeFlag, "h"), write(2, "h", 0, a), write(3, "h", len(a), b), up(typeClose, 4, "h"), ok(2), ok(3), ok(4)),
			[]recording.Event{{Op: "upload", Path: "/f", In: 50000, SHA256: sumOf(data)}},
		},
		"writes out of order": {
			join(opened(1, "/f", writeFlag, "h"), write(3, "h", len(a), b), write(2, "h", 0, a), ok(2), ok(3), up(typeClose, 4, "h"), ok(4)),
			[]recording.Event{{Op: "upload", Path: "/f", In: 50000}},
		},
		"a write is confirmed, another refused": {
			join(opened(1, "/f", writeFlag, "h"), write(2, "h", 0, a), ok(2), write(3, "h", len(a), b), down(typeStatus, 3, 4, "disk full \x1b[2J", ""), up(typeClose, 4, "h"), ok(4)),
			[]recording.Event{{Op: "upload", Path: "/f", In: 30000, Detail: "failed: failure"}},
		},
		"closing fails": {
			join(opened(1, "/f", writeFlag, "h"), write(2, "h", 0, a), ok(2), up(typeClose, 4, "h"), down(typeStatus, 4, 99, "", "")),
			[]recording.Event{{Op: "upload", Path: "/f", In: 30000, Detail: "failed: status 99"}},
		},
		"an append": {
			join(opened(1, "/f", flagWrite|flagAppend, "h"), write(2, "h", 0, a), ok(2), up(typeClose, 4, "h"), ok(4)),
			[]recording.Event{{Op: "upload", Path: "/f", In: 30000}},
		},
		"a write after the close": {
			join(opened(1, "/f", writeFlag, "h"), write(2, "h", 0, a), up(typeClose, 4, "h"), write(3, "h", len(a), b), ok(2), ok(4), down(typeStatus, 3, 4, "", "")),
			[]recording.Event{{Op: "upload", Path: "/f", In: 30000, SHA256: sumOf(a)}},
		},
		"a write elsewhere after the close": {
			join(opened(1, "/f", writeFlag, "h"), write(2, "h", 0, a), up(typeClose, 4, "h"), write(3, "h", 7, b), ok(2), ok(4), down(typeStatus, 3, 4, "", "")),
			[]recording.Event{{Op: "upload", Path: "/f", In: 30000, SHA256: sumOf(a)}},
		},
		"nothing is written to a file that may have contents": {
			join(opened(1, "/f", flagWrite, "h"), up(typeClose, 4, "h"), ok(4)),
			[]recording.Event{{Op: "upload", Path: "/f"}},
		},
		"nothing is to be read behind the end of a file that may have contents": {
			join(opened(1, "/f", readFlag, "h"), read(2, "h", 100, 10), down(typeStatus, 2, statusEOF, "", ""), up(typeClose, 4, "h"), ok(4)),
			[]recording.Event{{Op: "download", Path: "/f"}},
		},
		"many long paths, each with its answer": {
			flood(1000, func(i int) step {
				if i%2 == 0 {
					return up(typeOpen, i, strings.Repeat("x", 4000), readFlag, 0)
				}
				return down(typeHandle, i-1, fmt.Sprint(i))
			}),
			unfinished(500, strings.Repeat("x", 4000)),
		},
		"reads in flight": {
			join(opened(1, "/f", readFlag, "h"), read(2, "h", 0, 30000), read(3, "h", 30000, 30000), read(4, "h", 60000, 30000),
				down(typeData, 2, a), down(typeData, 3, b), down(typeStatus, 4, statusEOF, "", ""), up(typeClose, 5, "h"), ok(5)),
			[]recording.Event{{Op: "download", Path: "/f", Out: 50000, SHA256: sumOf(data)}},
		},
		"answers to reads out of order": {
			join(opened(1, "/f", readFlag, "h"), read(2, "h", 0, 30000), read(3, "h", 30000, 30000),
				down(typeData, 3, b), down(typeData, 2, a), up(typeClose, 5, "h"), ok(5)),
			[]recording.Event{{Op: "download", Path: "/f", Out: 50000}},
		},
		"a read fails": {
			join(opened(1, "/f", readFlag, "h"), read(2, "h", 0, 30000), read(3, "h", 30000, 30000),
				down(typeData, 2, a), down(typeStatus, 3, 4, "", ""), up(typeClose, 5, "h"), ok(5)),
			[]recording.Event{{Op: "download", Path: "/f", Out: 30000, Detail: "failed: failure"}},
		},
		"an empty file is read to its end": {
			join(opened(1, "/f", readFlag, "h"), read(2, "h", 0, 30000), down(typeStatus, 2, statusEOF, "", ""), up(typeClose, 5, "h"), ok(5)),
			[]recording.Event{{Op: "download", Path: "/f", SHA256: sumOf(nil)}},
		},
		"a file is opened and not read": {
			join(opened(1, "/f", readFlag, "h"), up(typeClose, 5, "h"), ok(5)),
			[]recording.Event{{Op: "download", Path: "/f"}},
		},
		"a file is opened to be written, and only read": {
			join(opened(1, "/f", readFlag|flagWrite, "h"), read(2, "h", 0, 9), down(typeData, 2, a[:9]), up(typeClose, 5, "h"), ok(5)),
			[]recording.Event{{Op: "download", Path: "/f", Out: 9, SHA256: sumOf(a[:9])}},
		},
		"the same id for everything": {
			join(up(typeOpen, 0, "/f", writeFlag, 0), up(17, 0, "/stat"), up(typeOpen, 0, "/g", readFlag, 0),
				down(typeHandle, 0, "h"), down(105, 0, 0), down(typeStatus, 0, 2, "", ""),
				write(0, "h", 0, a), write(0, "h", len(a), b), up(typeRemove, 0, "/x"), up(typeClose, 0, "h"), ok(0), ok(0), down(typeStatus, 0, 3, "", ""), ok(0)),
			[]recording.Event{
				{Op: "download", Path: "/g", Detail: "failed: no such file"},
				{Op: "remove", Path: "/x", Detail: "failed: permission denied"},
				{Op: "upload", Path: "/f", In: 50000, SHA256: sumOf(data)},
			},
		},
		"a handle is given again": {
			join(opened(1, "/f", writeFlag, "h"), write(2, "h", 0, a), ok(2), up(typeClose, 3, "h"), up(typeOpen, 4, "/g", writeFlag, 0), ok(3), down(typeHandle, 4, "h"),
				write(5, "h", 0, b), ok(5), up(typeClose, 6, "h"), up(typeClose, 7, "h"), ok(6), down(typeStatus, 7, 4, "", "")),
			[]recording.Event{
				{Op: "upload", Path: "/f", In: 30000, SHA256: sumOf(a)},
				{Op: "upload", Path: "/g", In: 20000, SHA256: sumOf(b)},
			},
		},
		"a handle is given twice": {
			join(opened(1, "/f", readFlag, "h"), opened(2, "/g", readFlag, "h")),
			[]recording.Event{
				{Op: "download", Path: "/f", Detail: "unfinished"},
				{Op: "download", Path: "/g", Detail: "unfinished"},
			},
		},
		"the connection ends": {
			join(opened(1, "/f", writeFlag, "h"), opened(2, "/g", readFlag, "i"), write(3, "h", 0, a), ok(3), write(4, "h", len(a), b), up(typeRemove, 5, "/x")),
			[]recording.Event{
				{Op: "upload", Path: "/f", In: 30000, Detail: "unfinished"},
				{Op: "download", Path: "/g", Detail: "unfinished"},
				{Op: "remove", Path: "/x", Detail: "no answer was seen"},
			},
		},
		"extensions": {
			join(opened(1, "/f", readFlag, "h"), opened(2, "/g", writeFlag, "i"),
				up(typeExtended, 3, "posix-rename@openssh.com", "/a", "/b"), ok(3),
				up(typeExtended, 4, "hardlink@openssh.com", "/a", "/b"), down(typeStatus, 4, 8, "", ""),
				up(typeExtended, 5, "copy-data", "h", uint64(0), uint64(0), "i", uint64(0)), ok(5),
				up(typeExtended, 6, "statvfs@openssh.com", "/a"), down(201, 6, uint64(0)),
				up(typeExtended, 7, "copy-data", "none", uint64(0), uint64(0), "i", uint64(0)), down(typeStatus, 7, 4, "", ""),
				write(8, "i", 0, a), ok(8), up(typeClose, 9, "i"), ok(9), up(typeClose, 10, "h"), ok(10)),
			[]recording.Event{
				{Op: "rename", Path: "/a", To: "/b"},
				{Op: "link", Path: "/a", To: "/b", Detail: "failed: not supported"},
				{Op: "copy", Path: "/f", To: "/g"},
				{Op: "upload", Path: "/g", In: 30000},
				{Op: "download", Path: "/f"},
			},
		},
		"folders are looked at": {
			join(up(typeOpendir, 1, "/d"), down(typeHandle, 1, "d"), up(12, 2, "d"), down(104, 2, 1, "f", "-rw", 0), up(12, 3, "d"), down(typeStatus, 3, statusEOF, "", ""), up(typeClose, 4, "d"), ok(4)),
			nil,
		},
		"a path that is no path": {
			join(up(typeOpen, 1, strings.Repeat("x", 200_000), writeFlag, 0), down(typeStatus, 1, 4, "", ""), up(typeMkdir, 2, strings.Repeat("y", 5000), 0), ok(2)),
			[]recording.Event{
				{Op: "download", Path: strings.Repeat("x", maxPath) + "…", Detail: "failed: failure"},
				{Op: "mkdir", Path: strings.Repeat("y", maxPath) + "…"},
			},
		},
		"answers nobody waits for": {
			join(ok(77), down(typeHandle, 78, "h"), down(typeData, 79, a)),
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, lost := sftpEvents(t, join(greeting, c.steps))
			if lost {
				t.Errorf("not understood: %v", got)
			}
			check(t, got, c.want)
		})
	}
}

func unfinished(n int, path string) (all []recording.Event) {
	for range n {
		all = append(all, recording.Event{Op: "download", Path: path, Detail: "unfinished"})
	}
	return all
}

func TestWhatIsNotSFTPIsSaidOnce(t *testing.T) {
	big := raw(make([]byte, 300))
	for name, c := range map[string]struct {
		steps []step
		want  string
	}{
		"a shell":                      {[]step{{true, []byte("id; cat /etc/shadow\n")}, {false, []byte("uid=0(root)")}}, "this is no SFTP packet"},
		"a greeting of the server":     {[]step{greeting[0], {false, []byte("Welcome to the jungle\r\n")}}, "this is no SFTP packet"},
		"an empty packet":              {[]step{{true, make([]byte, 5)}}, "this is no SFTP packet"},
		"no INIT":                      {[]step{up(typeOpen, 1, "/f", 1, 0)}, "the client did not begin with INIT"},
		"no VERSION":                   {[]step{greeting[0], down(typeStatus, 1, 0, "", "")}, "the server did not begin with VERSION"},
		"version 6":                    {[]step{up(typeInit, 6), down(typeVersion, 6)}, "SFTP version 6 is not known here"},
		"a WRITE longer than it says":  {join(greeting, up(typeWrite, 1, "h", uint64(0), "data", raw("x"))), "a WRITE has another length than its packet"},
		"a WRITE shorter than it says": {join(greeting, up(typeWrite, 1, "h", uint64(0), 5, raw("x"))), "a WRITE has another length than its packet"},
		"a WRITE without anything":     {join(greeting, up(typeWrite, 1)), "a packet is too short for what it says"},
		"an OPEN without flags":        {join(greeting, up(typeOpen, 1, "/f")), "a packet is too short for what it says"},
		"a CLOSE with half a handle":   {join(greeting, opened(1, "/f", readFlag, "h"), up(typeClose, 1, 5, raw("h"))), "a packet is too short for what it says"},
		"a WRITE with a long handle":   {join(greeting, up(typeWrite, 1, 300, big)), "a handle is too long"},
		"a HANDLE that is long":        {join(greeting, up(typeOpen, 1, "/f", 1, 0), down(typeHandle, 1, 300, big)), "a handle is too long"},
		"a DATA longer than it says":   {join(greeting, up(typeRead, 1, "h", uint64(0), 9), down(typeData, 1, "data", raw("x"))), "a DATA has another length than its packet"},
		"a STATUS without a code":      {join(greeting, down(typeStatus, 1)), "a packet is too short for what it says"},
		"questions without end":        {join(greeting, flood(maxRequests+1, func(i int) step { return up(17, i, "/f") })), "too many requests have no answer"},
		"long questions":               {join(greeting, flood(300, func(i int) step { return up(typeRemove, i, strings.Repeat("x", 4096)) })), "too many requests have no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			got, lost := sftpEvents(t, append(c.steps, up(typeRemove, 1, "/later"), down(typeStatus, 1, 0, "", "")))
			if !lost || len(got) == 0 || got[len(got)-1].Detail != "the transfer was not understood ("+c.want+"), no longer followed" {
				t.Errorf("%v %+v", lost, got)
			}
			for _, e := range got {
				if e.Path == "/later" {
					t.Error("it went on")
				}
			}
		})
	}
}

func flood(n int, f func(int) step) (all []step) {
	for i := range n {
		all = append(all, f(i))
	}
	return all
}

func TestWhatWasOpenIsReportedBeforeSilence(t *testing.T) {
	got, _ := sftpEvents(t, join(greeting, opened(1, "/etc/shadow", readFlag, "h"), up(typeRead, 2, "h", uint64(0), 9), down(typeData, 2, "root:*:"), up(typeWrite, 1)))
	want := recording.Event{Kind: "file", Op: "download", Path: "/etc/shadow", Out: 7, Detail: "unfinished"}
	if len(got) != 2 || got[0] != want {
		t.Errorf("%+v", got)
	}
}

func TestFilesThatAreOpenAreBounded(t *testing.T) {
	var steps []step
	for i := range maxFiles + 5 {
		steps = append(steps, opened(i, fmt.Sprintf("/%d", i), readFlag, fmt.Sprint(i))...)
	}
	var events []recording.Event
	s := SFTP(func(e recording.Event) { events = append(events, e) })
	sniff(s, join(greeting, steps), 1<<20)
	if len(events) != maxFiles+5 || events[0].Path != "/1024" || events[0].Detail != "too many files are open, what was moved is not known" || events[5].Path != "/0" {
		t.Errorf("%d events, first %+v", len(events), events[0])
	}
}

func TestASnifferOutlivesAPanic(t *testing.T) {
	var events []recording.Event
	s := SFTP(func(e recording.Event) { events = append(events, e) })
	s.protocol.(*sftp).client.need = nil
	s.Up(packet(typeInit, 3))
	s.Up(packet(typeInit, 3))
	s.Down([]byte("x"))
	s.Close()
	if len(events) != 1 || !strings.Contains(events[0].Detail, "panic") || !s.Lost() {
		t.Errorf("%+v", events)
	}
	var none *Sniffer
	none.Up(nil)
	none.Down(nil)
	none.Close()
	if none.Lost() {
		t.Error("none is lost")
	}
}

// A note that ends the session closes the sniffer while it reports.
func TestANoteMayCloseTheSniffer(t *testing.T) {
	var s *Sniffer
	n := 0
	s = SFTP(func(recording.Event) { n++; s.Close() })
	sniff(s, join(greeting, opened(1, "/f", readFlag, "h"), up(typeRemove, 2, "/x"), down(typeStatus, 2, 0, "", "")), 1<<20)
	if n != 2 {
		t.Errorf("%d notes", n)
	}
}
