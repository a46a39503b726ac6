// Package boots proves what takes a whole computer: a boot from the first
// packet on, the modules of a stock kernel, a clock that can be set, and limits
// of memory. The stories are the scripts in testdata; the computer is emulated,
// booted once, and each story goes on from there with a copy of its own.
package boots

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pawelmojski/inside/netfilter/nettest"
	"github.com/pawelmojski/inside/vmtests/lab"
)

// longest is how long one command of a story may take: a boot on a busy
// machine.
const longest = 4 * time.Minute

// commands are what the scripts can say; each file of this package that makes
// some adds them.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"gateway": onGateway,
	"write":   write,
	"until":   until,
	"ssh":     sshFromClient,
	"reach":   reach,
}

// The router is set up before its first boot, which spares one that is slow.
const install = `
dpkg -i /root/*.deb
cat >/etc/inside/inside.toml <<FILE
[gate]
name = "gate-1"
[intercept]
interfaces = ["c0"]
protect = ["10.30.0.0/24", "fd30::/64"]
other = "forward"
[recordings]
min_free = "1%"
FILE
systemctl --quiet enable inside-guard inside nftables
`

// prepare lets a person in, so that each story begins with a gate that serves.
func prepare(ctx context.Context, v *lab.VM) error {
	_, errs, err := v.Run(ctx, nil, "sh", "-ec", `
		inside person add 'John Doe' --ip `+nettest.ClientIP4.String()+` --ip `+nettest.ClientIP6.String()+`
		inside server add prod --ip `+nettest.BackendIP4.String()+`
		inside grant john.doe --server prod --permanent`)
	if err != nil {
		return fmt.Errorf("%w: %s", err, errs)
	}
	return nil
}

func TestStories(t *testing.T) {
	nettest.Need(t, "ip", "ssh", "qemu-system-x86_64", "qemu-img", "mmdebstrap", "busybox", "cpio", "mke2fs")
	machine := lab.Prepare(t, lab.Package(t), install, prepare)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup:               func(env *testscript.Env) error { return newStory(env, machine) },
		Cmds:                commands,
	})
}

// A story is one computer between one client and one server.
type story struct {
	lab     *nettest.Lab
	vm      *lab.VM
	person  lab.Person
	storm   *lab.Storm
	session *lab.Session
	crowd   []net.Conn
}

type storyKey struct{}

func newStory(env *testscript.Env, machine lab.Prepared) (err error) {
	s := &story{}
	s.lab, s.vm = machine.Start(env.T().(testing.TB))
	if _, err = s.lab.StartSSHD(nettest.SSHDOptions{Users: []nettest.User{{Name: "root", Password: lab.Password}}}); err != nil {
		return err
	}
	if s.person, err = lab.NewPerson(s.lab); err != nil {
		return err
	}
	env.Values[storyKey{}] = s
	env.Vars = append(env.Vars, "SERVER="+nettest.BackendIP4.String(), "SERVER6="+nettest.BackendIP6.String())
	return nil
}

func of(ts *testscript.TestScript) *story { return ts.Value(storyKey{}).(*story) }

// tell is what a command of a story came to: stdout and stderr look at what it
// printed, and it must succeed or fail as the script says.
func tell(ts *testscript.TestScript, neg bool, out, errs string, err error) {
	fmt.Fprint(ts.Stdout(), out)
	fmt.Fprint(ts.Stderr(), errs)
	switch {
	case err == nil && neg:
		ts.Fatalf("succeeded, and must not")
	case err != nil && !neg:
		ts.Fatalf("%v", err)
	}
}

// gateway COMMAND [ARGUMENT]... runs a command on the machine.
func onGateway(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	out, errs, err := of(ts).vm.Run(ctx, nil, args...)
	tell(ts, neg, out, errs, err)
}

// write FILE-ON-THE-MACHINE FILE-OF-THE-SCRIPT copies a file.
func write(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	ts.Check(of(ts).vm.Write(ctx, args[0], []byte(ts.ReadFile(args[1]))))
}

// until COMMAND [ARGUMENT]... runs a command on the machine until it succeeds,
// or with ! until it fails.
func until(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	for {
		out, errs, err := of(ts).vm.Run(ctx, nil, args...)
		if (err == nil) != neg {
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("still %v after %s: %s%s", err, longest, out, errs)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// ssh LOGIN@ADDRESS COMMAND... is the person at the client, who types the
// password of the server's accounts when asked.
func sshFromClient(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	var out, errs strings.Builder
	c := of(ts).person.SSH(ctx, args...)
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	tell(ts, neg, out.String(), errs.String(), err)
}

// reach WHOM says who must answer a connection from the client to the server,
// over both families: "server", "gate" or "nobody". Who is left waiting is
// answered by nobody.
func reach(ts *testscript.TestScript, neg bool, args []string) {
	for _, address := range []string{ts.Getenv("SERVER"), ts.Getenv("SERVER6")} {
		wait := longest
		if args[0] == "nobody" {
			wait = 3 * time.Second
		}
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		who, err := of(ts).person.Who(ctx, address, wait)
		cancel()
		if who == "hung up" {
			who = "nobody"
		}
		if who != args[0] {
			ts.Fatalf("%s answers at %s (%v), and not %s", who, address, err, args[0])
		}
	}
}
