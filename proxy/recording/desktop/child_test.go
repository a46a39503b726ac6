package desktop

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/recording"
)

// Some tests need a second process, to kill it or to give it a disk that is
// full. It is this test binary again, told by childEnv what to be.
const childEnv = "INSIDE_DESKTOP_CHILD"

func TestMain(m *testing.M) {
	children := map[string]func(dir string) error{"writer": childWriter, "full": childFull}
	if child := children[os.Getenv(childEnv)]; child != nil {
		if err := child(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func sha(b []byte) [sha256.Size]byte { return sha256.Sum256(b) }

func child(t testing.TB, what, dir string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	c := exec.CommandContext(t.Context(), exe, dir)
	c.Env = append(os.Environ(), childEnv+"="+what)
	c.Stderr = os.Stderr
	return c
}

// newChildUser begins to record in dir, whose name is the seed.
func newChildUser(dir string) (*user, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	seed, err := strconv.ParseUint(filepath.Base(dir), 10, 64)
	if err != nil {
		seed = 1
	}
	w, err := Create(root, Name, recording.Header{Width: header.Width, Height: header.Height})
	if err != nil {
		return nil, err
	}
	s, err := screen.New(header.Width, header.Height)
	return &user{r: rand.New(rand.NewPCG(seed, 3)), w: w, s: s}, err
}

// childWriter records until it is killed, and says after each event how many
// there were.
func childWriter(dir string) error {
	u, err := newChildUser(dir)
	if err != nil {
		return err
	}
	for n := uint64(1); ; n++ {
		if err := u.act(); err != nil {
			return err
		}
		if n%37 == 0 {
			if err := u.w.Keyframe(u.s); err != nil {
				return err
			}
		}
		if n%23 == 0 {
			u.w.Round()
		}
		if _, err := os.Stdout.Write(binary.BigEndian.AppendUint64(nil, n)); err != nil {
			return err
		}
	}
}

func TestWhatWasShownIsOnDiskAfterKill9(t *testing.T) {
	kills := 20
	if testing.Short() {
		kills = 10
	}
	for i := range kills {
		dir := filepath.Join(t.TempDir(), strconv.Itoa(i))
		must(t, os.Mkdir(dir, 0o700))
		c := child(t, "writer", dir)
		out, err := c.StdoutPipe()
		must(t, err)
		must(t, c.Start())
		in := bufio.NewReaderSize(out, 16)
		shown := uint64(0)
		var b [8]byte
		for range 1 + rand.IntN(300) {
			if _, err := io.ReadFull(in, b[:]); err != nil {
				t.Fatal(err)
			}
			shown = binary.BigEndian.Uint64(b[:])
		}
		must(t, c.Process.Kill())
		for { // what it still said before it died
			if _, err := io.ReadFull(in, b[:]); err != nil {
				break
			}
			shown = binary.BigEndian.Uint64(b[:])
		}
		c.Wait()
		checkKilled(t, dir, uint64(i), shown)
	}
}

func checkKilled(t *testing.T, dir string, seed, n uint64) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	u := newUser(t, seed, nil)
	want := make([]shown, 0, n+1)
	for range n + 1 { // one more may be on disk than was said
		k, data := u.event()
		want = append(want, shown{k, string(data)})
	}
	check := func(when string, all []shown) {
		t.Helper()
		all = slices.DeleteFunc(all, func(s shown) bool { return s.Kind == Keyframe || s.Kind == End })
		if uint64(len(all)) < n || !slices.Equal(all, want[:len(all)]) {
			t.Fatalf("%s: %d events were shown, %d recorded", when, n, len(all))
		}
	}
	_, seq, err := Follow(t.Context(), root, Name, 0, nil)
	must(t, err)
	all, err := collect(seq)
	if err != nil && !errors.Is(err, recording.ErrTorn) {
		t.Fatal(err)
	}
	if err == nil { // a cut block hides the tail from a follower, not from Recover
		check("after the kill", all)
	}
	r, err := Recover(root, Name)
	must(t, err)
	if r.Ended {
		t.Fatal("the recording was ended already")
	}
	_, all, err = readAll(t, root)
	must(t, err)
	check("after recovery", all)
	s, err := Verify(root, Name)
	must(t, err)
	if !s.Recovered || s.Size != r.Size {
		t.Fatalf("%+v after %+v", s, r)
	}
}

// childFull records on a file system of its own that has 1 MiB. The mount is
// private to this process and goes with it.
func childFull(dir string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		return fmt.Errorf("mounting: %w", err)
	}
	u, err := newChildUser(dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, seq, err := Follow(ctx, u.w.root, Name, 0, nil)
	if err != nil {
		return err
	}
	followed := make(chan int)
	go func() {
		all, err := collect(seq)
		if err != nil {
			fmt.Fprintln(os.Stderr, "follower:", err)
		}
		followed <- len(all)
	}()
	for n := 0; err == nil; n++ {
		if err = u.act(); err == nil && n%50 == 49 {
			u.w.Round()
		}
		if n > 100000 {
			return errors.New("the disk never got full")
		}
	}
	if !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("an event on a full disk: %w", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=8m"); err != nil {
		return fmt.Errorf("remounting: %w", err)
	}
	for what, err := range map[string]error{"notice": u.w.Notice("x"), "keyframe": u.w.Keyframe(u.s), "close": u.w.Close("x")} {
		if !errors.Is(err, unix.ENOSPC) {
			return fmt.Errorf("%s after a full disk: %w", what, err)
		}
	}
	if n := <-followed; n < len(u.done) {
		return fmt.Errorf("the follower saw %d events, %d were shown", n, len(u.done))
	}
	if _, err := Recover(u.w.root, Name); err != nil {
		return err
	}
	f, err := u.w.root.Open(Name)
	if err != nil {
		return err
	}
	_, seq, err = Read(f)
	if err != nil {
		return err
	}
	all, err := collect(seq)
	if err != nil || len(all) <= len(u.done) || !slices.Equal(all[:len(u.done)], u.done) {
		return fmt.Errorf("after recovery: %d of %d events, %w", len(all), len(u.done), err)
	}
	return nil
}

func TestAFullDiskEndsTheRecording(t *testing.T) {
	c := child(t, "full", t.TempDir())
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	must(t, c.Run())
}
