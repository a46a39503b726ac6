package main

import (
	"bytes"
	"os/exec"
	"testing"

	"github.com/pawelmojski/inside/appliance/api"
)

func TestADraftIsAScriptWhateverStrangersSaid(t *testing.T) {
	var out bytes.Buffer
	c := &cli{out: &out}
	c.printProposals(api.Proposals{
		Networks: []api.Network{{Prefix: "10.40.0.0/16", Mode: "observe"}},
		Notes:    []string{"x\ntouch evil"},
		Commands: []api.Proposal{{
			For: "person", Why: "SSH-2.0-$(touch evil)\ntouch evil",
			Command: []string{"echo", "it's", "$(touch evil)", "`touch evil`", "a\nb", ""},
		}, {
			For: "host-key", Why: "two", Command: []string{"cat"}, Input: "ssh-ed25519 AAAA\nssh-rsa $x'",
		}},
	})
	cmd := exec.Command("sh", "-e")
	cmd.Dir, cmd.Stdin = t.TempDir(), &out
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if want := "it's $(touch evil) `touch evil` a\\x0ab \nssh-ed25519 AAAA\nssh-rsa $x'\n"; string(said) != want {
		t.Errorf("the script says %q, want %q", said, want)
	}
	if left, _ := exec.Command("ls", cmd.Dir).Output(); len(left) > 0 {
		t.Errorf("the script made %s", left)
	}
}
