package recording

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestFollowersThatJoinLateSeeExactlyTheSame(t *testing.T) {
	for range 20 {
		root := newRoot(t)
		w := create(t, root, "0.cast")
		const joiners = 3
		type result struct {
			frames []Frame
			err    error
		}
		results := make([]result, joiners)
		join := make([]chan struct{}, joiners)
		var wg sync.WaitGroup
		for i := range join {
			join[i] = make(chan struct{})
			wg.Go(func() {
				<-join[i]
				_, seq, err := Follow(t.Context(), root, "0.cast")
				if err == nil {
					results[i].frames, err = collect(seq)
				}
				results[i].err = err
			})
		}
		next, want := stream(rand.Uint64()), []byte(nil)
		const writes = 300
		at := [joiners]int{0, rand.IntN(writes), rand.IntN(writes)}
		for n := range writes {
			for i := range join {
				if at[i] == n {
					close(join[i])
				}
			}
			p := next()
			want = append(want, p...)
			must(t, w.Output(p))
			if n%10 == 0 {
				must(t, w.Resize(n, n))
			}
		}
		must(t, w.Close())
		wg.Wait()
		_, file, err := readFile(t, root, "0.cast")
		must(t, err)
		if !bytes.Equal(output(file), want) {
			t.Fatal("the file is not what was written")
		}
		for i, r := range results {
			must(t, r.err)
			if !slices.EqualFunc(r.frames, file, func(a, b Frame) bool {
				return a.Time == b.Time && a.Kind == b.Kind && bytes.Equal(a.Data, b.Data)
			}) {
				t.Fatalf("the follower that joined at %d of %d saw something else", at[i], writes)
			}
		}
	}
}

func TestAFollowerInTheProcessDoesNotWaitForTheNextLook(t *testing.T) {
	root := newRoot(t)
	w := create(t, root, "0.cast")
	_, seq, err := Follow(t.Context(), root, "0.cast")
	must(t, err)
	next, stop := iter.Pull2(seq)
	defer stop()
	start := time.Now()
	for range 10 {
		time.AfterFunc(time.Millisecond, func() { w.Output([]byte("x")) }) // while it waits
		_, err, _ := next()
		must(t, err)
	}
	if d := time.Since(start); d > 5*lookEvery {
		t.Errorf("10 frames took %v", d)
	}
}

func TestFollowingEndsWithItsContext(t *testing.T) {
	root := newRoot(t)
	w := create(t, root, "0.cast")
	must(t, w.Output([]byte("x")))
	gone := errors.New("the viewer's right is gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	_, seq, err := Follow(ctx, root, "0.cast")
	must(t, err)
	n := 0
	for f, err := range seq {
		if n++; n == 1 {
			if string(f.Data) != "x" || err != nil {
				t.Fatal(f, err)
			}
			cancel(gone)
			continue
		}
		if !errors.Is(err, gone) {
			t.Fatal(f, err)
		}
	}
	if n != 2 {
		t.Fatalf("%d elements", n)
	}
}

func TestAFollowerMayStopAndBeginAgain(t *testing.T) {
	root := newRoot(t)
	w := create(t, root, "0.cast")
	must(t, w.Output([]byte("x")))
	_, seq, err := Follow(t.Context(), root, "0.cast")
	must(t, err)
	for range 3 {
		for f, err := range seq {
			must(t, err)
			if string(f.Data) != "x" {
				t.Fatal(f)
			}
			break
		}
	}
}

// A line that the disk had no room for is taken back, and another may come in
// its place.
func TestAFollowerDoesNotKeepALineThatWasTakenBack(t *testing.T) {
	root := newRoot(t)
	w := create(t, root, "0.cast")
	w.mu.Lock()
	_, err := w.cast.Write([]byte(`[0.1,"o","half a li`))
	w.mu.Unlock()
	must(t, err)
	type result struct {
		frames []Frame
		err    error
	}
	done := make(chan result)
	_, seq, err := Follow(t.Context(), root, "0.cast")
	must(t, err)
	go func() {
		all, err := collect(seq)
		done <- result{all, err}
	}()
	for !w.bell.Listening() { // it read the half line and waits
		runtime.Gosched()
	}
	w.mu.Lock()
	must(t, w.cast.Truncate(w.size))
	w.mu.Unlock()
	must(t, w.Output([]byte("a whole line")))
	must(t, w.Close())
	r := <-done
	if r.err != nil || string(output(r.frames)) != "a whole line" {
		t.Fatalf("%q %v", output(r.frames), r.err)
	}
}

func TestWhatWasWrittenIsFramedAboutASecondLater(t *testing.T) {
	root := newRoot(t)
	w := create(t, root, "0.cast")
	must(t, w.Output([]byte("x")))
	deadline := time.Now().Add(10 * time.Second)
	for {
		s, err := Verify(root, "0.cast")
		if err == nil && s.Frames > 0 {
			if s.Ended || s.Size == 0 {
				t.Fatalf("%+v", s)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v %v", s, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	must(t, w.Output([]byte("y")))
	must(t, w.Close())
	s, err := Verify(root, "0.cast")
	if err != nil || !s.Ended || s.Frames != 2 {
		t.Fatalf("%+v %v", s, err)
	}
	if err := w.Close(); err == nil {
		t.Error("closed twice")
	}
}

func TestARecordingThatExistsIsNotOverwritten(t *testing.T) {
	root := newRoot(t)
	w := create(t, root, "0.cast")
	must(t, w.Output([]byte("x")))
	if _, err := Create(root, "0.cast", Header{}); err == nil {
		t.Fatal("it was")
	}
	must(t, w.Output([]byte("y")))
	must(t, w.Close())
	must(t, root.Remove("0.cast"))
	if _, err := Create(root, "0.cast", Header{}); err == nil {
		t.Fatal("the sidecar was")
	}
}

func TestSeveralGoroutinesMayWrite(t *testing.T) {
	root := newRoot(t)
	w := create(t, root, "0.cast")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				w.Output([]byte("0123456789\n"))
				w.Resize(80, 24)
				w.Marker("mark")
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			w.Round()
		}
	})
	wg.Wait()
	must(t, w.Close())
	_, frames, err := readFile(t, root, "0.cast")
	must(t, err)
	if got := output(frames); !bytes.Equal(got, bytes.Repeat([]byte("0123456789\n"), 800)) || len(resizes(frames)) != 800 {
		t.Error("lines were mixed")
	}
	if _, err := Verify(root, "0.cast"); err != nil {
		t.Error(err)
	}
}
