package desktop

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/recording/internal/childtest"
)

// Some tests need a second process, to kill it or to give it a disk that is
// full: see package childtest.
func TestMain(m *testing.M) {
	childtest.Main(m, map[string]func(dir string) error{"writer": childWriter, "full": childFull})
}

func sha(b []byte) [sha256.Size]byte { return sha256.Sum256(b) }

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
		if err := childtest.Report(n); err != nil {
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
		shown := childtest.Kill(t, dir, 300)
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
	if err := childtest.SmallDisk(dir, "1m"); err != nil {
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
	if err := childtest.GrowDisk(dir, "8m"); err != nil {
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

func TestAFullDiskEndsTheRecording(t *testing.T) { childtest.RunWithMounts(t, "full") }
