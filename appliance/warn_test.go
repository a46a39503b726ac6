package appliance

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pawelmojski/inside/appliance/config"
	"github.com/pawelmojski/inside/policy"
)

// warnOnly has the network of the insider only warn; no has it protected.
func warnOnly(a *Appliance, yes bool) {
	c := config.Config{Intercept: &config.Intercept{}}
	if yes {
		c.Intercept.Warn = []netip.Prefix{netip.MustParsePrefix("10.30.0.0/16")}
	}
	a.settings.set(c)
	a.live.reconsider()
}

func TestNoTimerEndsASessionInANetworkThatOnlyWarns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, v := insider(t, policy.Grant{ID: "1", End: time.Now().Add(time.Hour), Idle: 10 * time.Minute})
		v.Used()
		warnOnly(a, true)
		for range 13 { // the grant ends after the twelfth
			time.Sleep(5 * time.Minute)
			v.Used()
			synctest.Wait()
		}
		if v.ctx.Err() != nil || v.Verdict().Waived != policy.Expired || !v.Verdict().Until.IsZero() {
			t.Fatalf("%v, %+v", context.Cause(v.ctx), v.Verdict())
		}
		time.Sleep(24 * time.Hour) // nobody uses it, and no grant limits that
		synctest.Wait()
		if v.ctx.Err() != nil || v.Over(0) {
			t.Fatal(context.Cause(v.ctx))
		}
	})
}

func TestASessionThatWasLetStayOutlivesTheChangeToProtectUntilSomethingNewSpeaksAgainstIt(t *testing.T) {
	for name, c := range map[string]struct {
		then func(*testing.T, *Appliance)
		ends bool
	}{
		"nothing": {func(t *testing.T, a *Appliance) { a.live.reconsider() }, false},
		"a revocation": {func(t *testing.T, a *Appliance) {
			turn(t, a, policy.Grant{ID: "1", End: time.Now().Add(-time.Hour), Revoked: time.Now()})
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, v := insider(t, policy.Grant{ID: "1", End: time.Now().Add(time.Hour)})
				warnOnly(a, true)
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				warnOnly(a, false)
				if v.ctx.Err() != nil {
					t.Fatalf("the change ended it: %v", context.Cause(v.ctx))
				}
				c.then(t, a)
				synctest.Wait()
				if ended := v.ctx.Err() != nil; ended != c.ends {
					t.Errorf("ended: %v", context.Cause(v.ctx))
				}
			})
		})
	}
}

func TestWhereNothingIsProtectedYetTheBookStillDeniesElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, v := insider(t, policy.Grant{ID: "1", End: time.Now().Add(time.Hour)})
		c := config.Config{Intercept: &config.Intercept{Warn: []netip.Prefix{netip.MustParsePrefix("10.31.0.0/16")}}}
		a.settings.set(c)
		time.Sleep(61 * time.Minute)
		synctest.Wait()
		if why := context.Cause(v.ctx); why != policy.GrantExpired {
			t.Errorf("%v", why)
		}
	})
}
