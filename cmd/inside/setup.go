package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/packaging/conf"
)

// A setup is one run of `inside setup`: what was asked, and what was answered.
type setup struct {
	cli    *cli
	in     *bufio.Reader // nil: nobody is there to be asked
	near   nearby
	config string
	yes    bool
	force  bool

	interfaces []string
	protect    []string
	other      string
	source     string
	name       string
	tailscale  string // "yes", "no"
}

func (c *cli) setupCommand() *cobra.Command {
	s := &setup{cli: c, config: usualConfig}
	cmd := &cobra.Command{
		Use: "setup", Short: "say what the gate protects and from whom, start it, and see whether all is well", Args: args(0, 0),
		Long: `Setup looks at the interfaces and routes of this router and proposes where people
come from and what is protected. It asks on a terminal; each question has a flag,
and with --yes what is proposed counts for those that have none. It writes the
configuration, with its comments, only when insided takes it, keeps the old one
as FILE.bak, starts the gate and runs the doctor.

  inside setup
  inside setup --interface tailscale0 --protect 10.30.0.0/16 --other forward --yes`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.remote() {
				return errors.New("setup is done on the gate itself, and INSIDE_URL names another")
			}
			if f, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) && !s.yes {
				s.in = bufio.NewReader(f)
			}
			s.interfaces, s.protect = splitList(strings.Join(s.interfaces, ",")), splitList(strings.Join(s.protect, ","))
			return s.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&s.interfaces, "interface", nil, "an interface that people come from; more than once, or with commas")
	f.StringArrayVar(&s.protect, "protect", nil, "a network behind the gate, such as 10.30.0.0/16; more than once, or with commas")
	f.StringVar(&s.other, "other", "", "what happens to everything that is not SSH or RDP: forward or drop")
	f.StringVar(&s.source, "source", "", "whose address servers see: gateway (unless given) or client")
	f.StringVar(&s.tailscale, "tailscale", "", "whether persons are known by their login at Tailscale too: yes (unless given, where people come from it) or no")
	f.StringVar(&s.name, "name", "", "the name of this gate; the host name unless given")
	f.StringVar(&s.config, "config", s.config, "the configuration to write, a `FILE`")
	f.BoolVarP(&s.yes, "yes", "y", false, "ask nothing: what is proposed counts")
	f.BoolVar(&s.force, "force", false, "also write over a configuration that somebody has changed")
	return cmd
}

func (s *setup) run(ctx context.Context) error {
	text, err := s.present()
	if err != nil {
		return err
	}
	if s.near, err = lookAround(); err != nil {
		return err
	}
	if err := s.refuseUserspace(); err != nil {
		return err
	}
	if err := s.ask(); err != nil {
		return err
	}
	text, err = s.filledIn(text)
	if err != nil {
		return err
	}
	backup, err := install(ctx, s.config, text)
	if err != nil {
		return err
	}
	s.say("%s is written%s", s.config, map[bool]string{true: ", the one before is " + backup}[backup != ""])
	if err := s.startGate(ctx); err != nil {
		return err
	}
	return s.finish(ctx)
}

// present is the configuration as it is, which may only be written over when
// nobody has changed it.
func (s *setup) present() ([]byte, error) {
	text, err := os.ReadFile(s.config)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return bytes.Clone(conf.Shipped), nil
	case err != nil:
		return nil, err
	case bytes.Equal(text, conf.Shipped) || s.force:
		return text, nil
	}
	return nil, api.NewProblem(api.CodeConflict, s.config+" was changed since it was installed, so it is left alone", "edit it, or: inside setup --force")
}

// refuseUserspace refuses what cannot be intercepted.
func (s *setup) refuseUserspace() error {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var lines []string
	for _, name := range files {
		if text, err := os.ReadFile(name); err == nil && len(text) > 0 {
			lines = append(lines, string(text))
		}
	}
	if userspaceTailscale(lines, s.near) && slices.ContainsFunc(s.interfaces, func(name string) bool { return strings.HasPrefix(name, "tailscale") }) {
		return errors.New("tailscaled runs without an interface (--tun=userspace-networking): what comes by it never passes the kernel, so it cannot be intercepted")
	}
	return nil
}

// ask fills in what no flag has said: from the terminal, or from what is
// proposed.
func (s *setup) ask() error {
	if s.in != nil {
		s.say("This router has\n\n%s", s.near.words())
	}
	for _, q := range []struct {
		flag, question, proposal string
		answer                   func(string) error
		given                    bool
	}{
		{"--interface", "Interfaces that people come from", strings.Join(s.near.interfaces(), ","), s.answerInterfaces, len(s.interfaces) > 0},
		{"--protect", "Networks to protect", "", s.answerProtect, len(s.protect) > 0},
		{"--other", "What else people send there: forward (as if there were no gate) or drop", "", oneOf(&s.other, "forward", "drop"), s.other != ""},
		{"--source", "Whose address servers see: gateway or client", "gateway", oneOf(&s.source, "gateway", "client"), s.source != ""},
		{"--tailscale", "Know persons by their login at Tailscale too: yes or no", "yes", oneOf(&s.tailscale, "yes", "no"), s.tailscale != ""},
		{"--name", "Name of this gate", hostName(), func(name string) error { s.name = name; return nil }, s.name != ""},
	} {
		if q.flag == "--tailscale" && !s.near.fromTailscale(s.interfaces) {
			continue
		}
		if q.flag == "--protect" { // it depends on the answer before
			q.proposal = joinPrefixes(s.near.networks(s.interfaces))
		}
		if q.flag == "--other" && s.in != nil {
			q.proposal = "forward"
		}
		if err := s.answered(q.flag, q.question, q.proposal, q.given, q.answer); err != nil {
			return err
		}
	}
	if err := s.checkAnswers(); err != nil {
		return err
	}
	return s.confirm()
}

// answered gets one answer: the flag's, somebody's at the terminal, or the
// proposal.
func (s *setup) answered(flag, question, proposal string, given bool, answer func(string) error) error {
	switch {
	case given:
		return nil
	case s.in == nil && proposal != "" && (s.yes || flag == "--source" || flag == "--tailscale" || flag == "--name"):
		return answer(proposal)
	case s.in == nil && proposal == "":
		return api.NewProblem(api.CodeInvalid, question+"? Nobody is there to be asked, and nothing can be proposed", "give "+flag)
	case s.in == nil:
		return api.NewProblem(api.CodeInvalid, question+"? Nobody is there to be asked", "give "+flag+" "+proposal+", or --yes for what is proposed")
	}
	for {
		fmt.Fprintf(s.cli.err, "%s%s: ", question, map[bool]string{true: " [" + proposal + "]"}[proposal != ""])
		line, err := s.in.ReadString('\n')
		if err != nil {
			return errors.New("setup was broken off; nothing was changed")
		}
		if err = answer(firstOf(strings.TrimSpace(line), proposal)); err == nil {
			return nil
		}
		s.cli.error(err.Error())
	}
}

func splitList(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
}

func (s *setup) answerInterfaces(text string) error {
	s.interfaces = splitList(text)
	return s.checkInterfaces()
}

func (s *setup) answerProtect(text string) error {
	s.protect = splitList(text)
	return s.checkProtect()
}

func oneOf(value *string, choices ...string) func(string) error {
	return func(text string) error {
		if !slices.Contains(choices, text) {
			return fmt.Errorf("%.40q is neither %s", text, strings.Join(choices, " nor "))
		}
		*value = text
		return nil
	}
}

func joinPrefixes(prefixes []netip.Prefix) string {
	var texts []string
	for _, p := range prefixes {
		texts = append(texts, p.String())
	}
	return strings.Join(texts, ",")
}

func hostName() string {
	name, _ := os.Hostname()
	name, _, _ = strings.Cut(name, ".")
	return name
}

// checkAnswers looks at flags as at what is typed. What insided would refuse,
// it refuses itself.
func (s *setup) checkAnswers() error {
	err := s.checkInterfaces()
	if err == nil {
		err = s.checkProtect()
	}
	if err == nil {
		err = oneOf(&s.other, "forward", "drop")(s.other)
	}
	if err == nil {
		err = oneOf(&s.source, "gateway", "client")(s.source)
	}
	if err == nil && s.tailscale != "" {
		err = oneOf(&s.tailscale, "yes", "no")(s.tailscale)
	}
	return err
}

func (s *setup) checkInterfaces() error {
	if len(s.interfaces) == 0 {
		return errors.New("name at least one interface")
	}
	for _, name := range s.interfaces {
		if !slices.ContainsFunc(s.near.links, func(l nearLink) bool { return l.name == name }) {
			s.cli.note(fmt.Sprintf("there is no interface %s now; it counts as soon as it appears", name))
		}
	}
	return nil
}

func (s *setup) checkProtect() error {
	if len(s.protect) == 0 {
		return errors.New("name at least one network, such as 10.30.0.0/16")
	}
	for _, text := range s.protect {
		p, err := netip.ParsePrefix(text)
		if err != nil || p != p.Masked() {
			return fmt.Errorf("%.60q is not a network: write it as 10.30.0.0/16", text)
		}
		if p.Bits() == 0 {
			return fmt.Errorf("%s is everything, also where people are: name the networks of the servers", text)
		}
		for _, l := range s.near.links {
			for _, a := range l.addresses {
				if slices.Contains(s.interfaces, l.name) && p.Overlaps(a.Masked()) && !a.IsSingleIP() {
					s.cli.note(fmt.Sprintf("%s lies behind %s, from where people come: whoever is there reaches it without the gate", text, l.name))
				}
			}
		}
	}
	return nil
}

func (s *setup) confirm() error {
	if s.in == nil {
		return nil
	}
	fmt.Fprintf(s.cli.err, "\nWrite %s and start the gate? Connections from %s to %s by SSH and RDP then need a grant. [y/N]: ",
		s.config, strings.Join(s.interfaces, ", "), strings.Join(s.protect, ", "))
	line, _ := s.in.ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return errors.New("setup was broken off; nothing was changed")
	}
	return nil
}

func (s *setup) filledIn(text []byte) ([]byte, error) {
	interfaces, err := tomlList(s.interfaces)
	protect, err2 := tomlList(s.protect)
	name, err3 := tomlText(s.name)
	if err := errors.Join(err, err2, err3); err != nil {
		return nil, err
	}
	return edited(text, []setting{
		{"gate", "name", name},
		{"intercept", "interfaces", interfaces},
		{"intercept", "protect", protect},
		{"intercept", "other", `"` + s.other + `"`},
		{"intercept", "source", `"` + s.source + `"`},
		{"identity", "tailscale", strconv.FormatBool(s.tailscale == "yes")},
	}), nil
}

// startPatience is how long the gate may take to start.
const startPatience = time.Minute

// startGate enables the units and starts them anew: a gate that runs reads the
// file again.
func (s *setup) startGate(ctx context.Context) error {
	if _, err := exec.LookPath("systemctl"); err != nil {
		s.cli.note("there is no systemctl here: start insided yourself")
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for _, args := range [][]string{{"enable", "inside-guard", "inside"}, {"restart", "inside-guard", "inside"}} {
		if out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput(); err != nil {
			return api.NewProblem(api.CodeUnavailable, fmt.Sprintf("the configuration is written, but systemctl %s: %s", strings.Join(args, " "), firstOf(strings.TrimSpace(string(out)), err.Error())),
				"journalctl -u inside-guard -u inside -n 20")
		}
	}
	s.say("inside-guard and inside are enabled and run")
	return nil
}

// finish runs the doctor and says what comes next.
func (s *setup) finish(ctx context.Context) error {
	checks, err := s.cli.examine(ctx, api.Examination{}, s.config)
	if err != nil {
		return err
	}
	s.say("")
	sick := s.cli.printChecks(checks)
	by := "--ip ADDRESS"
	if s.tailscale == "yes" {
		by = "--account john@example.com"
	}
	s.say("\nNext:\n  inside person add \"John Doe\" %s\n  inside server add prod-db-01 --ip %s\n  inside grant john.doe --server prod-db-01 --duration 8h", by, s.exampleServer())
	return sick
}

// exampleServer is an address in the first network that is not the router's.
func (s *setup) exampleServer() string {
	p, err := netip.ParsePrefix(s.protect[0])
	if err != nil || p.IsSingleIP() {
		return s.protect[0]
	}
	a := p.Addr().Next()
	for p.Contains(a.Next()) && slices.ContainsFunc(s.near.links, func(l nearLink) bool {
		return slices.ContainsFunc(l.addresses, func(own netip.Prefix) bool { return own.Addr() == a })
	}) {
		a = a.Next()
	}
	return a.String()
}

// say prints for people; with --json the checks are all that is printed.
func (s *setup) say(format string, args ...any) {
	if s.cli.json {
		return
	}
	for line := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
		fmt.Fprintln(s.cli.out, api.Escape(line))
	}
}
