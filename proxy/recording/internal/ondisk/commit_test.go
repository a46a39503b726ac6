package ondisk

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

type roundFunc func()

func (f roundFunc) Round() { f() }

func TestRoundsFollowEachOtherASecondApartAndNeverTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c committer
		var busy, rounds atomic.Int32
		slow := roundFunc(func() {
			if busy.Add(1) > 1 {
				t.Error("two rounds at once")
			}
			rounds.Add(1)
			time.Sleep(3 * time.Second) // a disk that is busy
			busy.Add(-1)
		})
		c.add(roundFunc(func() { panic("one bad file") }))
		c.add(slow)
		c.add(slow)
		time.Sleep(2 * time.Second) // the first runs since 1 s
		c.add(slow)
		time.Sleep(5 * time.Second) // both are done at 7 s
		synctest.Wait()
		if n := rounds.Load(); n != 2 {
			t.Errorf("%d files were committed at 7 s", n)
		}
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		if n := rounds.Load(); n != 3 {
			t.Errorf("%d files were committed at 8 s", n)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if c.armed || rounds.Load() != 3 {
			t.Error("the committer runs with nothing to do")
		}
	})
}
