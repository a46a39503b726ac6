package store

import (
	"cmp"
	"context"
	"database/sql"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// A Search looks for sessions and denied entries, newest first by their start.
// All of its terms must hold.
type Search struct {
	Terms []Term
	From  time.Time // what was there at any moment from then on
	To    time.Time // and before then
	Now   time.Time // how long open sessions have lasted by
	After string    // Next of the page before
	Limit int       // 0: 100
}

// A Term holds if any of what is set does. A Term with nothing set never does.
type Term struct {
	Persons    []policy.PersonID
	Servers    []policy.ServerID
	Grants     []policy.GrantID // for a session also one it moved from
	Stays      []policy.StayID  // likewise
	Entries    []int64
	Session    string   // its id or the beginning of it
	Logins     []string // whatever their case
	LoginPart  string   // likewise, a part of it
	Addresses  []netip.Prefix
	Protocols  []policy.Protocol
	Denials    []policy.Denial
	Status     Status
	Longer     time.Duration // lasted at least as long; a denied entry did not last
	Shorter    time.Duration // lasted at most as long
	Forwarding bool
	Files      bool
}

// Status tells sessions that run, those that ended and denied entries apart.
type Status string

const (
	Active Status = "active"
	Ended  Status = "ended"
	Denied Status = "denied"
)

// A Found is a session, or a denied entry.
type Found struct {
	Session *policy.Session
	Entry   *Entry
}

// Start is when it began, or was refused.
func (f Found) Start() time.Time {
	if f.Session != nil {
		return f.Session.Start
	}
	return f.Entry.Time
}

// A Page is what a search found. Next continues it, "" when there is no more.
// A page may hold less than was asked for, or nothing, and still have a Next:
// a search that finds little among much stops after a while and says how far
// it has come.
type Page struct {
	Found   []Found
	Next    string
	Reached time.Time // with Next: everything that began after it was looked at
}

// Search finds a page. See walk.go for how.
func (s *Store) Search(ctx context.Context, q Search) (Page, error) {
	after, err := parseKey(q.After)
	if err != nil {
		return Page{}, err
	}
	limit := limitOr100(q.Limit)
	var page Page
	err = s.reading(ctx, func(ctx context.Context, tx *sql.Tx) error {
		page = Page{}
		began := time.Now()
		sessions, toSession, err := walkSessions(ctx, tx, q, after, limit+1, began.Add(searchTime/2))
		if err != nil {
			return err
		}
		denials, toDenial, err := walkDenials(ctx, tx, q, after, limit+1, began.Add(searchTime))
		if err != nil {
			return err
		}
		found, reached := append(sessions, denials...), later(toSession, toDenial)
		slices.SortStableFunc(found, func(a, b key) int { return b.compare(a) })
		// What lies beyond the end of the shorter walk is found again.
		found = slices.DeleteFunc(found, func(k key) bool { return k.compare(reached) < 0 })
		if len(found) > limit {
			found = found[:limit]
			reached = found[limit-1]
		}
		if reached != (key{}) {
			page.Next, page.Reached = reached.String(), moment(reached.started)
		}
		page.Found, err = fetch(ctx, tx, found)
		return err
	})
	return page, err
}

// A key is the place of a result in the order of all results: by time, of the
// same moment sessions before denied entries, then by id as the database
// orders them.
type key struct {
	started int64
	session string // its id, or
	entry   int64  // the number of a denied entry
}

// compare is positive if k comes first, as the newer one; 0 where only the
// database knows.
func (k key) compare(o key) int {
	if k.started == o.started && (k.entry == 0) != (o.entry == 0) {
		return 1 - 2*bool01(k.entry != 0)
	}
	return cmp.Compare(k.started, o.started)
}

// later is the one of two keys that comes first; none comes last.
func later(a, b key) key {
	if a == (key{}) || b != (key{}) && b.compare(a) > 0 {
		return b
	}
	return a
}

// String is the key as callers carry it around.
func (k key) String() string {
	if k.entry != 0 {
		return strconv.FormatInt(k.started, 36) + ".e" + strconv.FormatInt(k.entry, 36)
	}
	return strconv.FormatInt(k.started, 36) + ".s" + k.session
}

func parseKey(text string) (k key, err error) {
	if text == "" {
		return key{}, nil
	}
	bad := refuse(ErrInvalid, "%.40q is no place to go on from: after takes the next of a page", text)
	at, id, ok := strings.Cut(text, ".")
	if k.started, err = strconv.ParseInt(at, 36, 64); err != nil || !ok || k.started < 1 || len(id) < 2 {
		return key{}, bad
	}
	switch id[0] {
	case 'e':
		if k.entry, err = strconv.ParseInt(id[1:], 36, 64); err == nil && k.entry > 0 && k.String() == text {
			return k, nil
		}
	case 's':
		if k.session = id[1:]; sessionID.MatchString(k.session) && k.String() == text {
			return k, nil
		}
	}
	return key{}, bad
}

// fetch reads what was found.
func fetch(ctx context.Context, tx *sql.Tx, keys []key) ([]Found, error) {
	var sessions, entries where
	var ids []string
	var numbers []int64
	for _, k := range keys {
		if k.entry != 0 {
			numbers = append(numbers, k.entry)
		} else {
			ids = append(ids, k.session)
		}
	}
	byID, byNumber := map[string]*policy.Session{}, map[int64]*Entry{}
	if len(ids) > 0 {
		sessions.and(isOneOf(&sessions, "id", ids))
		all, err := all(ctx, tx, readSession, "SELECT "+sessionColumns+" FROM sessions"+sessions.clause(), sessions.args...)
		if err != nil {
			return nil, err
		}
		for i := range all {
			byID[string(all[i].ID)] = &all[i]
		}
	}
	if len(numbers) > 0 {
		entries.and(isOneOf(&entries, "id", numbers))
		all, err := all(ctx, tx, readEntry, "SELECT "+entryColumns+" FROM entries"+entries.clause(), entries.args...)
		if err != nil {
			return nil, err
		}
		for i := range all {
			byNumber[all[i].ID] = &all[i]
		}
	}
	found := make([]Found, len(keys))
	for i, k := range keys {
		found[i] = Found{byID[k.session], byNumber[k.entry]}
	}
	return found, nil
}
