package appliance

import (
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// shells are what /bin/sh may be, and what a login shell may hand it on.
func shells(t *testing.T) map[string][]string {
	found := map[string][]string{}
	for name, args := range map[string][]string{"dash": {"dash", "-c"}, "bash": {"bash", "-c"}, "busybox": {"busybox", "sh", "-c"}} {
		if _, err := exec.LookPath(args[0]); err != nil {
			if name != "busybox" { // which few machines have
				t.Fatalf("install %s: %v", args[0], err)
			}
			continue
		}
		found[name] = args
	}
	return found
}

func testLine(t *testing.T, seed byte) (line, blob string) {
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(seed), ed25519.SeedSize)))
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return enrollLine([]netip.Prefix{netip.MustParsePrefix("10.50.0.1/32"), netip.MustParsePrefix("fd00::/64")}, public, "p.mojski"), keyBlob(public)
}

func TestTheScriptChangesOneLineAndNothingElse(t *testing.T) {
	line, blob := testLine(t, 'a')
	const others = "# a comment\nssh-ed25519 AAAA other@host\n"
	for name, shell := range shells(t) {
		for _, story := range []struct {
			name   string
			before *string // nil: there is no file
			add    string
			after  string
			remove string
			left   string
		}{
			{"no file, no folder", nil, "added", line + "\n", "removed", ""},
			{"an empty file", new(""), "added", line + "\n", "removed", ""},
			{"other keys", new(others), "added", others + line + "\n", "removed", others},
			{"a last line without an end", new("# x"), "added", "# x\n" + line + "\n", "removed", "# x\n"},
			{"the line is there", new(line + "\n" + others), "already", line + "\n" + others, "removed", others},
			{"an older line of ours", new(`from="10.9.9.9" ssh-ed25519 ` + blob + " inside:p.mojski\n"), "added",
				`from="10.9.9.9" ssh-ed25519 ` + blob + " inside:p.mojski\n" + line + "\n", "removed", ""},
		} {
			t.Run(name+" "+story.name, func(t *testing.T) {
				home := t.TempDir()
				file := filepath.Join(home, ".ssh", "authorized_keys")
				mode := os.FileMode(0o600)
				if story.before != nil {
					mode = 0o644
					do(t, os.Mkdir(filepath.Dir(file), 0o700))
					do(t, os.WriteFile(file, []byte(*story.before), mode))
				}
				expect := func(command, answer, text string) {
					t.Helper()
					if got, out := runScript(t, shell, home, command); got != answer {
						t.Fatalf("says %q, want %q\n%s", got, answer, out)
					}
					if got, err := os.ReadFile(file); string(got) != text || err != nil {
						t.Errorf("the file is %q (%v), want %q", got, err, text)
					}
					if st, err := os.Stat(file); err != nil || st.Mode().Perm() != mode {
						t.Errorf("mode %v, want %v", st.Mode(), mode)
					}
					if left, _ := os.ReadDir(filepath.Dir(file)); len(left) != 1 {
						t.Errorf("something was left behind: %v", left)
					}
				}
				expect(enrollCommand("mark", line), story.add, story.after)
				expect(enrollCommand("mark", line), "already", story.after)
				expect(unenrollCommand("mark", blob), story.remove, story.left)
				expect(unenrollCommand("mark", blob), "absent", story.left)
			})
		}
	}
}

func TestTheScriptLeavesHostileHomesAlone(t *testing.T) {
	line, blob := testLine(t, 'b')
	for name, shell := range shells(t) {
		for story, lay := range map[string]func(home, target string) (want string){
			"the file is a link": func(home, target string) string {
				do(t, os.Mkdir(filepath.Join(home, ".ssh"), 0o700))
				do(t, os.Symlink(target, filepath.Join(home, ".ssh", "authorized_keys")))
				return "link"
			},
			"the folder is a link": func(home, target string) string {
				do(t, os.Symlink(filepath.Dir(target), filepath.Join(home, ".ssh")))
				return "link"
			},
			"the folder is a file": func(home, target string) string {
				do(t, os.WriteFile(filepath.Join(home, ".ssh"), nil, 0o600))
				return ""
			},
			"the file is a folder": func(home, target string) string {
				do(t, os.MkdirAll(filepath.Join(home, ".ssh", "authorized_keys"), 0o700))
				return "readonly"
			},
			"the file is a pipe": func(home, target string) string {
				do(t, os.Mkdir(filepath.Join(home, ".ssh"), 0o700))
				out, err := exec.Command("mkfifo", filepath.Join(home, ".ssh", "authorized_keys")).CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				return "readonly"
			},
			"there is no home": func(home, target string) string {
				do(t, os.Remove(home))
				return ""
			},
		} {
			t.Run(name+" "+story, func(t *testing.T) {
				dir := t.TempDir()
				home, target := filepath.Join(dir, "home"), filepath.Join(dir, "etc", "authorized_keys")
				do(t, os.Mkdir(home, 0o700))
				do(t, os.Mkdir(filepath.Dir(target), 0o700))
				do(t, os.WriteFile(target, []byte("precious "+blob+"\n"), 0o600))
				want := lay(home, target)
				for _, command := range []string{enrollCommand("mark", line), unenrollCommand("mark", blob)} {
					got, out := runScript(t, shell, home, command)
					if got != want && got != "absent" {
						t.Errorf("says %q, want %q\n%s", got, want, out)
					}
				}
				if got, _ := os.ReadFile(target); string(got) != "precious "+blob+"\n" {
					t.Errorf("what the link points to is %q", got)
				}
				if left, _ := os.ReadDir(filepath.Dir(target)); len(left) != 1 {
					t.Errorf("something was left behind: %v", left)
				}
			})
		}
	}
}

func TestAFullDiskLeavesTheOldFile(t *testing.T) {
	line, _ := testLine(t, 'c')
	for name, shell := range shells(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			// 64 KiB in all, most of it taken.
			script := fmt.Sprintf("mount -t tmpfs -o size=64k none %[1]s && mkdir %[1]s/.ssh && echo old >%[1]s/.ssh/authorized_keys && "+
				"{ cat /dev/zero >%[1]s/filler || :; } 2>/dev/null; HOME=%[1]s; export HOME; %[2]s; ls -A %[1]s/.ssh; cat %[1]s/.ssh/authorized_keys", dir,
				"( "+enrollCommand("mark", line)+" )")
			out, err := exec.Command("unshare", append([]string{"--mount"}, append(shell, script)...)...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if enrollAnswer("mark", string(out)) != "" || !strings.HasSuffix(string(out), "authorized_keys\nold\n") || strings.Contains(string(out), "\n.inside") {
				t.Errorf("it says:\n%s", out)
			}
		})
	}
}

func TestTheAnswerIsFoundInWhateverAShellSays(t *testing.T) {
	for output, want := range map[string]string{
		"":                              "",
		"mark added\n":                  "added",
		"welcome!\r\nmark added\r\nbye": "added",
		"mark":                          "",
		"marked added\n":                "",
		"the mark added\n":              "",
		"mark \n":                       "",
		strings.Repeat("x", 1000) + "\nmark link": "link",
	} {
		if got := enrollAnswer("mark", output); got != want {
			t.Errorf("%.40q: %q, want %q", output, got, want)
		}
	}
}

// The command must come through any login shell: no quote inside the quotes,
// nothing csh would take for a word of its history, one line.
func TestTheCommandIsPlainForEveryLoginShell(t *testing.T) {
	line, blob := testLine(t, 'd')
	for _, command := range []string{enrollCommand("mark", line), unenrollCommand("mark", blob)} {
		inner, ok := strings.CutPrefix(command, "exec /bin/sh -c '")
		inner, end := strings.CutSuffix(inner, "'")
		if !ok || !end || strings.ContainsAny(inner, "'!\n\r\x00") || strings.Contains(inner, `\\`) || strings.Contains(inner, `\'`) {
			t.Errorf("not plain: %s", command)
		}
	}
}

// runScript runs a command as sshd would, in a home, and returns its answer.
func runScript(t *testing.T, shell []string, home, command string) (answer, output string) {
	t.Helper()
	// /bin/sh is this machine's; the same script is run by the shell under test.
	command = strings.Replace(command, "/bin/sh -c", strings.Join(shell, " "), 1)
	cmd := exec.Command(shell[0], append(shell[1:], command)...)
	cmd.Env = []string{"HOME=" + home, "PATH=/usr/bin:/bin"}
	out, _ := cmd.CombinedOutput() // it may fail: then there is no answer
	return enrollAnswer("mark", string(out)), string(out)
}

func do(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
