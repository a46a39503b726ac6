package netfilter

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

func TestATableOfOurNameThatIsSomebodyElsesIsLeftAloneAndSaid(t *testing.T) {
	nettest.Need(t, "nft", "ip")
	lab := nettest.For(t, nettest.Options{})
	serveNames(t, lab.Backend, ":22")
	sh(t, lab, `nft 'table inet inside { chain input { type filter hook input priority 0; tcp dport 23 drop; }; chain services { }; }'`)
	before := list(t, lab.Gateway)
	for what, start := range map[string]func() error{
		"a gate": func() error {
			_, err := Open(context.Background(), config(), nil, slog.New(slog.DiscardHandler), func(string) {})
			return err
		},
		"a guard": func() error { return Guard(config()) },
		"cleanup": Cleanup,
	} {
		err := lab.Gateway.Do(start)
		if other := (*Namesake)(nil); what != "cleanup" && (!errors.As(err, &other) || !cmp.Equal(other.Chains, []string{"input", "services"})) || what == "cleanup" && err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if d := cmp.Diff(before, list(t, lab.Gateway)); d != "" {
			t.Errorf("%s: -before +after:\n%s", what, d)
		}
	}
	expect(t, "before the guard", exchange(t, lab.Client, "10.30.0.140:22"), "server: 10.50.0.2")

	// A gate that was in force closes all the same, and takes over when it can.
	if err := lab.Gateway.Do(func() error { return GuardByRouting(config()) }); err != nil {
		t.Fatal(err)
	}
	reached := map[string]bool{server4: false, server6: false}
	if d := cmp.Diff(reached, notStopped(t, lab, reached)); d != "" {
		t.Error(d)
	}
	sh(t, lab, "nft delete table inet inside")
	openGate(t, lab, config())
	expect(t, "a gate", exchange(t, lab.Client, "10.30.0.140:22"), "gate: 10.50.0.2 to 10.30.0.140:22 | server: 10.30.0.1")
}
