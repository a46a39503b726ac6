package web

import (
	"bytes"
	"testing"

	"github.com/pawelmojski/inside/appliance/api"
)

// A page with nothing to show is a page.
func TestEveryPageShowsItselfEmpty(t *testing.T) {
	mains := map[string]any{
		"problem": api.NewProblem(api.CodeInvalid, "x", "y"), "signin": signInForm{}, "account": accountForm{}, "onward": "/x", "dashboard": dashboard{},
		"wizard": wizard{}, "grants": grantList{}, "grant": grantPage{}, "session": sessionPage{}, "search": searchPage{},
		"persons": personList{}, "person": personPage{}, "servers": serverList{}, "server": serverPage{}, "groups": groupList{}, "group": groupPage{},
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
