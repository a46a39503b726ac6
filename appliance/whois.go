package appliance

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/pawelmojski/inside/appliance/tailscale"
	"github.com/pawelmojski/inside/policy"
)

// asksAgain is how often it is asked whether who is inside by the login of a
// network is still logged in there.
const asksAgain = 5 * time.Second

// asksTailscale reports whether persons are known by what tailscaled says.
func (a *Appliance) asksTailscale() bool {
	c, _ := a.settings.now()
	return c.Identity.Tailscale
}

func (h *House) asksTailscale() bool { return h.Tailscale != nil && h.Tailscale() }

// whoComes asks the network who comes, where the address alone does not say and
// the network can know. Each entry asks anew: an answer that was kept might let
// in whoever has the node now.
func (a *Appliance) whoComes(ctx context.Context, client netip.AddrPort) (policy.Identity, error) {
	if !a.asksTailscale() || !tailscale.Has(client.Addr()) || a.book.Load().KnownAt(client.Addr()) {
		return policy.Identity{}, nil
	}
	return a.tailscale.Whois(ctx, client)
}

// believed is the flow without the identity that nobody is asked for any more.
func (v *visit) believed() policy.Flow {
	f := v.flow
	if f.Identity != (policy.Identity{}) && !v.house.asksTailscale() {
		f.Identity = policy.Identity{}
	}
	return f
}

// stillThem asks again, when the person is about to be let in, who comes: minutes
// may have passed at the door.
func (v *visit) stillThem(ctx context.Context) (policy.Identity, error) {
	now, err := v.house.whoComes(ctx, v.flow.Client)
	if err != nil && !errors.Is(err, tailscale.ErrNobody) {
		return now, err
	}
	if v.house.book.Load().KnownAt(v.flow.Client.Addr()) || policy.SameAccount(now.Account, v.flow.Identity.Account) {
		return now, nil
	}
	return now, fmt.Errorf("%s has come, and %s is there now", whom(v.flow.Identity), whom(now))
}

// whom names who a network says is somewhere, for admins.
func whom(i policy.Identity) string {
	switch {
	case i.Account != "":
		return i.String()
	case i.Node != "":
		return "nobody on " + i.Node
	}
	return "nobody"
}

// notKnown says for admins why an identity made nobody known.
func (v *visit) notKnown(d policy.Denial) string {
	switch account := v.flow.Identity.Account; {
	case d != policy.UnknownPerson && d != policy.Unidentified:
		return ""
	case v.unidentified != nil:
		return v.unidentified.Error()
	case account != "":
		return fmt.Sprintf("no person has the account %s: inside person set-account PERSON %s", account, account)
	}
	return ""
}

// keepAsking ends the sessions of those who are not logged in any more where
// they came from. While nobody answers, nobody's session ends for that.
func (a *Appliance) keepAsking(ctx context.Context) {
	again := time.NewTicker(asksAgain)
	defer again.Stop()
	missing := map[netip.Addr]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
			a.askAgain(ctx, missing)
		}
	}
}

// askAgain asks once about every address that somebody is inside from. A node
// that is missing counts the second time: a tailscaled that has just started
// knows nobody yet.
func (a *Appliance) askAgain(ctx context.Context, missing map[netip.Addr]bool) {
	inside := a.live.identified()
	for addr := range missing {
		if inside[addr] == nil {
			delete(missing, addr)
		}
	}
	for addr, visits := range inside {
		now, err := a.tailscale.Whois(ctx, visits[0].flow.Client)
		if err != nil && !errors.Is(err, tailscale.ErrNobody) {
			return
		}
		if gone := now == (policy.Identity{}); gone && !missing[addr] {
			missing[addr] = true
			continue
		} else if !gone {
			delete(missing, addr)
		}
		for _, v := range visits {
			if !policy.SameAccount(now.Account, v.flow.Identity.Account) {
				a.log.Info("another is logged in where a session comes from: it ends", "session", v.session.ID, "client", v.flow.Client,
					"was", v.flow.Identity.String(), "is", whom(now))
				v.end(policy.NoLongerAllowed)
			}
		}
	}
}

// identified are the sessions of those who are known by an identity, by the
// address they come from.
func (l *live) identified() map[netip.Addr][]*visit {
	l.mu.Lock()
	defer l.mu.Unlock()
	inside := map[netip.Addr][]*visit{}
	for _, v := range l.sessions {
		if v.flow.Identity.Account != "" {
			inside[v.flow.Client.Addr()] = append(inside[v.flow.Client.Addr()], v)
		}
	}
	return inside
}
