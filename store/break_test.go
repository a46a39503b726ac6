package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
	"github.com/pawelmojski/inside/store/storetest"
)

func TestADatabaseThatIsKnownToBeAwayIsNotWaitedFor(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url)
		ctx := t.Context()
		why := context.DeadlineExceeded
		s.Break(why)
		denied := store.Entry{Gate: "gate-1", Denial: policy.NoGrant}
		began := time.Now()
		for range 100 {
			if err := s.Deny(ctx, denied); err == nil || err.Error() != why.Error() || errors.Is(err, why) {
				t.Fatalf("a write says %v", err)
			}
			s.Break(s.Deny(ctx, denied)) // whoever tells it again what it said
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("a hundred writes took %s to fail", took)
		}
		if entries, err := s.Entries(ctx, store.EntryFilter{}); err != nil || len(entries) != 0 {
			t.Errorf("%d entries, %v: what can be read is read", len(entries), err)
		}
		if err := s.Ping(ctx); err != nil {
			t.Errorf("Ping: %v", err)
		}
		s.Break(nil)
		if err := s.Deny(ctx, denied); err != nil {
			t.Error(err)
		}
	})
}
