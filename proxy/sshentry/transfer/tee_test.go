package transfer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/pawelmojski/inside/proxy/recording"
)

// The real sftp and scp start a program that takes them to the server. Here
// it is this test binary: it runs the real sftp-server or scp, with a sniffer
// at the pipes, and writes what was noted to the file teeEnv names.
const teeEnv = "INSIDE_TRANSFER_EVENTS"

const sftpServer = "/usr/lib/openssh/sftp-server"

func TestMain(m *testing.M) {
	if file := os.Getenv(teeEnv); file != "" {
		code, err := tee(file)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// tee runs what an ssh server would run for the last argument.
func tee(file string) (int, error) {
	command := os.Args[len(os.Args)-1]
	if command == "sftp" { // the subsystem, scp asks for it
		command = sftpServer
	}
	var mu sync.Mutex
	var events []recording.Event
	note := func(e recording.Event) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, e)
	}
	var s *Sniffer
	server := exec.Command("sh", "-c", command)
	switch path, ok := strings.CutPrefix(command, "scp "); {
	case command == sftpServer:
		s = SFTP(note)
	case ok:
		for !strings.HasPrefix(path, "-t") && !strings.HasPrefix(path, "-f") { // -r -p -d
			_, path, _ = strings.Cut(path, " ")
		}
		s = SCP(path[1] == 't', strings.TrimPrefix(path[3:], "-- "), note)
	default:
		return 1, fmt.Errorf("no command in %q", os.Args)
	}
	up, err := server.StdinPipe()
	if err != nil {
		return 1, err
	}
	down, err := server.StdoutPipe()
	if err != nil {
		return 1, err
	}
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		return 1, err
	}
	go func() {
		io.Copy(up, io.TeeReader(os.Stdin, writerFunc(s.Up)))
		up.Close()
	}()
	io.Copy(os.Stdout, io.TeeReader(down, writerFunc(s.Down)))
	server.Wait()
	s.Close()
	mu.Lock()
	defer mu.Unlock()
	b, err := json.Marshal(events)
	if err == nil {
		err = os.WriteFile(file, b, 0o600)
	}
	return server.ProcessState.ExitCode(), err
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

// run runs a real client whose server is tee, and returns what was noted.
func run(t *testing.T, input string, name string, args ...string) ([]recording.Event, error) {
	t.Helper()
	file := t.TempDir() + "/events"
	c := exec.CommandContext(t.Context(), name, args...)
	c.Env = append(os.Environ(), teeEnv+"="+file)
	c.Stdin = strings.NewReader(input)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	failed := c.Run()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	var events []recording.Event
	if err := json.Unmarshal(b, &events); err != nil {
		t.Fatal(err)
	}
	if failed != nil {
		return events, fmt.Errorf("%w: %s", failed, out.Bytes())
	}
	return events, nil
}

func self(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// sftpRun runs a batch of sftp commands.
func sftpRun(t *testing.T, args []string, batch ...string) ([]recording.Event, error) {
	t.Helper()
	args = append([]string{"-q", "-b", "-", "-D", self(t) + " " + sftpServer}, args...)
	return run(t, strings.Join(batch, "\n")+"\n", "sftp", args...)
}
