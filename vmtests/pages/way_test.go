package pages

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
)

// The whole way of an admin through the pages.
func TestAnAdminSeesWhoIsInsideAndEndsIt(t *testing.T) {
	h := newHouse(t)
	h.know()
	h.inside("grant", "alice", "--server", "prod-db-01", "--duration", "8h")
	tb := newBrowser(h).tab()

	tb.open("/")
	tb.sees("Sign in")
	tb.pardon("status of 401")
	tb.signIn("the-operator", "a wrong password")
	tb.sees("the name or the password is wrong")
	tb.signIn("the-operator", rolePassword)
	tb.sees("Nobody is inside")
	tb.picture("empty", 1280, 900, "light")

	term := h.ssh()
	h.until("somebody is inside", func() bool {
		stays, err := h.api().Stays(context.Background(), api.StayFilter{})
		return err == nil && len(stays) == 1 && stays[0].Present
	})
	if took := tb.sees("1 person inside"); took > time.Second {
		t.Errorf("the page shows who came after %s", took)
	}
	if row := tb.text("#part-inside tbody tr"); !strings.Contains(row, "alice") || !strings.Contains(row, "prod-db-01") {
		t.Errorf("the row says %q", row)
	}
	tb.picture("inside-1280", 1280, 900, "light")
	tb.picture("inside-360", 360, 800, "light")
	tb.picture("inside-dark", 1280, 900, "dark")
	tb.press("End")
	tb.sees("The stay has ended")
	select {
	case <-term.done:
	case <-time.After(patience):
		t.Error("the session goes on")
	}
	tb.sees("Nobody is inside")
	tb.do(clickSignOut)
	tb.sees("Sign in")
	tb.open("/")
	tb.sees("Sign in")
}
