package sshentry

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/recording"
)

const (
	maxAsked  = 3       // times a person may try in the terminal
	maxAnswer = 1 << 10 // bytes of what they type
)

// enter makes sure that the server has let us in before a command is started.
// When it has not yet, the client has proven a key that only its agent could
// use at the server, and has not lent its agent: a person in front of a
// terminal is asked for the password there, anything else is told what helps.
func (s *session) enter(ctx context.Context, r *ssh.Request) bool {
	f := s.f
	f.entering.Lock()
	defer f.entering.Unlock()
	if !f.isReady() {
		// The client may wait for its answer before it lets anybody type.
		s.answer(r, true)
		s.promised = true
		if s.terminal {
			f.addScreen(s)
		}
		if !s.logIn(ctx) {
			return false
		}
	}
	if err := s.attach(); err != nil {
		s.tell("the server opens no session: " + lostText(err))
		return false
	}
	return true
}

// answer replies to a request unless that has been done.
func (s *session) answer(r *ssh.Request, ok bool) {
	if r.WantReply {
		r.Reply(ok, nil)
		r.WantReply = false
	}
}

// attach opens the session at the server and repeats there what the client has
// asked for meanwhile.
func (s *session) attach() error {
	up, requests, err := s.f.serverConn.OpenChannel("session", nil)
	if err != nil {
		return err
	}
	s.up = up
	s.f.serveChannel(s, requests)
	s.attend(requests)
	for _, r := range s.waiting {
		if _, err := up.SendRequest(r.Type, r.WantReply, r.Payload); err != nil {
			return err
		}
	}
	s.waiting = nil
	return nil
}

// logIn completes the login at the server without the agent.
func (s *session) logIn(ctx context.Context) bool {
	f := s.f
	n := f.approach.decline(ctx, errNoAgent)
	if n.err == nil {
		n = f.approach.last
	}
	if n.err != nil {
		s.tell(lostText(n.err))
		return false
	}
	if !s.terminal || askable(f.approach.offered) == "" {
		s.explain()
		return false
	}
	why := "your key cannot be passed on to the server without your agent (ssh -A)"
	if s.agentErr != nil {
		why = "your agent did not help: " + s.agentErr.Error()
	}
	s.tell(why + ". Please log in here.")
	for range maxAsked {
		method := askable(f.approach.offered)
		if method == "" {
			s.tell("the server takes nothing that could be asked for here")
			return false
		}
		n, err := s.ask(ctx, method)
		switch {
		case err != nil:
			s.tell("nothing was entered")
			return false
		case n.err != nil:
			s.tell(lostText(n.err))
			return false
		case n.in != nil:
			if f.note(recording.Event{Kind: "login", Channel: s.number, Detail: method + " asked for in the terminal"}) != nil {
				return false
			}
			f.loggedIn(proxy.Login{Own: true})
			f.join(n.in)
			return true
		case !n.partial:
			s.tell("the server did not accept that")
		}
	}
	return false
}

var errNoAgent = errors.New("the client has not lent its agent")

// askable picks the method a person can be asked for in a terminal.
func askable(offered []string) string {
	for _, method := range []string{"keyboard-interactive", "password"} {
		if slices.Contains(offered, method) {
			return method
		}
	}
	return ""
}

// ask tries one method once.
func (s *session) ask(ctx context.Context, method string) (news, error) {
	a := s.f.approach
	if method == "password" {
		secret, err := s.prompt(fmt.Sprintf("%s@%s's password: ", s.f.login, s.f.dest.Addr()), false)
		if err != nil {
			return news{}, err
		}
		return a.password(ctx, secret), nil
	}
	n := a.interactive(ctx)
	for rounds := 0; n.asked != nil; rounds++ {
		if rounds == maxRounds {
			return a.reply(ctx, answer{err: errors.New("the server asks without end")}), nil
		}
		answers, err := s.promptAll(n.asked)
		if err != nil {
			a.reply(ctx, answer{err: err})
			return news{}, err
		}
		n = a.reply(ctx, answer{answers: answers})
	}
	return n, nil
}

// promptAll asks one round of questions.
func (s *session) promptAll(q *questions) ([]string, error) {
	for _, text := range []string{q.name, q.instruction} {
		if text := plain(text, maxPrompt); text != "" {
			s.write(text + "\n")
		}
	}
	answers := []string{} // none is an answer, too
	for i, prompt := range q.prompts {
		a, err := s.prompt(plain(prompt, maxPrompt), q.echo[i])
		if err != nil {
			return nil, err
		}
		answers = append(answers, a)
	}
	return answers, nil
}

// tell says something to the person: in the terminal, or on stderr.
func (s *session) tell(text string) {
	s.write("Inside: " + text + "\n")
}

// explain says what helps a client that has neither an agent nor a terminal.
func (s *session) explain() {
	port := ""
	if p := s.f.dest.Port(); p != 22 {
		port = fmt.Sprintf("-p %d ", p)
	}
	to := fmt.Sprintf("%s%s@%s", port, s.f.login, s.f.dest.Addr())
	why := "your key cannot be passed on to the server without your agent"
	if s.agentErr != nil {
		why = "your agent did not help (" + s.agentErr.Error() + ")"
	}
	s.tell(why + ". One of these helps:")
	s.write("  ssh -A " + to + "\n")
	if askable(s.f.approach.offered) != "" {
		s.write("  ssh -o PubkeyAuthentication=no " + to + "\n")
	}
	if s.f.keyring != nil && len(s.f.keyring.Held()) > 0 {
		s.write("  or have the administrator of this gateway register the key you came with\n")
	}
}

// write shows text of ours before the relay runs, recorded like any other.
func (s *session) write(text string) {
	w := s.down.Stderr()
	if s.terminal {
		w = s.down
		text = crlf(text)
	}
	s.show(w, []byte(text))
}

// crlf ends lines as a terminal in raw mode needs them.
func crlf(text string) string {
	out := make([]byte, 0, len(text)+8)
	for i := range len(text) {
		if text[i] == '\n' {
			out = append(out, '\r')
		}
		out = append(out, text[i])
	}
	return string(out)
}

// prompt asks for one line. The client's terminal is raw by now, so what is
// typed is echoed from here, or not.
func (s *session) prompt(text string, echo bool) (string, error) {
	s.write(text)
	line, err := readLine(s.down, func(echoed string) {
		if echo || echoed == "\n" {
			s.write(echoed)
		}
	})
	return line, err
}

var errInterrupted = errors.New("interrupted")

// readLine reads what a person types up to Enter, byte by byte so that nothing
// typed ahead is taken from the shell. It knows Backspace, ^U, ^C and ^D.
func readLine(r io.Reader, echo func(string)) (string, error) {
	var line []byte
	escape := 0 // 1 after ESC, 2 inside ESC [
	for {
		var b [1]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return "", err
		}
		c := b[0]
		switch {
		case escape == 1:
			escape = 0
			if c == '[' || c == 'O' {
				escape = 2
			}
		case escape == 2:
			if c >= 0x40 && c <= 0x7e {
				escape = 0
			}
		case c == '\r' || c == '\n':
			echo("\n")
			return string(line), nil
		case c == 0x03 || c == 0x04 && len(line) == 0:
			echo("\n")
			return "", errInterrupted
		case c == 0x7f || c == '\b':
			if len(line) > 0 {
				_, size := utf8.DecodeLastRune(line)
				line = line[:len(line)-size]
				echo("\b \b")
			}
		case c == 0x15:
			for range utf8.RuneCount(line) {
				echo("\b \b")
			}
			line = line[:0]
		case c == 0x1b:
			escape = 1
		case c < 0x20 || len(line) >= maxAnswer:
		default:
			line = append(line, c)
			echo(string([]byte{c}))
		}
	}
}

// turnDown ends a channel whose command could not be started although the
// client has been told that it was.
func (s *session) turnDown() {
	s.turnedDown = true
	code := 255
	s.f.note(recording.Event{Kind: "exit", Channel: s.number, Exit: &code, Detail: "not started"})
	s.f.removeScreen(s)
	if err := s.record.close(); err != nil {
		s.f.unrecorded(err)
	}
	if s.f.cut.Load() {
		return
	}
	s.down.SendRequest("exit-status", false, binary.BigEndian.AppendUint32(nil, uint32(code)))
	s.writing.Lock()
	s.down.CloseWrite()
	s.writing.Unlock()
	s.down.Close()
}
