package web

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
)

// A page with nothing to show is a page.
func TestEveryPageShowsItselfEmpty(t *testing.T) {
	mains := map[string]any{
		"problem": api.NewProblem(api.CodeInvalid, "x", "y"), "signin": signInForm{}, "account": accountForm{}, "onward": "/x", "dashboard": dashboard{},
		"wizard": wizard{}, "grants": grantList{}, "grant": grantPage{}, "session": sessionPage{}, "search": searchPage{},
		"persons": personList{}, "person": personPage{}, "servers": serverList{}, "server": serverPage{}, "groups": groupList{}, "group": groupPage{},
		"audit": auditPage{}, "gate": gatePage{}, "stays": staysPage{},
	}
	for name := range templates() {
		main, ok := mains[name]
		if !ok {
			t.Errorf("no test shows %s", name)
			continue
		}
		var b bytes.Buffer
		if err := templates()[name].ExecuteTemplate(&b, "frame", page{Main: main, Who: "x"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestABrokenRecordIsNamed(t *testing.T) {
	for want, v := range map[string]verified{
		"The record is broken: audit row 17 was changed": {AuditReport: api.AuditReport{Links: 16, Broken: &api.BrokenRecord{Text: "audit row 17 was changed"}, Done: true}},
		"Not read to the end: it is long. 16 records":    {AuditReport: api.AuditReport{Links: 16}, Trouble: "it is long"},
	} {
		var b bytes.Buffer
		if err := templates()["audit"].ExecuteTemplate(&b, "frame", page{Main: auditPage{Verified: &v}}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), want) || strings.Contains(b.String(), "is whole") {
			t.Errorf("not %q: %s", want, b.String())
		}
	}
}

func TestAlertsStandOnTheGatePage(t *testing.T) {
	over := []api.Alert{{Text: "db was out of reach", Begin: time.Now().Add(-time.Hour), End: time.Now()}}
	var b bytes.Buffer
	err := templates()["gate"].ExecuteTemplate(&b, "frame", page{Main: gatePage{Status: api.Status{Alerts: []api.Alert{{Object: "recordings", Text: "little room is left", Begin: time.Now()}}}, Ended: over}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"little room is left", "db was out of reach"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

func TestOnlyPathsOfTheGateAreGoneBackTo(t *testing.T) {
	for to, want := range map[string]string{
		"/": "/", "/grants/1?x=y": "/grants/1?x=y", "": "/", "//evil.test/": "/", "https://evil.test/": "/", `/\evil.test`: "/", "/\t/evil.test": "/",
		"javascript:alert(1)": "/", "grants": "/", "/%2F/evil.test": "/%2F/evil.test",
	} {
		if got := ours(to); got != want {
			t.Errorf("ours(%q) = %q, want %q", to, got, want)
		}
	}
}
