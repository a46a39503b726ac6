package sshentry

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"
)

// FuzzPayloads feeds every parser of a request's payload. What is accepted
// must survive being written again, and be within the caps.
func FuzzPayloads(f *testing.F) {
	f.Add(ssh.Marshal(&ptyRequest{"xterm", 80, 24, 0, 0, "\x01\x00\x00\x00\x0d\x00"}))
	f.Add(ssh.Marshal(&windowChange{80, 24, 0, 0}))
	f.Add(ssh.Marshal(&envRequest{"LANG", "C"}))
	f.Add(ssh.Marshal(&stringRequest{"ls -l"}))
	f.Add(ssh.Marshal(&exitSignal{"TERM", false, "x\x1b", "en"}))
	f.Add(ssh.Marshal(&directTCPIP{"127.0.0.1", 80, "::1", 65535}))
	f.Add(ssh.Marshal(&directStreamlocal{"/run/x", "", 0}))
	f.Add(ssh.Marshal(&forward{"localhost", 0}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.Clone(b)
		if p, err := parsePty(in); err == nil && !bytes.Equal(ssh.Marshal(&p), b) {
			t.Error("pty")
		}
		if w, err := parseWindowChange(in); err == nil && !bytes.Equal(ssh.Marshal(&w), b) {
			t.Error("window")
		}
		if e, err := parseEnv(in); err == nil && (!bytes.Equal(ssh.Marshal(&e), b) || len(e.Name) > maxName || strings.ContainsAny(e.Name, "=\x00")) {
			t.Error("env")
		}
		if s, err := parseString(in, maxCommand); err == nil && !bytes.Equal(ssh.Marshal(&stringRequest{s}), b) {
			t.Error("string")
		}
		if e, err := parseExitSignal(in); err == nil && (!isPlain(e.Signal) || !isPlain(e.Message)) {
			t.Errorf("exit-signal %+q", e.Signal+e.Message)
		}
		if d, err := parseDirectTCPIP(in); err == nil && (!bytes.Equal(ssh.Marshal(&d), b) || d.Port > 65535 || !isPlain(hostPort(d.Host, d.Port))) {
			t.Error("direct-tcpip")
		}
		if d, err := parseDirectStreamlocal(in); err == nil && len(d.Path) > maxName {
			t.Error("direct-streamlocal")
		}
		if r, err := parseForward(in); err == nil && !bytes.Equal(ssh.Marshal(&r), b) {
			t.Error("tcpip-forward")
		}
		if r, err := parseForwardedTCPIP(in); err == nil && !bytes.Equal(ssh.Marshal(&r), b) {
			t.Error("forwarded-tcpip")
		}
		if !bytes.Equal(in, b) {
			t.Error("a parser changed what it was given")
		}
	})
}

// FuzzAgent feeds an agent's answers and what it is asked to sign.
func FuzzAgent(f *testing.F) {
	key := newSigner(f).PublicKey()
	f.Add([]byte{agentIdentitiesAnswer, 0, 0, 0, 0})
	f.Add([]byte{agentIdentitiesAnswer, 0, 0, 0, 1, 0, 0, 0, 1, 'k', 0, 0, 0, 0})
	f.Add([]byte{agentSignResponse, 0, 0, 0, 15, 0, 0, 0, 3, 's', 's', 'h', 0, 0, 0, 4, 1, 2, 3, 4})
	f.Add([]byte{5})
	f.Add([]byte{6})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return // askAgent refuses it
		}
		keys, err := parseIdentities(b)
		if err == nil && len(keys) > maxAgentKeys {
			t.Errorf("%d keys", len(keys))
		}
		if sig, err := parseSignature(b); err == nil {
			if key.Verify([]byte("data"), sig) == nil {
				t.Error("a signature out of nothing")
			}
		}
		if checkLoginBlob(b, []byte("session"), "ideo", key) == nil {
			t.Error("something would be signed")
		}
	})
}

// FuzzCommand splits command lines. A transfer is only believed where a shell
// would run one program and nothing else.
func FuzzCommand(f *testing.F) {
	for _, line := range []string{"scp -f x", "scp -t 'a b'", "rsync --server . x", "sftp-server; sh", "scp -f $(sh)", `scp -f "a\"b"`, "'scp' -f x\nsh", "git-upload-pack 'r'"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, ok := plainWords(line)
		if !ok {
			if k, _ := transferOf("exec", line); k != noTransfer {
				t.Errorf("%q is a transfer", line)
			}
			return
		}
		total := 0
		for _, w := range words {
			total += len(w)
		}
		if total > len(line) {
			t.Errorf("%q grew to %q", line, words)
		}
		// Quoted again, it splits into the same words.
		var again []string
		for _, w := range words {
			again = append(again, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
		}
		twice, ok := plainWords(strings.Join(again, " "))
		if !ok || strings.Join(twice, "\x00") != strings.Join(words, "\x00") {
			t.Errorf("%q split into %q and then %q", line, words, twice)
		}
	})
}

// FuzzText looks for anything that could reach a terminal.
func FuzzText(f *testing.F) {
	for _, s := range []string{"plain", "\x1b[31m", "a\u202eb", "\xff\xfe", "a\u0085b\u2028c", "tab\tline\n", strings.Repeat("ä", 200)} {
		f.Add(s, 100)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = max(0, min(limit, 1000))
		for _, text := range []string{plain(s, limit), plainLine(s, limit)} {
			if len(text) > limit || !utf8.ValidString(text) {
				t.Errorf("%q", text)
			}
			for _, r := range text {
				if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
					t.Errorf("%q holds %U", text, r)
				}
			}
		}
		if plain(plain(s, limit), limit) != plain(s, limit) {
			t.Error("not the same twice")
		}
		if soundLogin(s) && (s == "" || plainLine(s, maxName) == "" && strings.TrimSpace(s) != "") {
			t.Errorf("login %q", s)
		}
	})
}

func isPlain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || isInvisible(r) })
}

// FuzzLine types into a prompt.
func FuzzLine(f *testing.F) {
	f.Add([]byte("sesame\r"))
	f.Add([]byte("se\x7f\x7f\x7fx\x15y\r"))
	f.Add([]byte("a\x1b[Ab\x1bOPc\n"))
	f.Add([]byte("\x03"))
	f.Fuzz(func(t *testing.T, typed []byte) {
		r := bytes.NewReader(typed)
		line, err := readLine(r, func(string) {})
		if err != nil {
			return
		}
		if len(line) > maxAnswer || strings.ContainsAny(line, "\r\n\x03\x1b\x7f") {
			t.Errorf("%q", line)
		}
		// Nothing typed ahead is taken.
		end := len(typed) - r.Len()
		if c := typed[end-1]; c != '\r' && c != '\n' {
			t.Errorf("stopped after %q", c)
		}
	})
}
