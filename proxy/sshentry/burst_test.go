package sshentry

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

// paramiko as a client that says what it must not, three times.
const hostile = `
import sys, time, paramiko
from paramiko.message import Message
host, port, user, secret, what = sys.argv[1:6]
def burst(t, numbers):
    for n in numbers:
        m = Message(); m.add_byte(bytes([n])); m.add_bytes(bytes(20))
        t._send_user_message(m)
def request(t, service):
    m = Message(); m.add_byte(bytes([5])); m.add_string(service)
    t._send_user_message(m)
paramiko.util.log_to_file("/dev/null")
def attack():
    t = paramiko.Transport((host, int(port)))
    t.start_client(timeout=20)
    try:
        if what == "service":        # a wrong service, and a burst behind it
            request(t, "nonsense"); burst(t, [50] * 200)
        elif what == "first":        # no service request at all
            burst(t, [50] * 200)
        elif what == "auth":         # the login fails in the library, then a burst
            request(t, "ssh-userauth"); burst(t, [50] * 200)
        elif what == "channels":     # channels before the login
            request(t, "ssh-userauth"); burst(t, [90, 80, 98] * 60)
        elif what == "every":        # every message there is, before the login
            request(t, "ssh-userauth"); burst(t, range(1, 256))
        elif what == "after":        # and after it
            t.auth_password(user, secret, fallback=False)
            t.open_session()
            for n in range(1, 256):
                if n not in (1, 20, 21):
                    burst(t, [n])
            t.global_request("all@of.it", wait=True) # answered when all of it was read
        elif what == "unsolicited":  # answers nobody asked for (CVE-2026-39830)
            t.auth_password(user, secret, fallback=False)
            c = t.open_session()
            burst(t, [81, 82] * 5000)
            for n in [99, 100] * 5000:
                m = Message(); m.add_byte(bytes([n])); m.add_int(c.remote_chanid)
                t._send_user_message(m)
            c.exec_command("echo alive"); print(c.makefile("rb").read().decode(), end="")
    except (paramiko.SSHException, EOFError, OSError) as e:
        pass
    deadline = time.time() + 5
    while t.is_active() and what not in ("after", "unsolicited") and time.time() < deadline:
        time.sleep(0.02)
    t.close()
for _ in range(3):
    attack()
`

func TestABurstLeavesNothing(t *testing.T) {
	g := newGate(t, 22)
	python := "/usr/bin/python3"
	if _, err := os.Stat(python); err != nil {
		nettest.Need(t, "python3-paramiko")
	}
	g.ssh(byPassword, g.host("ideo"), "true")
	g.result()
	goroutines, fds := runtime.NumGoroutine(), openFiles(t)
	for _, what := range []string{"service", "first", "auth", "channels", "every", "after", "unsolicited"} {
		o := g.runOther(python, "-c", hostile, g.addr.Addr().String(), fmt.Sprint(g.addr.Port()), "ideo", "sesame", what)
		if o.code != 0 || what == "unsolicited" && o.stdout != "alive\nalive\nalive\n" {
			t.Errorf("%s: %v", what, o)
		}
		for range 3 {
			t.Logf("%s: %v", what, g.result())
		}
		awaitNoMore(t, goroutines, fds)
	}
	for i, h := range g.all() {
		if i > 15 && len(h.admitted) != 1 || i > 0 && i <= 15 && len(h.admitted) != 0 {
			t.Errorf("visit %d admitted %q", i, h.admitted)
		}
	}
}
