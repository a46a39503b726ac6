package nettest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// An XRDP is a running xrdp with its session manager: a real server of RDP,
// which gives whoever logs in a desktop with a terminal on it.
type XRDP struct {
	*Daemon
	dir string
}

// XRDPOptions says what the xrdp of a lab offers.
type XRDPOptions struct {
	Users []User
}

// Home is the place where the files of a user's home are on this machine.
func (x *XRDP) Home(user string) string { return filepath.Join(x.dir, "home", user) }

// StartXRDP starts xrdp on the backend's port 3389 and waits until it
// answers. It sees files of its own at /etc/xrdp, /run, /tmp and /var/log, so
// that several can run beside each other.
func (l *Lab) StartXRDP(o XRDPOptions) (*XRDP, error) {
	dir, err := os.MkdirTemp(l.Dir, "xrdp-")
	if err != nil {
		return nil, err
	}
	x := &XRDP{dir: dir}
	mounts, err := writeAccounts(dir, SSHDOptions{Users: o.Users})
	if err != nil {
		return nil, err
	}
	for _, u := range o.Users {
		script := filepath.Join(x.Home(u.Name), "startwm.sh")
		if err := os.WriteFile(script, []byte(desktopScript), 0o755); err != nil {
			return nil, err
		}
	}
	if err := x.writeConfig(); err != nil {
		return nil, err
	}
	// PAM only asks whether the password is right: there is no systemd in a
	// namespace to keep a login for.
	pam := filepath.Join(dir, "pam")
	if err := os.WriteFile(pam, []byte("auth required pam_unix.so\naccount required pam_permit.so\nsession required pam_permit.so\n"), 0o644); err != nil {
		return nil, err
	}
	etc := filepath.Join(dir, "etc")
	script := "set -e\nmount -t tmpfs none /run\nmkdir " + hidden + "\nmount --bind " + dir + " " + hidden + "\nmount -t tmpfs none /var/log\n" + mounts +
		"mount --bind " + pam + " /etc/pam.d/xrdp-sesman\n" +
		"mount --bind " + etc + "/xrdp.ini /etc/xrdp/xrdp.ini\nmount --bind " + etc + "/sesman.ini /etc/xrdp/sesman.ini\n" +
		"mkdir -p /run/xrdp/sockdir\nchmod 1777 /run/xrdp /run/xrdp/sockdir\n" +
		"mount -t tmpfs none /tmp\nchmod 1777 /tmp\nmkdir -m 1777 /tmp/.X11-unix\n" +
		"xrdp-sesman --nodaemon &\nexec xrdp --nodaemon\n"
	if x.Daemon, err = l.Backend.start("xrdp", nil, []string{"unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return x, x.until(ctx, "an answer on port 3389", func() bool {
		c, err := l.Backend.Dial(ctx, "127.0.0.1:3389")
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// hidden is where xrdp finds the lab's folder, which lies in the /tmp of
// everybody else.
const hidden = "/run/lab"

// desktopScript is what runs on the desktop: a window manager would only cost
// time. The terminal fills the middle of it.
const desktopScript = `#!/bin/sh
xterm -bg '#204060' -fg white -fn fixed -geometry 100x30+20+20 &
echo $DISPLAY >$HOME/display
wait
`

// writeConfig makes xrdp's files out of Debian's, with another log, another
// certificate and no questions.
func (x *XRDP) writeConfig() error {
	etc := filepath.Join(x.dir, "etc")
	if err := os.MkdirAll(etc, 0o755); err != nil {
		return err
	}
	if err := selfSigned(etc); err != nil {
		return err
	}
	for name, lines := range map[string]map[string]string{
		"xrdp.ini": {
			"autorun": "Xorg", "EnableSyslog": "false", "certificate": hidden + "/etc/cert.pem", "key_file": hidden + "/etc/key.pem",
			"security_layer": "tls",
		},
		"sesman.ini": {"EnableSyslog": "false", "UserWindowManager": "startwm.sh", "KillDisconnected": "true", "X11DisplayOffset": "40"},
	} {
		text, err := os.ReadFile("/etc/xrdp/" + name)
		if err != nil {
			return fmt.Errorf("install xrdp: %w", err)
		}
		for key, value := range lines {
			line := regexp.MustCompile(`(?m)^[#;]?` + key + `=.*$`)
			text = line.ReplaceAll(text, []byte(key+"="+value))
			if !bytes.Contains(text, []byte(key+"="+value)) {
				return fmt.Errorf("/etc/xrdp/%s has no line %s", name, key)
			}
		}
		if err := os.WriteFile(filepath.Join(etc, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// selfSigned makes a certificate as a server signs it for itself.
func selfSigned(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "lab"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return firstError(
		writePEM(filepath.Join(dir, "cert.pem"), "CERTIFICATE", der),
		writePEM(filepath.Join(dir, "key.pem"), "PRIVATE KEY", private),
	)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644)
}

// OnDesktop runs a command with a user's display, once they have one.
func (x *XRDP) OnDesktop(ctx context.Context, user, script string) (string, error) {
	display, err := os.ReadFile(filepath.Join(x.Home(user), "display"))
	if err != nil {
		return "", err
	}
	return x.inside(ctx, "DISPLAY="+strings.TrimSpace(string(display))+" XAUTHORITY=/home/"+user+"/.Xauthority "+script)
}

// inside runs a shell command where xrdp is: its mounts hide the display's
// socket from everybody else.
func (x *XRDP) inside(ctx context.Context, script string) (string, error) {
	out, err := exec.CommandContext(ctx, "nsenter", "-t", strconv.Itoa(x.PID()), "-m", "-n", "/bin/sh", "-c", script).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("on the desktop: %s: %w\n%s", script, err, out)
	}
	return string(out), err
}
