package pages

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

// A browser is a Chromium on the gateway, which is where 127.0.0.1:5000 is. The
// test speaks to it through a port of its own on this machine.
type browser struct {
	h   *house
	ctx context.Context
}

func newBrowser(h *house) *browser {
	h.t.Helper()
	profile := h.t.TempDir()
	daemon, err := h.Gateway.Start("chromium", "--headless=new", "--hide-scrollbars", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
		"--remote-debugging-port=9222", "--user-data-dir="+profile, "about:blank")
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(daemon.Stop)
	var at string
	h.until("chromium listens", func() bool {
		_, after, _ := strings.Cut(daemon.Output(), "DevTools listening on ws://127.0.0.1:9222")
		line, _, ok := strings.Cut(after, "\n")
		at = line
		return ok
	})
	forward := forwardTo(h.t, h.Gateway, "127.0.0.1:9222")
	ctx, cancel := chromedp.NewRemoteAllocator(context.Background(), "ws://"+forward+at, chromedp.NoModifyURL)
	h.t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	h.t.Cleanup(cancel)
	if err := chromedp.Run(ctx); err != nil {
		h.t.Fatal(err)
	}
	return &browser{h, ctx}
}

// forwardTo listens on this machine for what listens in a namespace.
func forwardTo(t testing.TB, ns *nettest.Namespace, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				up, err := ns.Dial(context.Background(), to)
				if err != nil {
					return
				}
				defer up.Close()
				go io.Copy(up, c)
				io.Copy(c, up)
			}()
		}
	}()
	return l.Addr().String()
}

// A tab is one page of a browser, with cookies of its own. What goes wrong in
// it, and every breach of the content security policy, fails the test.
type tab struct {
	*house
	ctx context.Context

	mu       sync.Mutex
	wrong    []string
	outside  []string // requests to elsewhere
	pardoned []string // parts of what may go wrong
	dialogs  []string
}

func (b *browser) tab() *tab {
	b.h.t.Helper()
	// A profile of its own needs a window of its own, which the library does not
	// ask for.
	all := cdp.WithExecutor(b.ctx, chromedp.FromContext(b.ctx).Browser)
	profile, err := target.CreateBrowserContext().Do(all)
	if err != nil {
		b.h.t.Fatal(err)
	}
	window, err := target.CreateTarget("about:blank").WithBrowserContextID(profile).WithNewWindow(true).Do(all)
	if err != nil {
		b.h.t.Fatal(err)
	}
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithTargetID(window))
	b.h.t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 4*time.Minute)
	b.h.t.Cleanup(cancel)
	tb := &tab{house: b.h, ctx: ctx}
	chromedp.ListenTarget(ctx, tb.heard)
	tb.do(network.Enable(), log.Enable(), runtime.Enable())
	b.h.t.Cleanup(tb.inspect)
	return tb
}

// heard notes what the browser complains about.
func (tb *tab) heard(event any) {
	note := func(to *[]string, format string, args ...any) {
		tb.mu.Lock()
		defer tb.mu.Unlock()
		*to = append(*to, fmt.Sprintf(format, args...))
	}
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.LevelError || e.Entry.Source == log.SourceSecurity || e.Entry.Source == log.SourceViolation {
			note(&tb.wrong, "%s %s: %s (%s)", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL)
		}
	case *runtime.EventExceptionThrown:
		note(&tb.wrong, "exception: %s", e.ExceptionDetails.Error())
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError || e.Type == runtime.APITypeAssert {
			note(&tb.wrong, "console: %s", e.Args[0].Value)
		}
	case *network.EventRequestWillBeSent:
		if u := e.Request.URL; !strings.HasPrefix(u, origin+"/") && !strings.HasPrefix(u, "data:") && !strings.HasPrefix(u, "blob:"+origin) {
			note(&tb.outside, "%s", u)
		}
	case *page.EventJavascriptDialogOpening:
		note(&tb.dialogs, "%s", e.Message)
		go chromedp.Run(tb.ctx, page.HandleJavaScriptDialog(true))
	}
}

// pardon lets something go wrong that a story brings about.
func (tb *tab) pardon(text string) { tb.pardoned = append(tb.pardoned, text) }

func (tb *tab) inspect() {
	tb.mu.Lock()
	defer tb.mu.Unlock()
wrong:
	for _, w := range tb.wrong {
		for _, p := range tb.pardoned {
			if strings.Contains(w, p) {
				continue wrong
			}
		}
		tb.t.Errorf("the browser complains: %s", w)
	}
	for _, u := range tb.outside {
		tb.t.Errorf("the page asked elsewhere: %s", u)
	}
}

func (tb *tab) do(actions ...chromedp.Action) {
	tb.t.Helper()
	if err := tb.try(actions...); err != nil {
		var url, body string
		chromedp.Run(tb.ctx, chromedp.Location(&url), chromedp.Text("body", &body, chromedp.ByQuery))
		tb.t.Fatalf("in the browser: %v\nat %s:\n%s", err, url, body)
	}
}

func (tb *tab) try(actions ...chromedp.Action) error {
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	if chromedp.FromContext(ctx).Target == nil {
		return chromedp.Run(tb.ctx, actions...) // the first call makes the tab, and its context is the tab's
	}
	return chromedp.Run(ctx, actions...)
}

func (tb *tab) open(path string) { tb.t.Helper(); tb.do(chromedp.Navigate(origin + path)) }

// sees waits until a text is on the page, and says how long that took.
func (tb *tab) sees(text string) time.Duration {
	tb.t.Helper()
	return tb.holds(fmt.Sprintf("document.body.innerText.includes(%q)", text))
}

func (tb *tab) seesNot(text string) time.Duration {
	tb.t.Helper()
	return tb.holds(fmt.Sprintf("!document.body.innerText.includes(%q)", text))
}

// holds waits until an expression is true.
func (tb *tab) holds(expression string) time.Duration {
	tb.t.Helper()
	// The library's Poll makes functions from text, which the policy forbids.
	began := time.Now()
	for held := false; !held; {
		err := tb.try(chromedp.Evaluate(expression, &held))
		if err == nil && held {
			break
		}
		if time.Since(began) > patience {
			tb.do(chromedp.Evaluate(expression, &held)) // and fail, with what there is
			if !held {
				tb.t.Fatalf("still waiting after %s: %s\n%s", patience, expression, tb.text("body"))
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(began)
}

func (tb *tab) text(selector string) (text string) {
	tb.t.Helper()
	tb.do(chromedp.Text(selector, &text, chromedp.ByQuery))
	return text
}

func (tb *tab) fill(selector, text string) {
	tb.t.Helper()
	tb.do(chromedp.WaitVisible(selector, chromedp.ByQuery), chromedp.Evaluate(fmt.Sprintf("document.querySelector(%q).value = ''", selector), nil),
		chromedp.SendKeys(selector, text, chromedp.ByQuery))
}

// press clicks the button with a text.
func (tb *tab) press(text string) {
	tb.t.Helper()
	tb.do(chromedp.Click(fmt.Sprintf(`//main//button[normalize-space()=%q] | //main//a[normalize-space()=%[1]q]`, text), chromedp.BySearch, chromedp.NodeVisible))
}

func (tb *tab) signIn(name, password string) {
	tb.t.Helper()
	tb.open("/signin")
	tb.fill("input[name=name]", name)
	tb.fill("input[name=password]", password)
	tb.press("Sign in")
}

// picture keeps what the page looks like, where INSIDE_PICTURES says.
func (tb *tab) picture(name string, width, height int64, scheme string) {
	tb.t.Helper()
	dir := os.Getenv("INSIDE_PICTURES")
	if dir == "" {
		return
	}
	var png []byte
	tb.do(chromedp.EmulateViewport(width, height), emulateScheme(scheme), chromedp.Sleep(300*time.Millisecond), chromedp.FullScreenshot(&png, 100))
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		tb.t.Fatal(err)
	}
}
