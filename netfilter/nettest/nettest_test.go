package nettest

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestAClientReachesTheBackendThroughTheGatewayInBothFamilies(t *testing.T) {
	further := []netip.Addr{netip.MustParseAddr("100.64.0.20"), netip.MustParseAddr("fd64::20")}
	extra := []netip.Addr{netip.MustParseAddr("10.30.0.141"), netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("fd30::141")}
	l := For(t, Options{ClientAddrs: further, BackendAddrs: extra})
	b, err := l.Backend.Greet(":22", "hello\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range append([]netip.Addr{BackendIP4, BackendIP6}, extra...) {
		for _, from := range append([]netip.Addr{ClientIP4, ClientIP6}, further...) {
			if from.Is4() != to.Is4() {
				continue
			}
			conn, err := l.Client.DialFrom(soon(t), from, netip.AddrPortFrom(to, 22).String())
			if err != nil {
				t.Errorf("%s to %s: %v", from, to, err)
				continue
			}
			if text, _ := io.ReadAll(conn); string(text) != "hello\n" {
				t.Errorf("%s to %s: greeted with %q", from, to, text)
			}
			conn.Close()
		}
	}
	if b.Accepted() == 0 {
		t.Error("the banner server counted nobody")
	}
}

func TestAnUnpluggedClientIsAloneAndComesBack(t *testing.T) {
	l := For(t, Options{})
	if _, err := l.Backend.Greet(":22", "hello\n"); err != nil {
		t.Fatal(err)
	}
	if err := l.Unplug(); err != nil {
		t.Fatal(err)
	}
	if conn, err := l.Client.Dial(soon(t), "10.30.0.140:22"); err == nil {
		conn.Close()
		t.Error("connected without a cable")
	}
	if err := l.Plug(); err != nil {
		t.Fatal(err)
	}
	conn, err := l.Client.Dial(soon(t), "10.30.0.140:22")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestSSHDLetsItsOwnUsersInByPasswordAndKeyAndLeavesTheHostAlone(t *testing.T) {
	Need(t, "ssh", "sshd", "ssh-keygen", "sshpass", "unshare")
	passwd, _ := os.ReadFile("/etc/passwd")
	l := For(t, Options{})
	key := filepath.Join(l.Dir, "id")
	public, err := NewKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, pam := range []bool{false, true} {
		port := uint16(22)
		method := "password"
		if pam {
			port, method = 2222, "keyboard-interactive"
		}
		s, err := l.StartSSHD(SSHDOptions{
			PAM:    pam,
			Listen: []netip.AddrPort{netip.AddrPortFrom(BackendIP4, port), netip.AddrPortFrom(BackendIP6, port)},
			Users: []User{
				{Name: "p.mojski", Password: "one"}, {Name: "ideo", Password: "two", Shell: "/bin/sh"},
				{Name: "root", Password: "three", AuthorizedKeys: []string{public}},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		known := filepath.Join(l.Dir, "known_hosts")
		if err := os.WriteFile(known, []byte(s.KnownHosts(BackendIP4, port)+s.KnownHosts(BackendIP6, port)), 0o600); err != nil {
			t.Fatal(err)
		}
		ssh := []string{"ssh", "-F", "none", "-o", "UserKnownHostsFile=" + known, "-p", fmt.Sprint(port)}
		for user, password := range map[string]string{"p.mojski": "one", "ideo": "two", "root": "three"} {
			args := append([]string{"-p", password}, ssh...)
			out, err := l.Client.Run(soon(t), "sshpass", append(args, "-o", "PreferredAuthentications="+method, user+"@10.30.0.140", "whoami; pwd")...)
			if want := user + "\n/home/" + user + "\n"; err != nil || !strings.HasSuffix(out, want) {
				t.Errorf("%s by %s: %q, want %q: %v", user, method, out, want, err)
			}
		}
		if out, err := l.Client.Run(soon(t), "sshpass", append(append([]string{"-p", "wrong"}, ssh...), "-o", "PreferredAuthentications="+method, "ideo@10.30.0.140", "true")...); err == nil {
			t.Errorf("a wrong password was taken: %s", out)
		}
		out, err := l.Client.Run(soon(t), "ssh", append(ssh[1:], "-i", key, "-o", "BatchMode=yes", "root@fd30::140", "touch here; echo $SSH_CONNECTION")...)
		if err != nil || !strings.HasPrefix(out, "fd50::2 ") {
			t.Errorf("by key over IPv6: %q: %v", out, err)
		}
		if _, err := os.Stat(filepath.Join(s.Home("root"), "here")); err != nil {
			t.Error(err)
		}
	}
	if now, _ := os.ReadFile("/etc/passwd"); string(now) != string(passwd) {
		t.Error("/etc/passwd of this machine was changed")
	}
}

func TestNothingIsLeftWhenALabIsClosed(t *testing.T) {
	Need(t, "ip", "sleep")
	l, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Gateway.Start("sh", "-c", "setsid sleep 1000 & echo up; wait")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Await(soon(t), "up"); err != nil {
		t.Fatal(err)
	}
	l.Close()
	for _, n := range []*Namespace{l.Client, l.Gateway, l.Backend} {
		if _, err := os.Stat("/run/netns/" + n.Name); err == nil {
			t.Errorf("%s is still there", n.Name)
		}
	}
	if _, err := os.Stat(l.Dir); err == nil {
		t.Errorf("%s is still there", l.Dir)
	}
}
