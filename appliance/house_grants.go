package appliance

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// usualLength is how long a grant lasts for which no length was given.
const usualLength = time.Hour

func (h *House) Grants(ctx context.Context, f api.GrantFilter) ([]api.Grant, error) {
	b, now := h.Book(), h.Now()
	reaches := func(policy.Grant) bool { return true }
	if f.Person != "" {
		p, err := h.personNamed(f.Person)
		if err != nil {
			return nil, err
		}
		in := around(b.Facts().PersonGroups, string(p.ID))
		reaches = func(g policy.Grant) bool { return g.Person == p.ID || in[g.PersonGroup] }
	}
	var unused map[policy.GrantID]time.Time
	if f.Unused != "" {
		d, err := policy.ParseDuration(f.Unused)
		if err != nil {
			return nil, invalid("", "%v", err)
		}
		if unused, err = h.Store.UnusedGrants(ctx, now.Add(-d), now); err != nil {
			return nil, asProblem(err, "")
		}
	}
	grants := []api.Grant{}
	for i := range b.Facts().Grants {
		g := &b.Facts().Grants[i]
		if _, denial := b.Standing(g.ID, now); !reaches(*g) || f.Active && over(denial) || f.Waiting && !b.Waits(g.ID, now) {
			continue
		}
		last, is := unused[g.ID]
		if f.Unused != "" && !is {
			continue
		}
		wire := wireGrant(b, g, now)
		wire.LastUsed = last
		grants = append(grants, wire)
	}
	slices.SortStableFunc(grants, func(x, y api.Grant) int { return byNumber(x.ID, y.ID) })
	return grants, nil
}

// over reports whether a grant with this denial will not serve again by itself.
func over(d policy.Denial) bool { return d == policy.Expired || d == policy.Revoked }

// byNumber orders the decimal numbers that ids of grants and stays are.
func byNumber(x, y string) int {
	if len(x) != len(y) {
		return len(x) - len(y)
	}
	return strings.Compare(x, y)
}

func (h *House) Grant(ctx context.Context, id string) (api.Grant, error) {
	g, err := h.grantNumbered(id)
	if err != nil {
		return api.Grant{}, err
	}
	return wireGrant(h.Book(), g, h.Now()), nil
}

func (h *House) CreateGrant(ctx context.Context, asked api.NewGrant) (api.Grant, error) {
	asked, err := h.byTemplate(ctx, asked)
	if err != nil {
		return api.Grant{}, err
	}
	g, err := h.newGrant(asked, h.Now())
	if err != nil {
		return api.Grant{}, err
	}
	if g, err = h.Store.CreateGrant(ctx, api.By(ctx), g); err != nil {
		return api.Grant{}, asProblem(err, "inside grant --help")
	}
	if err := h.acted(ctx); err != nil {
		return api.Grant{}, err
	}
	wire := wireGrant(h.Book(), &g, h.Now())
	wire.DefaultLength = asked.Duration == "" && !asked.Permanent && asked.End.IsZero()
	wire.Notes = append(h.grantNotes(&g), waitNotes(wire)...)
	if asked.Template != "" {
		wire.Notes = append(wire.Notes, "from template "+asked.Template)
	}
	return wire, nil
}

// newGrant checks what was asked for and looks the names up.
func (h *House) newGrant(asked api.NewGrant, now time.Time) (g policy.Grant, err error) {
	if err := h.who(asked, &g); err != nil {
		return g, err
	}
	if err := h.where(asked, &g); err != nil {
		return g, err
	}
	if err := how(asked, &g); err != nil {
		return g, err
	}
	if err := h.source(asked, &g); err != nil {
		return g, err
	}
	if err := howLong(asked, &g, now); err != nil {
		return g, err
	}
	if err := when(asked, &g); err != nil {
		return g, err
	}
	if err := howMuch(asked, &g); err != nil {
		return g, err
	}
	if err := renewing(asked, &g); err != nil {
		return g, err
	}
	g.Reason = asked.Reason
	return g, nil
}

func (h *House) who(asked api.NewGrant, g *policy.Grant) error {
	switch {
	case asked.Person != "" && asked.PersonGroup != "":
		return invalid("create two grants", "a grant is for a person or for a person group, not for both")
	case asked.Person != "":
		p, err := h.personNamed(asked.Person)
		if err != nil {
			return err
		}
		g.Person = p.ID
	case asked.PersonGroup != "":
		pg, err := h.groupNamed(api.PersonGroup, asked.PersonGroup)
		if err != nil {
			return err
		}
		g.PersonGroup = pg.ID
	default:
		return invalid("name a person, or a group with --person-group", "who is the grant for?")
	}
	return nil
}

func (h *House) where(asked api.NewGrant, g *policy.Grant) error {
	switch {
	case asked.Server != "" && asked.Group != "":
		return invalid("create two grants", "a grant is for a server or for a group of servers, not for both")
	case asked.Server != "":
		s, err := h.serverNamed(asked.Server)
		if err != nil {
			return err
		}
		g.Server = s.ID
	case asked.Group != "":
		sg, err := h.groupNamed(api.ServerGroup, asked.Group)
		if err != nil {
			return err
		}
		g.ServerGroup = sg.ID
	default:
		return invalid("name a server with --server, or a group of them with --group", "where is the grant for?")
	}
	return nil
}

func how(asked api.NewGrant, g *policy.Grant) error {
	for _, name := range asked.Protocols {
		p := policy.Protocol(name)
		if !slices.Contains([]policy.Protocol{policy.SSH, policy.RDP, policy.HTTP}, p) {
			return invalid("protocols are ssh, rdp and http; none given means all", "unknown protocol %.40q", name)
		}
		if !slices.Contains(g.Protocols, p) {
			g.Protocols = append(g.Protocols, p)
		}
	}
	for _, login := range asked.Logins {
		if login == "" || strings.ContainsAny(login, ", \t\n") {
			return invalid("give one login with each --ssh-login; none given means any", "%.80q is not a login", login)
		}
		if !slices.Contains(g.Logins, login) {
			g.Logins = append(g.Logins, login)
		}
	}
	for _, direction := range asked.Forwarding {
		f, err := policy.ParseForwarding(direction)
		if err != nil {
			return invalid("", "%v", err)
		}
		g.Forwarding |= f
	}
	for _, what := range asked.Redirection {
		r, err := policy.ParseRedirection(what)
		if err != nil {
			return invalid("", "%v", err)
		}
		g.Redirection |= r
	}
	return nil
}

// source checks that the grant can ever be used: a person who never comes
// from there would be denied without end.
func (h *House) source(asked api.NewGrant, g *policy.Grant) error {
	if asked.SourceIP == "" {
		return nil
	}
	from, err := policy.ParsePrefix(asked.SourceIP)
	if err != nil {
		return invalid("", "%v", err)
	}
	g.From = from
	p := h.Book().Person(g.Person)
	if p == nil || slices.ContainsFunc(p.Addresses, func(a policy.Address) bool { return !a.Disabled && a.Prefix.Overlaps(from) }) {
		return nil
	}
	return invalid(fmt.Sprintf("inside person ip list %s, inside person ip add %s %s", p.Name, p.Name, prefixText(from)),
		"%s does not come from %s", p.Name, prefixText(from))
}

func howLong(asked api.NewGrant, g *policy.Grant, now time.Time) error {
	window := !asked.Start.IsZero() || !asked.End.IsZero()
	given := 0
	for _, is := range []bool{asked.Duration != "", asked.Permanent, window} {
		if is {
			given++
		}
	}
	switch {
	case given > 1:
		return invalid("choose one; without any of them a grant lasts 1 hour", "how long? --duration, --permanent and --from/--until exclude each other")
	case asked.Permanent:
	case asked.Duration != "":
		d, err := policy.ParseDuration(asked.Duration)
		if err != nil {
			return invalid("", "%v", err)
		}
		g.End = now.Add(d)
	case window && asked.End.IsZero():
		return invalid("give --until too", "a grant that begins at a time must end at one")
	case window:
		g.Start, g.End = asked.Start, asked.End
		if !g.End.After(now) {
			return invalid("give a later --until", "the grant would end at %s, which is over", g.End.Format(time.RFC3339))
		}
	default:
		g.End = now.Add(usualLength)
	}
	return nil
}

func when(asked api.NewGrant, g *policy.Grant) error {
	for _, s := range asked.Schedules {
		schedule, err := policy.ParseSchedule(s.Windows, s.Zone)
		if err != nil {
			return invalid(`--schedule "Mon-Fri 09:00-17:00" --timezone Europe/Warsaw`, "%v", err)
		}
		g.Schedules = append(g.Schedules, schedule)
	}
	return nil
}

func howMuch(asked api.NewGrant, g *policy.Grant) (err error) {
	if asked.Idle != "" {
		if g.Idle, err = policy.ParseDuration(asked.Idle); err != nil {
			return invalid("", "%v", err)
		}
	}
	if asked.MaxSessions < 0 {
		return invalid("leave it out for any number", "a grant cannot allow %d sessions at a time", asked.MaxSessions)
	}
	g.MaxSessions = asked.MaxSessions
	if asked.MaxEntries != "" {
		if g.MaxEntries, err = policy.ParseRate(asked.MaxEntries); err != nil {
			return invalid("", "%v", err)
		}
	}
	return nil
}

// grantNotes says what keeps a new grant from being of use.
func (h *House) grantNotes(g *policy.Grant) []string {
	b := h.Book()
	var notes []string
	if p := b.Person(g.Person); p != nil {
		if p.Disabled {
			notes = append(notes, fmt.Sprintf("%s is disabled: inside person enable %s", p.Name, p.Name))
		}
		byLogin := p.Account != "" && h.asksTailscale()
		if !byLogin && !slices.ContainsFunc(p.Addresses, func(a policy.Address) bool { return !a.Disabled }) {
			notes = append(notes, fmt.Sprintf("%s has no address to come from: inside person ip add %s ADDRESS", p.Name, p.Name))
		}
	}
	if s := b.Server(g.Server); s != nil && s.Disabled {
		notes = append(notes, fmt.Sprintf("%s is disabled: inside server enable %s", s.Name, s.Name))
	}
	return notes
}

func (h *House) SetGrantEnd(ctx context.Context, id string, e api.NewEnd) (api.Grant, error) {
	g, err := h.grantNumbered(id)
	if err != nil {
		return api.Grant{}, err
	}
	if err := versionGiven(e.Version, "inside grant show "+id); err != nil {
		return api.Grant{}, err
	}
	end, err := newEnd(g, e, h.Now())
	if err != nil {
		return api.Grant{}, err
	}
	if e.NoRenew {
		err = h.Store.StopRenewal(ctx, api.By(ctx), g.ID, e.Version)
	} else {
		err = h.Store.SetGrantEnd(ctx, api.By(ctx), g.ID, e.Version, end)
	}
	if err != nil {
		return api.Grant{}, asProblem(err, "inside grant show "+id)
	}
	if err := h.acted(ctx); err != nil {
		return api.Grant{}, err
	}
	wire, err := h.Grant(ctx, id)
	wire.Notes = endNotes(g.End, end)
	if g.Renew != 0 && wire.Renew == "" {
		wire.Notes = append(wire.Notes, "the grant no longer renews itself")
	}
	wire.Notes = append(wire.Notes, waitNotes(wire)...)
	return wire, err
}

func newEnd(g *policy.Grant, e api.NewEnd, now time.Time) (end time.Time, err error) {
	given := 0
	for _, is := range []bool{e.Duration != "", e.By != "", !e.Until.IsZero(), e.Permanent, e.NoRenew} {
		if is {
			given++
		}
	}
	if given != 1 {
		return end, invalid("give one of --duration 2h (from now), --by 2h (longer than it is), --until TIME, --permanent, --no-renew",
			"until when shall grant %s last?", g.ID)
	}
	switch {
	case e.Permanent:
		return time.Time{}, nil
	case e.NoRenew:
		return g.End, nil
	case e.By != "" && g.End.IsZero():
		return end, conflict("inside grant show "+string(g.ID), "grant %s is permanent: it has no end to move", g.ID)
	case e.By != "":
		d, err := policy.ParseDuration(e.By)
		if err != nil {
			return end, invalid("", "%v", err)
		}
		end = g.End.Add(d)
	case e.Duration != "":
		d, err := policy.ParseDuration(e.Duration)
		if err != nil {
			return end, invalid("", "%v", err)
		}
		end = now.Add(d)
	default:
		end = e.Until
	}
	if !end.After(now) {
		return end, invalid("to end it now: inside grant revoke "+string(g.ID), "grant %s would end at %s, which is over", g.ID, end.Format(time.RFC3339))
	}
	return end, nil
}

func endNotes(before, after time.Time) []string {
	if !after.IsZero() && (before.IsZero() || after.Before(before)) {
		return []string{"the grant is shorter than it was"}
	}
	return nil
}

func (h *House) RevokeGrant(ctx context.Context, id string) (api.Grant, error) {
	g, err := h.grantNumbered(id)
	if err != nil {
		return api.Grant{}, err
	}
	open, err := h.openSessions(ctx)
	if err != nil {
		return api.Grant{}, err
	}
	if err := h.Store.RevokeGrant(ctx, api.By(ctx), g.ID, h.Now()); err != nil {
		return api.Grant{}, asProblem(err, "inside grant show "+id)
	}
	if err := h.acted(ctx); err != nil {
		return api.Grant{}, err
	}
	wire, err := h.Grant(ctx, id)
	running := 0
	for _, se := range open {
		if se.Grant == g.ID {
			running++
		}
	}
	if running > 0 {
		wire.Notes = append(wire.Notes, fmt.Sprintf("%d running session(s) ended, unless another grant lets them stay: inside sessions --live", running))
	}
	return wire, err
}

func (h *House) GrantHistory(ctx context.Context, id string) ([]api.Change, error) {
	g, err := h.grantNumbered(id)
	if err != nil {
		return nil, err
	}
	rows, err := h.Store.AuditRows(ctx, store.AuditFilter{Object: "grant " + string(g.ID), Limit: math.MaxInt32})
	if err != nil {
		return nil, asProblem(err, "")
	}
	slices.Reverse(rows)
	return wireChanges(rows), nil
}

func wireGrant(b *policy.Book, g *policy.Grant, now time.Time) api.Grant {
	names := namer{b}
	wire := api.Grant{
		ID: string(g.ID), PersonID: string(g.Person), PersonGroupID: string(g.PersonGroup),
		ServerID: string(g.Server), GroupID: string(g.ServerGroup),
		Protocols: []string{}, Logins: append([]string{}, g.Logins...), Forwarding: []string{}, Redirection: []string{}, Schedules: []api.Schedule{},
		Start: g.Start, End: g.End, Permanent: g.End.IsZero(), Reason: g.Reason,
		Revoked: g.Revoked, Created: g.Created, CreatedBy: g.CreatedBy, Version: g.Version, MaxSessions: g.MaxSessions,
		MaxEntries: g.MaxEntries.String(),
		Waits:      b.Waits(g.ID, now), Approved: g.Approved, ApprovedBy: g.ApprovedBy, Authors: g.Authors,
	}
	if g.Idle > 0 {
		wire.Idle = policy.FormatDuration(g.Idle)
	}
	if g.Renew > 0 {
		wire.Renew = policy.FormatDuration(g.Renew)
	}
	if g.Person != "" {
		wire.Person = names.person(g.Person)
	} else {
		wire.PersonGroup = names.personGroup(g.PersonGroup)
	}
	if g.Server != "" {
		wire.Server = names.server(g.Server)
	} else {
		wire.Group = names.serverGroup(g.ServerGroup)
	}
	for _, p := range g.Protocols {
		wire.Protocols = append(wire.Protocols, string(p))
	}
	if g.From != (netip.Prefix{}) {
		wire.SourceIP = prefixText(g.From)
	}
	if g.Forwarding != 0 {
		wire.Forwarding = strings.Split(g.Forwarding.String(), ",")
	}
	if g.Redirection != 0 {
		wire.Redirection = strings.Split(g.Redirection.String(), ",")
	}
	for _, s := range g.Schedules {
		wire.Schedules = append(wire.Schedules, api.Schedule{Windows: s.String(), Zone: s.Zone()})
	}
	until, denial := b.Standing(g.ID, now)
	wire.Until, wire.Denial, wire.Sentence = until.UTC(), string(denial), denial.Sentence()
	return wire
}
