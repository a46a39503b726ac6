package appliance

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/pawelmojski/inside/appliance/config"
	"github.com/pawelmojski/inside/netfilter"
	"github.com/pawelmojski/inside/policy"
)

// The transparent listeners stand on the loopback addresses at these ports;
// nothing but marked packets reaches them.
const (
	sshListen = 7022
	rdpListen = 7389
)

// rulesOf are the rules that a configuration asks for.
func rulesOf(i *config.Intercept) netfilter.Config {
	rules := netfilter.Config{
		Interfaces: i.Interfaces,
		Protect:    slices.Concat(i.Protect, i.Warn),
		Observe:    i.Observe,
		Other:      netfilter.Other(i.Other),
		Source:     netfilter.Source(i.Source),
	}
	for _, e := range []netfilter.Entry{
		{Name: string(policy.SSH), Ports: i.SSHPorts, Listen: sshListen},
		{Name: string(policy.RDP), Ports: i.RDPPorts, Listen: rdpListen, NoUDP: true},
	} {
		if len(e.Ports) > 0 {
			rules.Entries = append(rules.Entries, e)
		}
	}
	return rules
}

// guardName is the file in the state directory that holds the rules which
// were last in force, for a boot at which the configuration cannot be read.
const guardName = "guard.json"

// keepGuard writes the rules down for the next boot.
func keepGuard(state string, rules netfilter.Config) error {
	text, err := json.MarshalIndent(rules, "", "\t")
	if err == nil {
		name := filepath.Join(state, guardName)
		if err = os.WriteFile(name+".new", append(text, '\n'), 0o640); err == nil {
			err = os.Rename(name+".new", name)
		}
	}
	if err != nil {
		return fmt.Errorf("keep the rules for the next boot: %w", err)
	}
	return nil
}

// stateOfUnit is where the state is when the configuration cannot say it: where
// the unit has it (StateDirectory= in systemd.exec(5)).
func stateOfUnit() string { return cmp.Or(os.Getenv("STATE_DIRECTORY"), "/var/lib/inside") }

// Guard closes the way at boot, before the network is up, as the file says.
// When the file cannot be read, the rules that were last in force are what
// closes it, and the error, which is then a [*Stale], says so. A tower closes
// nothing.
func Guard(file string) error {
	cfg, broken := config.Load(file)
	if broken == nil {
		if cfg.Intercept == nil {
			return nil
		}
		return guarded(rulesOf(cfg.Intercept), cfg.Paths.State)
	}
	text, err := os.ReadFile(filepath.Join(stateOfUnit(), guardName))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w\nnothing is closed: no rules were in force before", broken)
	}
	var rules netfilter.Config
	if err == nil {
		err = json.Unmarshal(text, &rules)
	}
	if err == nil {
		err = netfilter.Guard(rules)
	}
	if err != nil {
		return errors.Join(broken, fmt.Errorf("close by the rules that were last in force: %w", err))
	}
	return &Stale{broken, "the rules that were last in force"}
}

// guarded closes the way. Where somebody else's table is in the place of ours,
// routing rules do it, unless this gate was never in force: then its admin is
// about to start it, and nothing is to be left half made.
func guarded(rules netfilter.Config, state string) error {
	err := netfilter.Guard(rules)
	var other *netfilter.Namesake
	if !errors.As(err, &other) {
		return err
	}
	if _, never := os.Stat(filepath.Join(state, guardName)); never != nil {
		return err
	}
	if err := netfilter.GuardByRouting(rules); err != nil {
		return errors.Join(other, err)
	}
	return &Stale{other, "routing rules alone"}
}

// Stale says that the way is closed, but not as the file says.
type Stale struct {
	Broken error
	By     string
}

func (e *Stale) Error() string { return fmt.Sprintf("%v\nclosed by %s", e.Broken, e.By) }

func (e *Stale) Unwrap() error { return e.Broken }
