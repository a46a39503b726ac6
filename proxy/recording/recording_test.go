package recording

import (
	"bytes"
	"errors"
	"iter"
	"os"
	"testing"
	"time"
)

// A fataler is a *testing.T or a *rapid.T.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// newRoot opens an empty folder, in memory where the machine has one: most
// tests are not about the disk and would only wait for it.
func newRoot(t testing.TB) *os.Root {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "inside-recording-")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	root, err := os.OpenRoot(dir)
	must(t, err)
	t.Cleanup(func() { root.Close() })
	return root
}

func create(t testing.TB, root *os.Root, name string) *Writer {
	t.Helper()
	w, err := Create(root, name, Header{Width: 80, Height: 24})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func must(t fataler, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// readFile reads a whole recording.
func readFile(t fataler, root *os.Root, name string) (Header, []Frame, error) {
	t.Helper()
	b, err := root.ReadFile(name)
	must(t, err)
	return readBytes(t, b)
}

func readBytes(t fataler, b []byte) (Header, []Frame, error) {
	t.Helper()
	h, seq, err := Read(bytes.NewReader(b))
	if err != nil {
		return h, nil, err
	}
	all, err := collect(seq)
	return h, all, err
}

func collect(seq iter.Seq2[Frame, error]) (all []Frame, err error) {
	for f, e := range seq {
		if e != nil {
			err = e
			continue
		}
		all = append(all, f)
	}
	return all, err
}

// output joins the output of frames.
func output(frames []Frame) []byte {
	var b []byte
	for _, f := range frames {
		if f.Kind == 'o' {
			b = append(b, f.Data...)
		}
	}
	return b
}

func TestWhatWasWrittenIsReadBack(t *testing.T) {
	root := newRoot(t)
	h := Header{
		Width: 132, Height: 50, Start: time.Now(), Term: "xterm-256color", Command: "top -d\x00 1\n\xff\u2028\"", Title: "p@s",
		Person: "alice", Server: "prod-db-01", Login: "root", Source: "100.64.0.20", Grant: "7", Stay: "8", Session: "9", Channel: 2,
	}
	w, err := Create(root, "0.cast", h)
	must(t, err)
	must(t, w.Output([]byte("hello \x1b[1mworld\x1b[0m\r\n")))
	must(t, w.Resize(0, 0))
	must(t, w.Resize(65535, 65535))
	must(t, w.Resize(-1, 1<<32-1))
	must(t, w.Marker("your stay ends \xff in 5 minutes"))
	must(t, w.Output([]byte("\"\\\x7f\u0085\u2028\u2029\ufffd \xff\xfe zażółć\t\x00")))
	must(t, w.Close())
	got, frames, err := readFile(t, root, "0.cast")
	must(t, err)
	h.Start = h.Start.UTC().Truncate(time.Microsecond)
	h.Command = "top -d\x00 1\n\\xff\u2028\""
	if got != h {
		t.Errorf("header:\n got %+v\nwant %+v", got, h)
	}
	want := []Frame{
		{Kind: 'o', Data: []byte("hello \x1b[1mworld\x1b[0m\r\n")},
		{Kind: 'r', Data: []byte("0x0")},
		{Kind: 'r', Data: []byte("65535x65535")},
		{Kind: 'r', Data: []byte("0x65535")},
		{Kind: 'm', Data: []byte("your stay ends \\xff in 5 minutes")},
		{Kind: 'o', Data: []byte("\"\\\x7f\u0085\u2028\u2029\ufffd \xff\xfe zażółć\t\x00")},
	}
	if len(frames) != len(want) {
		t.Fatalf("%d frames, want %d", len(frames), len(want))
	}
	last := time.Duration(0)
	for i, f := range frames {
		if f.Kind != want[i].Kind || !bytes.Equal(f.Data, want[i].Data) {
			t.Errorf("frame %d: %c %q, want %c %q", i, f.Kind, f.Data, want[i].Kind, want[i].Data)
		}
		if f.Time < last {
			t.Errorf("frame %d: time runs backwards", i)
		}
		last = f.Time
	}
	if err := w.Output([]byte("x")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("output after close: %v", err)
	}
}

func TestAFollowerSeesPastAndComingFrames(t *testing.T) {
	root := newRoot(t)
	w := create(t, root, "0.cast")
	must(t, w.Output([]byte("past ")))
	_, seq, err := Follow(t.Context(), root, "0.cast")
	must(t, err)
	next, stop := iter.Pull2(seq)
	defer stop()
	if f, err, _ := next(); err != nil || string(f.Data) != "past " {
		t.Fatal(f, err)
	}
	must(t, w.Output([]byte("coming")))
	if f, err, _ := next(); err != nil || string(f.Data) != "coming" {
		t.Fatal(f, err)
	}
	must(t, w.Close())
	if f, err, ok := next(); ok {
		t.Fatal("a frame after the end", f, err)
	}
}
