package appliance

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/crypto/ssh"
)

// What the gate runs in an account to put its line into authorized_keys, or to
// take it out. It is one line for /bin/sh, quoted with single quotes and
// without a single quote, a backslash before one, an exclamation mark or a
// line end in it, so that every login shell hands it on as it is: sh, bash,
// zsh, fish and csh. It uses what dash and busybox have.
//
// The file is written beside its place and renamed there: whoever reads it
// sees the old one or the new one, and a full disk leaves the old one. Mode and
// owner stay. A link, or a file the login may not write, is somebody's
// arrangement and stays as it is.
const (
	enrollPrologue = `set -eu; umask 077; LC_ALL=C; export LC_ALL; ` +
		`say() { echo "MARK $1"; exit 0; }; ` +
		`cd "$HOME"; f=.ssh/authorized_keys; t=.ssh/.inside.$$.MARK; ` +
		`if [ -h .ssh ] || [ -h "$f" ]; then say link; fi; `

	enrollFile = `if [ -e "$f" ]; then if [ -f "$f" ] && [ -w "$f" ] && [ -w .ssh ]; then :; else say readonly; fi; fi; ` +
		`trap "rm -f $t" 0; trap "exit 1" 1 2 15; set -C; : >"$t"; set +C; `

	enrollAdd = enrollPrologue +
		`if [ -f "$f" ] && grep -F -q -x -e "LINE" "$f"; then say already; fi; ` +
		`if [ -d .ssh ]; then :; else mkdir .ssh; fi; ` + enrollFile +
		`if [ -e "$f" ]; then cp -p "$f" "$t"; if [ -s "$t" ] && [ -n "$(tail -c 1 "$t")" ]; then echo >>"$t"; fi; fi; ` +
		`echo "LINE" >>"$t"; mv -f "$t" "$f"; ` +
		`if command -v restorecon >/dev/null 2>&1; then restorecon -F .ssh "$f" >/dev/null 2>&1 || :; fi; ` +
		`say added`

	enrollRemove = enrollPrologue +
		`if [ -f "$f" ] && grep -F -q -e "BLOB" "$f"; then :; else say absent; fi; ` + enrollFile +
		`cp -p "$f" "$t"; grep -v -F -e "BLOB" "$f" >"$t" || [ $? -eq 1 ]; mv -f "$t" "$f"; ` +
		`say removed`
)

// enrollCommand puts a line into authorized_keys. mark is what the answer
// begins with, random, so that nothing else is taken for it.
func enrollCommand(mark, line string) string { return inShell(enrollAdd, mark, "LINE", line) }

// unenrollCommand takes every line with a key out.
func unenrollCommand(mark, blob string) string { return inShell(enrollRemove, mark, "BLOB", blob) }

func inShell(script, mark, name, value string) string {
	return "exec /bin/sh -c '" + strings.NewReplacer("MARK", mark, name, strings.ReplaceAll(value, `"`, `\"`)).Replace(script) + "'"
}

// enrollLine is the line of authorized_keys: the key, from where it may be
// used, and whose it is. The options are the oldest there are (OpenSSH 2.x):
// a server that does not know one refuses the key. A terminal and forwarding
// stay as the server has them; agents and X11 never get past the gate.
func enrollLine(from []netip.Prefix, public ssh.PublicKey, person string) string {
	var where []string
	for _, p := range from {
		if p.IsSingleIP() {
			where = append(where, p.Addr().String())
		} else {
			where = append(where, p.String())
		}
	}
	return fmt.Sprintf(`from="%s",no-agent-forwarding,no-X11-forwarding %s inside:%s`,
		strings.Join(where, ","), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public))), person)
}

// keyBlob is the part of a line that is the key alone.
func keyBlob(public ssh.PublicKey) string {
	return strings.Fields(string(ssh.MarshalAuthorizedKey(public)))[1]
}

// enrollAnswer finds what the command said in whatever the login shell printed
// around it; "" is nothing.
func enrollAnswer(mark, output string) string {
	for line := range strings.Lines(output) {
		if answer, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), mark+" "); ok {
			return answer
		}
	}
	return ""
}

// enrollFailures are the answers that change nothing.
var enrollFailures = map[string]string{
	"link":     "authorized_keys or its folder is a symbolic link, which the gate leaves alone",
	"readonly": "authorized_keys is not a file the login may write",
	"":         "the account does not run the gate's command: a forced command, no shell, no home, or a full disk",
}
