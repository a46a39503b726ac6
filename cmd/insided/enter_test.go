package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

func TestPlainSSHGoesThroughTheGateway(t *testing.T) {
	for _, source := range []string{"gateway", "client"} {
		t.Run("source "+source, func(t *testing.T) {
			h := newHouse(t, settings{source: source})
			h.know()
			h.grant()
			h.inside("grant", "p.mojski", "--server", "test-ssh-server-6", "--duration", "1h")
			seen := map[string][]string{
				nettest.BackendIP4.String(): {nettest.GatewayServer4.String(), nettest.ClientIP4.String()},
				nettest.BackendIP6.String(): {nettest.GatewayServer6.String(), nettest.ClientIP6.String()},
			}
			for server, from := range seen {
				r := h.ssh("ideo@"+server, "echo $SSH_CONNECTION; exit 7")
				if r.exit != 7 || !r.asked {
					t.Fatalf("ssh ideo@%s: exit %d, asked %v\n%s%s\n%s", server, r.exit, r.asked, r.stdout, r.stderr, h.daemon.Output())
				}
				want := from[0]
				if source == "client" {
					want = from[1]
				}
				if got := strings.Fields(r.stdout)[0]; got != want {
					t.Errorf("the server at %s sees the connection from %s, want %s", server, got, want)
				}
			}
			h.live(0)
			for _, e := range h.entries(2) {
				if !e.Allowed || e.Person != "p.mojski" || e.Login != "ideo" {
					t.Errorf("entry %+v, want allowed for p.mojski as ideo", e)
				}
			}
		})
	}
}

// agent starts a real agent on the client, holding a new key that the server
// accepts for these logins, and returns its socket.
func (h *house) agent(logins ...string) string {
	h.t.Helper()
	key := filepath.Join(h.dir, "id_person")
	public, err := nettest.NewKey(key)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, login := range logins {
		h.write(filepath.Join(h.sshd.Home(login), ".ssh", "authorized_keys"), public+"\n")
	}
	socket := filepath.Join(h.dir, "agent")
	if _, err := h.Client.Start("ssh-agent", "-D", "-a", socket); err != nil {
		h.t.Fatal(err)
	}
	h.until("the agent listens", func() bool { _, err := os.Stat(socket); return err == nil })
	cmd := h.clientCommand(context.Background(), "ssh-add", "-q", key)
	cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+socket)
	if r := h.finish(cmd); r.exit != 0 {
		h.t.Fatalf("ssh-add: %s", r.stderr)
	}
	return socket
}

func (h *house) sshWithAgent(socket string, args ...string) result {
	h.t.Helper()
	cmd := h.sshCommand(context.Background(), args...)
	cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+socket, "LAB_PASSWORD=")
	return h.finish(cmd)
}

func TestAForwardedAgentLogsInWithoutAPassword(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	agent := h.agent("ideo")
	server := at("ideo", nettest.BackendIP4)
	if r := h.sshWithAgent(agent, "-A", server, "id -un"); r.exit != 0 || r.stdout != "ideo\n" || r.asked {
		t.Errorf("ssh -A: exit %d, asked %v\n%s%s", r.exit, r.asked, r.stdout, r.stderr)
	}
	r := h.sshWithAgent(agent, server, "id -un")
	if r.exit != 255 || r.asked {
		t.Errorf("a key without an agent: exit %d, asked %v, want 255 and no question", r.exit, r.asked)
	}
	for _, command := range []string{"ssh -A " + server, "ssh -o PubkeyAuthentication=no " + server} {
		if !strings.Contains(r.stderr, command) {
			t.Errorf("the person is not told %q:\n%s", command, r.stderr)
		}
	}
}

func TestTheClientSeesOneStableKeyAcrossRestarts(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	server := at("ideo", nettest.BackendIP4)
	if r := h.ssh(server, "true"); r.exit != 0 {
		t.Fatalf("exit %d: %s", r.exit, r.stderr)
	}
	for range 3 {
		h.stop()
		h.start()
		if r := h.ssh("-o", "StrictHostKeyChecking=yes", server, "true"); r.exit != 0 {
			t.Fatalf("after a restart: exit %d: %s", r.exit, r.stderr)
		}
	}
}

func TestAServerThatChangesItsHostKeyIsRefused(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	server := at("ideo", nettest.BackendIP4)
	if r := h.ssh(server, "true"); r.exit != 0 {
		t.Fatalf("exit %d: %s", r.exit, r.stderr)
	}
	h.sshd.Stop()
	sshd, err := h.StartSSHD(nettest.SSHDOptions{Users: accounts("ideo")})
	if err != nil {
		t.Fatal(err)
	}
	h.sshd = sshd
	r := h.ssh(server, "true")
	if r.exit != 255 || r.asked || !strings.Contains(r.stderr, "host key") {
		t.Errorf("exit %d, asked %v, stderr %q: want a refusal that names the host key and no prompt", r.exit, r.asked, r.stderr)
	}
	if e := h.entries(2)[0]; e.Denial != "host-key-changed" {
		t.Errorf("entry %+v, want host-key-changed", e)
	}
	h.inside("server", "host-key", "forget", "test-ssh-server")
	if r := h.ssh(server, "true"); r.exit != 0 {
		t.Errorf("after the key was forgotten: exit %d: %s", r.exit, r.stderr)
	}
}

func TestADeadServerIsARefusedConnectionAndNotAHang(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	h.sshd.Stop()
	r := h.ssh(at("ideo", nettest.BackendIP4), "true")
	if r.exit != 255 || r.asked || !strings.Contains(r.stderr, "reset") && !strings.Contains(r.stderr, "refused") {
		t.Errorf("exit %d, asked %v, stderr %q: want a reset or refused connection", r.exit, r.asked, r.stderr)
	}
	if e := h.entries(1)[0]; e.Denial != "server-unreachable" {
		t.Errorf("entry %+v, want server-unreachable", e)
	}
}

func TestAStayGoesOnBetweenConnections(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	grant := h.grant("--until", "2999-12-31") // as people write for ever
	for range 3 {
		if r := h.ssh(at("ideo", nettest.BackendIP4), "true"); r.exit != 0 {
			t.Fatalf("exit %d: %s", r.exit, r.stderr)
		}
	}
	h.live(0)
	stays, err := h.api().Stays(context.Background(), allStays)
	if err != nil {
		t.Fatal(err)
	}
	if len(stays) != 1 || !stays[0].End.IsZero() || stays[0].Present {
		t.Fatalf("stays %+v, want one, open, nobody present", stays)
	}
	sessions, err := h.api().Sessions(context.Background(), everySession)
	if err != nil {
		t.Fatal(err)
	}
	if len(sessions) != 3 {
		t.Fatalf("%d sessions, want 3", len(sessions))
	}
	for _, s := range sessions {
		if s = h.ended(s.ID); s.Stay != stays[0].ID || s.Cause != "client-left" && s.Cause != "server-left" {
			t.Errorf("session %+v, want it in stay %s and left by a side", s, stays[0].ID)
		}
	}
	// Nor does it end with the daemon; its grant ends it, though nobody is there.
	h.stop()
	h.start()
	h.inside("grant", "revoke", grant)
	h.until("the stay has ended", func() bool {
		after, err := h.api().Stays(context.Background(), allStays)
		return err == nil && len(after) == 1 && after[0].ID == stays[0].ID && after[0].Cause == "grant-revoked"
	})
}

// A server that has learned nothing since OpenSSH 6.2 takes no key exchange and
// no MAC that the gate offers to clients.
func TestAnOldServerIsReached(t *testing.T) {
	h := newHouse(t, settings{sshd: nettest.SSHDOptions{Config: []string{
		"KexAlgorithms diffie-hellman-group-exchange-sha256", "Ciphers aes256-ctr", "MACs hmac-sha2-256",
	}}})
	h.know()
	h.grant()
	if r := h.ssh(at("ideo", nettest.BackendIP4), "id -un"); r.exit != 0 || r.stdout != "ideo\n" {
		t.Errorf("exit %d\n%s%s", r.exit, r.stdout, r.stderr)
	}
}

func TestWithTheServersOwnKeyImportedNoClientNoticesAnything(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	h.write(filepath.Join(h.dir, "known_hosts"), h.sshd.KnownHosts(nettest.BackendIP4, 22))
	server := at("ideo", nettest.BackendIP4)
	if r := h.ssh("-o", "StrictHostKeyChecking=yes", server, "true"); r.exit != 255 {
		t.Errorf("before the import a client that knows the server must notice: exit %d", r.exit)
	}
	h.inside("server", "host-key", "import", "test-ssh-server", filepath.Join(h.sshd.Home("ideo"), "..", "..", "host_key"))
	if r := h.ssh("-o", "StrictHostKeyChecking=yes", server, "true"); r.exit != 0 {
		t.Errorf("after the import: exit %d: %s", r.exit, r.stderr)
	}
	h.stop()
	h.start()
	if r := h.ssh("-o", "StrictHostKeyChecking=yes", server, "true"); r.exit != 0 {
		t.Errorf("after a restart: exit %d: %s", r.exit, r.stderr)
	}
}
