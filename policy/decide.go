package policy

import (
	"net/netip"
	"slices"
	"time"
)

// Decide answers a flow at a moment: who comes, to which server, and does one
// of their grants for it serve. It does not allocate.
//
// Among several grants that serve, the one that lets the person stay longest
// is used (of two the one with the smaller id); where none does, the nearest
// miss is reported, the [Denial] that comes last in the order of the constants
// (of two grants that miss alike the newer one).
//
// Decide knows people and servers, not the gate: whether a destination is
// forbidden, or whether a recording can be made, the appliance finds out.
func (b *Book) Decide(f Flow, now time.Time) Verdict { return b.DecideWithout(nil, f, now) }

// A Full grant takes the person in no further time for now, because of the
// denial: [TooManySessions] or [TooManyEntries].
type Full struct {
	Grant  GrantID
	Denial Denial
}

// DecideWithout answers like Decide, knowing what was counted: the grants that
// are full.
func (b *Book) DecideWithout(full []Full, f Flow, now time.Time) Verdict {
	v, at := b.meet(f)
	if v.Denial != "" {
		return v
	}
	best := at.contest(v, f, now)
	best.full = full
	for _, who := range b.whos[at.person] {
		for _, where := range b.wheres[at.server] {
			grants := b.cell(who, where)
			for i := range grants {
				best.enter(&grants[i])
			}
		}
	}
	return best.verdict
}

// cell returns the grants of a who for a where.
func (b *Book) cell(who, where int32) []grant {
	if !b.sieve.holds(who, where) {
		return nil
	}
	cells := b.cells[who]
	low, high := 0, len(cells)
	for low < high {
		if mid := (low + high) / 2; cells[mid].where < where {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low < len(cells) && cells[low].where == where {
		return cells[low].grants
	}
	return nil
}

// DecideBy answers like Decide, but as if the grant with this id were the
// only one: a live session asks whether the grant it runs under still serves.
func (b *Book) DecideBy(id GrantID, f Flow, now time.Time) Verdict {
	v, at := b.meet(f)
	if v.Denial != "" {
		return v
	}
	best := at.contest(v, f, now)
	g, known := b.grantByID[id]
	if !known {
		return best.verdict
	}
	_, forPerson := slices.BinarySearch(b.whos[at.person], g.who)
	_, forServer := slices.BinarySearch(b.wheres[at.server], g.where)
	if forPerson && forServer {
		best.enter(g)
	}
	return best.verdict
}

// Standing tells whether a grant serves at this moment, whoever comes (revoked,
// expired, not approved where all its servers are sensitive, not yet, outside
// its schedule), and until when; a zero until of a grant that serves is forever.
func (b *Book) Standing(id GrantID, now time.Time) (until time.Time, d Denial) {
	g, known := b.grantByID[id]
	if !known {
		return time.Time{}, NoGrant
	}
	if d = g.standing(b.sensitive[g.where], now); d != "" {
		return time.Time{}, d
	}
	until, _ = g.until(now, time.Time{})
	return until, ""
}

// A meeting is the person and the server of a flow, by their positions.
type meeting struct {
	person, server int32
	client         netip.Addr
	sensitive      bool // the server
}

// meet finds out who comes to which server. The verdict carries what was found
// and the denial, if this alone is a reason for one.
func (b *Book) meet(f Flow) (v Verdict, at meeting) {
	v.Protocol = f.Protocol
	at.client = f.Client.Addr().Unmap()

	h, known := b.who(at.client, f.Identity)
	switch {
	case !known:
		v.Denial = UnknownPerson
		return v, at
	case h.shared:
		v.Denial = AmbiguousPerson
		return v, at
	case h.enabled == nobody:
		v.Person, v.Denial = &b.facts.Persons[h.disabled], PersonDisabled
		return v, at
	}
	at.person = h.enabled
	v.Person = &b.facts.Persons[at.person]

	dest := f.Dest.Addr().Unmap()
	at.server, known = b.serverAt.lookup(dest, dest.BitLen())
	if !known {
		v.Denial = UnknownServer
		return v, at
	}
	v.Server, at.sensitive = &b.facts.Servers[at.server], b.sensitive[at.server]
	switch {
	case v.Server.Disabled:
		v.Denial = ServerDisabled
	case !v.Server.listens(f.Protocol, f.Dest.Port()):
		v.Denial = WrongProtocol
	}
	return v, at
}

// listens reports whether the port may be this server's for a protocol.
func (s *Server) listens(p Protocol, port uint16) bool {
	var only uint16
	switch p {
	case SSH:
		only = s.SSHPort
	case RDP:
		only = s.RDPPort
	}
	return only == 0 || only == port
}

// A contest keeps the best of the grants that entered it.
type contest struct {
	verdict   Verdict
	flow      Flow
	client    netip.Addr
	sensitive bool // the server
	now       time.Time
	full      []Full

	// What maintenance of the server means for the person, see Maintenance.bars.
	barred   bool
	barredAt time.Time
}

// contest opens the contest of the grants for a meeting.
func (at *meeting) contest(v Verdict, f Flow, now time.Time) contest {
	c := contest{verdict: v, flow: f, client: at.client, sensitive: at.sensitive, now: now}
	c.verdict.Denial = NoGrant
	c.barred, c.barredAt = v.Server.Maintenance.bars(v.Person.ID, f.Inside, now)
	return c
}

func (c *contest) enter(g *grant) {
	denial := g.check(c.client, c.sensitive, &c.flow, c.now)
	switch {
	case denial != "":
	case c.barred:
		denial = UnderMaintenance
	default:
		for i := range c.full {
			if c.full[i].Grant == g.ID {
				denial = c.full[i].Denial
			}
		}
	}
	var until time.Time
	var ends EndCause
	if denial == "" {
		until, ends = g.until(c.now, c.barredAt)
	}
	if c.beatenBy(g.ID, denial, until) {
		c.verdict.Grant, c.verdict.Denial, c.verdict.Until, c.verdict.Ends = g.Grant, denial, until, ends
	}
}

func (c *contest) beatenBy(id GrantID, denial Denial, until time.Time) bool {
	held := &c.verdict
	switch {
	case denial != held.Denial:
		return denial == "" || held.Denial != "" && denial.rank() > held.Denial.rank()
	case denial != "":
		return compareGrantIDs(id, held.Grant.ID) > 0
	case until.Equal(held.Until):
		return compareGrantIDs(id, held.Grant.ID) < 0
	default:
		return !held.Until.IsZero() && (until.IsZero() || until.After(held.Until))
	}
}

// check returns why a grant for this person and this server does not let the
// flow in, "" when it does.
func (g *grant) check(client netip.Addr, sensitive bool, f *Flow, now time.Time) Denial {
	switch {
	case len(g.Protocols) > 0 && !slices.Contains(g.Protocols, f.Protocol):
		return WrongProtocol
	case g.From.IsValid() && !g.From.Contains(client):
		return WrongSource
	case f.Login != "" && len(g.Logins) > 0 && !slices.Contains(g.Logins, f.Login):
		return WrongLogin
	}
	return g.standing(sensitive, now)
}

// over reports why a grant will not serve again by itself. A revocation counts
// whatever its moment is, so that no clock set back makes a revoked grant serve
// again.
func (g *grant) over(now time.Time) Denial {
	switch {
	case !g.Revoked.IsZero():
		return Revoked
	case !g.End.IsZero() && !now.Before(g.End):
		return Expired
	}
	return ""
}

// standing judges a grant by its times and its approval. Who approves one that
// is over helps nobody, so that this is said first; approval comes before the
// times that pass by themselves.
func (g *grant) standing(sensitive bool, now time.Time) Denial {
	if d := g.over(now); d != "" {
		return d
	}
	switch {
	case sensitive && g.Approved.IsZero():
		return NotApproved
	case now.Before(g.Start):
		return NotYet
	case len(g.when) > 0 && !slices.ContainsFunc(g.when, func(s Schedule) bool { return s.Contains(now) }):
		return OutsideSchedule
	}
	return ""
}

// until returns the effective end of a grant that serves now, and which one it
// is: the end of the grant, the closing of its schedules or the moment from
// which maintenance keeps the person out (zero is none), whichever comes first;
// zero when none ever comes. Nothing else computes an end: warnings, timers,
// deadlines and every list show this one.
func (g *grant) until(now, barredAt time.Time) (until time.Time, why EndCause) {
	until, why = g.End, GrantExpired
	if len(g.when) > 0 {
		if edge := unionEdge(g.when, now, g.End); !edge.IsZero() {
			until, why = edge, ScheduleClosed
		}
	}
	if !barredAt.IsZero() && (until.IsZero() || barredAt.Before(until)) {
		until, why = barredAt, ServerMaintained
	}
	if until.IsZero() {
		why = ""
	}
	return until, why
}
