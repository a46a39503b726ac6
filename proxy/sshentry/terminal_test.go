package sshentry

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/proxy/recording"
)

func TestATerminalsSizeItsModesAndItsSignalsArrive(t *testing.T) {
	g := newGate(t, 22)
	s, err := g.dialClient(t).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out := new(tap)
	s.Stdout = out
	in, _ := s.StdinPipe()
	if err := s.Setenv("LAB_X", "there"); err != nil {
		t.Error(err)
	}
	if err := s.RequestPty("vt100", 30, 90, ssh.TerminalModes{ssh.ECHO: 0, ssh.VINTR: 7}); err != nil {
		t.Fatal(err)
	}
	script := `trap 'stty size' WINCH; trap 'echo usr1' USR1; echo "$TERM $LAB_X"; stty size; stty -a | tr ' ' '\n' | grep -x -e -echo; stty -a | grep -o 'intr = ^G'; while :; do read -t 0.1 x; [ "$x" = done ] && exit 4; done`
	if err := s.Start(script); err != nil {
		t.Fatal(err)
	}
	out.await(t, "vt100 there\r\n30 90\r\n-echo\r\nintr = ^G\r\n")
	if err := s.WindowChange(11, 22); err != nil {
		t.Error(err)
	}
	out.await(t, "11 22\r\n")
	io.WriteString(in, "done\n")
	err = s.Wait()
	if exit, ok := err.(*ssh.ExitError); !ok || exit.ExitStatus() != 4 {
		t.Error(err)
	}
	g.visit(0).cancel(nil)
	g.result()
	if resizes := g.visit(0).frames(t, 0, 'r'); fmt.Sprint(resizes) != "[22x11]" {
		t.Errorf("resizes %v", resizes)
	}
	if shown := g.visit(0).shown(t, 0); shown != out.String() {
		t.Errorf("recorded %q, shown %q", shown, out.String())
	}
}

func TestASignalReachesTheCommand(t *testing.T) {
	g := newGate(t, 22)
	s, err := g.dialClient(t).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out := new(tap)
	s.Stdout = out
	if err := s.Start("trap 'echo caught; exit 6' TERM; echo up; while :; do sleep 0.1; done"); err != nil {
		t.Fatal(err)
	}
	out.await(t, "up")
	if err := s.Signal(ssh.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err = s.Wait()
	if exit, ok := err.(*ssh.ExitError); !ok || exit.ExitStatus() != 6 || out.String() != "up\ncaught\n" {
		t.Errorf("%v %q", err, out.String())
	}
}

func TestABreakIsPassedOnWithItsAnswer(t *testing.T) {
	g := newGate(t, 22)
	s, err := g.dialClient(t).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Start("sleep 5"); err != nil {
		t.Fatal(err)
	}
	ok, err := s.SendRequest("break", true, []byte{0, 0, 1, 0})
	if !ok || err != nil { // as sshd says of a terminal
		t.Errorf("%v %v", ok, err)
	}
	if ok, err := s.SendRequest("break", true, []byte{0}); ok || err != nil {
		t.Errorf("junk: %v %v", ok, err)
	}
}

func TestACommandWithoutATerminalIsRecordedUpToALimit(t *testing.T) {
	g := newGate(t, 22)
	o := g.ssh(byPassword, g.host("ideo"), "head -c 3000000 /dev/zero | tr '\\0' x; exit 2")
	if len(o.stdout) != 3000000 || o.code != 2 {
		t.Fatalf("%d bytes, exit %d", len(o.stdout), o.code)
	}
	g.result()
	h := g.visit(0)
	if shown := h.shown(t, 0); shown != strings.Repeat("x", maxPlainRecording) {
		t.Errorf("%d bytes were recorded", len(shown))
	}
	if e := h.noted("recording"); len(e) != 1 || e[0].Out != maxPlainRecording {
		t.Errorf("%+v", e)
	}
	if e := h.noted("exit"); len(e) != 1 || e[0].Out != 3000000 || *e[0].Exit != 2 {
		t.Errorf("%+v", e)
	}
}

func TestACommandThatSaysNothingHasNoRecording(t *testing.T) {
	g := newGate(t, 22)
	if o := g.ssh(byPassword, g.host("ideo"), "true"); o.code != 0 {
		t.Fatal(o)
	}
	g.result()
	if n := len(g.visit(0).casts); n != 0 {
		t.Errorf("%d recordings", n)
	}
}

func TestEachChannelHasItsOwnNumber(t *testing.T) {
	g := newGate(t, 22)
	c := g.dialClient(t)
	for i := range 3 {
		mustRun(t, c, fmt.Sprintf("echo %d", i))
	}
	c.Close()
	g.result()
	for i := range 3 {
		if shown := g.visit(0).shown(t, i); shown != fmt.Sprintf("%d\n", i) {
			t.Errorf("channel %d: %q", i, shown)
		}
	}
}

func TestTooManyChannelsAreRefused(t *testing.T) {
	g := newGate(t, 22)
	c := g.dialClient(t)
	for range maxChannels {
		if _, err := c.NewSession(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.NewSession(); err == nil || !strings.Contains(err.Error(), "too many channels") {
		t.Errorf("one more: %v", err)
	}
}

func TestWhoWantsNoMoreSessionsGetsNone(t *testing.T) {
	g := newGateTo(t, &ssh.ServerConfig{NoClientAuth: true}, nil) // a server that does not care
	c, err := g.connect("ideo")
	if err != nil {
		t.Fatal(err)
	}
	mustRun(t, c, "x")
	if _, _, err := c.SendRequest("no-more-sessions@openssh.com", true, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.NewSession(); err == nil {
		t.Error("one more was opened")
	}
}

func TestRefusedChannelsCostNothing(t *testing.T) { // CVE-2026-39827
	g := newGate(t, 22)
	c := g.dialClient(t)
	for range 3000 {
		if _, _, err := c.OpenChannel("nonsense", nil); err == nil {
			t.Fatal("opened")
		}
	}
	if out := mustRun(t, c, "echo in"); out != "in\n" {
		t.Errorf("%q", out)
	}
	denied := g.visit(0).noted("denied")
	if len(denied) != maxDenials || !strings.HasSuffix(denied[len(denied)-1].Detail, "what else is denied is not written down") {
		t.Errorf("%d denials were written down", len(denied))
	}
}

// frames returns the data of a recording's frames of one kind.
func (h *house) frames(t testing.TB, channel int, kind byte) (data []string) {
	t.Helper()
	f, err := h.open(channel)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, all, err := recording.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	for frame, err := range all {
		if err != nil {
			t.Fatal(err)
		}
		if frame.Kind == kind {
			data = append(data, string(frame.Data))
		}
	}
	return data
}
