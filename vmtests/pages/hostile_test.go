package pages

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/netfilter/nettest"
)

// payloads are the lines of testdata/hostile.txt.
func payloads(t *testing.T) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "hostile.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSuffix(line, "\n"); !strings.HasPrefix(line, "# ") {
			lines = append(lines, line)
		}
	}
	if len(lines) < 200 {
		t.Fatalf("only %d payloads", len(lines))
	}
	return lines
}

// Whatever strangers and careless admins put into names, logins, reasons and
// terminals stands on the pages as text: nothing runs, nothing is asked for
// elsewhere, no element is there that a page did not make.
func TestWhatStrangersWriteIsTextOnEveryPage(t *testing.T) {
	h := newHouse(t)
	h.know()
	lines := payloads(t)
	h.spread(lines)
	session := h.tellTerminal(lines)
	tb := newBrowser(h).tab()
	tb.pardon("status of 4")
	tb.signIn("the-admin", rolePassword)
	tb.sees("Last entries")
	paths := []string{
		"/", "/grants?all=1", "/grants/1", "/grants/7", "/persons", "/persons/p0", "/persons/p3", "/servers", "/servers/prod-db-01", "/groups", "/groups/group/g0", "/groups/person-group/p0",
		"/search", "/search?status=denied", "/search?login=" + url.QueryEscape(lines[0]), "/account", "/sessions/" + session,
		"/audit", "/gate", "/stays",
	}
	for i, line := range lines {
		if i%16 == 0 { // what is typed comes back
			q := url.QueryEscape(line)
			paths = append(paths, "/search?q="+q+"&person="+q+"&from="+q, "/grants/new?who="+q+"&step=where", "/grants/new?who=alice&where="+q+"&step=how",
				"/grants/new?who=alice&where=prod-db-01&step=review&reason="+q+"&logins="+q, "/grants?person="+q, "/persons/"+url.PathEscape(line), "/signin?next="+q, "/?done="+q,
				"/audit?by="+q+"&object="+q+"&from="+q, "/stays?person="+q, "/stays?from="+q)
		}
	}
	for _, path := range paths {
		if strings.Contains(path, "%2F") || strings.Contains(path, "%5C") && strings.HasPrefix(path, "/persons") {
			continue // a path that is not tidy is another test's
		}
		tb.open(path)
		tb.harmless(path)
	}
	// What is pushed and what is played are put into the page by scripts.
	tb.open("/")
	tb.do(chromedp.Sleep(500 * time.Millisecond))
	tb.harmless("the pushed dashboard")
	tb.open("/sessions/" + session)
	tb.sees("Playback")
	tb.fill("input[name=find]", "the very end")
	tb.press("Next")
	tb.holds(`document.querySelector("output").textContent.startsWith("at ")`)
	tb.do(chromedp.Sleep(500 * time.Millisecond)) // it is drawn
	tb.harmless("the player")
	if _, err := os.Stat("/tmp/owned"); err == nil {
		t.Error("a payload ran in a shell")
	}
}

// harmless looks whether anything ran, or is on the page that should not be.
func (tb *tab) harmless(where string) {
	tb.t.Helper()
	var wrong string
	tb.do(chromedp.Evaluate(`(() => {
		if (window.owned !== undefined) return "a payload ran";
		const ours = location.origin + "/static/";
		for (const e of document.querySelectorAll("*")) {
			for (const a of e.attributes) if (a.name.startsWith("on") || a.name.startsWith("hx-on")) return e.outerHTML.slice(0, 200);
			if (["SCRIPT", "LINK", "IFRAME", "OBJECT", "EMBED", "BASE", "IMG"].includes(e.nodeName) && !(e.src || e.href || "").startsWith(ours)) return e.outerHTML.slice(0, 200);
			if (e.nodeName === "A" && !e.href.startsWith(location.origin + "/") && e.getAttribute("href") !== "#main") return e.outerHTML.slice(0, 200);
			if (e.nodeName === "FORM" && !new URL(e.getAttribute("action") || "/", location.href).href.startsWith(location.origin + "/")) return e.outerHTML.slice(0, 200);
		}
		if (document.documentElement.scrollWidth > innerWidth + 1) return "it is wider than the window: " + document.documentElement.scrollWidth;
		return "";
	})()`, &wrong))
	if wrong != "" {
		tb.t.Errorf("%s: %s", where, wrong)
	}
	tb.mu.Lock()
	defer tb.mu.Unlock()
	for _, d := range tb.dialogs {
		tb.t.Errorf("%s: a dialog says %q", where, d)
	}
	tb.dialogs = nil
}

// spread puts each payload wherever a stranger or an admin can put one. What
// the gate refuses is refused; what it takes is on its pages.
func (h *house) spread(lines []string) {
	h.t.Helper()
	ctx, house := context.Background(), h.api()
	taken := 0
	for i, line := range lines {
		if _, err := house.AddPerson(ctx, api.NewPerson{Name: fmt.Sprint("p", i), FullName: line, Addresses: []api.NewAddress{{Address: netip.AddrFrom4([4]byte{10, 99, byte(i / 250), byte(i % 250)}).String(), Label: line}}}); err == nil {
			taken++
		} else if _, err := house.AddPerson(ctx, api.NewPerson{Name: fmt.Sprint("p", i)}); err != nil {
			h.t.Fatal(err)
		}
		if i%4 > 0 {
			continue
		}
		house.CreateGroup(ctx, api.ServerGroup, api.NewGroup{Name: fmt.Sprint("g", i), Description: line})
		house.CreateGroup(ctx, api.PersonGroup, api.NewGroup{Name: fmt.Sprint("p", i), Description: line})
		house.CreateGrant(ctx, api.NewGrant{Person: "alice", Server: "prod-db-01", Logins: []string{"ideo"}, Duration: "8h", Reason: line})
	}
	if taken < len(lines)/2 {
		h.t.Errorf("only %d of %d payloads are taken as a full name", taken, len(lines))
	}
	var knocking sync.WaitGroup
	turn := make(chan struct{}, 4)
	for i, line := range lines {
		if i%2 > 0 {
			continue
		}
		knocking.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			h.knock(line)
		})
	}
	knocking.Wait()
	denied, err := house.Entries(ctx, api.EntryFilter{Answer: "denied", Limit: 1000})
	if err != nil || len(denied) < len(lines)/4 {
		h.t.Errorf("%d entries denied, %v", len(denied), err)
	}
}

// knock tries to log in as a login that nobody may have.
func (h *house) knock(login string) {
	addr := netip.AddrPortFrom(nettest.BackendIP4, 22).String()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := h.Client.Dial(ctx, addr)
	if err != nil {
		return
	}
	defer conn.Close()
	ssh.NewClientConn(conn, addr, &ssh.ClientConfig{
		User: login, Auth: []ssh.AuthMethod{ssh.Password("x")}, HostKeyCallback: func(string, net.Addr, ssh.PublicKey) error { return nil },
		ClientVersion: "SSH-2.0-x",
	})
}

// tellTerminal has a server write every payload, and escape sequences that ask
// terminals for more than to draw, into a recorded terminal.
func (h *house) tellTerminal(lines []string) (session string) {
	h.t.Helper()
	sequences := []string{
		"\x1b]0;<script>window.owned=1</script>\x07", "\x1b]52;c;b3duZWQ=\x07", "\x1b]8;;javascript:window.owned=1\x07click\x1b]8;;\x07", "\x1b]1337;File=inline=1:AAAA\x07",
		"\x1bP$q\"p\x1b\\", "\x1b_Gf=100;AAAA\x1b\\", "\x1b^private\x1b\\", "\x1b[6n", "\x1b[c", "\x1b[>c", "\x1b]11;?\x07", "\x1b[21t", "\x9d52;c;b3duZWQ=\x9c", "\x1b[?1049h\x1b[?1049l", "\x1b#8\x1bc",
	}
	file := filepath.Join(h.sshd.Home("ideo"), "hostile")
	if err := os.WriteFile(file, []byte(strings.Join(append(sequences, lines...), "\r\n")+"\r\nthe very end\r\n"), 0o644); err != nil {
		h.t.Fatal(err)
	}
	term := h.ssh()
	stay := h.inside1()
	session = h.session(stay.ID).ID
	term.typed(h, "cat hostile; exit\n")
	<-term.done
	h.until("the session has ended", func() bool {
		s, err := h.api().Session(context.Background(), session)
		return err == nil && !s.End.IsZero()
	})
	return session
}
