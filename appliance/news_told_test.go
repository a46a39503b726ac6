package appliance

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
)

func TestAPersonIsPresentAsLongAsASessionRestsOnTheStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, v := insider(t, policy.Grant{ID: "1"})
		var states []string
		var hearing sync.WaitGroup
		hearing.Go(func() {
			for _, n := range heard(t, a.news, "", 3, api.NewsStay) {
				var st api.StayNews
				if err := json.Unmarshal(n.Data, &st); err != nil {
					t.Error(err)
				}
				states = append(states, st.State)
			}
		})
		synctest.Wait()
		comes := func(se policy.Session, joined bool) {
			a.live.sessions[se.ID] = &visit{session: se}
			a.tellEntered(se, joined)
		}
		goes := func(se policy.Session) {
			delete(a.live.sessions, se.ID)
			a.tellLeft(se)
		}
		first, second := v.session, v.session
		second.ID = "s2"
		comes(first, false)
		comes(second, true)
		goes(first) // the second is there
		goes(second)
		comes(first, true)
		hearing.Wait()
		delete(a.live.sessions, first.ID)
		if got := strings.Join(states, " "); got != "began absent present" {
			t.Errorf("heard: %s", got)
		}
	})
}
