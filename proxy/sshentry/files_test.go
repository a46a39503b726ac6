package sshentry

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

// sample writes a file that is not a multiple of any buffer.
func sample(t *testing.T, size int) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "it's a file")
	if err := os.WriteFile(file, bytes.Repeat([]byte("0123456789abcde\n"), size/16+1)[:size], 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func sameFiles(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(x, y) {
		t.Errorf("%s has %d bytes, %s has %d others", a, len(x), b, len(y))
	}
}

func TestFilesAreCopiedBothWaysByEveryTool(t *testing.T) {
	nettest.Need(t, "scp", "sftp", "rsync", "git")
	g := newGate(t, 22)
	host := g.host("ideo")
	for _, size := range []int{0, 1, 32<<10 - 1, 32 << 10, 32<<10 + 1, 5<<20 + 7} {
		file := sample(t, size)
		back := filepath.Join(t.TempDir(), "back")
		run := func(name string, args ...string) {
			t.Helper()
			os.Remove(back)
			if o := g.run(byPassword, name, args...); o.code != 0 {
				t.Fatalf("%s %q: %v", name, args, o)
			}
		}
		run("scp", "-q", file, host+":a")
		run("scp", "-q", host+":a", back)
		sameFiles(t, file, back)
		run("scp", "-q", "-O", "-p", file, host+":b-c")
		run("scp", "-q", "-O", "-p", host+":b-c", back)
		sameFiles(t, file, back)
		os.Remove(back)
		c := byPassword // sftp -b would forbid to ask for the password
		c.stdin = strings.NewReader(fmt.Sprintf("put \"%s\" d\nget d %s\n", file, back))
		if o := g.run(c, "sftp", "-q", host); o.code != 0 {
			t.Fatal(o)
		}
		sameFiles(t, file, back)
		rsh := "ssh " + strings.Join(g.sshArgs("-o", "PubkeyAuthentication=no"), " ")
		for _, args := range [][]string{{file, host + ":e"}, {host + ":e", back}} {
			cmd := g.other(byPassword, append([]string{"rsync", "-e", rsh, "-I"}, args...)...)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("rsync %q: %v\n%s", args, err, out)
			}
		}
		sameFiles(t, file, back)
	}
	moved := map[string]int{}
	for _, h := range g.all() {
		<-h.done
		for _, e := range h.noted("file") {
			moved[e.Op]++
			if e.SHA256 == "" && e.In+e.Out > 0 || e.Detail != "" {
				t.Errorf("a file was not followed to its end: %+v", e)
			}
		}
		if e := h.noted("exec"); len(e) == 1 && strings.HasPrefix(e[0].Command, "rsync") {
			continue // its talk is not understood, so its name is not believed
		}
		if _, err := os.Stat(filepath.Join(h.dir, "0.cast")); err == nil {
			t.Errorf("the body of a file was recorded: %+v", h.events)
		}
	}
	if moved["upload"] != 18 || moved["download"] != 18 { // 6 sizes by scp, scp -O and sftp
		t.Errorf("written down: %v", moved)
	}
}

// other prepares a program that runs ssh itself.
func (g *gate) other(c client, argv ...string) *exec.Cmd {
	cmd := lab.Client.Command(soon(g.t), argv[0], argv[1:]...)
	cmd.Env = g.command(c, "ssh").Env
	return cmd
}

func TestARepositoryIsClonedAndPushed(t *testing.T) {
	nettest.Need(t, "git")
	g := newGate(t, 22)
	if o := g.ssh(byPassword, g.host("ideo"), "rm -rf r; git init -q --bare -b main r"); o.code != 0 {
		t.Fatal(o)
	}
	work := filepath.Join(t.TempDir(), "work")
	rsh := "ssh " + strings.Join(g.sshArgs("-o", "PubkeyAuthentication=no"), " ")
	script := fmt.Sprintf(`set -e
git init -q -b main %[1]s && cd %[1]s
head -c 3000000 /dev/urandom >big; git add big
git -c user.name=x -c user.email=x@y commit -q -m one
git push -q ssh://%[2]s:%[3]d/~/r main
git clone -q ssh://%[2]s:%[3]d/~/r %[1]s-2
cmp big %[1]s-2/big`, work, g.host("ideo"), g.addr.Port())
	cmd := g.other(byPassword, "sh", "-c", script)
	cmd.Env = append(cmd.Env, "GIT_SSH_COMMAND="+rsh, "GIT_SSH_VARIANT=ssh")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestAShellThatCallsItselfATransferIsRecorded(t *testing.T) {
	g := newGate(t, 22)
	for i, command := range []string{"scp -f /dev/null; echo secret", "cp /bin/sh scp; ./scp -f", "ln -sf /bin/sh sftp-server; ./sftp-server"} {
		c := byPassword
		c.stdin = strings.NewReader("echo secret\n")
		g.ssh(c, g.host("ideo"), command)
		g.result()
		if shown := g.visit(i).shown(t, 0); !strings.Contains(shown, "secret") && i != 1 {
			t.Errorf("%s: recorded %q", command, shown)
		}
	}
	// A transfer by its command line, but not by what it says.
	c := byPassword
	c.stdin = strings.NewReader("echo secret; exit 0\n")
	if o := g.ssh(c, g.host("ideo"), "./sftp-server"); o.stdout != "secret\n" {
		t.Fatal(o)
	}
	g.result()
	if shown := g.visit(3).shown(t, 0); shown != "secret\n" {
		t.Errorf("recorded %q", shown)
	}
}
