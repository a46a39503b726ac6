package sshentry

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pawelmojski/inside/proxy"
)

// An overSince is a visit that is over for as long as the test says.
type overSince struct {
	proxy.Visit
	ago atomic.Int64
}

func (v *overSince) Over(since time.Duration) bool { return time.Duration(v.ago.Load()) >= since }

// A gate that was stopped in the middle of a piece goes on in the middle of
// it: what has not left by then does not leave any more.
func TestNothingLeavesASecondAfterTheEnd(t *testing.T) {
	gate, peer := connected(t)
	v := &overSince{}
	v.ago.Store(int64(-time.Hour))
	w := newWire(gate, v)
	defer w.Close()

	const size = 64 << 20 // more than the kernel takes from somebody who does not read
	taken := make(chan int64, 1)
	go func() {
		n, _ := w.Write(make([]byte, size))
		w.Close()
		taken <- int64(n)
	}()
	if _, err := io.ReadFull(peer, make([]byte, 1<<20)); err != nil { // it is under way
		t.Fatal(err)
	}
	v.ago.Store(int64(proxy.LateWords))
	if _, err := w.Write([]byte("late")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a new piece: %v", err)
	}
	rest, err := io.Copy(io.Discard, peer)
	if got, left := 1<<20+rest, <-taken; got == size || got != left || err != nil {
		t.Errorf("%d bytes of %d came, %d were taken, %v", got, size, left, err)
	}
}
