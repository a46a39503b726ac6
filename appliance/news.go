package appliance

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
)

const (
	newsKept  = 4096    // pieces that a listener may be behind or come back to
	newsBytes = 4 << 20 // that they may take together

	// newsPulse is the longest silence of a feed: whoever passes it on says
	// then that it is still there, or notices that nobody listens.
	newsPulse = 15 * time.Second
)

// A Bus carries the news of this gate, of what happens right now, to whoever
// listens. It remembers the last few thousand pieces and nothing per listener,
// so that telling never waits for anybody: a listener that falls behind, or
// comes back after more than is remembered, is told that it has lost some.
type Bus struct {
	now   func() time.Time
	epoch string // ids of another run of the daemon are not ours

	mu    sync.Mutex
	kept  []api.News // the oldest first
	bytes int
	last  uint64        // number of the newest piece
	more  chan struct{} // closed when there is another piece
}

// NewBus makes a bus on which nothing has been told.
func NewBus(now func() time.Time) *Bus {
	return &Bus{now: now, epoch: strings.ToLower(rand.Text()[:8]), more: make(chan struct{})}
}

// Tell makes something known. kind is one of api.NewsKinds, value what its
// schema in openapi.yaml says.
func (b *Bus) Tell(kind string, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		data = []byte("null") // a value that cannot be told must not stop what is told of
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	b.kept = append(b.kept, api.News{ID: b.id(b.last), Time: b.now(), Kind: kind, Data: data})
	b.bytes += len(data)
	for len(b.kept) > newsKept || b.bytes > newsBytes {
		b.bytes -= len(b.kept[0].Data)
		b.kept[0] = api.News{}
		b.kept = b.kept[1:]
	}
	close(b.more)
	b.more = make(chan struct{})
}

func (b *Bus) id(n uint64) string { return b.epoch + "-" + strconv.FormatUint(n, 10) }

// Listen yields what is told from now on, or what was told since the piece
// with the id after, until ctx ends; no kinds are all kinds. In silence it
// yields a pulse now and then. Now is when Listen is called: whoever tells a
// peer afterwards that it listens has promised nothing that is lost.
func (b *Bus) Listen(ctx context.Context, after string, kinds []string) iter.Seq[api.News] {
	from, known := b.find(after)
	return func(yield func(api.News) bool) {
		seen := from
		if !known && !yield(b.reset(seen, 0)) {
			return
		}
		pulse := time.NewTimer(newsPulse)
		defer pulse.Stop()
		for ctx.Err() == nil {
			pieces, lost, more := b.since(seen)
			seen += lost
			if lost > 0 && !yield(b.reset(seen, lost)) {
				return
			}
			seen += uint64(len(pieces))
			for _, n := range pieces {
				if (len(kinds) == 0 || slices.Contains(kinds, n.Kind)) && !yield(n) {
					return
				}
			}
			if len(pieces) > 0 {
				pulse.Reset(newsPulse)
				continue
			}
			select {
			case <-ctx.Done():
			case <-more:
			case <-pulse.C:
				if !yield(api.News{ID: b.id(seen), Kind: api.NewsPulse}) {
					return
				}
				pulse.Reset(newsPulse)
			}
		}
	}
}

// find returns the number of the piece that was seen last. Nothing seen yet is
// the newest; an id that was not given out by this run of the daemon is not
// known.
func (b *Bus) find(after string) (seen uint64, known bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if after == "" {
		return b.last, true
	}
	epoch, number, _ := strings.Cut(after, "-")
	n, err := strconv.ParseUint(number, 10, 64)
	if epoch != b.epoch || err != nil || n > b.last {
		return b.last, false
	}
	return n, true
}

// newsBatch is how many pieces a listener takes at once.
const newsBatch = 64

// since returns what came after a piece, how many pieces are no longer
// remembered, and what is closed when there is more.
func (b *Bus) since(seen uint64) (pieces []api.News, lost uint64, more <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	gone := b.last - uint64(len(b.kept)) // number of the newest piece that was forgotten
	if seen < gone {
		lost, seen = gone-seen, gone
	}
	next := b.kept[seen-gone:]
	return slices.Clone(next[:min(len(next), newsBatch)]), lost, b.more
}

// reset tells a listener to look at everything again: pieces were lost, how
// many is known where it is not 0.
func (b *Bus) reset(seen, lost uint64) api.News {
	data, _ := json.Marshal(api.Lost{Lost: lost}) // cannot fail
	return api.News{ID: b.id(seen), Time: b.now(), Kind: api.NewsReset, Data: data}
}
