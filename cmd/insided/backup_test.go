package main

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/netfilter/nettest"
	"github.com/pawelmojski/inside/store/storetest"
)

// restore runs the daemon's other mode, with the configuration as it is.
func (h *house) restore(file string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return h.Gateway.Run(ctx, filepath.Join(binaries, "insided"), append([]string{"--config", h.config, "--restore", file}, args...)...)
}

// refuses is a restore that must not be done, and leave nothing.
func (h *house) refuses(file, why string) {
	h.t.Helper()
	_, before := os.Stat(h.state)
	out, err := h.restore(file)
	if err == nil || !strings.HasPrefix(out, "insided: error: ") || !strings.Contains(out, why) {
		h.t.Errorf("%v %s, want %q", err, out, why)
	}
	if _, err := os.Stat(h.state); (err == nil) != (before == nil) {
		h.t.Errorf("it left the state otherwise: %v, and %v before", err, before)
	}
}

// A gate moves from SQLite to PostgreSQL and back by its backups, and is the
// same each time: to people, who see the same host keys, and to its admins.
func TestABackupOfOneDatabaseIsRestoredIntoTheOther(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	works := func(with string) {
		t.Helper()
		if got := h.ssh(at("root", nettest.BackendIP4), "echo with "+with); got.exit != 0 || got.stdout != "with "+with+"\n" {
			t.Fatalf("with %s: %+v", with, got)
		}
	}
	works("what it began with")
	grants := h.inside("grant", "list", "--json")
	full := ""
	for _, to := range []struct{ name, url string }{{"PostgreSQL", storetest.PostgreSQL(t)}, {"SQLite", ""}} {
		file := filepath.Join(h.dir, to.name+".tar.gz")
		h.inside("backup", file, "--recordings", "--config", h.config)
		h.refuses(file, "the gate runs: systemctl stop inside")
		h.stop()
		h.refuses(file, "mv "+h.state+" "+h.state+".before")
		if err := os.Rename(h.state, h.state+".before-"+to.name); err != nil {
			t.Fatal(err)
		}
		h.writeConfig(settings{gate: "gate-2"})
		h.refuses(file, `write [gate] name = "gate-1"`)
		if full != "" {
			h.writeConfig(settings{store: full})
			h.refuses(file, "name an empty one in [store] url")
		}
		h.writeConfig(settings{store: to.url})
		h.damaged(file)
		if out, err := h.restore(file); err != nil || !strings.Contains(out, "was changed by somebody and stays as it is") {
			t.Fatalf("%v %s", err, out)
		}
		full = to.url
		h.start()
		if got := h.inside("grant", "list", "--json"); got != grants {
			t.Errorf("in %s the grants are\n%s\nand were\n%s", to.name, got, grants)
		}
		h.inside("audit", "verify", "--recordings")
		works(to.name)
	}
}

// damaged has a byte changed in many places of the file: none of it is
// restored.
func (h *house) damaged(file string) {
	h.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		h.t.Fatal(err)
	}
	bad := file + ".damaged"
	for i := range 5 {
		at := len(text) * (2*i + 1) / 10
		text[at] ^= 0x55
		h.write(bad, string(text))
		h.refuses(bad, "damaged")
		text[at] ^= 0x55
	}
}

// Where somebody has changed the audit trail, the backup tells; what else is in
// it can be had all the same.
func TestABrokenRecordIsRestoredOnlyWhenItIsAccepted(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.stop()
	tampered, err := sql.Open("sqlite", filepath.Join(h.state, "inside.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{"DROP TRIGGER audit_keeps_update", "UPDATE audit SET actor = 'nobody' WHERE action = 'person.add'"} {
		if _, err := tampered.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := tampered.Close(); err != nil {
		t.Fatal(err)
	}
	h.start()
	file := filepath.Join(h.dir, "backup.tar.gz")
	h.inside("backup", file, "--config", h.config)
	h.stop()
	if err := os.Rename(h.state, h.state+".before"); err != nil {
		t.Fatal(err)
	}
	h.refuses(file, "--accept-broken-record")
	if out, err := h.restore(file, "--accept-broken-record"); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	h.start()
	if out := h.inside("audit", "list"); !strings.Contains(out, "backup.restore") {
		t.Errorf("that it was restored is not written down:\n%s", out)
	}
	if out, err := h.tryInside("audit", "verify"); err == nil {
		t.Errorf("the record is taken for good: %s", out)
	}
}
