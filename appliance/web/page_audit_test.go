package web_test

import (
	"fmt"
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/appliance/api"
)

func TestTheAuditPageShowsWhoDidWhatAndThatNothingWasRewritten(t *testing.T) {
	h := newHouse(t, api.Status{})
	ctx := api.WithActor(t.Context(), api.Actor{Name: "admin:root", Role: api.Admin})
	for i := range 120 {
		if _, err := h.AddPerson(ctx, api.NewPerson{Name: fmt.Sprint("p", i), FullName: "<script>x</script>"}); err != nil {
			t.Fatal(err)
		}
	}
	v := visitorOf(t, h, api.Viewer)
	body := v.sees("/audit", "Signed up to record", "person p119", `aria-current="page">Audit`)
	if strings.Count(body, `<tr id="audit-`) != 100 {
		t.Errorf("%d rows on the first page", strings.Count(body, `<tr id="audit-`))
	}
	next := regexp.MustCompile(`<a href="([^"]*)">Older`).FindStringSubmatch(body)
	if next == nil {
		t.Fatal("no older page")
	}
	older := v.sees(html.UnescapeString(next[1]), "person p0")
	if strings.Count(older, `<tr id="audit-`) < 20 || strings.Contains(older, "person p119") {
		t.Error("the older page is not the rest")
	}
	v.sees("/audit?object=person+p7&by=admin%3Aroot", "person p7<")
	v.seesNot("/audit?object=person+p7", "person p8<")
	v.sees("/audit?action=recording", "Nothing fits.")
	v.does("GET", "/audit?from=never", http.StatusUnprocessableEntity)
	v.does("GET", "/audit?before=-1", http.StatusUnprocessableEntity)

	if body := v.does("POST", "/audit/verify", http.StatusOK); !strings.Contains(body, "The record is whole: 1") {
		t.Errorf("verified: %s", body)
	}
}
