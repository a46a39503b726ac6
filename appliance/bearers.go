package appliance

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/store"
)

const (
	// tokenRemembered is how long a revoked token is told from one that never
	// was.
	tokenRemembered = 30 * 24 * time.Hour

	usedEvery = time.Minute // the use of one token is written down
)

// Bearers know whose a token is. They are read again with the facts, so a
// token works while the database is away, and no longer than it should once it
// is back.
type Bearers struct {
	store *store.Store
	now   func() time.Time
	log   *slog.Logger

	mu       sync.Mutex
	tokens   []store.Token
	revision int64                // of the facts when the tokens were read
	used     map[string]time.Time // by id, as it is written down or about to be
	unsaved  map[string]time.Time
	more     chan struct{}
}

var _ api.Bearers = (*Bearers)(nil)

func NewBearers(s *store.Store, now func() time.Time, log *slog.Logger) *Bearers {
	return &Bearers{store: s, now: now, log: log, used: map[string]time.Time{}, unsaved: map[string]time.Time{}, more: make(chan struct{}, 1)}
}

// Read reads the tokens as they are now, which is at least as new as a
// revision of the facts that was seen before.
func (b *Bearers) Read(ctx context.Context, revision int64) error {
	tokens, err := b.store.Tokens(ctx, b.now().Add(-tokenRemembered))
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens, b.revision = tokens, revision
	return nil
}

// asNewAs reports whether the tokens are as new as a revision.
func (b *Bearers) asNewAs(revision int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.revision >= revision
}

// Bearer implements api.Bearers. It takes as long for a wrong token as for a
// right one, and as long for one that is nearly right.
func (b *Bearers) Bearer(token string) (api.Actor, error) {
	hash, now := sha256.Sum256([]byte(token)), b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	found := -1
	for i := range b.tokens {
		if subtle.ConstantTimeCompare(b.tokens[i].Hash[:], hash[:]) == 1 {
			found = i
		}
	}
	if found < 0 {
		return api.Actor{}, api.NewProblem(api.CodeUnknown, "this gate does not know the token", "inside token create makes one")
	}
	t := &b.tokens[found]
	switch {
	case !t.Revoked.IsZero():
		return api.Actor{}, api.NewProblem(api.CodeUnknown, fmt.Sprintf("the token %s was revoked at %s", t.Name, t.Revoked.UTC().Format(time.RFC3339)), "inside token create makes another")
	case !now.Before(t.Expires):
		return api.Actor{}, api.NewProblem(api.CodeUnknown, fmt.Sprintf("the token %s expired at %s", t.Name, t.Expires.UTC().Format(time.RFC3339)), "inside token create makes another")
	}
	if last, known := b.used[t.ID]; !known || now.Sub(last) >= usedEvery {
		b.used[t.ID], b.unsaved[t.ID] = now, now
		select {
		case b.more <- struct{}{}:
		default:
		}
	}
	return api.Actor{Name: t.Actor(), Role: api.Role(t.Role)}, nil
}

// Keep writes down when tokens were used, until ctx ends. What a database that
// is away does not take is not worth waiting for.
func (b *Bearers) Keep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.more:
		}
		b.mu.Lock()
		unsaved := b.unsaved
		b.unsaved = map[string]time.Time{}
		b.mu.Unlock()
		for id, at := range unsaved {
			one, cancel := context.WithTimeout(ctx, writeDown)
			if err := b.store.TokenUsed(one, id, at); err != nil && ctx.Err() == nil {
				b.log.Warn("use of a token not written down", "token", id, "error", err)
			}
			cancel()
		}
	}
}
