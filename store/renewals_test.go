package store_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
	"github.com/pawelmojski/inside/store/storetest"
)

// Two gates on one database that find a grant due at the same time, with the
// same facts: it is extended by its length once.
func TestTwoGatesRenewAGrantOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		gates := []*store.Store{storetest.Open(t, url), storetest.Open(t, url)}
		session := granted(t, gates[0])
		now := time.Now()
		g, err := gates[0].CreateGrant(t.Context(), "root", policy.Grant{
			Person: session.Person, Server: session.Server, Start: now.Add(-time.Hour), End: now.Add(5 * time.Minute), Renew: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		session.Grant = g.ID
		const rounds = 10
		for range rounds {
			if _, _, err := gates[0].Enter(t.Context(), session); err != nil {
				t.Fatal(err)
			}
			facts, err := gates[1].Facts(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var renewed, conflicts atomic.Int64
			var renewing sync.WaitGroup
			for i, gate := range gates {
				renewing.Go(func() {
					name := []string{"gate-1", "gate-2"}[i]
					switch err := gate.RenewGrant(context.Background(), name, g.ID, facts.Grants[1].Version, time.Now()); {
					case err == nil:
						renewed.Add(1)
					case errors.Is(err, store.ErrConflict):
						conflicts.Add(1)
					default:
						t.Error(err)
					}
				})
			}
			renewing.Wait()
			if renewed.Load() != 1 || conflicts.Load() != 1 {
				t.Fatalf("renewed %d times, %d conflicts", renewed.Load(), conflicts.Load())
			}
		}
		facts, err := gates[0].Facts(t.Context())
		if want := g.End.Add(rounds * time.Hour); err != nil || !facts.Grants[1].End.Equal(want) {
			t.Errorf("the grant ends at %s, %v, want %s", facts.Grants[1].End, err, want)
		}
	})
}
