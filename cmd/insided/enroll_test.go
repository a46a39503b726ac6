package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/netfilter/nettest"
)

func (h *house) authorizedKeys(login string) string {
	h.t.Helper()
	return read(h.t, filepath.Join(h.sshd.Home(login), ".ssh", "authorized_keys"))
}

func TestOneLoginByPasswordEnrolsAndThenAPlainKeyIsEnough(t *testing.T) {
	for _, source := range []string{"gateway", "client"} {
		t.Run("source "+source, func(t *testing.T) {
			h := newHouse(t, settings{source: source})
			h.know()
			h.grant()
			mine, minePub := h.keyFile("id_mine")
			h.insideInput(minePub, "person", "key", "add", "p.mojski")
			// The last line of a file need not end.
			file := filepath.Join(h.sshd.Home("ideo"), ".ssh", "authorized_keys")
			if err := os.WriteFile(file, []byte("# mine, without an end"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file, 0o640); err != nil {
				t.Fatal(err)
			}
			server := at("ideo", nettest.BackendIP4)

			if r := h.ssh(server, "true"); r.exit != 0 || !r.asked {
				t.Fatalf("exit %d, asked %v\n%s", r.exit, r.asked, r.stderr)
			}
			if keys := h.authorizedKeys("ideo"); strings.Contains(keys, "inside:") {
				t.Fatalf("a key was added although no admin allowed it:\n%s", keys)
			}
			h.inside("credential", "enroll", "test-ssh-server", "on")
			for range 2 {
				// A command that ends at once leaves time enough.
				if r := h.ssh(server, "true"); r.exit != 0 || strings.Contains(r.stderr, "Inside") {
					t.Fatalf("exit %d\n%s%s", r.exit, r.stdout, r.stderr)
				}
			}
			h.until("the account is enrolled", func() bool { return strings.Contains(h.inside("credential", "enrolled"), " enrolled ") })
			from := nettest.GatewayServer4.String()
			if source == "client" {
				from = nettest.ClientIP4.String()
			}
			keys := h.authorizedKeys("ideo")
			if !strings.HasPrefix(keys, "# mine, without an end\nfrom=\""+from) || strings.Count(keys, " inside:p.mojski\n") != 1 {
				t.Fatalf("authorized_keys:\n%s", keys)
			}
			if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o640 || st.Sys().(*syscall.Stat_t).Uid == 0 {
				t.Errorf("authorized_keys changed its mode or owner: %+v %v", st, err)
			}
			if left, _ := os.ReadDir(filepath.Dir(file)); len(left) != 1 {
				t.Errorf("something was left behind: %v", left)
			}

			// Said once, in the first terminal.
			c := h.sshCommand(context.Background(), "-i", mine, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-tt", server)
			if code := answerWhen(t, c, "the gate has added a key of its own", "exit 4\n"); code != 4 {
				t.Fatalf("exit %d\n%s", code, h.daemon.Output())
			}
			if r := h.withKey(mine, server, "id -un"); r.exit != 0 || r.stdout != "ideo\n" || strings.Contains(r.stderr, "Inside") {
				t.Fatalf("exit %d\n%s%s", r.exit, r.stdout, r.stderr)
			}

			out := h.inside("credential", "unenroll", "p.mojski", "test-ssh-server")
			if !strings.Contains(out, "the line was taken out") {
				t.Errorf("unenroll: %s", out)
			}
			if keys := h.authorizedKeys("ideo"); keys != "# mine, without an end\n" {
				t.Errorf("authorized_keys after unenroll:\n%s", keys)
			}
			if left, _ := os.ReadDir(filepath.Dir(file)); len(left) != 1 {
				t.Errorf("something was left behind: %v", left)
			}
			if r := h.withKey(mine, server, "id -un"); r.exit != 255 {
				t.Errorf("after unenroll: exit %d\n%s%s", r.exit, r.stdout, r.stderr)
			}
			// It stays out until an admin forgets that it was.
			for _, enrolled := range []int{0, 1} {
				if r := h.ssh(server, "true"); r.exit != 0 {
					t.Fatalf("exit %d\n%s", r.exit, r.stderr)
				}
				h.live(0)
				if keys := h.authorizedKeys("ideo"); strings.Count(keys, "inside:") != enrolled {
					t.Errorf("authorized_keys, want %d:\n%s", enrolled, keys)
				}
				h.inside("credential", "unenroll", "p.mojski", "test-ssh-server", "--forget")
			}
		})
	}
}

// answerWhen runs a command and types something once it has shown a text.
func answerWhen(t testing.TB, cmd *exec.Cmd, text, typed string) (exit int) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer stop.Stop()
	var seen []byte
	for !strings.Contains(string(seen), text) {
		piece := make([]byte, 4096)
		n, err := out.Read(piece)
		seen = append(seen, piece[:n]...)
		if err != nil {
			t.Errorf("it never says %q:\n%s", text, seen)
			break
		}
	}
	io.WriteString(in, typed)
	io.Copy(io.Discard, out)
	cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

func TestOneLoginByAgentMakesThatKeyEnough(t *testing.T) {
	h := newHouse(t, settings{sshd: nettest.SSHDOptions{Users: []nettest.User{{Name: "ideo", Password: password, Shell: "/bin/dash"}}}})
	h.know()
	h.grant()
	agent := h.agent("ideo")
	h.inside("credential", "enroll", "test-ssh-server", "on")
	server := at("ideo", nettest.BackendIP4)
	if r := h.sshWithAgent(agent, "-A", server, "true"); r.exit != 0 {
		t.Fatalf("exit %d\n%s", r.exit, r.stderr)
	}
	h.until("the account is enrolled", func() bool { return strings.Contains(h.inside("credential", "enrolled"), " enrolled ") })
	mine := filepath.Join(h.dir, "id_person")
	if r := h.withKey(mine, server, "id -un"); r.exit != 0 || r.stdout != "ideo\n" {
		t.Fatalf("exit %d\n%s%s\n%s", r.exit, r.stdout, r.stderr, h.daemon.Output())
	}
	keys := insideJSON[[]api.PersonKey](h, "person", "key", "list")
	if len(keys) != 1 || keys[0].Server != "test-ssh-server" || keys[0].Login != "ideo" || keys[0].Address != "10.30.0.140:22" {
		t.Errorf("the key is known elsewhere, too: %+v", keys)
	}
	// What the gate did is in the session's event log.
	events := ""
	h.live(0)
	filepath.WalkDir(filepath.Join(h.dir, "state", "recordings"), func(path string, d os.DirEntry, err error) error {
		if d.Name() == "events.jsonl" {
			events += read(t, path)
		}
		return nil
	})
	if strings.Count(events, `"kind":"errand"`) != 2 || !strings.Contains(events, "run by the gate itself") {
		t.Errorf("the events say nothing of the gate's own doing:\n%s", events)
	}
	// A server that has forgotten the key: the person is told, and goes on.
	h.authorize("ideo", "# empty")
	r := h.withKey(mine, server, "id -un")
	if r.exit != 255 || !strings.Contains(r.stderr, "the server does not take credential 1") {
		t.Errorf("exit %d\n%s%s", r.exit, r.stdout, r.stderr)
	}
	if out := h.inside("credential", "enrolled"); !strings.Contains(out, " refused ") {
		t.Errorf("enrolled:\n%s", out)
	}
}

func TestAnAccountThatCannotBeEnrolledIsLeftAlone(t *testing.T) {
	h := newHouse(t, settings{sshd: nettest.SSHDOptions{
		Users:  accounts("ideo", "root", "admin"),
		Config: []string{"Match User ideo", "MaxSessions 1", "Match all"},
	}})
	h.know()
	h.grant()
	_, minePub := h.keyFile("id_mine")
	h.insideInput(minePub, "person", "key", "add", "p.mojski")
	h.inside("credential", "enroll", "test-ssh-server", "on")

	// The one session of a connection is the person's.
	person := h.sshCommand(t.Context(), at("ideo", nettest.BackendIP4), "echo in; read answer; exit $answer")
	in, err := person.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	person.Stdout = &out
	if err := person.Start(); err != nil {
		t.Fatal(err)
	}
	// Somebody's own arrangement stays as it is.
	ssh := filepath.Join(h.sshd.Home("root"), ".ssh")
	if err := os.Rename(filepath.Join(ssh, "authorized_keys"), filepath.Join(ssh, "managed")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("managed", filepath.Join(ssh, "authorized_keys")); err != nil {
		t.Fatal(err)
	}
	if r := h.ssh(at("root", nettest.BackendIP4), "true"); r.exit != 0 {
		t.Fatalf("exit %d\n%s", r.exit, r.stderr)
	}
	details := map[string]string{}
	h.until("both were tried", func() bool {
		for _, e := range insideJSON[[]api.Enrolment](h, "credential", "enrolled") {
			if e.State == "failed" {
				details[e.Login] = e.Detail
			}
		}
		return len(details) == 2
	})
	io.WriteString(in, "5\n")
	person.Wait()
	if code := person.ProcessState.ExitCode(); code != 5 || out.String() != "in\n" {
		t.Errorf("exit %d: %q", code, out.String())
	}
	if !strings.Contains(details["ideo"], "open a session") || !strings.Contains(details["root"], "symbolic link") {
		t.Errorf("why: %q", details)
	}
	for _, login := range []string{"ideo", "root"} {
		if keys := h.authorizedKeys(login); strings.Contains(keys, "inside:") {
			t.Errorf("authorized_keys of %s:\n%s", login, keys)
		}
	}
	tries := len(h.audit("credential.enroll"))
	for _, login := range []string{"ideo", "root"} {
		if r := h.ssh(at(login, nettest.BackendIP4), "true"); r.exit != 0 || strings.Contains(r.stderr, "Inside") {
			t.Errorf("exit %d\n%s", r.exit, r.stderr)
		}
	}
	h.live(0)
	if again := len(h.audit("credential.enroll")); again != tries {
		t.Errorf("it was tried again at once: %d rows, then %d", tries, again)
	}
	if out := h.inside("credential", "unenroll", "p.mojski", "test-ssh-server"); strings.Count(out, "does not take the key") != 2 {
		t.Errorf("unenroll:\n%s", out)
	}
}

func TestAServerThatDoesNotAnswerStaysEnrolled(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	_, minePub := h.keyFile("id_mine")
	h.insideInput(minePub, "person", "key", "add", "p.mojski")
	h.inside("credential", "enroll", "test-ssh-server", "on")
	if r := h.ssh(at("ideo", nettest.BackendIP4), "true"); r.exit != 0 {
		t.Fatalf("exit %d\n%s", r.exit, r.stderr)
	}
	h.until("the account is enrolled", func() bool { return strings.Contains(h.inside("credential", "enrolled"), " enrolled ") })
	h.sshd.Stop()
	out, err := h.tryInside("credential", "unenroll", "p.mojski", "test-ssh-server")
	if err == nil || !strings.Contains(out, " enrolled ") || !strings.Contains(out, "refused") {
		t.Errorf("%v\n%s", err, out)
	}
	if out := h.inside("credential", "unenroll", "p.mojski", "test-ssh-server", "--login", "ideo", "--forget"); !strings.Contains(out, " forgotten ") {
		t.Errorf("forget:\n%s", out)
	}
	if out := h.inside("credential", "remove", "1"); !strings.Contains(out, "own-key") {
		t.Errorf("%s", out)
	}
}
