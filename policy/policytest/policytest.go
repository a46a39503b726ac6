// Package policytest reads decision tables: a text file that states facts and,
// row by row, what must be decided about a flow. The tests of package policy
// hold the book against them, end-to-end tests the whole gate. It is for tests
// only; the format is explained at the top of policy/testdata/decisions.txt.
package policytest

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// A Case is one row: what must be decided about a flow at a moment.
type Case struct {
	Line    int    // in the file
	Section string // the title above the row
	At      time.Time
	Flow    policy.Flow
	Full    []policy.Full // grants that take nobody more

	Person string // the name the verdict must have, "" for nobody
	Server string // likewise
	Denial policy.Denial
	Grant  policy.GrantID
	Until  time.Time
	Ends   policy.EndCause // "" where the row does not say
}

// Load reads a decision table. A row with several logins is several cases.
// The names of persons, servers and groups are their ids too.
func Load(path string) (policy.Facts, []Case, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return policy.Facts{}, nil, err
	}
	t := table{facts: policy.Facts{Revision: 1}}
	for i, line := range strings.Split(string(text), "\n") {
		words, err := split(line)
		if err == nil && len(words) > 0 {
			t.line = i + 1
			err = t.read(words)
		}
		if err != nil {
			return policy.Facts{}, nil, fmt.Errorf("%s:%d: %w", path, i+1, err)
		}
	}
	return t.facts, t.cases, nil
}

// split cuts a line into words, keeping together what is in double quotes, and
// drops a comment.
func split(line string) ([]string, error) {
	var (
		words  []string
		word   strings.Builder
		open   bool // inside a word
		quoted bool
	)
	for _, r := range line {
		switch {
		case r == '"':
			quoted, open = !quoted, true
		case !quoted && (r == ' ' || r == '\t' || r == '#'):
			if open {
				words = append(words, word.String())
				word.Reset()
				open = false
			}
			if r == '#' {
				return words, nil
			}
		default:
			open = true
			word.WriteRune(r)
		}
	}
	if quoted {
		return nil, errors.New("a quote is not closed")
	}
	if open {
		words = append(words, word.String())
	}
	return words, nil
}

type table struct {
	facts   policy.Facts
	cases   []Case
	section string
	now     time.Time
	full    []policy.Full
	line    int
}

func (t *table) read(words []string) (err error) {
	keyword, args := words[0], words[1:]
	least := map[string]int{"person": 1, "address": 2, "server": 2, "person-group": 1, "server-group": 1, "grant": 3, "section": 1, "now": 1, "full": 0, "row": 8, "stay": 8}
	if n, known := least[keyword]; !known || len(args) < n {
		return fmt.Errorf("%q is no line of a decision table", strings.Join(words, " "))
	}
	switch keyword {
	case "person":
		t.facts.Persons = append(t.facts.Persons, policy.Person{
			ID: policy.PersonID(args[0]), Name: args[0], Disabled: isDisabled(args[1:]),
		})
	case "address":
		return t.address(args)
	case "server":
		return t.server(args)
	case "person-group":
		t.facts.PersonGroups = append(t.facts.PersonGroups, group(args))
	case "server-group":
		t.facts.ServerGroups = append(t.facts.ServerGroups, group(args))
	case "grant":
		return t.grant(args)
	case "section":
		t.section = strings.Join(args, " ")
	case "now":
		t.now, err = time.Parse(time.RFC3339Nano, args[0])
	case "full":
		t.full = nil
		for _, id := range args {
			id, denial, given := strings.Cut(id, "=")
			if !given {
				denial = string(policy.TooManySessions)
			}
			t.full = append(t.full, policy.Full{Grant: policy.GrantID(id), Denial: policy.Denial(denial)})
		}
	case "row":
		return t.row(args, false)
	case "stay":
		return t.row(args, true)
	}
	return err
}

func isDisabled(options []string) bool { return len(options) > 0 && options[0] == "disabled" }

func (t *table) address(args []string) error {
	if len(t.facts.Persons) == 0 {
		return errors.New("an address comes after its person")
	}
	prefix, err := policy.ParsePrefix(args[0])
	if err != nil {
		return err
	}
	p := &t.facts.Persons[len(t.facts.Persons)-1]
	p.Addresses = append(p.Addresses, policy.Address{
		ID: policy.AddressID(strconv.Itoa(t.line)), Prefix: prefix, Label: args[1], Disabled: isDisabled(args[2:]),
	})
	return nil
}

func (t *table) server(args []string) error {
	prefix, err := policy.ParsePrefix(args[1])
	if err != nil {
		return err
	}
	s := policy.Server{ID: policy.ServerID(args[0]), Name: args[0], Prefix: prefix}
	for _, option := range args[2:] {
		key, value, _ := strings.Cut(option, "=")
		port, err := strconv.ParseUint(value, 10, 16)
		switch {
		case option == "disabled":
			s.Disabled = true
		case option == "sensitive":
			s.Sensitive = true
		case key == "maintenance":
			if s.Maintenance, err = maintenance(value); err != nil {
				return err
			}
		case key == "exempt" && s.Maintenance != nil:
			for name := range strings.SplitSeq(value, ",") {
				s.Maintenance.Exempt = append(s.Maintenance.Exempt, policy.PersonID(name))
			}
		case key == "ssh" && err == nil:
			s.SSHPort = uint16(port)
		case key == "rdp" && err == nil:
			s.RDPPort = uint16(port)
		default:
			return fmt.Errorf("unknown option %q", option)
		}
	}
	t.facts.Servers = append(t.facts.Servers, s)
	return nil
}

// maintenance reads FROM,CLEAR[,UNTIL].
func maintenance(value string) (*policy.Maintenance, error) {
	var m policy.Maintenance
	moments := []*time.Time{&m.From, &m.Clear, &m.Until}
	texts := strings.Split(value, ",")
	if len(texts) < 2 || len(texts) > len(moments) {
		return nil, fmt.Errorf("maintenance %q is not FROM,CLEAR[,UNTIL]", value)
	}
	for i, text := range texts {
		var err error
		if *moments[i], err = time.Parse(time.RFC3339Nano, text); err != nil {
			return nil, err
		}
	}
	return &m, nil
}

func group(args []string) policy.Group {
	g := policy.Group{ID: policy.GroupID(args[0]), Name: args[0]}
	for _, member := range args[1:] {
		if member == "!sensitive" {
			g.Sensitive = true
		} else if name, isGroup := strings.CutPrefix(member, "@"); isGroup {
			g.Groups = append(g.Groups, policy.GroupID(name))
		} else {
			g.Members = append(g.Members, member)
		}
	}
	return g
}

func (t *table) grant(args []string) error {
	g := policy.Grant{ID: policy.GrantID(args[0])}
	if name, isGroup := strings.CutPrefix(args[1], "@"); isGroup {
		g.PersonGroup = policy.GroupID(name)
	} else {
		g.Person = policy.PersonID(name)
	}
	if name, isGroup := strings.CutPrefix(args[2], "@"); isGroup {
		g.ServerGroup = policy.GroupID(name)
	} else {
		g.Server = policy.ServerID(name)
	}
	for _, option := range args[3:] {
		if err := limit(&g, option); err != nil {
			return err
		}
	}
	t.facts.Grants = append(t.facts.Grants, g)
	return nil
}

// limit applies one KEY=VALUE to a grant.
func limit(g *policy.Grant, option string) (err error) {
	key, value, _ := strings.Cut(option, "=")
	switch key {
	case "protocols":
		for p := range strings.SplitSeq(value, ",") {
			g.Protocols = append(g.Protocols, policy.Protocol(p))
		}
	case "logins":
		g.Logins = strings.Split(value, ",")
	case "from":
		g.From, err = policy.ParsePrefix(value)
	case "start":
		g.Start, err = time.Parse(time.RFC3339Nano, value)
	case "end":
		g.End, err = time.Parse(time.RFC3339Nano, value)
	case "revoked":
		g.Revoked, err = time.Parse(time.RFC3339Nano, value)
	case "approved":
		g.Approved, err = time.Parse(time.RFC3339Nano, value)
	case "schedule":
		windows, zone, _ := strings.Cut(value, " in ")
		var s policy.Schedule
		s, err = policy.ParseSchedule(windows, zone)
		g.Schedules = append(g.Schedules, s)
	default:
		return fmt.Errorf("unknown option %q", option)
	}
	return err
}

var ports = map[policy.Protocol]uint16{policy.SSH: 22, policy.RDP: 3389, policy.HTTP: 80}

// row reads PERSON FROM PROTOCOL LOGINS TO SERVER RESULT...
func (t *table) row(args []string, inside bool) error {
	c := Case{Line: t.line, Section: t.section, At: t.now, Full: t.full, Person: name(args[0]), Server: name(args[5])}
	c.Flow.Inside = inside
	from, err := netip.ParseAddr(args[1])
	if err != nil {
		return err
	}
	c.Flow.Client = netip.AddrPortFrom(from, 40000)
	c.Flow.Protocol = policy.Protocol(args[2])
	if c.Flow.Dest, err = netip.ParseAddrPort(args[4]); err != nil {
		to, err := netip.ParseAddr(args[4])
		if err != nil {
			return err
		}
		c.Flow.Dest = netip.AddrPortFrom(to, ports[c.Flow.Protocol])
	}
	if err := c.result(args[6:]); err != nil {
		return err
	}
	for login := range strings.SplitSeq(args[3], ",") {
		c.Flow.Login = name(login)
		t.cases = append(t.cases, c)
	}
	return nil
}

// result reads "granted by GRANT [until TIME [CAUSE]]" or "denied DENIAL [by
// GRANT]".
func (c *Case) result(words []string) (err error) {
	wrong := fmt.Errorf("%q is no result", strings.Join(words, " "))
	switch {
	case words[0] == "denied":
		c.Denial = policy.Denial(words[1])
		words = words[2:]
	case words[0] == "granted" && words[1] == "by":
		words = words[1:]
	default:
		return wrong
	}
	if len(words) >= 2 && words[0] == "by" {
		c.Grant, words = policy.GrantID(words[1]), words[2:]
	}
	if len(words) >= 2 && words[0] == "until" && c.Denial == "" {
		c.Until, err = time.Parse(time.RFC3339Nano, words[1])
		words = words[2:]
		if len(words) > 0 {
			c.Ends, words = policy.EndCause(words[0]), words[1:]
		}
	}
	if err == nil && len(words) > 0 {
		return wrong
	}
	return err
}

// name reads a column where - stands for nothing.
func name(column string) string {
	if column == "-" {
		return ""
	}
	return column
}
