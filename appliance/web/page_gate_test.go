package web_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/appliance/config"
)

func TestTheGatePageSaysWhatWorksAndWhatIsNotClosed(t *testing.T) {
	h := newHouse(t, api.Status{
		Started: time.Now().Add(-time.Hour), Doors: api.Part{OK: true}, Rules: api.Part{Detail: "somebody flushed them"}, Draining: &api.Draining{Sessions: 2, Until: time.Now().Add(time.Hour)},
	})
	h.Intercept = func() config.Intercept {
		return config.Intercept{Observe: []netip.Prefix{netip.MustParsePrefix("10.30.0.0/24")}, Warn: []netip.Prefix{netip.MustParsePrefix("10.40.0.0/24")}}
	}
	viewer := visitorOf(t, h, api.Viewer)
	viewer.sees("/gate", "does not work</b>: somebody flushed them", "2 sessions in the version before", "10.30.0.0/24", "everybody passes unrecorded", "recorded, but nobody is denied", "Operators and admins can ask it.")
	viewer.seesNot("/gate", "Examine the gate")
	viewer.does("POST", "/gate/doctor", http.StatusForbidden)
	operator := visitorOf(t, h, api.Operator)
	operator.sees("/gate", "Examine the gate")
	if body := operator.does("POST", "/gate/doctor", http.StatusOK); !strings.Contains(body, "1 check</b> of 4 not well.") || !strings.Contains(body, "the disk is full") {
		t.Errorf("examined: %s", body)
	}
}
