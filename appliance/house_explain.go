package appliance

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/appliance/tailscale"
	"github.com/pawelmojski/inside/policy"
)

// Explain asks the book about attempts nobody made: from each address of the
// person, and as their account where a network is asked who comes, by each
// protocol. The best of the answers is the explanation's.
func (h *House) Explain(ctx context.Context, q api.Question) (api.Explanation, error) {
	p, err := h.personNamed(q.Person)
	if err != nil {
		return api.Explanation{}, err
	}
	s, err := h.serverNamed(q.Server)
	if err != nil {
		return api.Explanation{}, err
	}
	protocols, err := askedProtocols(q)
	if err != nil {
		return api.Explanation{}, err
	}
	from, err := h.askedOrigins(ctx, p, q.From)
	if err != nil {
		return api.Explanation{}, err
	}
	x := explainer{h: h, book: h.Book(), person: p, server: s, login: q.Login, at: q.At}
	if q.At.IsZero() {
		q.At = h.Now()
		x.at = q.At
		if err := x.count(ctx); err != nil {
			return api.Explanation{}, err
		}
	}
	for _, a := range from {
		for _, protocol := range protocols {
			x.try(a, protocol)
		}
	}
	e := api.Explanation{
		Person: p.Name, Server: s.Name, Login: q.Login, At: q.At,
		Ways: []api.Way{}, Grants: x.weighGrants(), Maintenance: wireMaintenance(x.book, s.Maintenance, q.At),
	}
	best := judged{denial: policy.UnknownPerson, hint: "inside person ip add " + p.Name + " ADDRESS"}
	if h.asksTailscale() {
		best.hint += ", or inside person set-account " + p.Name + " LOGIN"
	}
	if p.Disabled {
		best = judged{denial: policy.PersonDisabled}
	}
	for _, w := range x.ways {
		e.Ways = append(e.Ways, w.wire())
		if w.answer.better(best) || e.From == "" {
			best = w.answer
			e.From, e.Protocol = w.from.name(), string(w.flow.Protocol)
		}
	}
	e.Allowed, e.Grant, e.Denial, e.Sentence = best.denial == "", string(best.grant), string(best.denial), best.denial.Sentence()
	e.Until, e.Ends = best.until.UTC(), string(best.ends)
	if e.Hint = best.hint; e.Hint == "" {
		e.Hint = wayOut(e, p)
	}
	return e, nil
}

func askedProtocols(q api.Question) ([]policy.Protocol, error) {
	switch p := policy.Protocol(q.Protocol); {
	case p == "" && q.Login != "":
		return []policy.Protocol{policy.SSH}, nil
	case p == "":
		return []policy.Protocol{policy.SSH, policy.RDP}, nil
	case p == policy.SSH || p == policy.RDP || p == policy.HTTP:
		return []policy.Protocol{p}, nil
	}
	return nil, invalid("protocols are ssh, rdp and http", "unknown protocol %.40q", q.Protocol)
}

// An origin is where a person comes from: an address of theirs, or one of a
// network, where they are known by their account.
type origin struct {
	policy.Address
	account string
}

// tailscaleLabel stands beside an account, where the label of an address does.
const tailscaleLabel = "Tailscale"

func (o origin) name() string {
	if o.account != "" {
		return o.account
	}
	return prefixText(o.Prefix)
}

// askedOrigins are those of the person that are in use, or the one asked about.
func (h *House) askedOrigins(ctx context.Context, p *policy.Person, from string) (origins []origin, err error) {
	for _, a := range p.Addresses {
		if !a.Disabled {
			origins = append(origins, origin{Address: a})
		}
	}
	if from == "" {
		if p.Account != "" && h.asksTailscale() {
			origins = append(origins, origin{Address: policy.Address{Label: tailscaleLabel}, account: p.Account})
		}
		return origins, nil
	}
	addr, err := netip.ParseAddr(from)
	if err != nil {
		return nil, invalid("write for example --from 10.0.0.7", "%.64q is not an address", from)
	}
	addr = addr.Unmap()
	here := netip.PrefixFrom(addr, addr.BitLen())
	for _, o := range origins {
		if o.Prefix.Contains(addr) {
			o.Prefix = here
			return []origin{o}, nil
		}
	}
	notTheirs := fmt.Sprintf("%s is not an address of %s", addr, p.Name)
	if h.asksTailscale() && tailscale.Has(addr) {
		id, err := h.WhoComes(ctx, netip.AddrPortFrom(addr, 0))
		switch {
		case err != nil:
			return nil, api.NewProblem(api.CodeNotFound, notTheirs+": "+err.Error(), "tailscale whois "+addr.String())
		case id.Account != "" && policy.SameAccount(id.Account, p.Account):
			return []origin{{policy.Address{Prefix: here, Label: tailscaleLabel}, id.Account}}, nil
		case id.Account != "":
			return nil, api.NewProblem(api.CodeNotFound, notTheirs+": at Tailscale it is "+id.String(), fmt.Sprintf("inside person set-account %s %s", p.Name, id.Account))
		}
	}
	return nil, api.NewProblem(api.CodeNotFound, notTheirs, "inside person ip list "+p.Name)
}

// An explainer collects ways in.
type explainer struct {
	h      *House
	book   *policy.Book
	person *policy.Person
	server *policy.Server
	login  string
	at     time.Time
	ways   []way

	// Where now is asked about: the person's open sessions under each grant,
	// the entries that count by those that limit them, and which are full.
	open, entries map[policy.GrantID]int
	full          []policy.Full
}

// count finds out which grants for the two take the person in no further time.
func (x *explainer) count(ctx context.Context) (err error) {
	if x.open, err = x.h.openUnder(ctx, x.person.ID); err != nil {
		return err
	}
	x.entries = map[policy.GrantID]int{}
	for _, g := range x.grants() {
		n := 0
		if g.MaxEntries.Most > 0 {
			if n, err = x.h.Store.EntriesUnder(ctx, g.ID, x.person.ID, x.at.Add(-g.MaxEntries.Per)); err != nil {
				return asProblem(err, "")
			}
			x.entries[g.ID] = n
		}
		switch {
		case g.MaxSessions > 0 && x.open[g.ID] >= g.MaxSessions:
			x.full = append(x.full, policy.Full{Grant: g.ID, Denial: policy.TooManySessions})
		case g.MaxEntries.Most > 0 && n >= g.MaxEntries.Most:
			x.full = append(x.full, policy.Full{Grant: g.ID, Denial: policy.TooManyEntries})
		}
	}
	return nil
}

type way struct {
	from   origin
	flow   policy.Flow
	answer judged
}

// A judged way is what the book says of it.
type judged struct {
	grant  policy.GrantID
	denial policy.Denial
	until  time.Time
	ends   policy.EndCause
	hint   string
}

// better prefers, as the book does, who may enter, for longer, and of misses
// the nearer one, of misses alike the newer grant.
func (j judged) better(than judged) bool {
	switch {
	case j.denial != than.denial:
		order := policy.Denials()
		return j.denial == "" || than.denial != "" && slices.Index(order, j.denial) > slices.Index(order, than.denial)
	case j.denial != "":
		return byNumber(string(j.grant), string(than.grant)) > 0
	case than.until.IsZero():
		return false
	}
	return j.until.IsZero() || j.until.After(than.until)
}

func (x *explainer) try(from origin, p policy.Protocol) {
	f := policy.Flow{
		Client:   netip.AddrPortFrom(from.Prefix.Addr(), 0),
		Protocol: p,
		Login:    x.login,
		Identity: policy.Identity{Account: from.account},
	}
	if p != policy.SSH {
		f.Login = ""
	}
	f.Dest = x.dest(f)
	v := x.book.DecideWithout(x.full, f, x.at)
	answer := judged{denial: v.Denial, until: v.Until, ends: v.Ends}
	if v.Grant != nil {
		answer.grant = v.Grant.ID
	}
	x.ways = append(x.ways, way{from, f, answer})
}

// dest is an address of the server. In a prefix, the first ones may belong to
// servers of their own.
func (x *explainer) dest(f policy.Flow) netip.AddrPort {
	port := x.h.portOf(x.server, f.Protocol)
	first := netip.AddrPortFrom(x.server.Prefix.Addr(), port)
	addr := first.Addr()
	for range 256 {
		f.Dest = netip.AddrPortFrom(addr, port)
		if v := x.book.Decide(f, x.at); v.Server == nil || v.Server.ID == x.server.ID {
			return f.Dest
		}
		if addr = addr.Next(); !x.server.Prefix.Contains(addr) {
			break
		}
	}
	return first
}

// grants are those for this person and this server.
func (x *explainer) grants() (grants []*policy.Grant) {
	facts := x.book.Facts()
	who, where := around(facts.PersonGroups, string(x.person.ID)), around(facts.ServerGroups, string(x.server.ID))
	for i := range facts.Grants {
		g := &facts.Grants[i]
		if (g.Person == x.person.ID || who[g.PersonGroup]) && (g.Server == x.server.ID || where[g.ServerGroup]) {
			grants = append(grants, g)
		}
	}
	return grants
}

// weighGrants asks about each of them as if it were the only one.
func (x *explainer) weighGrants() []api.Weighed {
	weighed := []api.Weighed{}
	for _, g := range x.grants() {
		weighed = append(weighed, x.weigh(g))
	}
	slices.SortFunc(weighed, func(a, b api.Weighed) int { return byNumber(a.Grant, b.Grant) })
	return weighed
}

func (x *explainer) weigh(g *policy.Grant) api.Weighed {
	until, denial := x.book.Standing(g.ID, x.at)
	if denial == "" && g.Approved.IsZero() && x.book.NeedsApproval(x.server.ID) {
		until, denial = time.Time{}, policy.NotApproved // a group's grant stands for its other servers
	}
	best := judged{denial: denial, until: until}
	for i, w := range x.ways {
		v := x.book.DecideBy(g.ID, w.flow, x.at)
		if full := slices.IndexFunc(x.full, func(f policy.Full) bool { return f.Grant == g.ID }); v.Allowed() && full >= 0 {
			v.Denial, v.Until, v.Ends = x.full[full].Denial, time.Time{}, ""
		}
		if answer := (judged{denial: v.Denial, until: v.Until, ends: v.Ends}); i == 0 || answer.better(best) {
			best = answer
		}
	}
	facts := x.book.Facts()
	weighed := api.Weighed{
		Grant: string(g.ID), Allowed: best.denial == "",
		Who:    reaches(facts.PersonGroups, g.PersonGroup, string(x.person.ID), x.person.Name),
		Where:  reaches(facts.ServerGroups, g.ServerGroup, string(x.server.ID), x.server.Name),
		Denial: string(best.denial), Sentence: best.denial.Sentence(), Until: best.until, Ends: string(best.ends),
		MaxSessions: g.MaxSessions, MaxEntries: g.MaxEntries.String(), Entries: x.entries[g.ID],
	}
	if g.Idle > 0 {
		weighed.Idle = policy.FormatDuration(g.Idle)
	}
	if g.Renew > 0 {
		weighed.Renew = policy.FormatDuration(g.Renew)
	}
	if g.Redirection != 0 {
		weighed.Redirection = strings.Split(g.Redirection.String(), ",")
	}
	if g.MaxSessions > 0 {
		weighed.Open = x.open[g.ID]
	}
	return weighed
}

// reaches names the groups from that of a grant to the one that holds the
// member, "staff > dba"; without a group it is the member's own name.
func reaches(groups []policy.Group, from policy.GroupID, member, name string) string {
	if from == "" {
		return name
	}
	in := around(groups, member) // groups do not hold themselves, so this comes to an end
	var path []string
	for from != "" {
		i := slices.IndexFunc(groups, func(g policy.Group) bool { return g.ID == from })
		path = append(path, groups[i].Name)
		if from = ""; !slices.Contains(groups[i].Members, member) {
			if j := slices.IndexFunc(groups[i].Groups, func(id policy.GroupID) bool { return in[id] }); j >= 0 {
				from = groups[i].Groups[j]
			}
		}
	}
	return strings.Join(path, " > ")
}

// openUnder counts the sessions a person has open under each grant.
func (h *House) openUnder(ctx context.Context, p policy.PersonID) (map[policy.GrantID]int, error) {
	open, err := h.openSessions(ctx)
	if err != nil {
		return nil, err
	}
	under := map[policy.GrantID]int{}
	for _, se := range open {
		if se.Person == p {
			under[se.Grant]++
		}
	}
	return under, nil
}

func (w way) wire() api.Way {
	return api.Way{
		From: w.from.name(), Label: w.from.Label, Protocol: string(w.flow.Protocol),
		Allowed: w.answer.denial == "", Grant: string(w.answer.grant),
		Denial: string(w.answer.denial), Sentence: w.answer.denial.Sentence(), Until: w.answer.until,
	}
}

// wayOut names the command that would let the person in.
func wayOut(e api.Explanation, p *policy.Person) string {
	switch policy.Denial(e.Denial) {
	case "":
		return ""
	case policy.PersonDisabled:
		return "inside person enable " + p.Name
	case policy.ServerDisabled:
		return "inside server enable " + e.Server
	case policy.NoGrant, policy.Revoked:
		return fmt.Sprintf("inside grant %s --server %s", p.Name, e.Server)
	case policy.Expired:
		return fmt.Sprintf("inside grant extend %s --duration 1h", e.Grant)
	case policy.UnknownPerson, policy.AmbiguousPerson:
		return "inside person ip list"
	case policy.NotApproved:
		return "inside grant approve " + e.Grant + ", by another admin than who made it"
	case policy.UnderMaintenance:
		return "inside server maintenance " + e.Server + " --off"
	case policy.TooManySessions:
		return "inside sessions"
	case policy.TooManyEntries:
		return "inside entries --allowed --person " + p.Name
	}
	if e.Grant == "" {
		return "inside server show " + e.Server
	}
	return "inside grant show " + e.Grant
}
