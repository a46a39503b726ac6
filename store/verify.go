package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// A Verification is what Verify compares the record with.
type Verification struct {
	Heads    []Head               // signed before and kept elsewhere: the chain must still hold them
	Row      func(AuditRow) error // called with each good audit row, in their order; may be nil
	Progress func(Verified)       // called now and then; may be nil
}

// Verified says how much of the record is good.
type Verified struct {
	Links   int64 // all of these
	Audits  int64
	Entries int64
	Heads   int64     // signed ones
	Signed  int64     // the newest link that a signed head covers
	Hash    string    // of the last link
	Time    time.Time // of the last record
}

// A Broken record is the first one that is not what was written.
type Broken struct {
	Link   int64     // its place in the chain
	Record string    // "audit row 17"
	What   string    // in words
	After  time.Time // of the last record that is good
}

func (b *Broken) Error() string {
	after := "at the beginning of the record"
	if !b.After.IsZero() {
		after = "after " + clock(b.After)
	}
	return fmt.Sprintf("%s (link %d, %s): %s", b.Record, b.Link, after, b.What)
}

// Verify reads the whole record in its order, as it is on disk, and compares
// it with its hashes and signatures; entries and audit rows with the sessions
// and stays they tell of. The first record that is not as it was written is a
// *Broken. It reads in pieces: nobody waits for it, and new records may be
// written meanwhile.
func (s *Store) Verify(ctx context.Context, v Verification) (Verified, error) {
	w := walk{
		Verification: v,
		keys:         map[keyFact]bool{},
		open:         map[policy.SessionID]policy.GrantID{},
		openStays:    map[policy.StayID]bool{},
	}
	w.Heads = slices.SortedFunc(slices.Values(v.Heads), func(a, b Head) int { return cmp.Compare(a.Link, b.Link) })
	for {
		p, err := s.piece(ctx, w.good.Links)
		if err != nil {
			return w.good, err
		}
		if err := w.piece(p); err != nil {
			return w.good, err
		}
		if v.Progress != nil {
			v.Progress(w.good)
		}
		if p.last != nil {
			return w.good, s.named(ctx, w.end(p))
		}
	}
}

// A walk goes along the chain.
type walk struct {
	Verification
	good Verified

	keys      map[keyFact]bool                    // that gates were known to sign with
	open      map[policy.SessionID]policy.GrantID // sessions that have not ended, and their grants
	openStays map[policy.StayID]bool
	sessions  int64 // that ever began
	stays     int64
}

func (w *walk) broken(record, format string, args ...any) error {
	return &Broken{Link: w.good.Links + 1, Record: record, What: fmt.Sprintf(format, args...), After: w.good.Time}
}

// piece checks one piece of the chain.
func (w *walk) piece(p *piece) error {
	upTo := min(p.upTo, p.head.link)
	for w.good.Links < upTo {
		link := w.good.Links + 1
		if err := w.stale(p, link); err != nil {
			return err
		}
		var err error
		switch isAudit, isEntry := len(p.audits) > 0 && p.audits[0].link == link, len(p.entries) > 0 && p.entries[0].link == link; {
		case isAudit && isEntry:
			err = w.broken(fmt.Sprintf("audit row %d", p.audits[0].id), "entry %d stands in the same place", p.entries[0].id)
		case isAudit:
			err = w.audit(p.audits[0], p)
			p.audits = p.audits[1:]
		case isEntry:
			err = w.entry(p.entries[0], p)
			p.entries = p.entries[1:]
		default:
			err = w.missing(p)
		}
		if err == nil {
			err = w.signed(p)
		}
		if err != nil {
			return err
		}
	}
	return w.stale(p, p.upTo+1)
}

// stale finds a record that stands where another one is, or behind the head.
func (w *walk) stale(p *piece, link int64) error {
	if len(p.audits) > 0 && p.audits[0].link < link {
		return w.broken(fmt.Sprintf("audit row %d", p.audits[0].id), outside)
	}
	if len(p.entries) > 0 && p.entries[0].link < link {
		return w.broken(fmt.Sprintf("entry %d", p.entries[0].id), outside)
	}
	return nil
}

const outside = "it stands outside the chain: it was put in by hand"

// missing says which record is not there: the one whose number is left out.
func (w *walk) missing(p *piece) error {
	audit, entry := fmt.Sprintf("audit row %d", w.good.Audits+1), fmt.Sprintf("entry %d", w.good.Entries+1)
	auditGap := len(p.audits) > 0 && p.audits[0].id != w.good.Audits+1 || len(p.audits) == 0 && p.head.audits > w.good.Audits
	entryGap := len(p.entries) > 0 && p.entries[0].id != w.good.Entries+1 || len(p.entries) == 0 && p.head.entries > w.good.Entries
	record := audit + " or " + entry
	switch {
	case auditGap && !entryGap:
		record = audit
	case entryGap && !auditGap:
		record = entry
	}
	return w.broken(record, "it was taken out")
}

func (w *walk) audit(a auditRow, p *piece) error {
	record := fmt.Sprintf("audit row %d", w.good.Audits+1)
	if a.id != w.good.Audits+1 {
		return w.broken(record, "audit row %d stands in its place", a.id)
	}
	if a.hash != a.sum(w.good.Hash) {
		return w.broken(record, "it differs from what was written")
	}
	if err := w.deed(a, record, p); err != nil {
		return err
	}
	w.good.Links, w.good.Audits, w.good.Hash, w.good.Time = a.link, a.id, a.hash, moment(a.at)
	if w.Row != nil {
		return w.Row(a.public())
	}
	return nil
}

// deed follows what an audit row tells of keys, stays and sessions.
func (w *walk) deed(a auditRow, record string, p *piece) error {
	switch a.action {
	case actionGateKey:
		var k keyFact
		if err := json.Unmarshal([]byte(a.became), &k); err != nil {
			return w.broken(record, "it names no key")
		}
		w.keys[k] = true
	case actionStayStarted, actionStayEnded:
		var st stayFact
		if err := json.Unmarshal([]byte(a.became), &st); err != nil {
			return w.broken(record, "it names no stay")
		}
		return w.stay(st, a.action == actionStayEnded, record, p)
	case actionSessionMoved, actionSessionEnded:
		var se sessionFact
		if err := json.Unmarshal([]byte(a.became), &se); err != nil {
			return w.broken(record, "it names no session")
		}
		return w.session(se, a.action == actionSessionEnded, record, p)
	}
	return nil
}

func (w *walk) stay(st stayFact, ended bool, record string, p *piece) error {
	now, ok := p.stays[st.Stay]
	switch {
	case !ok:
		return w.broken("stay "+string(st.Stay), "%s tells of it, and it is gone", record)
	case now.Person != st.Person || now.Grant != st.Grant || now.Start != st.Start:
		return w.broken("stay "+string(st.Stay), "its person, grant or start differs from what %s says", record)
	case !ended:
		w.openStays[st.Stay] = true
		w.stays++
		return nil
	case now != st:
		return w.broken("stay "+string(st.Stay), "its end differs from what %s says", record)
	}
	delete(w.openStays, st.Stay)
	return nil
}

func (w *walk) session(se sessionFact, ended bool, record string, p *piece) error {
	if !ended {
		w.open[se.Session] = se.Grant
		return nil
	}
	switch now, ok := p.sessions[se.Session]; {
	case !ok:
		return w.broken("session "+string(se.Session), "%s tells of it, and it is gone", record)
	case now.fact != se:
		return w.broken("session "+string(se.Session), "its stay, grant, end or cause differs from what %s says", record)
	}
	if grant, ok := w.open[se.Session]; ok && grant != se.Grant {
		return w.broken("session "+string(se.Session), "%s puts it under grant %s, it was under grant %s", record, se.Grant, grant)
	}
	delete(w.open, se.Session)
	return nil
}

func (w *walk) entry(e entryRow, p *piece) error {
	record := fmt.Sprintf("entry %d", w.good.Entries+1)
	if e.id != w.good.Entries+1 {
		return w.broken(record, "entry %d stands in its place", e.id)
	}
	if e.hash != e.sum(w.good.Hash) {
		return w.broken(record, "it differs from what was written")
	}
	if e.session != "" {
		id := policy.SessionID(e.session)
		switch now, ok := p.sessions[id]; {
		case !ok:
			return w.broken("session "+e.session, "%s let it in, and it is gone", record)
		case now.began != e.began():
			return w.broken("session "+e.session, "who it is of, where, how or when differs from what %s says", record)
		}
		w.open[id] = policy.GrantID(numberID(e.grant))
		w.sessions++
	}
	w.good.Links, w.good.Entries, w.good.Hash, w.good.Time = e.link, e.id, e.hash, moment(e.at)
	return nil
}

// signed compares the heads that were signed at this link.
func (w *walk) signed(p *piece) error {
	for ; len(p.heads) > 0 && p.heads[0].Link == w.good.Links; p.heads = p.heads[1:] {
		h := p.heads[0]
		if !h.Check() || !w.keys[keyFact{h.Gate, h.Signer}] {
			return w.headBroken(h, "its signature is not that of the gate "+h.Gate)
		}
		if h.Hash != w.good.Hash {
			return w.headBroken(h, "the records up to here are not those that the gate "+h.Gate+" signed at "+clock(h.Time))
		}
		w.good.Heads++
		w.good.Signed = h.Link
	}
	for ; len(w.Heads) > 0 && w.Heads[0].Link <= w.good.Links; w.Heads = w.Heads[1:] {
		h := w.Heads[0]
		if h.Link < 1 || !h.Check() {
			return w.headBroken(h, "the head given for comparison is not signed by the key it names")
		}
		if h.Hash != w.good.Hash {
			return w.headBroken(h, "the records up to here are not those that the gate "+h.Gate+" signed at "+clock(h.Time)+
				": between the last head that fits and this one they were written anew")
		}
	}
	return nil
}

func (w *walk) headBroken(h Head, what string) error {
	return &Broken{Link: h.Link, Record: fmt.Sprintf("signed head %d", h.Link), What: what, After: w.good.Time}
}

// end checks that there is nothing but the chain.
func (w *walk) end(p *piece) error {
	l := p.last
	switch {
	case p.head.hash != w.good.Hash || p.head.audits != w.good.Audits || p.head.entries != w.good.Entries:
		return w.broken("the head of the chain", "it is not that of the last record")
	case l.audit != 0:
		return w.broken(fmt.Sprintf("audit row %d", l.audit), outside)
	case l.entry != 0:
		return w.broken(fmt.Sprintf("entry %d", l.entry), outside)
	}
	if beyond := slices.Concat(l.heads, w.Heads); len(beyond) > 0 {
		h := beyond[0]
		if !h.Check() {
			return w.headBroken(h, "its signature is not that of the gate "+h.Gate)
		}
		return w.broken("the newest records", "they were taken away: the gate %s signed link %d at %s, the record ends at link %d",
			h.Gate, h.Link, clock(h.Time), w.good.Links)
	}
	return w.inside(l)
}

// inside compares who is inside now with who should be.
func (w *walk) inside(l *lastPiece) error {
	for id, grant := range l.open {
		if was, ok := w.open[id]; !ok {
			return w.broken("session "+string(id), "it is open, and no entry or an end of it was written down")
		} else if was != grant {
			return w.broken("session "+string(id), "it is under grant %s, what was written down is grant %s", grant, was)
		}
	}
	for id := range w.open {
		if _, ok := l.open[id]; !ok {
			return w.broken("session "+string(id), "it has ended, and no end of it was written down")
		}
	}
	for id := range l.openStays {
		if !w.openStays[id] {
			return w.broken("stay "+string(id), "it is open, and no beginning or an end of it was written down")
		}
	}
	for id := range w.openStays {
		if !l.openStays[id] {
			return w.broken("stay "+string(id), "it has ended, and no end of it was written down")
		}
	}
	if l.sessions != w.sessions {
		return w.broken(someSession, "there are %d, the entries let %d in", l.sessions, w.sessions)
	}
	if l.stays != w.stays {
		return w.broken(someStay, "there are %d, %d were written down", l.stays, w.stays)
	}
	return nil
}

// AsBroken finds the broken record an error of Verify tells of.
func AsBroken(err error) (*Broken, bool) { return errors.AsType[*Broken](err) }
