package appliance

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// usualLimit is how many lines a list has for which no limit was given.
const usualLimit = 100

func limitOf(asked int) int {
	if asked == 0 {
		return usualLimit
	}
	return asked
}

// openSessions are the sessions that have not ended, on every gate. What this
// gate no longer carries is not among them: its end may still wait to be
// written down.
func (h *House) openSessions(ctx context.Context) ([]policy.Session, error) {
	sessions, err := h.Store.Sessions(ctx, store.SessionFilter{Open: true, Limit: math.MaxInt32})
	if err != nil {
		return nil, asProblem(err, "")
	}
	live := h.Live.Sessions()
	open := sessions[:0]
	for _, se := range sessions {
		if _, here := live[se.ID]; here || se.Gate != h.Gate {
			open = append(open, se)
		}
	}
	return open, nil
}

// EndStay ends a stay by an admin's will. The grant is not touched: the person
// may come in again, with a new stay.
func (h *House) EndStay(ctx context.Context, id string) (api.Stay, error) {
	st, err := h.Store.Stay(ctx, policy.StayID(id))
	if err != nil {
		return api.Stay{}, asProblem(err, "inside stays")
	}
	if !st.End.IsZero() {
		return api.Stay{}, conflict("inside stays", "stay %s ended already, at %s", st.ID, st.End.UTC().Format(time.RFC3339))
	}
	st.End, st.Cause = h.Now().UTC(), policy.AdminEnded
	h.Live.EndStay(st.ID, st.Cause)
	detail := "of " + namer{h.Book()}.person(st.Person) + " by grant " + string(st.Grant)
	err = h.Store.EndStay(ctx, st.ID, st.End, st.Cause)
	if err == nil {
		err = h.Store.Audit(ctx, api.By(ctx), "stay.end", "stay "+string(st.ID), detail)
	}
	if err != nil {
		return api.Stay{}, unwritten("stay "+string(st.ID)+" has ended", err)
	}
	return h.wireStay(st, 0), nil
}

func (h *House) Sessions(ctx context.Context, f api.SessionFilter) ([]api.Session, error) {
	sessions, err := h.Store.Sessions(ctx, store.SessionFilter{
		Stay: policy.StayID(f.Stay), Open: !f.All, After: policy.SessionID(f.After), Limit: limitOf(f.Limit),
	})
	if err != nil {
		return nil, asProblem(err, "inside stays --all")
	}
	live := h.Live.Sessions()
	wire := make([]api.Session, 0, len(sessions))
	for _, se := range sessions {
		s := h.wireSession(se, live)
		if !f.All && !s.Live && se.Gate == h.Gate {
			continue
		}
		wire = append(wire, s)
	}
	return wire, nil
}

// session finds a session by its id or the beginning of it.
func (h *House) session(ctx context.Context, id string) (policy.Session, error) {
	se, err := h.Store.Session(ctx, id)
	return se, asProblem(err, "inside sessions")
}

func (h *House) Session(ctx context.Context, id string) (api.Session, error) {
	se, err := h.session(ctx, id)
	if err != nil {
		return api.Session{}, err
	}
	moves, err := h.Store.Moves(ctx, se.ID)
	if err != nil {
		return api.Session{}, asProblem(err, "")
	}
	wire := h.wireSession(se, h.Live.Sessions())
	for _, m := range moves {
		wire.Moved = append(wire.Moved, api.Left{Stay: string(m.Stay), Grant: string(m.Grant), Time: m.Time})
	}
	return wire, nil
}

// KillSession ends one session; the stay goes on and the person may connect
// again. What runs here can be ended without a database.
func (h *House) KillSession(ctx context.Context, id string) (api.Session, error) {
	se, err := h.Store.Session(ctx, id)
	if running := h.running(id); running != "" && isOutage(err) {
		h.Live.EndSession(running, policy.AdminEnded)
		return api.Session{}, unwritten("session "+string(running)+" has ended", err)
	}
	if err != nil {
		return api.Session{}, asProblem(err, "inside sessions")
	}
	if !se.End.IsZero() {
		return api.Session{}, conflict("inside sessions --live", "session %.8s ended already, at %s", se.ID, se.End.UTC().Format(time.RFC3339))
	}
	if !h.Live.EndSession(se.ID, policy.AdminEnded) {
		return api.Session{}, conflict("inside sessions --live", "session %.8s is not carried by this gate (%s) but by %s", se.ID, h.Gate, se.Gate)
	}
	names := namer{h.Book()}
	detail := fmt.Sprintf("of %s on %s", names.person(se.Person), names.server(se.Server))
	if err := h.Store.Audit(ctx, api.By(ctx), "session.kill", "session "+string(se.ID), detail); err != nil {
		return api.Session{}, unwritten("session "+string(se.ID)+" has ended", err)
	}
	se.End, se.Cause = h.Now().UTC(), policy.AdminEnded
	return h.wireSession(se, nil), nil
}

// running finds a session this gate carries by the beginning of its id; "" if
// there is none or more than one.
func (h *House) running(id string) (found policy.SessionID) {
	for running := range h.Live.Sessions() {
		if !strings.HasPrefix(string(running), id) {
			continue
		}
		if found != "" {
			return ""
		}
		found = running
	}
	return found
}

func (h *House) wireSession(se policy.Session, live map[policy.SessionID]Traffic) api.Session {
	return wireSession(h.Book(), h.Now(), se, live)
}

func wireSession(b *policy.Book, now time.Time, se policy.Session, live map[policy.SessionID]Traffic) api.Session {
	names := namer{b}
	wire := api.Session{
		ID: string(se.ID), Stay: string(se.Stay), Grant: string(se.Grant),
		Person: names.person(se.Person), PersonID: string(se.Person),
		Server: names.server(se.Server), ServerID: string(se.Server),
		Protocol: string(se.Protocol), Login: se.Login, Client: se.Client.String(), Dest: se.Dest.String(),
		Account: se.Identity.Account, Node: se.Identity.Node, Waived: string(se.Waived),
		Gate: se.Gate, Start: se.Start, End: se.End, Carried: api.Carried(se.Carried),
	}
	if !se.End.IsZero() {
		wire.Cause, wire.Sentence, wire.Removed = string(se.Cause), se.Cause.Error(), se.Removed
		return wire
	}
	if traffic, here := live[se.ID]; here {
		wire.Live, wire.Carried = true, api.Carried(traffic)
		if se.Grant == "" {
			return wire
		}
		wire.Until = b.DecideBy(se.Grant, policy.Flow{
			Client: se.Client, Dest: se.Dest, Protocol: se.Protocol, Login: se.Login, Identity: se.Identity, Inside: true,
		}, now).Until.UTC()
	}
	return wire
}
