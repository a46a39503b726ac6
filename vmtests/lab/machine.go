package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

// patience is how long a machine may take to boot or to stop.
const patience = 60 * time.Second

// A Machine is a Debian whose network is the gateway's namespace of a lab.
// What it changes is gone when it stops.
type Machine struct {
	leader int // its PID 1, as this machine counts
	nspawn *exec.Cmd
	gone   chan struct{}
	log    string
}

// Boot boots the file system under root and returns when systemd says that it
// runs. The machine stops with the test, whose log shows what it printed if it
// failed. Each of files, by its name in the machine, is copied into it first.
func Boot(t testing.TB, l *nettest.Lab, root string, files map[string]string) *Machine {
	t.Helper()
	m := &Machine{gone: make(chan struct{}), log: filepath.Join(l.Dir, "machine.log")}
	log, err := os.Create(m.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	args := []string{
		"--quiet", "--register=no", "--keep-unit", // PID 1 of this machine need not be systemd
		"--directory=" + root, "--volatile=overlay",
		"--machine=" + strings.TrimSuffix(l.Gateway.Name, "-gateway"), "--hostname=gate-1",
		"--network-namespace-path=/run/netns/" + l.Gateway.Name,
		"--capability=CAP_NET_ADMIN,CAP_NET_RAW", "--console=pipe",
		"--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self", // as outside of a container
		"--setenv=SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1",
	}
	for inside, file := range files {
		args = append(args, "--bind-ro="+file+":"+inside)
	}
	cgroups := ownCgroups(t, l.Gateway.Name)
	// It joins them before it is systemd-nspawn, which looks where it is.
	join := `while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit; shift; done; shift; exec "$@"`
	command := slices.Concat([]string{"-c", join, "sh"}, cgroups, []string{"--", "systemd-nspawn"}, args, []string{"--boot", "systemd.unit=multi-user.target"})
	m.nspawn = exec.Command("sh", command...)
	m.nspawn.Env = append(os.Environ(), "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network") // its sysctls, as a router sets them
	m.nspawn.Stdout, m.nspawn.Stderr = log, log
	m.nspawn.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := m.nspawn.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		m.nspawn.Wait()
		close(m.gone)
	}()
	t.Cleanup(func() {
		if t.Failed() && m.leader != 0 {
			out, _ := m.Command(context.Background(), "journalctl", "--no-pager", "--lines=60", "--output=cat", "--priority=info").CombinedOutput()
			t.Logf("the end of the machine's journal:\n%s", out)
		}
		m.stop()
		if err := removeCgroups(cgroups); err != nil {
			t.Error(err)
		}
		if text, err := os.ReadFile(m.log); err == nil && t.Failed() {
			t.Logf("what the machine printed:\n%s", text)
		}
	})
	if err := m.await(); err != nil {
		t.Fatal(err)
	}
	return m
}

// await polls for the end of the boot: systemd-nspawn tells it to a service
// manager only.
func (m *Machine) await() error {
	var last error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case <-m.gone:
			return fmt.Errorf("the machine did not boot: %v", m.nspawn.ProcessState)
		default:
		}
		pid := m.nspawn.Process.Pid
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		if err != nil || len(children) == 0 {
			continue
		}
		if m.leader, err = strconv.Atoi(strings.Fields(string(children))[0]); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		out, err := m.Command(ctx, "systemctl", "is-system-running", "--wait").CombinedOutput()
		cancel()
		if state := strings.TrimSpace(string(out)); state == "running" || state == "degraded" {
			return nil
		}
		last = fmt.Errorf("%w: %s", err, out)
	}
	return errors.Join(errors.New("the machine is still booting"), last)
}

// Command prepares a command in the machine, as root.
func (m *Machine) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	enter := []string{"--target=" + strconv.Itoa(m.leader), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--", "env", "--chdir=/", name}
	c := exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
	c.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root", "DEBIAN_FRONTEND=noninteractive"}
	c.WaitDelay = 5 * time.Second
	return c
}

// Write writes a file in the machine.
func (m *Machine) Write(name, text string) error {
	c := m.Command(context.Background(), "sh", "-c", `cat >"$0"`, name)
	c.Stdin = strings.NewReader(text)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("write %s: %w: %s", name, err, out)
	}
	return nil
}

// stop shuts the machine down; a second SIGTERM makes systemd-nspawn stop
// waiting for it.
func (m *Machine) stop() {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM, syscall.SIGKILL} {
		m.nspawn.Process.Signal(signal)
		select {
		case <-m.gone:
			return
		case <-time.After(15 * time.Second):
		}
	}
}
