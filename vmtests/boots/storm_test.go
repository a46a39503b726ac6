package boots

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pawelmojski/inside/netfilter/nettest"
	"github.com/pawelmojski/inside/vmtests/lab"
)

func init() {
	commands["storm"] = storm
	commands["boot"] = boot
	commands["console"] = console
}

// What people may not reach without the gate, and a port that everybody may
// reach (other = "forward"): what arrives there shows that the router forwards.
var (
	guarded = []lab.Opening{
		{To: netip.AddrPortFrom(nettest.BackendIP4, 22), Every: time.Millisecond},
		{To: netip.AddrPortFrom(nettest.BackendIP6, 22), Every: 5 * time.Millisecond},
		{To: netip.AddrPortFrom(nettest.BackendIP4, 3389), Every: 10 * time.Millisecond},
		{To: netip.AddrPortFrom(nettest.BackendIP6, 3389), Every: 10 * time.Millisecond},
	}
	open = []lab.Opening{
		{To: netip.AddrPortFrom(nettest.BackendIP4, 2222), Every: 10 * time.Millisecond},
		{To: netip.AddrPortFrom(nettest.BackendIP6, 2222), Every: 10 * time.Millisecond},
	}
)

// storm start: the client sends first packets of connections every millisecond,
// whether the router is there or not. storm stop ends it: none that needs the
// gate may have come to a server, and others must.
func storm(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	if args[0] == "start" {
		var err error
		s.storm, err = lab.StartStorm(s.lab, append(guarded, open...))
		ts.Check(err)
		ts.Defer(func() { s.storm.Stop() })
		return
	}
	ts.Check(s.storm.Stop())
	for _, o := range append(guarded, open...) {
		ts.Logf("%s: %d first packets sent, %d came to the server", o.To, s.storm.Sent(o.To), s.storm.Arrived(o.To).Count)
	}
	ts.Check(judge(s.storm))
}

func judge(s *lab.Storm) error {
	var errs []error
	for _, o := range guarded {
		if n := s.Arrived(o.To).Count; n > 0 {
			errs = append(errs, fmt.Errorf("LEAK: %d first packets to %s came to the server", n, o.To))
		}
		if s.Sent(o.To) < 500 {
			errs = append(errs, fmt.Errorf("too few first packets to %s to say anything", o.To))
		}
	}
	for _, o := range open {
		if s.Arrived(o.To).Count == 0 {
			errs = append(errs, fmt.Errorf("nothing came to %s: the router did not forward at all", o.To))
		}
	}
	return errors.Join(errs...)
}

// boot restarted is a restart the orderly way, boot cut after the power was cut.
// It says when what began, in seconds after the kernel had started.
func boot(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	vm := of(ts).vm
	if args[0] == "cut" {
		ts.Check(vm.Reset())
	} else {
		ts.Check(vm.Reboot())
	}
	ts.Check(vm.Booted(ctx))
	for _, unit := range []string{"inside-guard", "systemd-networkd", "inside"} {
		out, _, err := vm.Run(ctx, nil, "systemctl", "show", "--property=ActiveEnterTimestampMonotonic", "--value", unit)
		ts.Check(err)
		if micros, err := strconv.Atoi(strings.TrimSpace(out)); err == nil && micros > 0 {
			ts.Logf("%s active %.1f s after the kernel started", unit, float64(micros)/1e6)
		}
	}
}

// console COMMAND... is an admin who logs in at the machine itself.
func console(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	out, err := of(ts).vm.Console(ctx, strings.Join(args, " "))
	tell(ts, neg, out, "", err)
}
