package appliance

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// mark makes the server of the insider sensitive.
func mark(t *testing.T, a *Appliance) {
	t.Helper()
	facts := *a.book.Load().Facts()
	facts.Servers = []policy.Server{facts.Servers[0]}
	facts.Servers[0].Sensitive = true
	book, err := policy.NewBook(facts)
	if err != nil {
		t.Fatal(err)
	}
	a.book.Store(book)
	a.live.reconsider()
}

func TestMarkingAServerEndsWhoIsThereWithoutApproval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, v := insider(t, policy.Grant{ID: "1"})
		mark(t, a)
		synctest.Wait()
		if cause := context.Cause(v.ctx); cause != policy.NoLongerAllowed {
			t.Errorf("cause %v, want %v", cause, policy.NoLongerAllowed)
		}
	})
}

func TestMarkingAServerLetsWhoIsApprovedStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, v := insider(t, policy.Grant{ID: "1", Approved: time.Now(), ApprovedBy: "anna"})
		mark(t, a)
		synctest.Wait()
		if v.ctx.Err() != nil {
			t.Errorf("ended: %v", context.Cause(v.ctx))
		}
	})
}
