package recording

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/proxy/recording/internal/childtest"
)

// Some tests need a second process, to kill it or to give it a disk that is
// full: see package childtest.
func TestMain(m *testing.M) {
	childtest.Main(m, map[string]func(dir string) error{"writer": childWriter, "follower": childFollower, "full": childFull})
}

// stream is what a child writes: bytes that are sometimes text and sometimes
// not, the same for the same seed.
func stream(seed uint64) func() []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	pieces := []string{"a", "word ", "\r\n", "\x1b[31m", "zażółć", "漢", "🙂", "\xf0\x9f", "\xe6\xbc", "\xa2", "\xff", "\""}
	return func() (p []byte) {
		for size := 1 + r.IntN(1<<r.IntN(13)); len(p) < size; {
			p = append(p, pieces[r.IntN(len(pieces))]...)
		}
		return p[:len(p)-r.IntN(min(len(p), 3))]
	}
}

// childWriter records until it is killed, and says after each Output how many
// bytes were written.
func childWriter(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	seed, err := strconv.ParseUint(filepath.Base(dir), 10, 64)
	if err != nil {
		return err
	}
	w, err := Create(root, "0.cast", Header{})
	if err != nil {
		return err
	}
	next, n := stream(seed), uint64(0)
	for {
		p := next()
		if err := w.Output(p); err != nil {
			return err
		}
		n += uint64(len(p))
		if err := childtest.Report(n); err != nil {
			return err
		}
	}
}

func TestWhatWasShownIsOnDiskAfterKill9(t *testing.T) {
	kills := 100
	if testing.Short() {
		kills = 10
	}
	for i := range kills {
		dir := filepath.Join(t.TempDir(), strconv.Itoa(i))
		must(t, os.Mkdir(dir, 0o700))
		shown := childtest.Kill(t, dir, 400)
		checkKilled(t, dir, uint64(i), shown)
	}
}

func checkKilled(t *testing.T, dir string, seed, shown uint64) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	next, want := stream(seed), []byte(nil)
	for uint64(len(want)) < shown+1<<14 {
		want = append(want, next()...)
	}
	check := func(when string) {
		t.Helper()
		_, frames, err := readFile(t, root, "0.cast")
		if err != nil && !errors.Is(err, ErrTorn) {
			t.Fatalf("%s: %v", when, err)
		}
		got := output(frames)
		if uint64(len(got)) < shown || !bytes.Equal(got, want[:len(got)]) {
			t.Fatalf("%s: %d bytes were shown, %d recorded, the same: %v", when, shown, len(got), bytes.HasPrefix(want, got))
		}
	}
	check("after the kill")
	r, err := Recover(root, "0.cast")
	must(t, err)
	if r.Ended {
		t.Fatal("the recording was ended already")
	}
	check("after recovery")
	s, err := Verify(root, "0.cast")
	must(t, err)
	if !s.Recovered || s.Size != r.Size {
		t.Fatalf("%+v after %+v", s, r)
	}
}

// childFollower follows a recording to its end and prints its output.
func childFollower(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	_, frames, err := Follow(context.Background(), root, "0.cast")
	if err != nil {
		return err
	}
	for f, err := range frames {
		if err != nil {
			return err
		}
		if f.Kind == 'o' {
			if _, err := os.Stdout.Write(f.Data); err != nil {
				return err
			}
		}
	}
	return nil
}

func TestAnotherProcessFollowsToTheEnd(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	w := create(t, root, "0.cast")
	must(t, w.Output([]byte("one ")))
	c := childtest.Command(t, "follower", dir)
	var got bytes.Buffer
	c.Stdout = &got
	must(t, c.Start())
	must(t, w.Output([]byte("two ")))
	must(t, w.Output([]byte("three\xe2")))
	must(t, w.Close())
	must(t, c.Wait())
	if got.String() != "one two three\xe2" {
		t.Errorf("%q", got.String())
	}
}

func TestFollowingEndsWhenTheWriterIsGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "3")
	must(t, os.Mkdir(dir, 0o700))
	c := childtest.Command(t, "writer", dir)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	var b [8]byte
	_, err = io.ReadFull(out, b[:])
	must(t, err)
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, seq, err := Follow(ctx, root, "0.cast")
	must(t, err)
	killed := false
	for _, err := range seq {
		if !killed {
			must(t, c.Process.Kill())
			io.Copy(io.Discard, out)
			c.Wait()
			killed = true
		}
		if err != nil && !errors.Is(err, ErrTorn) {
			t.Fatal(err)
		}
	}
	if !killed {
		t.Fatal("no frame was seen")
	}
}

// childFull records on a file system of its own that has 256 KiB. The mount
// is private to this process and goes with it.
func childFull(dir string) error {
	if err := childtest.SmallDisk(dir, "256k"); err != nil {
		return fmt.Errorf("mounting: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	before, share, err := Free(root)
	if err != nil || before != 256<<10 || share != 1 {
		return fmt.Errorf("free: %d %v %v", before, share, err)
	}
	w, err := Create(root, "0.cast", Header{})
	if err != nil {
		return err
	}
	log, err := CreateLog(root)
	if err != nil {
		return err
	}
	_, frames, err := Follow(context.Background(), root, "0.cast")
	if err != nil {
		return err
	}
	followed := make(chan []byte)
	go func() {
		var all []Frame
		for f, err := range frames {
			if err != nil {
				fmt.Fprintln(os.Stderr, "follower:", err)
			}
			all = append(all, f)
		}
		followed <- output(all)
	}()
	var shown []byte
	next := stream(1)
	for err == nil {
		p := next()
		if err = w.Output(p); err == nil {
			shown = append(shown, p...)
		}
		if len(shown) > 1<<20 {
			return errors.New("the disk never got full")
		}
	}
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "0.cast") {
		return fmt.Errorf("output on a full disk: %w", err)
	}
	if b, err := root.ReadFile("0.cast"); err != nil || !bytes.HasSuffix(b, []byte("\n")) {
		return fmt.Errorf("a line stayed that was written in part: %w", err)
	}
	if free, share, err := Free(root); err != nil || free > 8<<10 || share > 0.04 {
		return fmt.Errorf("free: %d %v %v", free, share, err)
	}
	for err = nil; err == nil; {
		err = log.Append(Event{Kind: "exec", Command: "true"})
	}
	if !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("append on a full disk: %w", err)
	}
	// There is room again, but a recording with a hole must not go on.
	if err := root.WriteFile("make-room", nil, 0o600); err != nil {
		return err
	}
	if err := childtest.GrowDisk(dir, "1m"); err != nil {
		return fmt.Errorf("remounting: %w", err)
	}
	for what, err := range map[string]error{
		"output": w.Output([]byte("x")), "resize": w.Resize(1, 1), "marker": w.Marker(""), "append": log.Append(Event{}),
		"close": w.Close(), "close of the log": log.Close(),
	} {
		if !errors.Is(err, unix.ENOSPC) {
			return fmt.Errorf("%s after a full disk: %w", what, err)
		}
	}
	if got := <-followed; !bytes.HasPrefix(got, shown) {
		return fmt.Errorf("the follower saw %d bytes, %d were shown", len(got), len(shown))
	}
	if _, err := Recover(root, "0.cast"); err != nil {
		return err
	}
	if _, err := Verify(root, "0.cast"); err != nil {
		return err
	}
	if _, err := ReadLog(root); err != nil {
		return err
	}
	f, err := root.Open("0.cast")
	if err != nil {
		return err
	}
	_, seq, err := Read(f)
	if err != nil {
		return err
	}
	all, err := collect(seq)
	if err != nil || !bytes.HasPrefix(output(all), shown) {
		return fmt.Errorf("after recovery: %w, the same: %v", err, bytes.HasPrefix(output(all), shown))
	}
	return nil
}

func TestAFullDiskEndsTheRecording(t *testing.T) { childtest.RunWithMounts(t, "full") }
