package stories

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pawelmojski/inside/netfilter/nettest"
	"github.com/pawelmojski/inside/vmtests/lab"
)

func init() {
	commands["tailnet"] = tailnet
	commands["laptop"] = onLaptop
	commands["goes"] = goes
	commands["server"] = onServer
}

// A tailnetwork is the person's end of a tailnet, and who says who is who.
type tailnetwork struct {
	programs string
	socket   string // of the laptop's tailscaled
	control  string // URL
}

// tailnet has the router and the person's laptop run tailscaled, with a tailnet
// of their own that neither is in yet; $CONTROL is its URL.
// tailnet login HOST as LOGIN, tailnet routes HOST to NETWORK,… and tailnet tag
// HOST as TAG are what its admin does.
func tailnet(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	if len(args) == 0 {
		ts.Check(s.joinTailnet())
		ts.Setenv("CONTROL", s.tailnet.control)
		return
	}
	if len(args) != 4 {
		ts.Fatalf("usage: tailnet [login|tag HOST as WHAT] [routes HOST to NETWORK,...]")
	}
	resp, err := s.post(s.tailnet.control + "/lab/" + args[0] + "/" + args[1] + "?" + url.Values{args[2]: {args[3]}}.Encode())
	ts.Check(err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		ts.Fatalf("the tailnet says %s", resp.Status)
	}
}

func (s *story) post(where string) (*http.Response, error) {
	dial := func(ctx context.Context, _, address string) (net.Conn, error) { return s.lab.Client.Dial(ctx, address) }
	client := http.Client{Timeout: longest, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	return client.Post(where, "", nil)
}

func (s *story) joinTailnet() error {
	n := &tailnetwork{
		programs: lab.Tailscale(s.t, "../tailscale"), socket: filepath.Join(s.lab.Dir, "laptop.sock"),
		control: "http://" + nettest.ClientIP4.String() + ":8081",
	}
	s.tailnet = n
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	control, err := s.lab.Client.Start(filepath.Join(n.programs, "tsctl"), nettest.ClientIP4.String())
	if err != nil {
		return err
	}
	if err := control.Await(ctx, "ready"); err != nil {
		return err
	}
	for inside, name := range map[string]string{"/usr/sbin/tailscaled": "tailscaled", "/lib/systemd/system/tailscaled.service": "tailscaled.service", "/etc/default/tailscaled": "tailscaled.defaults"} {
		text, err := os.ReadFile(filepath.Join(n.programs, name))
		if err == nil {
			err = s.machine.Write(inside, string(text))
		}
		if err != nil {
			return err
		}
	}
	const start = `chmod 755 /usr/sbin/tailscaled && ln -s ../sbin/tailscaled /usr/bin/tailscale && systemctl enable --now tailscaled`
	if out, err := s.machine.Command(ctx, "sh", "-c", start).CombinedOutput(); err != nil {
		return fmt.Errorf("tailscaled on the router: %w\n%s", err, out)
	}
	// Its own /etc/resolv.conf: this machine's is not for it to write.
	resolv := filepath.Join(s.lab.Dir, "resolv.conf")
	if err := os.WriteFile(resolv, nil, 0o644); err != nil {
		return err
	}
	laptop, err := s.lab.Client.Start("unshare", "--mount", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, resolv,
		filepath.Join(n.programs, "tailscaled"), "--state=mem:", "--statedir="+s.lab.Dir, "--socket="+n.socket, "--port=41642", "--no-logs-no-support")
	if err != nil {
		return err
	}
	for {
		if _, err := os.Stat(n.socket); err == nil {
			return nil
		}
		select {
		case <-laptop.Done():
			return fmt.Errorf("the laptop's tailscaled has ended: %w\n%s", laptop.Wait(), laptop.Output())
		case <-ctx.Done():
			return fmt.Errorf("the laptop's tailscaled does not start\n%s", laptop.Output())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// server COMMAND [ARGUMENT]... runs a command at the server.
func onServer(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	run(ts, neg, of(ts).lab.Backend.Command(ctx, args[0], args[1:]...))
}

// laptop ARGUMENT... is the command tailscale at the person's end. laptop until
// ARGUMENT... waits until it succeeds: the laptop learns what others offer.
func onLaptop(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	n := of(ts).tailnet
	tailscale := func(args []string) *exec.Cmd {
		return of(ts).lab.Client.Command(ctx, filepath.Join(n.programs, "tailscale"), append([]string{"--socket=" + n.socket}, args...)...)
	}
	if args[0] != "until" {
		run(ts, neg, tailscale(args))
		return
	}
	for {
		out, err := tailscale(args[1:]).CombinedOutput()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("still %v: %s", err, out)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// goes ADDRESS by INTERFACE waits until the laptop sends what is for an address
// by an interface.
func goes(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	for {
		out, err := of(ts).lab.Client.Run(ctx, "ip", "route", "get", args[0])
		if err == nil && strings.Contains(out, " dev "+args[2]+" ") {
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("%s does not go by %s: %v\n%s", args[0], args[2], err, out)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
