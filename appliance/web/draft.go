package web

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
)

// A draft is a grant that is being made. It travels in the URL from step to
// step, so nothing of it is lost by going back, and a link can hold one.
type draft struct {
	Who, Where  string // a name, or "group:" and one
	Protocols   []string
	Logins      string // apart by commas or spaces
	SourceIP    string
	Length      string // a duration, "permanent", or "" for what the gate gives
	Other       string // a duration that is not among those to choose
	Schedule    string
	Zone        string
	Forwarding  []string
	Redirection []string
	Idle        string
	MaxSessions string
	MaxEntries  string
	Renew       bool
	Reason      string
	Template    string
}

const groupPrefix = "group:"

func readDraft(q url.Values) draft {
	one := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	return draft{
		Who: one("who"), Where: one("where"), Protocols: q["protocol"], Logins: one("logins"), SourceIP: one("source_ip"), Length: one("length"), Other: one("other"),
		Schedule: one("schedule"), Zone: one("zone"), Forwarding: q["forwarding"], Redirection: q["redirection"], Idle: one("idle"), MaxSessions: one("max_sessions"),
		MaxEntries: one("max_entries"), Renew: one("renew") != "", Reason: one("reason"), Template: one("template"),
	}
}

// A field is one hidden field of a form.
type field struct{ Name, Value string }

// Fields are the draft's, but for those that the form itself asks for.
func (d draft) Fields(asked ...string) (fields []field) {
	add := func(name string, values ...string) {
		for _, v := range values {
			if v != "" && !slices.Contains(asked, name) {
				fields = append(fields, field{name, v})
			}
		}
	}
	add("who", d.Who)
	add("where", d.Where)
	add("protocol", d.Protocols...)
	add("logins", d.Logins)
	add("source_ip", d.SourceIP)
	add("length", d.Length)
	add("other", d.Other)
	add("schedule", d.Schedule)
	add("zone", d.Zone)
	add("forwarding", d.Forwarding...)
	add("redirection", d.Redirection...)
	add("idle", d.Idle)
	add("max_sessions", d.MaxSessions)
	add("max_entries", d.MaxEntries)
	if d.Renew {
		add("renew", "yes")
	}
	add("reason", d.Reason)
	add("template", d.Template)
	return fields
}

// Link is the draft at a step.
func (d draft) Link(step string) string {
	q := url.Values{"step": {step}}
	for _, f := range d.Fields() {
		q.Add(f.Name, f.Value)
	}
	return "/grants/new?" + q.Encode()
}

func (d draft) Has(list []string, value string) bool { return slices.Contains(list, value) }

// grant is what the draft asks for.
func (d draft) grant() (g api.NewGrant, err error) {
	g = api.NewGrant{
		Protocols: d.Protocols, SourceIP: d.SourceIP, Forwarding: d.Forwarding, Redirection: d.Redirection, Idle: d.Idle, MaxEntries: d.MaxEntries,
		Renew: d.Renew, Reason: d.Reason, Template: d.Template,
		Logins: strings.FieldsFunc(d.Logins, func(r rune) bool { return r == ',' || r == ' ' }),
	}
	who, isGroup := strings.CutPrefix(d.Who, groupPrefix)
	if isGroup {
		g.PersonGroup = who
	} else {
		g.Person = who
	}
	where, isGroup := strings.CutPrefix(d.Where, groupPrefix)
	if isGroup {
		g.Group = where
	} else {
		g.Server = where
	}
	switch d.Length {
	case "permanent":
		g.Permanent = true
	case "other":
		g.Duration = d.Other
	default:
		g.Duration = d.Length
	}
	if d.Schedule != "" {
		zone := d.Zone
		if zone == "" {
			return g, api.NewProblem(api.CodeInvalid, "the hours are those of a place, and its zone is missing", "write a zone such as Europe/Warsaw")
		}
		g.Schedules = []api.Schedule{{Windows: d.Schedule, Zone: zone}}
	}
	if d.MaxSessions != "" {
		if g.MaxSessions, err = strconv.Atoi(d.MaxSessions); err != nil {
			return g, api.NewProblem(api.CodeInvalid, fmt.Sprintf("%.40q is not a number of sessions", d.MaxSessions), "")
		}
	}
	return g, nil
}

// would is the grant as it would be, to be said in words.
func (d draft) would(now time.Time) (api.Grant, error) {
	n, err := d.grant()
	if err != nil {
		return api.Grant{}, err
	}
	g := api.Grant{
		Person: n.Person, PersonGroup: n.PersonGroup, Server: n.Server, Group: n.Group, Protocols: n.Protocols, Logins: n.Logins, SourceIP: n.SourceIP,
		Forwarding: n.Forwarding, Redirection: n.Redirection, Permanent: n.Permanent, Schedules: n.Schedules, Idle: n.Idle, MaxSessions: n.MaxSessions, MaxEntries: n.MaxEntries,
	}
	length := time.Hour
	if n.Duration != "" {
		if length, err = policy.ParseDuration(n.Duration); err != nil {
			return g, api.NewProblem(api.CodeInvalid, "the length: "+err.Error(), "write 8h, 14d, 1w or 1h30m")
		}
	}
	g.DefaultLength = n.Duration == "" && !n.Permanent && n.Template == ""
	if !n.Permanent {
		g.End = now.Add(length)
	}
	if n.Renew {
		g.Renew = n.Duration
	}
	for _, s := range n.Schedules {
		if _, err := policy.ParseSchedule(s.Windows, s.Zone); err != nil {
			return g, api.NewProblem(api.CodeInvalid, "the hours: "+err.Error(), `write "Mon-Fri 09:00-17:00" and a zone such as Europe/Warsaw`)
		}
	}
	return g, nil
}

// Command is the same by the command line.
func (d draft) Command() string {
	n, err := d.grant()
	if err != nil {
		return ""
	}
	words := []string{"inside", "grant", "create"}
	flag := func(name string, values ...string) {
		for _, v := range values {
			if v != "" {
				words = append(words, "--"+name, shellQuoted(v))
			}
		}
	}
	if n.Person != "" {
		words = append(words, shellQuoted(n.Person))
	}
	flag("person-group", n.PersonGroup)
	flag("server", n.Server)
	flag("group", n.Group)
	flag("template", n.Template)
	flag("protocol", strings.Join(n.Protocols, ","))
	flag("ssh-login", n.Logins...)
	flag("source-ip", n.SourceIP)
	flag("duration", n.Duration)
	if n.Permanent {
		words = append(words, "--permanent")
	}
	for _, s := range n.Schedules {
		flag("schedule", s.Windows)
		flag("timezone", s.Zone)
	}
	flag("allow-port-forwarding", strings.Join(n.Forwarding, ","))
	flag("allow-rdp", strings.Join(n.Redirection, ","))
	flag("idle", n.Idle)
	if n.MaxSessions != 0 {
		flag("max-sessions", strconv.Itoa(n.MaxSessions))
	}
	flag("max-entries", n.MaxEntries)
	if n.Renew {
		words = append(words, "--renew")
	}
	flag("reason", n.Reason)
	return strings.Join(words, " ")
}

// shellQuoted is a word as a shell takes it.
func shellQuoted(word string) string {
	plain := strings.IndexFunc(word, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.,/:=@", r))
	}) < 0
	if plain && word != "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// draftOf is a new draft of what a grant allows.
func draftOf(g api.Grant) draft {
	d := draft{
		Who: g.Person, Where: g.Server, Protocols: g.Protocols, Logins: strings.Join(g.Logins, ", "), SourceIP: g.SourceIP, Forwarding: g.Forwarding, Redirection: g.Redirection,
		Idle: g.Idle, MaxEntries: g.MaxEntries, Reason: g.Reason, Renew: g.Renew != "",
	}
	if g.PersonGroup != "" {
		d.Who = groupPrefix + g.PersonGroup
	}
	if g.Group != "" {
		d.Where = groupPrefix + g.Group
	}
	if g.MaxSessions != 0 {
		d.MaxSessions = strconv.Itoa(g.MaxSessions)
	}
	if len(g.Schedules) > 0 {
		d.Schedule, d.Zone = g.Schedules[0].Windows, g.Schedules[0].Zone
	}
	switch {
	case g.Permanent:
		d.Length = "permanent"
	default:
		d.Length, d.Other = "other", policy.FormatDuration(g.End.Sub(g.Start).Round(time.Minute))
	}
	return d
}
