package appliance

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pawelmojski/inside/appliance/api"
)

// heard collects n pieces of news, pulses not counted.
func heard(t *testing.T, b *Bus, after string, n int, kinds ...string) []api.News {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got []api.News
	for piece := range b.Listen(ctx, after, kinds) {
		if piece.Kind == api.NewsPulse {
			continue
		}
		if got = append(got, piece); len(got) == n {
			return got
		}
	}
	t.Fatalf("heard %d of %d", len(got), n)
	return nil
}

func asLines(news []api.News) (words []string) {
	for _, n := range news {
		words = append(words, n.Kind+" "+string(n.Data))
	}
	return words
}

func TestAListenerHearsWhatIsToldFromThenOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBus(time.Now)
		b.Tell(api.NewsFacts, "before")
		var wg sync.WaitGroup
		wg.Go(func() {
			want := []string{`facts 1`, `entry 2`, `facts 3`}
			if diff := cmp.Diff(want, asLines(heard(t, b, "", 3))); diff != "" {
				t.Error(diff)
			}
		})
		wg.Go(func() {
			if diff := cmp.Diff([]string{`entry 2`}, asLines(heard(t, b, "", 1, api.NewsEntry, api.NewsStay))); diff != "" {
				t.Error(diff)
			}
		})
		synctest.Wait()
		b.Tell(api.NewsFacts, 1)
		b.Tell(api.NewsEntry, 2)
		b.Tell(api.NewsFacts, 3)
		wg.Wait()
	})
}

func TestAListenerThatComesBackMissesNothing(t *testing.T) {
	b := NewBus(time.Now)
	first := func() string { b.Tell(api.NewsFacts, 0); return b.id(b.last) }()
	for i := range 200 {
		b.Tell(api.NewsFacts, i+1)
	}
	for i, n := range heard(t, b, first, 200) {
		if string(n.Data) != fmt.Sprint(i+1) {
			t.Fatalf("piece %d is %s", i, n.Data)
		}
	}
}

func TestASlowListenerIsToldThatItLostSome(t *testing.T) {
	b := NewBus(time.Now)
	b.Tell(api.NewsFacts, "seen")
	seen := b.id(b.last)
	for i := range newsKept + 10 {
		b.Tell(api.NewsFacts, i+1)
	}
	got := heard(t, b, seen, 2)
	if diff := cmp.Diff([]string{`reset {"lost":10}`, `facts 11`}, asLines(got)); diff != "" {
		t.Error(diff)
	}
	// Who was told so comes back to the piece after it, not to another reset.
	if diff := cmp.Diff([]string{`facts 11`}, asLines(heard(t, b, got[0].ID, 1))); diff != "" {
		t.Error(diff)
	}
}

func TestAnIDOfAnotherRunIsAReset(t *testing.T) {
	b, before := NewBus(time.Now), NewBus(time.Now)
	before.Tell(api.NewsFacts, 1)
	b.Tell(api.NewsFacts, 1)
	for _, id := range []string{before.id(1), b.id(2), b.epoch, b.epoch + "-", b.epoch + "--1", "-1", "x", "-", b.epoch + "-1x"} {
		if diff := cmp.Diff([]string{`reset {"lost":0}`}, asLines(heard(t, b, id, 1))); diff != "" {
			t.Errorf("%q: %s", id, diff)
		}
	}
}

func TestWhatTheBusKeepsIsBounded(t *testing.T) {
	b := NewBus(time.Now)
	big := make([]byte, 100<<10) // more than 130 KiB as JSON
	for range 200 {
		b.Tell(api.NewsAlert, big)
	}
	if b.bytes > newsBytes || len(b.kept) > 40 {
		t.Errorf("%d bytes in %d pieces are kept", b.bytes, len(b.kept))
	}
	b.Tell(api.NewsAlert, make([]byte, 2*newsBytes))
	b.Tell(api.NewsAlert, func() {}) // cannot be told, and stops nobody
	if len(b.kept) != 1 || string(b.kept[0].Data) != "null" {
		t.Errorf("%d pieces are kept", len(b.kept))
	}
}

func TestInSilenceThereIsAPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBus(time.Now)
		start := time.Now()
		for n := range b.Listen(t.Context(), "", nil) {
			if n.Kind != api.NewsPulse || n.ID != b.id(0) || time.Since(start) != newsPulse {
				t.Errorf("after %s: %+v", time.Since(start), n)
			}
			break
		}
	})
}

// Nobody who listens keeps anybody from telling, however slow they are.
func TestTellingWaitsForNobody(t *testing.T) {
	b := NewBus(time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	stuck := make(chan struct{})
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			for range b.Listen(ctx, "", nil) {
				<-stuck
			}
		})
	}
	start := time.Now()
	for i := range 20_000 {
		b.Tell(api.NewsFacts, i)
	}
	if passed := time.Since(start); passed > 20*time.Second {
		t.Errorf("20,000 pieces took %s", passed)
	}
	cancel()
	close(stuck)
	wg.Wait()
}

// A stream tells its peer that it has begun before it is first asked for a
// piece: what is told in between is not lost.
func TestWhatIsToldBetweenListeningAndHearingIsHeard(t *testing.T) {
	b := NewBus(time.Now)
	news := b.Listen(t.Context(), "", nil)
	b.Tell(api.NewsFacts, api.Facts{Revision: 7})
	for n := range news {
		if n.Kind != api.NewsFacts {
			t.Errorf("heard %+v", n)
		}
		return
	}
}
