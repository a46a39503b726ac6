package sshentry

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// BenchmarkBulk compares what carrying a bulk stream costs the gate with what
// copying the same encrypted stream from socket to socket would cost it
// (splice(2), by io.Copy). Both gates are processes of their own, so that
// their CPU time is theirs alone; client and server are this process. SSH by
// aes128-gcm, as OpenSSH picks it when asked to.
//
//	go test -run '^$' -bench Bulk ./proxy/sshentry
func BenchmarkBulk(b *testing.B) {
	for _, direction := range []string{"down", "up"} {
		var cost [2]float64
		for i, gate := range []string{"splice", "relay"} {
			b.Run(direction+"/"+gate, func(b *testing.B) {
				cost[i] = benchmarkBulk(b, gate, direction)
				b.ReportMetric(cost[i], "gate-cpu-s/GB")
				if i == 1 && cost[0] > 0 {
					b.ReportMetric(cost[1]/cost[0], "times-splice")
				}
			})
		}
	}
}

const bulkPiece = 1 << 30

func benchmarkBulk(b *testing.B, gate, direction string) (cpuPerGB float64) {
	addr, pid := startBenchGate(b, gate)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	c, channels, requests, err := ssh.NewClientConn(conn, addr, &ssh.ClientConfig{
		Config: ssh.Config{Ciphers: []string{ssh.CipherAES128GCM}}, User: "x",
		Auth: []ssh.AuthMethod{ssh.Password("x")}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		b.Fatal(err)
	}
	client := ssh.NewClient(c, channels, requests)
	defer client.Close()
	b.SetBytes(bulkPiece)
	before := cpuOf(b, pid)
	b.ResetTimer()
	for range b.N {
		s, err := client.NewSession()
		if err != nil {
			b.Fatal(err)
		}
		if direction == "down" {
			r, _ := s.StdoutPipe()
			if err := s.Start("git-upload-pack x"); err != nil {
				b.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, r); n != bulkPiece || err != nil {
				b.Fatal(n, err)
			}
		} else {
			s.Stdin = io.LimitReader(zeros{}, bulkPiece)
			if err := s.Start("git-receive-pack x"); err != nil {
				b.Fatal(err)
			}
		}
		if err := s.Wait(); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	return (cpuOf(b, pid) - before).Seconds() / float64(b.N) / (bulkPiece / 1e9)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// startBenchGate starts a gate in a process of its own, and the server it leads
// to in this one.
func startBenchGate(b *testing.B, gate string) (addr string, pid int) {
	b.Helper()
	server := startBulkServer(b)
	cmd := exec.Command(os.Args[0], "-test.run=^TestBenchGate$", "-test.v")
	cmd.Env = append(os.Environ(), "INSIDE_BENCH_GATE="+gate, "INSIDE_BENCH_SERVER="+server, "INSIDE_BENCH_DIR="+b.TempDir())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	stop, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		stop.Close()
		cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if addr, ok := strings.CutPrefix(lines.Text(), "listening:"); ok {
			go io.Copy(io.Discard, out)
			return addr, cmd.Process.Pid
		}
	}
	b.Fatal("the gate does not listen")
	return "", 0
}

// BenchmarkIdleSession measures what a session at a prompt costs the gate: a
// terminal with a recording, nothing typed. Memory is the growth of the
// gate's resident set, everything included.
//
//	go test -run '^$' -bench IdleSession -benchtime 1000x ./proxy/sshentry
func BenchmarkIdleSession(b *testing.B) {
	addr, pid := startBenchGate(b, "relay")
	open := func() {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		c, channels, requests, err := ssh.NewClientConn(conn, addr, &ssh.ClientConfig{
			User: "x", Auth: []ssh.AuthMethod{ssh.Password("x")}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		})
		if err != nil {
			b.Fatal(err)
		}
		client := ssh.NewClient(c, channels, requests)
		b.Cleanup(func() { client.Close() })
		s, err := client.NewSession()
		if err != nil {
			b.Fatal(err)
		}
		out, _ := s.StdoutPipe()
		if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
			b.Fatal(err)
		}
		if err := s.Start("prompt"); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, 2)); err != nil {
			b.Fatal(err)
		}
	}
	for range 20 {
		open() // what is only needed once
	}
	before := residentKiB(b, pid)
	for range b.N {
		open()
	}
	b.ReportMetric(float64(residentKiB(b, pid)-before)/float64(b.N), "KiB/session")
}

func residentKiB(b *testing.B, pid int) (kib int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "VmRSS:")
	if _, err := fmt.Sscan(after, &kib); err != nil {
		b.Fatal(err)
	}
	return kib
}

// cpuOf is the CPU time a process has used: its CPU-time clock, which
// clock_getcpuclockid(3) makes from the process id.
func cpuOf(b *testing.B, pid int) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|2, &ts); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// startBulkServer is an SSH server that sends or takes bulkPiece bytes.
func startBulkServer(b *testing.B) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	config := &ssh.ServerConfig{PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, nil }}
	config.AddHostKey(newSigner(b))
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go serveBulk(conn, config)
		}
	}()
	return ln.Addr().String()
}

func serveBulk(conn net.Conn, config *ssh.ServerConfig) {
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for nc := range channels {
		ch, requests, err := nc.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range requests {
				r.Reply(true, nil)
				if r.Type != "exec" {
					continue
				}
				if strings.Contains(string(r.Payload), "prompt") {
					io.WriteString(ch, "$ ")
					continue
				}
				down := strings.Contains(string(r.Payload), "upload")
				go func() {
					if down {
						io.CopyBuffer(struct{ io.Writer }{ch}, io.LimitReader(zeros{}, bulkPiece), make([]byte, 256<<10))
					} else {
						io.CopyBuffer(io.Discard, struct{ io.Reader }{ch}, make([]byte, 256<<10))
					}
					ch.SendRequest("exit-status", false, []byte{0, 0, 0, 0})
					ch.Close()
				}()
			}
		}()
	}
}

func newSigner(tb testing.TB) ssh.Signer {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		tb.Fatal(err)
	}
	return signer
}

// TestBenchGate is the gate of BenchmarkBulk, in its own process.
func TestBenchGate(t *testing.T) {
	kind := os.Getenv("INSIDE_BENCH_GATE")
	if kind == "" {
		return
	}
	debug.SetGCPercent(3200) // as the daemon does while little is alive
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("listening:" + ln.Addr().String())
	go func() {
		io.Copy(io.Discard, os.Stdin) // until the benchmark is over
		syscall.Exit(0)
	}()
	keys := &benchKeys{own: newSigner(t)}
	entry := &Entry{HostKeys: keys, Log: slog.New(slog.DiscardHandler)}
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		if kind == "splice" {
			up, err := net.Dial("tcp", os.Getenv("INSIDE_BENCH_SERVER"))
			if err != nil {
				t.Fatal(err)
			}
			go io.Copy(up, conn)
			go io.Copy(conn, up)
			continue
		}
		go entry.Serve(context.Background(), conn, benchVisit{})
	}
}

type benchKeys struct{ own ssh.Signer }

func (k *benchKeys) Own(context.Context, netip.AddrPort) ([]ssh.Signer, error) {
	return []ssh.Signer{k.own}, nil
}
func (k *benchKeys) Pinned(context.Context, netip.AddrPort) ([]ssh.PublicKey, error) { return nil, nil }
func (k *benchKeys) Pin(context.Context, netip.AddrPort, ssh.PublicKey) error        { return nil }

type benchVisit struct{}

func (benchVisit) Flow() policy.Flow            { return policy.Flow{} }
func (benchVisit) Verdict() policy.Verdict      { return policy.Verdict{} }
func (benchVisit) Decide(string) policy.Verdict { return policy.Verdict{} }
func (benchVisit) Note(recording.Event) error   { return nil }
func (benchVisit) Notices() <-chan string       { return nil }
func (benchVisit) Used()                        {}
func (benchVisit) Over(time.Duration) bool      { return false }
func (benchVisit) Admit(context.Context, string) (policy.Session, error) {
	return policy.Session{}, nil
}
func (benchVisit) Passwords(context.Context) ([]proxy.PasswordFor, error) { return nil, nil }
func (benchVisit) Keyring(context.Context, string) (proxy.Keyring, error) { return nil, nil }
func (benchVisit) Dial(context.Context) (net.Conn, error) {
	return net.Dial("tcp", os.Getenv("INSIDE_BENCH_SERVER"))
}
func (benchVisit) RecordDesktop(recording.Header) (*desktop.Writer, error) {
	return nil, errors.ErrUnsupported
}

func (benchVisit) Record(int, recording.Header) (*recording.Writer, error) {
	return recording.Create(benchRoot(), "0.cast", recording.Header{})
}

func benchRoot() *os.Root {
	dir, err := os.MkdirTemp(os.Getenv("INSIDE_BENCH_DIR"), "cast-")
	if err != nil {
		panic(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		panic(err)
	}
	return root
}
