package policytest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoadNamesTheLineOfAMistake(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"persn anna", `"persn anna" is no line of a decision table`},
		{"server shop", `"server shop" is no line of a decision table`},
		{"address 10.0.0.1 home", "an address comes after its person"},
		{`section "open`, "a quote is not closed"},
		{"server shop 10.0.0.1 telnet=23", `unknown option "telnet=23"`},
		{"server shop 10.0.0.1 ssh=99999", `unknown option "ssh=99999"`},
		{"grant 1 anna shop until=2026-03-02T09:00:00Z", `unknown option "until=2026-03-02T09:00:00Z"`},
		{"grant 1 anna shop end=tomorrow", "tomorrow"},
		{`grant 1 anna shop schedule="Mon 09:00-17:00"`, "time zone is missing"},
		{"row anna 10.0.0.1 ssh - 10.0.0.2 shop allowed by 1", `"allowed by 1" is no result`},
		{"row anna 10.0.0.1 ssh - 10.0.0.2 shop denied login by 1 until 2026-03-02T09:00:00Z", "is no result"},
		{"row anna nowhere ssh - 10.0.0.2 shop granted by 1", "nowhere"},
	} {
		path := filepath.Join(t.TempDir(), "decisions.txt")
		if err := os.WriteFile(path, []byte("# a comment\n\n"+c.line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := Load(path)
		if err == nil || !strings.HasPrefix(err.Error(), path+":3: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want line 3 and %s", c.line, err, c.want)
		}
	}
}
