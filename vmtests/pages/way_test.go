package pages

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/pawelmojski/inside/appliance/api"
)

// The whole way of an admin through the pages, from signing in to the evidence.
func TestAnAdminGrantsWatchesRevokesAndPlays(t *testing.T) {
	h := newHouse(t)
	h.know()
	b := newBrowser(h)
	tb := b.tab()

	tb.open("/")
	tb.sees("Sign in")
	tb.pardon("status of 401")
	tb.signIn("the-operator", "a wrong password")
	tb.sees("the name or the password is wrong")
	tb.signIn("the-operator", rolePassword)
	tb.sees("Nobody is inside")
	tb.picture("empty-1280", 1280, 900, "light")

	// A grant in four steps.
	tb.press("Make a grant")
	tb.pardon("status of 422")
	tb.fill("input[name=who]", "nobody-known")
	tb.press("Where")
	tb.sees(`"nobody-known"`)
	tb.fill("input[name=who]", "ali")
	tb.holds(`[...document.querySelectorAll("#names option")].map(o => o.value).join() === "alice"`)
	tb.fill("input[name=who]", "alice")
	tb.press("Where")
	tb.sees("Where to?")
	tb.fill("input[name=where]", "prod-db-01")
	tb.press("How")
	tb.sees("How long")
	tb.fill("input[name=reason]", `it's "urgent"`)
	tb.fill("input[name=schedule]", "Mon-Sun 00:00-24:00")
	tb.picture("wizard-how-1280", 1280, 900, "light")
	tb.press("Review")
	tb.sees("alice may enter prod-db-01")
	tb.sees("As things stand alice may not enter prod-db-01")
	if command := tb.text(".command"); !strings.Contains(command, "inside grant create alice --server prod-db-01") || !strings.Contains(command, `'it'\''s "urgent"'`) {
		t.Errorf("the command is %s", command)
	}
	tb.picture("wizard-review-1280", 1280, 900, "light")
	tb.press("Make the grant")
	tb.sees("The grant is made.")
	tb.picture("grant-360", 360, 900, "light")

	// Somebody comes in, and is seen at once.
	tb.open("/")
	tb.sees("Nobody is inside")
	term := h.ssh()
	stay := h.inside1()
	// A second is what people may wait; where tests share two processors with a
	// browser, it is the browser that is late.
	if took := tb.sees("1 person inside"); took > 3*time.Second {
		t.Errorf("the page shows who came after %s", took)
	} else {
		t.Logf("the page shows who came after %s", took)
	}
	if row := tb.text("#part-inside tbody tr"); !strings.Contains(row, "alice") || !strings.Contains(row, "prod-db-01") {
		t.Errorf("the row says %q", row)
	}
	tb.picture("inside-1280", 1280, 900, "light")
	tb.picture("inside-360", 360, 800, "light")
	tb.picture("inside-dark", 1280, 900, "dark")

	// Watched as it happens, from the first byte.
	live := b.tab()
	live.signIn("the-operator", rolePassword)
	live.sees("1 person inside")
	session := h.session(stay.ID)
	live.open("/sessions/" + session.ID)
	live.sees("As it happens")
	live.sees("$") // the prompt, from before
	term.typed(h, "echo seen-by-$((40+2))\n")
	live.sees("seen-by-42")
	live.picture("live-1280", 1280, 900, "light")

	// Revoked on one page, it ends on both.
	tb.open("/grants/" + stay.Grant)
	tb.press("Revoke")
	tb.sees("The grant is revoked.")
	select {
	case <-term.done:
	case <-time.After(patience):
		t.Error("the session goes on")
	}
	live.sees("revoked")

	// Found, played and taken along.
	tb.open("/search?q=alice")
	tb.press("Look at it")
	tb.sees("Playback")
	tb.holds(`document.querySelector(".ap-player, .asciinema-player, .ap-wrapper") !== null`)
	tb.fill("input[name=find]", "seen-by-42")
	tb.press("Next")
	tb.holds(`document.querySelector("output").textContent.startsWith("at ")`)
	tb.sees("seen-by-42")
	tb.picture("playback-1280", 1280, 900, "dark")
	tb.picture("playback-360", 360, 800, "light")
	if status := tb.fetched("/api/v1/sessions/" + session.ID + "/export"); status != http.StatusOK {
		t.Errorf("the export is answered with %d", status)
	}
	tb.open("/search?q=alice")
	if status := tb.fetched("/api/v1/search?q=alice&format=csv"); status != http.StatusOK {
		t.Errorf("the CSV is answered with %d", status)
	}
	tb.picture("search-1280", 1280, 900, "light")
	looked, err := h.api().AuditRows(context.Background(), api.AuditFilter{By: "admin:the-operator"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"admin.signin", "grant.create", "recording.watch", "grant.revoke", "recording.play", "recording.export"} {
		if !hasAction(looked, want) {
			t.Errorf("the audit trail has no %s of the admin's", want)
		}
	}
	tb.open("/audit?action=recording")
	tb.sees("recording.play")
	tb.picture("audit-360", 360, 800, "light")
	tb.picture("audit-1280", 1280, 900, "light")
	tb.press("Verify the whole record")
	tb.sees("The record is whole")
	tb.open("/persons/alice")
	tb.press("Stays")
	tb.sees("Who was inside")
	tb.sees("prod-db-01")
	tb.picture("stays-360", 360, 800, "light")
	tb.picture("stays-1280", 1280, 900, "light")
	tb.open("/gate")
	tb.press("Examine the gate")
	tb.holds(`document.querySelectorAll("#doctor tbody tr").length > 3`)
	tb.picture("gate-360", 360, 800, "light")
	tb.picture("gate-1280", 1280, 900, "dark")

	// Each role sees and does what is its own, whatever a page shows.
	viewer := b.tab()
	viewer.pardon("status of 403")
	viewer.signIn("the-viewer", rolePassword)
	viewer.sees("Last entries")
	viewer.open("/grants/" + stay.Grant)
	viewer.sees("What became of it")
	viewer.seesNot("Change it")
	viewer.open("/sessions/" + session.ID)
	viewer.sees("Recordings are for operators and admins.")
	for path, want := range map[string]int{
		"/api/v1/sessions/" + session.ID + "/recordings/0": http.StatusForbidden, "/api/v1/sessions/" + session.ID + "/export": http.StatusForbidden, "/api/v1/stays": http.StatusOK,
	} {
		if status := viewer.fetched(path); status != want {
			t.Errorf("a viewer who asks for %s is answered with %d, want %d", path, status, want)
		}
	}
	for path, status := range map[string]int{"/grants": viewer.posted("/grants", "who=alice&where=prod-db-01"), "/persons": tb.posted("/persons", "name=eve")} {
		if status != http.StatusForbidden {
			t.Errorf("a form for %s by who may not is answered with %d", path, status)
		}
	}
	admin := b.tab()
	admin.signIn("the-admin", rolePassword)
	admin.sees("Last entries")
	admin.open("/persons")
	admin.fill("input[name=name]", "eve")
	admin.press("Add")
	admin.sees("eve")
	admin.picture("persons-1280", 1280, 900, "light")
	h.inside("admin", "disable", "the-admin")
	admin.open("/persons")
	admin.sees("You are no longer signed in.")

	tb.do(clickSignOut)
	tb.sees("Sign in")
	tb.open("/grants")
	tb.sees("Sign in")
}

func hasAction(rows []api.Change, action string) bool {
	for _, r := range rows {
		if r.Action == action {
			return true
		}
	}
	return false
}

// inside1 waits for the one stay there is.
func (h *house) inside1() (stay api.Stay) {
	h.t.Helper()
	h.until("somebody is inside", func() bool {
		stays, err := h.api().Stays(context.Background(), api.StayFilter{})
		if err != nil || len(stays) != 1 || !stays[0].Present {
			return false
		}
		stay = stays[0]
		return true
	})
	return stay
}

// session is the one live session of a stay, once there is a recording of it.
func (h *house) session(stay string) (found api.Session) {
	h.t.Helper()
	h.until("a terminal is recorded", func() bool {
		sessions, err := h.api().Sessions(context.Background(), api.SessionFilter{Stay: stay})
		if err != nil || len(sessions) != 1 || sessions[0].Recordings == 0 {
			return false
		}
		found = sessions[0]
		return true
	})
	return found
}

// posted sends a form as a script of the page does.
func (tb *tab) posted(path, form string) (status int) {
	tb.t.Helper()
	tb.pardon("status of 403")
	tb.do(chromedp.Evaluate(`fetch("`+path+`", {method: "POST", body: new URLSearchParams("`+form+`"), redirect: "manual"}).then(r => r.status)`, &status, chromedp.EvalAsValue, awaitPromise))
	return status
}

// fetched asks for something as a script of the page does.
func (tb *tab) fetched(path string) (status int) {
	tb.t.Helper()
	tb.do(chromedp.Evaluate(`fetch("`+path+`").then(async r => { await r.arrayBuffer(); return r.status })`, &status, chromedp.EvalAsValue, awaitPromise))
	return status
}
