package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/netfilter/nettest"
)

// A naive relay loses the tail here, when the exit status overtakes the data:
// once in a few times, so there are ten tails.
func TestTheTailOfAHundredMillionZeroesArrivesBeforeTheExitStatus(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	const tails, size = 10, 10_000_000
	for i := range tails {
		r := h.ssh(at("ideo", nettest.BackendIP4), fmt.Sprintf("head -c %d /dev/zero; exit 3", size))
		if len(r.stdout) != size || r.exit != 3 {
			t.Errorf("%d: %d bytes, exit %d; want %d bytes and exit 3: %s", i, len(r.stdout), r.exit, size, r.stderr)
		}
	}
}

func TestOneGibibyteEachWayArrivesByteForByte(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	const size = 1 << 30
	cmd := h.sshCommand(context.Background(), at("ideo", nettest.BackendIP4), "cat")
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
	sent, got := sha256.New(), sha256.New()
	go func() {
		defer in.Close()
		block := make([]byte, 1<<20)
		rand.Read(block)
		for i := range size / len(block) {
			block[i%len(block)]++ // no two blocks alike
			sent.Write(block)
			if _, err := in.Write(block); err != nil {
				return
			}
		}
	}()
	n, err := io.Copy(got, out)
	cmd.Wait()
	if n != size || err != nil || cmd.ProcessState.ExitCode() != 0 {
		t.Fatalf("%d bytes, exit %d, %v; want %d bytes and exit 0", n, cmd.ProcessState.ExitCode(), err, size)
	}
	if a, b := hex.EncodeToString(sent.Sum(nil)), hex.EncodeToString(got.Sum(nil)); a != b {
		t.Errorf("sent %s, got back %s", a, b)
	}
}

// Ten thousand short commands over shared connections, as automation runs
// them: each has its own output and its own exit status.
func TestTenThousandShortCommandsEachKeepTheirExitStatus(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	const connections, each = 8, 1250
	var wg sync.WaitGroup
	for range connections {
		client := h.connect(t)
		wg.Go(func() {
			for i := range each {
				want := i % 256
				out, exit := command(client, fmt.Sprintf("echo out%d; exit %d", i, want))
				if exit != want || out != fmt.Sprintf("out%d\n", i) {
					t.Errorf("command %d: exit %d, want %d, output %q", i, exit, want, out)
				}
			}
		})
	}
	wg.Wait()
}

// command runs one command and returns its output and exit status, -1 where
// there was none.
func command(c *ssh.Client, line string) (string, int) {
	s, err := c.NewSession()
	if err != nil {
		return err.Error(), -1
	}
	defer s.Close()
	out, err := s.Output(line)
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return string(out), 0
	case errors.As(err, &exit):
		return string(out), exit.ExitStatus()
	}
	return err.Error(), -1
}

func TestFilesGoThroughByEveryToolByteForByte(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	agent := h.agent("ideo")
	local := filepath.Join(h.dir, "local")
	sum := map[string]string{}
	for name, size := range map[string]int64{"empty": 0, "one": 1, "page": 32<<10 - 1, "block": 32 << 10, "more": 32<<10 + 1, "big": 64 << 20} {
		sum[name] = randomFile(t, filepath.Join(local, name), size)
	}
	server := at("ideo", nettest.BackendIP4)
	ssh := "ssh -A -F " + filepath.Join(h.dir, "ssh_config")
	tools := map[string]string{
		"scp":          "scp -A -q -F CONFIG -r FROM/. SERVER:TO",
		"scp old":      "scp -A -O -q -F CONFIG -r FROM/* SERVER:TO",
		"sftp":         "printf 'put -r FROM/. TO\n' | sftp -A -q -F CONFIG -b - SERVER",
		"rsync":        "rsync -a -e '" + ssh + "' FROM/ SERVER:TO/",
		"tar":          "tar -C FROM -cf - . | " + ssh + " SERVER tar -C TO -xf -",
		"scp back":     "scp -A -q -F CONFIG -r SERVER:THERE/. TO",
		"scp old back": "scp -A -O -q -F CONFIG -r 'SERVER:THERE/*' TO",
		"sftp back":    "printf 'get -r THERE/. TO\n' | sftp -A -q -F CONFIG -b - SERVER",
		"rsync back":   "rsync -a -e '" + ssh + "' SERVER:THERE/ TO/",
		"tar back":     ssh + " SERVER tar -C THERE -cf - . | tar -C TO -xf -",
	}
	there := filepath.Join(h.sshd.Home("ideo"), "there")
	copyFolder(t, local, there)
	for name, command := range tools {
		t.Run(name, func(t *testing.T) {
			folder := strings.ReplaceAll(name, " ", "-")
			onServer, onClient := filepath.Join(h.sshd.Home("ideo"), folder), filepath.Join(h.dir, folder)
			to, arrived := "/home/ideo/"+folder, onServer
			if strings.HasSuffix(name, "back") {
				to, arrived = onClient, onClient
			}
			if err := os.MkdirAll(arrived, 0o777); err != nil {
				t.Fatal(err)
			}
			if arrived == onServer {
				h.give(arrived, "ideo")
			}
			script := strings.NewReplacer("CONFIG", filepath.Join(h.dir, "ssh_config"), "FROM", local, "SERVER", server, "THERE", "/home/ideo/there", "TO", to).Replace(command)
			cmd := h.clientCommand(context.Background(), "bash", "-c", "set -o pipefail; "+script)
			cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+agent)
			if r := h.finish(cmd); r.exit != 0 || r.asked {
				t.Fatalf("%s: exit %d, asked %v\n%s%s", script, r.exit, r.asked, r.stdout, r.stderr)
			}
			for file, want := range sum {
				if got := fileSum(t, filepath.Join(arrived, file)); got != want {
					t.Errorf("%s arrives as %s, was %s", file, got, want)
				}
			}
			if strings.HasPrefix(name, "scp") || strings.HasPrefix(name, "sftp") {
				want := maps.Clone(sum)
				if name == "scp" {
					// It opens without truncating (OpenSSH 9.2), so nobody who
					// sees no byte written knows what the file holds.
					want["empty"] = ""
				}
				h.writtenDown(t, want, strings.HasSuffix(name, "back"))
			}
		})
	}
	t.Run("git", func(t *testing.T) {
		script := strings.NewReplacer("WITH", ssh, "SERVER", server, "HERE", filepath.Join(h.dir, "repo")).Replace(`set -e
export GIT_SSH_COMMAND='WITH' GIT_CONFIG_GLOBAL=/dev/null
WITH SERVER git init -q --bare repo.git
git init -q HERE; cd HERE; git config user.name t; git config user.email t@example.com
head -c 5000000 /dev/urandom >blob; git add blob; git commit -q -m one
git push -q ssh://SERVER/~/repo.git HEAD:main
git clone -q -b main ssh://SERVER/~/repo.git HERE-back
cmp blob HERE-back/blob`)
		cmd := h.clientCommand(context.Background(), "bash", "-c", script)
		cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+agent)
		if r := h.finish(cmd); r.exit != 0 {
			t.Errorf("git: exit %d\n%s%s", r.exit, r.stdout, r.stderr)
		}
	})
}

// writtenDown looks into the newest session's event log for who moved which
// file, how large, with which hash.
func (h *house) writtenDown(t *testing.T, sum map[string]string, download bool) {
	t.Helper()
	sessions, err := h.api().Sessions(context.Background(), api.SessionFilter{All: true, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	h.ended(sessions[0].ID)
	log, err := h.api().Events(context.Background(), sessions[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	op := "upload"
	if download {
		op = "download"
	}
	got := map[string]string{}
	for lines := json.NewDecoder(log); ; {
		var e api.Event
		if err := lines.Decode(&e); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if e.Kind == "file" && e.Op == op {
			got[filepath.Base(e.Path)] = e.SHA256
		}
	}
	for file, want := range sum {
		if hash, moved := got[file]; !moved || hash != want {
			t.Errorf("the event log knows %s of %s with hash %q, want %q", op, file, hash, want)
		}
	}
}

// give makes a folder on the server belong to a login.
func (h *house) give(folder, login string) {
	h.t.Helper()
	home, err := os.Stat(h.sshd.Home(login))
	if err != nil {
		h.t.Fatal(err)
	}
	owner := home.Sys().(*syscall.Stat_t)
	if err := os.Chown(folder, int(owner.Uid), int(owner.Gid)); err != nil {
		h.t.Fatal(err)
	}
}

func randomFile(t *testing.T, name string, size int64) (sum string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(f, hash), rand.Reader, size); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

func fileSum(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
