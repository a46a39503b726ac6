// Package stories proves on whole machines what the package, its units and the
// router's other services do together. The stories are the scripts in testdata;
// what their commands do is said here.
package stories

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pawelmojski/inside/netfilter/nettest"
	"github.com/pawelmojski/inside/vmtests/lab"
)

// longest is how long one command of a story may take.
const longest = 2 * time.Minute

// commands are what the scripts can say; each file of this package that makes
// some adds them.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"gateway": onGateway,
	"write":   write,
	"ssh":     sshFromClient,
	"reach":   reach,
	"stream":  stream,
	"session": sessionThatStays,
	"until":   until,
}

// What the package and its units do is told on each Debian that is supported,
// what the router then does, alone and among neighbours, on one.
func TestStories(t *testing.T) {
	nettest.Need(t, "ip", "nft", "ssh", "systemd-nspawn", "mmdebstrap", "nsenter", "lintian", "sqlite3", "wg-quick", "wireguard-go", "openvpn")
	deb := makePackage(t)
	t.Run("the same package again", func(t *testing.T) { samePackage(t, deb) })
	for _, told := range []struct {
		suite, stories string
		further        []string
	}{
		{"bookworm", "package", nil},
		{"trixie", "package", nil},
		{"bookworm", "router", nil},
		{"bookworm", "neighbours", lab.Neighbours},
	} {
		t.Run(told.stories+"/"+told.suite, func(t *testing.T) {
			root := lab.Rootfs(t, told.suite, told.further...)
			testscript.Run(t, testscript.Params{
				Dir:                 filepath.Join("testdata", told.stories),
				RequireExplicitExec: true,
				Setup:               func(env *testscript.Env) error { return newStory(env, root, deb) },
				Cmds:                commands,
			})
		})
	}
}

// makePackage makes the package, which lintian has nothing to say against.
func makePackage(t *testing.T) string {
	t.Helper()
	deb := lab.Package(t)
	if out, err := exec.Command("lintian", "--fail-on", "error,warning", deb).CombinedOutput(); err != nil {
		t.Errorf("lintian: %v\n%s", err, out)
	}
	return deb
}

// A story is one machine between one client and one server.
type story struct {
	lab     *nettest.Lab
	machine *lab.Machine
	person  lab.Person
	stream  *connects
	session *lab.Session
	crowd   *crowd
	tailnet *tailnetwork // nil until a story has one
	t       testing.TB
	began   time.Time // to install
}

type storyKey struct{}

func newStory(env *testscript.Env, root, deb string) error {
	t := env.T().(testing.TB)
	s := &story{lab: nettest.For(t, nettest.Options{}), t: t}
	users := []nettest.User{{Name: "root", Password: lab.Password}}
	if _, err := s.lab.StartSSHD(nettest.SSHDOptions{Users: users}); err != nil {
		return err
	}
	var err error
	if s.person, err = lab.NewPerson(s.lab); err != nil {
		return err
	}
	s.machine = lab.Boot(t, s.lab, root, map[string]string{"/mnt/inside.deb": deb})
	env.Values[storyKey{}] = s
	env.Vars = append(env.Vars, "CLIENT="+nettest.ClientIP4.String(), "CLIENT6="+nettest.ClientIP6.String(),
		"SERVER="+nettest.BackendIP4.String(), "SERVER6="+nettest.BackendIP6.String(),
		"PROTECT="+nettest.BackendNet4.String(), "PROTECT6="+nettest.BackendNet6.String(),
		"INTERFACE="+nettest.ClientSide)
	return nil
}

func of(ts *testscript.TestScript) *story { return ts.Value(storyKey{}).(*story) }

// run runs a command for a script: what it prints is what stdout and stderr
// look at, and it must succeed or fail as the script says.
func run(ts *testscript.TestScript, neg bool, c *exec.Cmd) {
	var out, errs strings.Builder
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	fmt.Fprint(ts.Stdout(), out.String())
	fmt.Fprint(ts.Stderr(), errs.String())
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
	run(ts, neg, of(ts).machine.Command(ctx, args[0], args[1:]...))
}

// write FILE-ON-THE-MACHINE FILE-OF-THE-SCRIPT copies a file, with its
// $VARIABLES filled in.
func write(ts *testscript.TestScript, neg bool, args []string) {
	text := os.Expand(ts.ReadFile(args[1]), ts.Getenv)
	ts.Check(of(ts).machine.Write(args[0], text))
}

// ssh LOGIN@ADDRESS COMMAND... is the person at the client, who types the
// password of the server's accounts when asked.
func sshFromClient(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	run(ts, neg, of(ts).sshCommand(ctx, args...))
}

func (s *story) sshCommand(ctx context.Context, args ...string) *exec.Cmd {
	return s.person.SSH(ctx, args...)
}

// reach WHOM says who must answer a connection from the client to the server:
// "server", "gate" or "nobody"; over both families unless one is given. Who is
// left waiting, while systemd holds the listeners, is answered by nobody.
func reach(ts *testscript.TestScript, neg bool, args []string) {
	addresses := args[1:]
	if len(addresses) == 0 {
		addresses = []string{ts.Getenv("SERVER"), ts.Getenv("SERVER6")}
	}
	for _, address := range addresses {
		wait := patience
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

// until COMMAND [ARGUMENT]... runs a command on the machine until it succeeds.
func until(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	for {
		out, err := of(ts).machine.Command(ctx, args[0], args[1:]...).CombinedOutput()
		if (err == nil) != neg {
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("still %v after %s: %s", err, longest, out)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
