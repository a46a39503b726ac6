package sshentry

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/policy"
)

// fast is the cipher that costs least.
const fast = "-caes128-gcm@openssh.com"

// dialClient logs in through the gate as x/crypto/ssh, for what ssh(1) cannot do.
func (g *gate) dialClient(t testing.TB) *ssh.Client {
	t.Helper()
	conn, err := lab.Client.Dial(soon(t), g.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	c, channels, requests, err := ssh.NewClientConn(conn, g.addr.String(), &ssh.ClientConfig{
		User: "ideo", Auth: []ssh.AuthMethod{ssh.Password("sesame")}, HostKeyCallback: ssh.FixedHostKey(g.own.PublicKey()),
	})
	if err != nil {
		t.Fatal(err)
	}
	client := ssh.NewClient(c, channels, requests)
	t.Cleanup(func() { client.Close() })
	return client
}

// The stories of cmd/insided carry a gigabyte each way; here the keys change
// every few megabytes on top of that.
const (
	rekeying = "-oRekeyLimit=16M"
	much     = 128 << 20
)

func TestNotAByteIsLostBeforeTheExitStatus(t *testing.T) {
	g := newGate(t, 22)
	cmd := g.command(byPassword, "ssh", fast, rekeying, g.host("ideo"), fmt.Sprintf("head -c %d /dev/zero; exit 42", much))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, out)
	cmd.Wait()
	if n != much || err != nil || cmd.ProcessState.ExitCode() != 42 {
		t.Fatalf("%d bytes, exit %d, %v", n, cmd.ProcessState.ExitCode(), err)
	}
}

func TestManyMegabytesEachWayArriveAsTheyWereSent(t *testing.T) {
	g := newGate(t, 22)
	up := sha256.New()
	c := byPassword
	c.stdin = io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{1}), much), up)
	o := g.ssh(c, fast, rekeying, g.host("ideo"), "sha256sum")
	if want := hex.EncodeToString(up.Sum(nil)); !strings.HasPrefix(o.stdout, want) {
		t.Errorf("up: %v, want %s", o, want)
	}
	cmd := g.command(byPassword, "ssh", fast, rekeying, g.host("ideo"), fmt.Sprintf("openssl enc -aes-128-ctr -K 00 -iv 00 -nosalt </dev/zero 2>/dev/null | head -c %d | tee >(sha256sum >&2)", much))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	down := sha256.New()
	io.Copy(down, out)
	cmd.Wait()
	if got := hex.EncodeToString(down.Sum(nil)); !strings.HasPrefix(stderr.String(), got) {
		t.Errorf("down: %s, server says %s", got, stderr.String())
	}
}

func TestEveryExitStatusAndEveryShortOutputArrives(t *testing.T) {
	g := newGate(t, 22)
	client := g.dialClient(t)
	for code := range 256 {
		s, err := client.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Output(fmt.Sprintf("echo %d; exit %d", code, code))
		got := 0
		if exit, ok := err.(*ssh.ExitError); ok {
			got = exit.ExitStatus()
		} else if err != nil {
			t.Fatal(err)
		}
		if got != code || string(out) != fmt.Sprintf("%d\n", code) {
			t.Fatalf("exit %d gave %d and %q", code, got, out)
		}
	}
	client.Close()
	if err := g.result(); err != policy.ClientLeft {
		t.Errorf("Serve returned %v", err)
	}
	if n := len(g.visit(0).noted("exit")); n != 256 {
		t.Errorf("%d exits were written down", n)
	}
}

func TestASignalThatKilledTheCommandIsPassedOn(t *testing.T) {
	g := newGate(t, 22)
	s, err := g.dialClient(t).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.CombinedOutput("echo before; kill -TERM $$")
	exit, ok := err.(*ssh.ExitError)
	if !ok || exit.Signal() != "TERM" || string(out) != "before\n" {
		t.Fatalf("%q %v", out, err)
	}
}

func TestInputEndsBeforeOutputAndOutputBeforeInput(t *testing.T) {
	g := newGate(t, 22)
	c := byPassword
	c.stdin = strings.NewReader("b\na\nc\n")
	if o := g.ssh(c, g.host("ideo"), "cat | sort"); o.stdout != "a\nb\nc\n" || o.code != 0 {
		t.Error(o)
	}
	// stdout and stderr end at once, stdin flows on.
	s, err := g.dialClient(t).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	in, _ := s.StdinPipe()
	out, _ := s.StdoutPipe()
	if err := s.Start("exec >&- 2>&-; sha256sum >sum"); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, out); n != 0 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(in, sum), io.LimitReader(rand.NewChaCha8([32]byte{2}), 5<<20)); err != nil {
		t.Error(err)
	}
	in.Close()
	if err := s.Wait(); err != nil {
		t.Error(err)
	}
	if o := g.ssh(byPassword, g.host("ideo"), "cat sum"); !strings.HasPrefix(o.stdout, hex.EncodeToString(sum.Sum(nil))) {
		t.Error(o)
	}
}

func TestALeftoverProcessKeepsTheChannelOpenAsItDoesWithoutTheGate(t *testing.T) {
	g := newGate(t, 22)
	o := g.ssh(byPassword, g.host("ideo"), "(sleep 1; echo late) & echo early; exit 9")
	if o.stdout != "early\nlate\n" || o.code != 9 {
		t.Fatal(o)
	}
}

func TestManyCommandsAtOnceKeepTheirOutputsApart(t *testing.T) {
	g := newGate(t, 22)
	client := g.dialClient(t)
	errs := make(chan error)
	const many = 8
	for i := range many {
		go func() {
			for j := range 25 {
				s, err := client.NewSession()
				if err != nil {
					errs <- err
					return
				}
				text := fmt.Sprintf("%d.%d", i, j)
				out, err := s.CombinedOutput("printf " + text + "; printf e" + text + " >&2")
				if err != nil || len(out) != 2*len(text)+1 {
					errs <- fmt.Errorf("%s: %q %v", text, out, err)
					return
				}
			}
			errs <- nil
		}()
	}
	for range many {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestTheStatusOfACommandThatClosedItsOutputFirstArrives(t *testing.T) {
	g := newGate(t, 22)
	for _, c := range []struct {
		name, command string
		stdin         io.Reader
	}{
		{"no input", "sleep 1 >/dev/null 2>&1; exit 3", nil},
		{"no input, no shell in between", "exec sh -c 'sleep 1; exit 3' >/dev/null 2>&1", nil},
		{"slow input", "exec sh -c 'cat; sleep 1; exit 3' >/dev/null 2>&1", &slowReader{n: 30, pause: 100 * time.Millisecond}},
	} {
		with := byPassword
		with.stdin = c.stdin
		if o := g.ssh(with, g.host("ideo"), c.command); o.code != 3 {
			t.Errorf("%s: %v", c.name, o)
		}
	}
}

// A slowReader yields a byte now and then.
type slowReader struct {
	n     int
	pause time.Duration
}

func (r *slowReader) Read(p []byte) (int, error) {
	if r.n == 0 {
		return 0, io.EOF
	}
	time.Sleep(r.pause)
	r.n--
	p[0] = 'x'
	return 1, nil
}
