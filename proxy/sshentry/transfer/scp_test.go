package transfer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/proxy/recording"
)

func scpEvents(t testing.TB, upload bool, path string, steps []step) (events []recording.Event, lost bool) {
	t.Helper()
	last := ""
	for _, size := range []int{1 << 30, 1, 3} {
		events = nil
		s := SCP(upload, path, func(e recording.Event) { events = append(events, e) })
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

// says makes a conversation: strings that begin with > go to the server, the
// others to the client.
func says(lines ...string) (steps []step) {
	for _, l := range lines {
		steps = append(steps, step{l[0] == '>', []byte(l[1:])})
	}
	return steps
}

func TestSCPConversations(t *testing.T) {
	hello := sumOf([]byte("hello"))
	for name, c := range map[string]struct {
		upload bool
		path   string
		steps  []step
		want   []recording.Event
	}{
		"an upload": {true, "/tmp", says("<\x00", ">C0644 5 f\n", "<\x00", ">hello\x00", "<\x00"),
			[]recording.Event{{Op: "upload", Path: "f", To: "/tmp", In: 5, SHA256: hello}}},
		"with times": {true, ".", says("<\x00", ">T1 0 1 0\n", "<\x00", ">C0644 5 f\n", "<\x00", ">hello\x00", "<\x00"),
			[]recording.Event{{Op: "upload", Path: "f", To: ".", In: 5, SHA256: hello}}},
		"a client that does not wait": {true, ".", says(">C0644 5 f\nhello\x00C0644 0 g\n\x00", "<\x00\x00\x00\x00\x00"),
			[]recording.Event{{Op: "upload", Path: "f", To: ".", In: 5, SHA256: hello}, {Op: "upload", Path: "g", To: ".", SHA256: sumOf(nil)}}},
		"a download": {false, "/etc/f", says(">\x00", "<C0644 5 f\n", ">\x00", "<hello\x00", ">\x00"),
			[]recording.Event{{Op: "download", Path: "/etc/f", Out: 5, SHA256: hello}}},
		"a name that was not asked for": {false, "/etc/f", says(">\x00", "<C0644 5 ../../evil\n", ">\x00", "<hello\x00", ">\x00"),
			[]recording.Event{{Op: "download", Path: "../../evil", Out: 5, SHA256: hello, Detail: "asked for as /etc/f"}}},
		"folders": {false, "d/", says(">\x00", "<D0755 0 d\n", ">\x00", "<D0755 0 e\n", ">\x00", "<C0644 5 f\n", ">\x00", "<hello\x00", ">\x00", "<E\n", ">\x00", "<C0600 5 g h\n", ">\x00", "<hello\x00", ">\x00", "<E\n", ">\x00"),
			[]recording.Event{{Op: "download", Path: "d/e/f", Out: 5, SHA256: hello}, {Op: "download", Path: "d/g h", Out: 5, SHA256: hello}}},
		"a file is refused": {true, "/", says("<\x00", ">C0644 5 f\n", "<\x01scp: no\n", ">C0644 0 g\n", "<\x00", ">\x00", "<\x00"),
			[]recording.Event{{Op: "upload", Path: "f", To: "/", Detail: "failed: scp: no"}, {Op: "upload", Path: "g", To: "/", SHA256: sumOf(nil)}}},
		"an empty file is refused": {true, "/", says("<\x00", ">C0644 0 f\n", "<\x01\n", ">E\n"),
			[]recording.Event{
				{Op: "upload", Path: "f", To: "/", Detail: "failed: no reason was given"},
				{Detail: "the transfer was not understood (a folder ends that did not begin), no longer followed"},
			}},
		"the disk is full": {true, "/", says("<\x00", ">C0644 5 f\n", "<\x00", ">hello\x00", "<\x01scp: /f: No space left on device\n"),
			[]recording.Event{{Op: "upload", Path: "f", To: "/", In: 5, Detail: "failed: scp: /f: No space left on device"}}},
		"the source cannot read on": {false, "f", says(">\x00", "<C0644 5 f\n", ">\x00", "<hello\x01scp: f: Input/output error\n", ">\x00"),
			[]recording.Event{{Op: "download", Path: "f", Out: 5, Detail: "failed: scp: f: Input/output error"}}},
		"nothing is there": {false, "f", says(">\x00", "<\x01scp: f: No such file or directory\n"),
			[]recording.Event{{Op: "download", Path: "f", Detail: "failed: scp: f: No such file or directory"}}},
		"a folder is refused": {true, "/", says("<\x00", ">D0755 0 d\n", "<\x01scp: no\n", ">C0644 0 g\n", "<\x00", ">\x00", "<\x00"),
			[]recording.Event{{Op: "upload", Path: "d", To: "/", Detail: "failed: scp: no"}, {Op: "upload", Path: "g", To: "/", SHA256: sumOf(nil)}}},
		"the connection ends": {true, "/", says("<\x00", ">C0644 5 f\n", "<\x00", ">hel"),
			[]recording.Event{{Op: "upload", Path: "f", To: "/", In: 3, Detail: "unfinished"}}},
		"the connection ends before the last answer": {true, "/", says("<\x00", ">C0644 5 f\n", "<\x00", ">hello\x00"),
			[]recording.Event{{Op: "upload", Path: "f", To: "/", In: 5, Detail: "unfinished"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, _ := scpEvents(t, c.upload, c.path, c.steps)
			for i := range got {
				got[i].Kind = "file"
			}
			check(t, got, c.want)
		})
	}
}

func TestWhatIsNotSCPIsSaidOnce(t *testing.T) {
	for what, steps := range map[string][]step{
		"this is no line of scp":                         says("<\x00", ">id; cat /etc/shadow\n"),
		"this is no answer of scp":                       says("<Welcome\n"),
		"an empty line":                                  says("<\x00", ">\n"),
		"a line names no file":                           says("<\x00", ">C0644 5\n"),
		"a line has no size":                             says("<\x00", ">C0644 -5 f\n"),
		"a line is too long":                             says("<\x00", ">C0644 5 "+strings.Repeat("x", maxSCPLine)),
		"a message is too long":                          says("<\x01" + strings.Repeat("x", maxSCPLine+1)),
		"a folder ends that did not begin":               says("<\x00", ">E\n"),
		"folders are nested too deep":                    says("<\x00"),
		"a file is longer than it was said to be":        says("<\x00", ">C0644 5 f\n", "<\x00", ">hello, world"),
		"an answer to nothing":                           says("<\x00\x00"),
		"the other side does not answer":                 says(">" + strings.Repeat("T1 0 1 0\n", maxWaiting)),
		"contents were sent for a file that was refused": says("<\x00", ">C0644 5 f\nhel", "<\x01no\n"),
	} {
		if what == "folders are nested too deep" {
			for range maxDepth + 1 {
				steps = append(steps, says(">D0755 0 d\n", "<\x00")...)
			}
		}
		t.Run(what, func(t *testing.T) {
			got, lost := scpEvents(t, true, "/", append(steps, says(">C0644 0 later\n", "<\x00", ">\x00", "<\x00")...))
			if !lost || len(got) == 0 || got[len(got)-1].Detail != "the transfer was not understood ("+what+"), no longer followed" {
				t.Errorf("%v %.300q", lost, fmt.Sprintf("%+v", got))
			}
		})
	}
}

func FuzzSCP(f *testing.F) {
	f.Add(true, "/tmp", encodeSteps(says("<\x00", ">D0755 0 d\n", "<\x00", ">T1 0 1 0\n", "<\x00", ">C0644 5 f\n", "<\x00", ">hello\x00", "<\x00", ">E\n", "<\x00")))
	f.Add(false, "/etc/*", encodeSteps(says(">\x00", "<C0644 5 f\n", ">\x00", "<hello\x01no\n", ">\x00", "<\x01no\n")))
	f.Add(true, "x", encodeSteps(says("<\x00", ">C0644 5 f\n", "<\x01no\n", ">C0644 5 f\n", "<\x02no\n")))
	f.Fuzz(func(t *testing.T, upload bool, path string, b []byte) {
		events, _ := scpEvents(t, upload, path, decodeSteps(b))
		checkFuzzed(t, events)
	})
}

func BenchmarkSCPUpload(b *testing.B) {
	data := make([]byte, 32<<10)
	s := SCP(true, "/", func(recording.Event) {})
	s.Up([]byte("C0644 999999999999999 f\n"))
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		s.Up(data)
	}
	if s.Lost() {
		b.Fatal("not followed")
	}
}
