package main

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/netfilter/nettest"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/policy/policytest"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// theTable is the section of the decision table that is walked end to end: a
// person with three grants, each limited to one of their addresses.
const theTable = "three grants, each limited to one of the person's addresses"

func TestTheDecisionTableHoldsEndToEnd(t *testing.T) {
	facts, cases, err := policytest.Load("../../policy/testdata/decisions.txt")
	if err != nil {
		t.Fatal(err)
	}
	backends := []netip.Addr{netip.MustParseAddr("10.30.0.150")}
	clients := []netip.Addr{netip.MustParseAddr("100.64.0.20"), netip.MustParseAddr("10.30.14.3"), netip.MustParseAddr("100.64.0.39")}
	h := newHouse(t, settings{lab: nettest.Options{ClientAddrs: clients, BackendAddrs: backends}})
	h.register(facts, clients)
	walked := 0
	for _, c := range cases {
		if c.Section != theTable {
			continue
		}
		walked++
		name := strings.Join([]string{string(c.Flow.Protocol), "from", c.Flow.Client.Addr().String(), "as", or(c.Flow.Login, "anybody"), "to", c.Server}, " ")
		t.Run(name, func(t *testing.T) {
			before := len(h.entries(0))
			got, wantSSH := result{exit: -1}, 255
			if c.Flow.Protocol == policy.SSH {
				got = h.ssh("-b", c.Flow.Client.Addr().String(), c.Flow.Login+"@"+c.Flow.Dest.Addr().String(), "id -un")
			} else {
				h.knock(c.Flow)
			}
			e := h.entries(before + 1)[0]
			if e.Person != c.Person || e.Server != c.Server {
				t.Errorf("the entry names %s on %s, want %s on %s", e.Person, e.Server, c.Person, c.Server)
			}
			want := string(c.Denial)
			if want == "" && c.Flow.Protocol == policy.RDP {
				want = string(policy.NotServed) // granted, but not without TLS, which knock does not ask for
			}
			if e.Denial != want {
				t.Errorf("denial %q, want %q", e.Denial, want)
			}
			if c.Flow.Protocol != policy.SSH {
				return
			}
			if c.Denial == "" {
				if wantSSH = 0; got.stdout != c.Flow.Login+"\n" {
					t.Errorf("the server says %q, want to be %s there", got.stdout, c.Flow.Login)
				}
			} else if got.asked || !strings.Contains(got.stderr, c.Denial.Sentence()) {
				t.Errorf("asked for a password: %v; told %q, want %q and no question", got.asked, got.stderr, c.Denial.Sentence())
			}
			if got.exit != wantSSH {
				t.Errorf("exit %d, want %d\n%s", got.exit, wantSSH, got.stderr)
			}
		})
	}
	if walked < 7 {
		t.Fatalf("only %d rows of the table walked", walked)
	}
}

// register tells the house the facts about one person by the command line.
func (h *house) register(f policy.Facts, addresses []netip.Addr) {
	h.t.Helper()
	args := []string{"person", "add", "p.mojski"}
	for _, a := range addresses {
		args = append(args, "--ip", a.String())
	}
	h.inside(args...)
	for _, s := range f.Servers {
		if s.Name == "test-ssh-server" || s.Name == "windows-rdp-server" {
			h.inside("server", "add", s.Name, "--ip", s.Prefix.Addr().String())
		}
	}
	for _, g := range f.Grants[:3] {
		args := []string{"grant", string(g.Person), "--server", string(g.Server), "--source-ip", g.From.Addr().String(), "--protocol", string(g.Protocols[0]), "--permanent"}
		for _, login := range g.Logins {
			args = append(args, "--ssh-login", login)
		}
		h.inside(args...)
	}
}

// knock begins RDP without TLS and waits for the refusal, which comes after
// the decision was made.
func (h *house) knock(f policy.Flow) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := h.Client.DialFrom(ctx, f.Client.Addr(), netip.AddrPortFrom(f.Dest.Addr(), 3389).String())
	if err != nil {
		h.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	c.Write(wire.ConnectionRequest{}.Frame())
	frame, err := wire.NewReader(c).Next()
	if err != nil {
		h.t.Fatal(err)
	}
	if answer, err := wire.ParseConnectionConfirm(frame.Body); err != nil || answer.Failure != wire.FailSSLRequired {
		h.t.Errorf("answer %+v, %v: want to be told to use TLS", answer, err)
	}
}

func TestAStrangerIsToldWhyAndNotAsked(t *testing.T) {
	h := newHouse(t, settings{})
	r := h.ssh(at("root", nettest.BackendIP4), "true")
	if r.exit != 255 || r.asked || !strings.Contains(r.stderr, nettest.ClientIP4.String()) {
		t.Errorf("exit %d, asked %v, %q: want to read one's own address and no prompt", r.exit, r.asked, r.stderr)
	}
	if e := h.entries(1)[0]; e.Denial != string(policy.UnknownPerson) || e.Client == "" {
		t.Errorf("entry %+v, want unknown-person with the address", e)
	}
}
