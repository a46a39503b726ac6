package api

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Some tests need another process: one that dies, or is somebody else. It is
// this test binary, told by its environment what to be.
const roleKey = "INSIDE_API_TEST_ROLE"

func TestMain(m *testing.M) {
	switch role, args, _ := strings.Cut(os.Getenv(roleKey), " "); role {
	case "listen":
		if _, err := Listen(args); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("listening")
		select {}
	case "daemon":
		beDaemon(args)
	case "ask":
		askAs(args)
	default:
		os.Exit(m.Run())
	}
}

// another starts this binary in a role and gives its first line.
func another(t *testing.T, role string, prepare func(*exec.Cmd)) (cmd *exec.Cmd, line string) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleKey+"="+role)
	cmd.Stderr = os.Stderr
	if prepare != nil {
		prepare(cmd)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v", role, err)
	}
	return cmd, strings.TrimSpace(line)
}

func TestTheSocketIsForRootAndTheGroupOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "inside.sock")
	before := syscall.Umask(0)
	l, err := Listen(path)
	after := syscall.Umask(before)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if after != 0 {
		t.Errorf("the umask was left at %#o", after)
	}
	for name, want := range map[string]fs.FileMode{filepath.Dir(path): fs.ModeDir | 0o750, path: fs.ModeSocket | 0o660, path + ".lock": 0o600} {
		info, err := os.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has the mode %v, want %v", name, info.Mode(), want)
		}
	}
}

func TestAFolderThatIsThereStaysAsItIs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(filepath.Join(dir, "inside.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has the mode %v, %v", info.Mode(), err)
	}
}

func TestTheSocketOfADeadDaemonIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inside.sock")
	daemon, line := another(t, "listen "+path, nil)
	if line != "listening" {
		t.Fatal(line)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "another insided serves") {
		t.Errorf("beside a living daemon: %v", err)
	}
	if err := daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	daemon.Wait()
	if _, err := os.Lstat(path); err != nil {
		t.Fatalf("the dead daemon left no socket: %v", err)
	}
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a closed socket is left: %v", err)
	}
	if l, err = Listen(path); err != nil {
		t.Fatalf("after an orderly end: %v", err)
	}
	l.Close()
}

func TestALivingSocketWithoutALockIsNotTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inside.sock")
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "a living daemon answers") {
		t.Errorf("got %v", err)
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("the other socket is gone: %v", err)
	} else {
		c.Close()
	}
}

func TestAFileIsNotTakenForASocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inside.sock")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("got %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("the file is %q, %v", text, err)
	}
}

func TestTwoThatStartTogetherAreNotBothServed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inside.sock")
	for range 20 {
		results := make(chan net.Listener, 8)
		for range cap(results) {
			go func() {
				l, err := Listen(path)
				if err != nil {
					l = nil
				}
				results <- l
			}()
		}
		var won []net.Listener
		for range cap(results) {
			if l := <-results; l != nil {
				won = append(won, l)
			}
		}
		if len(won) != 1 {
			t.Fatalf("%d listen on one path", len(won))
		}
		won[0].Close()
	}
}

func TestNobodyAnswersWhereNoDaemonIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inside.sock")
	var u *Unreachable
	if _, err := NewClient(path).Status(t.Context()); !errors.As(err, &u) || u.Socket != path || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

const (
	stranger  = 65534
	groupHere = 4242 // of the group inside, in a namespace where there is one
)

// TestWhoIsAnAdmin runs a daemon in a mount namespace of its own, where the
// machine has a group inside, and asks as several persons.
func TestWhoIsAnAdmin(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("CI must run this as root")
		}
		t.Skip("needs root: it becomes other users")
	}
	dir := openFolder(t)
	groups := filepath.Join(dir, "group")
	text := fmt.Sprintf("root:x:0:\nnogroup:x:65534:\n%s:x:%d:\n", adminGroup, groupHere)
	if err := os.WriteFile(groups, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "run", "inside.sock")
	_, line := another(t, "daemon "+socket+" "+groups, func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	})
	if line != "serving" {
		t.Fatal(line)
	}
	for _, name := range []string{filepath.Dir(socket), socket} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if gid := info.Sys().(*syscall.Stat_t).Gid; gid != groupHere {
			t.Errorf("%s is of group %d", name, gid)
		}
	}
	ask := func(uid, gid int, supplementary string) string {
		_, line := another(t, fmt.Sprintf("ask %s %d %d %s", socket, uid, gid, supplementary), nil)
		return line
	}
	if got := ask(0, 0, ""); got != "asked by root" {
		t.Errorf("root: %s", got)
	}
	if got := ask(stranger, groupHere, ""); got != "asked by nobody" {
		t.Errorf("a member by the first group: %s", got)
	}
	if got := ask(stranger, stranger, strconv.Itoa(groupHere)); got != "asked by nobody" {
		t.Errorf("a member by another group: %s", got)
	}
	if got := ask(31337, groupHere, ""); got != "asked by uid:31337" {
		t.Errorf("a member without a name: %s", got)
	}
	if got := ask(stranger, stranger, ""); !strings.Contains(got, "permission denied") {
		t.Errorf("a stranger: %s", got)
	}
	// Should the modes fail, the kernel still says who is there.
	if err := errors.Join(os.Chmod(filepath.Dir(socket), 0o777), os.Chmod(socket, 0o777)); err != nil {
		t.Fatal(err)
	}
	if got := ask(stranger, stranger, ""); got != `"nobody" is not an admin of this gate` {
		t.Errorf("a stranger at an open socket: %s", got)
	}
}

// openFolder is a temporary folder that others may enter.
func openFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "inside-api")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
