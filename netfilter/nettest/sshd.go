package nettest

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// A User is an account on an sshd of the lab, and nowhere else: sshd sees
// private copies of /etc/passwd, shadow and group.
type User struct {
	Name           string
	Password       string   // "" cannot log in by password
	AuthorizedKeys []string // lines of authorized_keys
	Shell          string   // "" is /bin/bash
}

// SSHDOptions says what the real sshd of a lab offers.
type SSHDOptions struct {
	In     *Namespace       // nil is the backend
	Listen []netip.AddrPort // none is port 22 on all addresses
	Users  []User
	PAM    bool     // keyboard-interactive, through PAM; else password and keys only
	Config []string // lines of sshd_config; the first one of a key wins, so they override
}

// An SSHD is a running OpenSSH server.
type SSHD struct {
	*Daemon
	HostKey string // its public key, as a line of known_hosts without the host

	dir string
}

// StartSSHD starts OpenSSH's server and waits until it answers.
func (l *Lab) StartSSHD(o SSHDOptions) (*SSHD, error) {
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		if sshd = "/usr/sbin/sshd"; !executable(sshd) {
			return nil, fmt.Errorf("sshd: install openssh-server: %w", err)
		}
	}
	dir, err := os.MkdirTemp(l.Dir, "sshd-")
	if err != nil {
		return nil, err
	}
	in := o.In
	if in == nil {
		in = l.Backend
	}
	s := &SSHD{dir: dir}
	if s.HostKey, err = NewKey(filepath.Join(dir, "host_key")); err != nil {
		return nil, err
	}
	mounts, err := writeAccounts(dir, o)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "sshd_config")
	if err := os.WriteFile(config, []byte(sshdConfig(dir, o)), 0o644); err != nil {
		return nil, err
	}
	// /run holds sshd's empty directory and the login records, /var/log the
	// lasting ones: all of that happens in the private mount namespace.
	script := "set -e\nmount -t tmpfs none /run\nmkdir -m 755 /run/sshd\nmount -t tmpfs none /var/log\n" +
		mounts + "exec " + sshd + " -D -e -f " + config + "\n"
	if s.Daemon, err = in.start("sshd", nil, []string{"unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script}); err != nil {
		return nil, err
	}
	probe := "127.0.0.1:22"
	if len(o.Listen) > 0 {
		probe = o.Listen[0].String()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return s, s.until(ctx, "an answer on "+probe, func() bool { return answers(ctx, in, probe) })
}

// answers reports whether something on addr says the first byte of SSH.
func answers(ctx context.Context, in *Namespace, addr string) bool {
	conn, err := in.Dial(ctx, addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	_, err = conn.Read(make([]byte, 1))
	return err == nil
}

// Home is the place where the files of a user's home are on this machine.
func (s *SSHD) Home(user string) string { return filepath.Join(s.dir, "home", user) }

// KnownHosts is a known_hosts line for the server at an address.
func (s *SSHD) KnownHosts(addr netip.Addr, port uint16) string {
	host := addr.String()
	if port != 22 {
		host = fmt.Sprintf("[%s]:%d", addr, port)
	}
	return host + " " + s.HostKey + "\n"
}

// NewKey makes an ed25519 key pair, file and file.pub, and returns the public
// key as a line of authorized_keys.
func NewKey(file string) (public string, err error) {
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", file).CombinedOutput(); err != nil {
		return "", fmt.Errorf("ssh-keygen: install openssh-client: %w\n%s", err, out)
	}
	text, err := os.ReadFile(file + ".pub")
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 2 {
		return "", fmt.Errorf("%s.pub: %w", file, err)
	}
	return fields[0] + " " + fields[1], nil
}

func sshdConfig(dir string, o SSHDOptions) string {
	var b strings.Builder
	for _, line := range o.Config {
		fmt.Fprintln(&b, line)
	}
	for _, a := range o.Listen {
		fmt.Fprintln(&b, "ListenAddress", a)
	}
	fmt.Fprintf(&b, "HostKey %s\n", filepath.Join(dir, "host_key"))
	b.WriteString("AuthorizedKeysFile .ssh/authorized_keys\nStrictModes no\nPidFile none\n" +
		"PermitRootLogin yes\nPasswordAuthentication yes\nUseDNS no\nPrintMotd no\nPrintLastLog no\n" +
		"AcceptEnv LANG LC_* LAB_*\nX11Forwarding no\nMaxStartups 1000\nMaxSessions 1000\n" +
		"LogLevel VERBOSE\nSubsystem sftp internal-sftp\n")
	if o.PAM {
		b.WriteString("UsePAM yes\nKbdInteractiveAuthentication yes\n")
	} else {
		b.WriteString("UsePAM no\n")
	}
	return b.String()
}

// writeAccounts makes the private account files and homes, and returns the
// shell lines that put them in their place.
func writeAccounts(dir string, o SSHDOptions) (mounts string, err error) {
	files := map[string]string{} // path on the system → contents
	for _, name := range []string{"/etc/passwd", "/etc/shadow", "/etc/group"} {
		text, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		files[name] = without(string(text), o.Users)
	}
	for i, u := range o.Users {
		id := 20001 + i
		if u.Name == "root" {
			id = 0
		}
		hash := "*"
		if u.Password != "" {
			h, err := bcrypt.GenerateFromPassword([]byte(u.Password), bcrypt.MinCost)
			if err != nil {
				return "", fmt.Errorf("password of %s: %w", u.Name, err)
			}
			hash = string(h)
		}
		shell := u.Shell
		if shell == "" {
			shell = "/bin/bash"
		}
		files["/etc/passwd"] += fmt.Sprintf("%s:x:%d:%d::/home/%s:%s\n", u.Name, id, id, u.Name, shell)
		files["/etc/shadow"] += fmt.Sprintf("%s:%s:19000:0:99999:7:::\n", u.Name, hash)
		files["/etc/group"] += fmt.Sprintf("%s:x:%d:\n", u.Name, id)
		if err := makeHome(filepath.Join(dir, "home", u.Name), id, u.AuthorizedKeys); err != nil {
			return "", err
		}
	}
	if o.PAM {
		files["/etc/pam.d/sshd"] = "auth required pam_unix.so\naccount required pam_permit.so\nsession required pam_permit.so\n"
	}
	mounts = fmt.Sprintf("mount --bind %s /home\n", filepath.Join(dir, "home"))
	for name, text := range files {
		copied := filepath.Join(dir, strings.ReplaceAll(name[1:], "/", "_"))
		if err := os.WriteFile(copied, []byte(text), 0o644); err != nil {
			return "", err
		}
		mounts += fmt.Sprintf("mount --bind %s %s\n", copied, name)
	}
	return mounts, os.MkdirAll(filepath.Join(dir, "home"), 0o755)
}

// without drops the lines of these users, so that the lab's own are the only
// ones.
func without(text string, users []User) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		name, _, _ := strings.Cut(line, ":")
		keep := true
		for _, u := range users {
			keep = keep && u.Name != name
		}
		if keep {
			b.WriteString(line)
		}
	}
	return b.String()
}

func makeHome(home string, id int, keys []string) error {
	if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o755); err != nil {
		return err
	}
	file := filepath.Join(home, ".ssh", "authorized_keys")
	if err := os.WriteFile(file, []byte(strings.Join(keys, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	for _, path := range []string{file, filepath.Dir(file), home} {
		if err := os.Chown(path, id, id); err != nil {
			return err
		}
	}
	return nil
}

func executable(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode()&0o111 != 0
}
