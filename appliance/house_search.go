package appliance

import (
	"context"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

const (
	mostFound = 1000 // on a page
	mostWords = 16   // of a query
	longWord  = 256
)

// Search finds sessions and denied entries. Names are resolved here: persons,
// servers and groups are few, and the store knows their ids only.
func (h *House) Search(ctx context.Context, s api.Search) (api.Page, error) {
	q, err := h.question(s)
	if err != nil {
		return api.Page{}, err
	}
	found, err := h.Store.Search(ctx, q)
	if err != nil {
		return api.Page{}, asProblem(err, "inside search --help")
	}
	page := api.Page{Results: make([]api.Found, 0, len(found.Found)), Next: found.Next, Reached: found.Reached}
	names, live := namer{h.Book()}, h.Live.Sessions()
	for _, f := range found.Found {
		if f.Session != nil {
			page.Results = append(page.Results, foundSession(names, *f.Session, live, q.Now))
		} else {
			page.Results = append(page.Results, foundDenied(names, *f.Entry))
		}
	}
	return page, nil
}

func foundSession(names namer, se policy.Session, live map[policy.SessionID]Traffic, now time.Time) api.Found {
	f := api.Found{
		Status: api.StatusActive, Start: se.Start, End: se.End, Seconds: seconds(se.Start, se.End, now),
		Person: names.person(se.Person), PersonID: string(se.Person), Server: names.server(se.Server), ServerID: string(se.Server),
		Login: se.Login, Protocol: string(se.Protocol), Client: se.Client.String(), Dest: se.Dest.String(), Gate: se.Gate,
		Grant: string(se.Grant), Stay: string(se.Stay), Session: string(se.ID), Carried: api.Carried(se.Carried),
		Account: se.Identity.Account, Node: se.Identity.Node, Waived: string(se.Waived),
	}
	if traffic, here := live[se.ID]; here {
		f.Carried = api.Carried(traffic)
	}
	if !se.End.IsZero() {
		f.Status, f.Cause, f.Sentence = api.StatusEnded, string(se.Cause), se.Cause.Error()
	}
	return f
}

func foundDenied(names namer, e store.Entry) api.Found {
	return api.Found{
		Status: api.StatusDenied, Start: e.Time, End: e.Time,
		Person: names.person(e.Person), PersonID: string(e.Person), Server: names.server(e.Server), ServerID: string(e.Server),
		Login: e.Login, Protocol: string(e.Protocol), Client: e.Client.String(), Dest: e.Dest.String(), Gate: e.Gate,
		Grant: string(e.Grant), Entry: strconv.FormatInt(e.ID, 10),
		Denial: string(e.Denial), Sentence: e.Denial.Sentence(), Detail: e.Detail,
		Account: e.Identity.Account, Node: e.Identity.Node,
	}
}

// question makes what the store is asked of what was typed.
func (h *House) question(s api.Search) (q store.Search, err error) {
	q = store.Search{From: s.From, To: s.To, Now: h.Now(), After: s.After, Limit: limitOf(s.Limit)}
	if s.Limit > mostFound {
		return q, invalid("go on with after, the next of the page before", "%d are too many for a page: at most %d", s.Limit, mostFound)
	}
	if err := checkRange(s.From, s.To); err != nil {
		return q, err
	}
	for _, make := range []func(api.Search) ([]store.Term, error){h.namedTerms, h.numberedTerms, plainTerms, h.words} {
		terms, err := make(s)
		if err != nil {
			return q, err
		}
		q.Terms = append(q.Terms, terms...)
	}
	return q, nil
}

// namedTerms are the filters by name; a name nobody has is an error.
func (h *House) namedTerms(s api.Search) (terms []store.Term, err error) {
	persons, err := h.personsMeant(s.Person, s.PersonGroup)
	if err != nil {
		return nil, err
	}
	servers, err := h.serversMeant(s.Server, s.Group)
	if err != nil {
		return nil, err
	}
	if persons != nil {
		terms = append(terms, store.Term{Persons: persons})
	}
	if servers != nil {
		terms = append(terms, store.Term{Servers: servers})
	}
	return terms, nil
}

var sessionStart = regexp.MustCompile(`^[a-z0-9]{4,64}$`)

// numberedTerms are the filters by grant, stay and session.
func (h *House) numberedTerms(s api.Search) (terms []store.Term, err error) {
	if s.Grant != "" {
		if _, err := h.grantNumbered(strings.TrimPrefix(s.Grant, "#")); err != nil {
			return nil, err
		}
		terms = append(terms, store.Term{Grants: []policy.GrantID{policy.GrantID(strings.TrimPrefix(s.Grant, "#"))}})
	}
	if s.Stay != "" {
		n, ok := number(strings.TrimPrefix(s.Stay, "#"))
		if !ok {
			return nil, invalid("inside stays --all", "%.40q is no stay: stays are numbers", s.Stay)
		}
		terms = append(terms, store.Term{Stays: []policy.StayID{policy.StayID(strconv.FormatInt(n, 10))}})
	}
	if s.Session != "" {
		if !sessionStart.MatchString(s.Session) {
			return nil, invalid("inside sessions", "%.80q is no session id: give at least 4 of its characters", s.Session)
		}
		terms = append(terms, store.Term{Session: s.Session})
	}
	return terms, nil
}

func number(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n > 0
}

// plainTerms are the filters that need no book.
func plainTerms(s api.Search) (terms []store.Term, err error) {
	add := func(t store.Term) { terms = append(terms, t) }
	if s.Login != "" {
		add(store.Term{Logins: []string{s.Login}})
	}
	if s.Address != "" {
		prefix, err := policy.ParsePrefix(s.Address)
		if err != nil {
			return nil, invalid("", "address: %v", err)
		}
		add(store.Term{Addresses: []netip.Prefix{prefix}})
	}
	if s.Protocol != "" {
		if !slices.Contains(protocols, policy.Protocol(s.Protocol)) {
			return nil, invalid("", "unknown protocol %.40q: they are %s", s.Protocol, list(protocols))
		}
		add(store.Term{Protocols: []policy.Protocol{policy.Protocol(s.Protocol)}})
	}
	if s.Status != "" {
		if !slices.Contains(statuses, store.Status(s.Status)) {
			return nil, invalid("", "unknown status %.40q: they are %s", s.Status, list(statuses))
		}
		add(store.Term{Status: store.Status(s.Status)})
	}
	if s.Denial != "" {
		if !slices.Contains(policy.Denials(), policy.Denial(s.Denial)) {
			return nil, invalid("", "unknown denial %.40q: they are %s", s.Denial, list(policy.Denials()))
		}
		add(store.Term{Denials: []policy.Denial{policy.Denial(s.Denial)}})
	}
	for what, text := range map[string]string{"longer": s.Longer, "shorter": s.Shorter} {
		if text == "" {
			continue
		}
		d, err := policy.ParseDuration(text)
		switch {
		case err != nil:
			return nil, invalid("", "%s: %v", what, err)
		case what == "longer":
			add(store.Term{Longer: d})
		default:
			add(store.Term{Shorter: d})
		}
	}
	if s.Forwarding {
		add(store.Term{Forwarding: true})
	}
	if s.Files {
		add(store.Term{Files: true})
	}
	return terms, nil
}

var (
	protocols = []policy.Protocol{policy.SSH, policy.RDP, policy.HTTP}
	statuses  = []store.Status{store.Active, store.Ended, store.Denied}
)

func list[S ~string](words []S) string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = string(w)
	}
	return strings.Join(texts, ", ")
}

// words makes terms of what was typed freely. All of them must hold.
func (h *House) words(s api.Search) (terms []store.Term, err error) {
	words := strings.Fields(s.Query)
	if len(words) > mostWords {
		return nil, invalid("", "%d words are too many: at most %d", len(words), mostWords)
	}
	for _, word := range words {
		if len(word) > longWord {
			return nil, invalid("", "%.20q… is too long for a word: at most %d bytes", word, longWord)
		}
		t, err := h.word(word)
		if err != nil {
			return nil, err
		}
		terms = append(terms, t)
	}
	return terms, nil
}

// longEnough is how much of a session's id must be given in a search: less is
// the beginning of too many, and looks like a name.
const longEnough = 8

// word is the term that one word stands for.
func (h *House) word(word string) (store.Term, error) {
	if rest, isNumber := strings.CutPrefix(word, "#"); isNumber {
		n, ok := number(rest)
		if !ok {
			return store.Term{}, invalid("", "%.40q is no number: #42 is grant, stay or entry 42", word)
		}
		id := strconv.FormatInt(n, 10)
		return store.Term{Grants: []policy.GrantID{policy.GrantID(id)}, Stays: []policy.StayID{policy.StayID(id)}, Entries: []int64{n}}, nil
	}
	if prefix, err := policy.ParsePrefix(word); err == nil {
		return store.Term{Addresses: []netip.Prefix{prefix}}, nil
	} else if strings.Contains(word, "/") || looksLikeAddress(word) {
		return store.Term{}, invalid("", "%v", err)
	}
	folded := strings.ToLower(word)
	switch {
	case slices.Contains(statuses, store.Status(folded)):
		return store.Term{Status: store.Status(folded)}, nil
	case slices.Contains(protocols, policy.Protocol(folded)):
		return store.Term{Protocols: []policy.Protocol{policy.Protocol(folded)}}, nil
	case slices.Contains(policy.Denials(), policy.Denial(folded)):
		return store.Term{Denials: []policy.Denial{policy.Denial(folded)}}, nil
	}
	t := store.Term{Persons: h.personsLike(folded), Servers: h.serversLike(folded), LoginPart: word}
	if len(word) >= longEnough && sessionStart.MatchString(word) {
		t.Session = word
	}
	return t, nil
}

// looksLikeAddress tells what can be nothing but a mistyped address.
func looksLikeAddress(word string) bool {
	return strings.Count(word, ".") == 3 && strings.Trim(word, "0123456789.") == "" || strings.Contains(word, "::")
}

// personsLike are the persons with this part in their name, or in that of a
// group they are in.
func (h *House) personsLike(part string) (ids []policy.PersonID) {
	f := h.Book().Facts()
	made, err := policy.PersonName(part) // "Łukasz" is lukasz in a name
	if err != nil {
		made = part
	}
	for _, p := range f.Persons {
		if strings.Contains(p.Name, part) || strings.Contains(p.Name, made) || strings.Contains(strings.ToLower(p.FullName), part) {
			ids = append(ids, p.ID)
		}
	}
	for i := range f.PersonGroups {
		if strings.Contains(strings.ToLower(f.PersonGroups[i].Name), part) {
			ids = append(ids, within[policy.PersonID](f.PersonGroups, &f.PersonGroups[i])...)
		}
	}
	return ids
}

// serversLike does the same for servers.
func (h *House) serversLike(part string) (ids []policy.ServerID) {
	f := h.Book().Facts()
	for _, s := range f.Servers {
		if strings.Contains(strings.ToLower(s.Name), part) {
			ids = append(ids, s.ID)
		}
	}
	for i := range f.ServerGroups {
		if strings.Contains(strings.ToLower(f.ServerGroups[i].Name), part) {
			ids = append(ids, within[policy.ServerID](f.ServerGroups, &f.ServerGroups[i])...)
		}
	}
	return ids
}
