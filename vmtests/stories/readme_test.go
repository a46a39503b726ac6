package stories

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

func init() {
	commands["readme"] = readme
	commands["john"] = john
}

// usage is what the README says under "Use it": what the admin types on the
// router, and what John then types.
func usage(ts *testscript.TestScript) (admin []string, person string) {
	text, err := os.ReadFile("../../README.md")
	ts.Check(err)
	_, section, _ := strings.Cut(string(text), "\n## Use it\n")
	_, block, _ := strings.Cut(section, "\n```\n")
	block, after, found := strings.Cut(block, "\n```\n")
	john := regexp.MustCompile("types `(ssh [^`]+)`").FindStringSubmatch(after)
	if !found || john == nil {
		ts.Fatalf("README.md does not say under \"Use it\" what to type")
	}
	for line := range strings.Lines(block) {
		if line = strings.TrimSpace(line); line != "" {
			admin = append(admin, line)
		}
	}
	return admin, john[1]
}

// readme ANSWERS does on the machine what the README says, word for word, with
// the package in the folder where it is done. Each answer is typed where setup
// asks, "-" is Enter alone. What the README calls John's address becomes one of
// the client's.
func readme(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	s := of(ts)
	lines, _ := usage(ts)
	s.began = time.Now()
	for _, line := range lines {
		if address := regexp.MustCompile(`^inside person add .*--ip (\S+)`).FindStringSubmatch(line); address != nil {
			ts.Check(moveIn(ctx, s.lab, address[1]))
		}
		typed, _, _ := strings.Cut(line, "#")
		c := s.machine.Command(ctx, "sh", "-c", "cd /mnt && "+typed)
		if strings.TrimSpace(typed) == "inside setup" {
			c = s.machine.Command(ctx, "script", "--quiet", "--return", "--command", typed, "/dev/null")
			c.Stdin = strings.NewReader(strings.ReplaceAll(strings.Join(args, "\n"), "-", "") + "\n")
		}
		out, err := c.CombinedOutput()
		fmt.Fprintf(ts.Stdout(), "# %s\n%s\n", typed, out)
		if err != nil {
			ts.Fatalf("%s: %v\n%s", typed, err, out)
		}
	}
}

// moveIn gives the client an address, by which it then goes to the server.
func moveIn(ctx context.Context, l *nettest.Lab, address string) error {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	script := fmt.Sprintf(`
dev=$(ip -o route get %[1]s | sed 's/.* dev \([^ ]*\).*/\1/')
ip addr add %[2]s/32 dev $dev
ip route replace %[3]s via %[4]s src %[2]s`, nettest.GatewayClient4, a, nettest.BackendNet4, nettest.GatewayClient4)
	if out, err := l.Client.Command(ctx, "sh", "-ec", script).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if out, err := l.Gateway.Command(ctx, "ip", "route", "add", address, "via", nettest.ClientIP4.String()).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// john TEXT is John, who types what the README says, and TEXT when he is there.
func john(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	s := of(ts)
	_, typed := usage(ts)
	c := s.sshCommand(ctx, strings.Fields(typed)[1:]...)
	c.Stdin = strings.NewReader(strings.Join(args, " ") + "\n")
	run(ts, neg, c)
	ts.Logf("from the package to the end of the first session: %s", time.Since(s.began).Round(10*time.Millisecond))
}
