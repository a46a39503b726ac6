package store_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
	"github.com/pawelmojski/inside/store/storetest"
)

// Two gates, many connections, a few places: at no moment are there more
// sessions than places, whatever enters, moves, leaves and ends its stay at the
// same time, and no place is lost.
func TestTwoGatesNeverAdmitMoreSessionsThanAGrantAllows(t *testing.T) {
	const places, claimants, claims = 3, 12, 15
	onBoth(t, func(t *testing.T, url string) {
		gates := []*store.Store{storetest.Open(t, url), storetest.Open(t, url)}
		wide := granted(t, gates[0])
		g, err := gates[0].CreateGrant(t.Context(), "root", policy.Grant{Person: wide.Person, Server: wide.Server, MaxSessions: places})
		if err != nil {
			t.Fatal(err)
		}
		narrow := wide
		narrow.Grant = g.ID
		var held, entered, refused, moved atomic.Int64
		hold := func() {
			if n := held.Add(1); n > places {
				t.Errorf("%d sessions at a time, %d are allowed", n, places)
			}
			time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond) // others try meanwhile
			held.Add(-1)                                                  // before it leaves: a place is free no earlier
		}
		claim := func(gate *store.Store) error {
			ctx := context.Background()
			se := narrow
			byMove := rand.IntN(3) == 0
			if byMove {
				se = wide
			}
			se, _, err := gate.Enter(ctx, se)
			if err == nil && byMove {
				_, err = gate.Move(ctx, se.ID, narrow.Grant, time.Now())
			}
			switch {
			case errors.Is(err, store.ErrFull):
				refused.Add(1)
			case err != nil:
				return err
			default:
				if byMove {
					moved.Add(1)
				}
				entered.Add(1)
				hold()
				if rand.IntN(4) == 0 {
					if stay, err := gate.Session(ctx, string(se.ID)); err != nil || gate.EndStay(ctx, stay.Stay, time.Now(), policy.AdminEnded) != nil {
						return err
					}
				}
			}
			if se.ID == "" {
				return nil
			}
			return gate.Leave(ctx, se.ID, time.Now(), policy.ClientLeft, policy.Carried{})
		}
		var claiming sync.WaitGroup
		for i := range claimants {
			claiming.Go(func() {
				for range claims {
					if err := claim(gates[i%2]); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		claiming.Wait()
		if entered.Load() < places || refused.Load() == 0 || moved.Load() == 0 {
			t.Errorf("entered %d, moved %d, refused %d: the test proves little", entered.Load(), moved.Load(), refused.Load())
		}
		for range places { // none was lost
			if _, _, err := gates[1].Enter(t.Context(), narrow); err != nil {
				t.Error(err)
			}
		}
		if _, _, err := gates[0].Enter(t.Context(), narrow); !errors.Is(err, store.ErrFull) {
			t.Errorf("one too many: %v", err)
		}
	})
}

// Two gates, many connections at once: of a hundred attempts exactly as many
// enter as the grant allows in the time, whoever comes first.
func TestTwoGatesLetNobodyInMoreOftenThanAGrantAllows(t *testing.T) {
	const most, claimants, claims = 7, 10, 10
	onBoth(t, func(t *testing.T, url string) {
		gates := []*store.Store{storetest.Open(t, url), storetest.Open(t, url)}
		se := granted(t, gates[0])
		g, err := gates[0].CreateGrant(t.Context(), "root", policy.Grant{
			Person: se.Person, Server: se.Server, MaxEntries: policy.Rate{Most: most, Per: 24 * time.Hour},
		})
		if err != nil {
			t.Fatal(err)
		}
		se.Grant = g.ID
		var entered, refused atomic.Int64
		var claiming sync.WaitGroup
		for i := range claimants {
			claiming.Go(func() {
				for range claims {
					switch in, _, err := gates[i%2].Enter(context.Background(), se); {
					case errors.Is(err, store.ErrOften):
						refused.Add(1)
					case err != nil:
						t.Error(err)
					default:
						entered.Add(1)
						// With the stay gone too, the next one begins a new one.
						if err := errors.Join(gates[i%2].Leave(context.Background(), in.ID, time.Now(), policy.ClientLeft, policy.Carried{}),
							gates[i%2].EndStay(context.Background(), in.Stay, time.Now(), policy.ClientLeft)); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		claiming.Wait()
		if entered.Load() != most || refused.Load() != claimants*claims-most {
			t.Errorf("%d entered and %d were refused, want %d to enter", entered.Load(), refused.Load(), most)
		}
	})
}

// Two admins who looked at the same grant: of each round one change is kept,
// and whoever lost is told.
func TestOfTwoAdminsWithTheSameBaseOneIsToldOfAConflict(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		gates := []*store.Store{storetest.Open(t, url), storetest.Open(t, url)}
		session := granted(t, gates[0])
		facts, err := gates[0].Facts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		start := facts.Grants[0].Start
		for round := range 15 {
			facts, err := gates[round%2].Facts(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var kept, conflicts atomic.Int64
			ends := make(chan time.Time, 2)
			var changing sync.WaitGroup
			for i, gate := range gates {
				changing.Go(func() {
					end := start.Add(time.Duration(10*round+i+1) * time.Hour)
					switch err := gate.SetGrantEnd(context.Background(), "root", session.Grant, facts.Revision, end); {
					case err == nil:
						kept.Add(1)
						ends <- end
					case errors.Is(err, store.ErrConflict):
						conflicts.Add(1)
					default:
						t.Error(err)
					}
				})
			}
			changing.Wait()
			if kept.Load() != 1 || conflicts.Load() != 1 {
				t.Fatalf("%d changes kept, %d conflicts", kept.Load(), conflicts.Load())
			}
			after, err := gates[0].Facts(t.Context())
			if want := <-ends; err != nil || !after.Grants[0].End.Equal(want) {
				t.Fatalf("the grant ends at %s, %v, want %s", after.Grants[0].End, err, want)
			}
		}
	})
}
