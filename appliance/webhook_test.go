package appliance

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/appliance/config"
)

const hookSecret = "t0p-s3cret"

// A hooked webhook runs until the test ends; its log and what became of the
// alerts are kept.
type hooked struct {
	*webhook
	mu      sync.Mutex
	log     bytes.Buffer
	results chan string
}

func (h *hooked) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log.Write(p)
}

func (h *hooked) logged() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log.String()
}

func startHook(t *testing.T, url, token string) *hooked {
	t.Helper()
	h := &hooked{results: make(chan string, 1000)}
	c := config.Alerts{Webhook: url}
	if token != "" {
		c.WebhookTokenFile = filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(c.WebhookTokenFile, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if h.webhook, err = newWebhook(c, slog.New(slog.NewTextHandler(h, nil)), func(r string) { h.results <- r }); err != nil {
		t.Fatal(err)
	}
	h.pause = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { h.run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return h
}

// becomes waits for what becomes of the next alerts.
func (h *hooked) becomes(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case got := <-h.results:
			if got != w {
				t.Fatalf("%s, want %s\n%s", got, w, h.logged())
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("nothing becomes of the alert, want %s", w)
		}
	}
}

func TestAnAlertIsPosted(t *testing.T) {
	got := make(chan *http.Request, 10)
	bodies := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r
		bodies <- string(body)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	h := startHook(t, server.URL+"/services/in-the-path", hookSecret)
	h.push(api.Alert{Gate: "gate-1", Kind: api.AlertGrantEnding, Object: "grant 42", Text: "ends", Begin: noon})
	h.push(api.Alert{Gate: "gate-1", Kind: api.AlertGrantEnding, Object: "grant 42", Text: "ends", Begin: noon, End: noon.Add(time.Hour)})
	h.becomes(t, "delivered", "delivered")
	r := <-got
	if r.Method != "POST" || r.URL.Path != "/services/in-the-path" || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Authorization") != "Bearer "+hookSecret {
		t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
	want := `{"gate":"gate-1","kind":"grant-ending","object":"grant 42","text":"ends","begin":"2026-11-22T12:00:00Z"}`
	if body := <-bodies; body != want {
		t.Errorf("%s, want %s", body, want)
	}
	var second api.Alert
	if err := json.Unmarshal([]byte(<-bodies), &second); err != nil || !second.End.Equal(noon.Add(time.Hour)) {
		t.Errorf("the end comes as %+v, %v", second, err)
	}
	if log := h.logged(); log != "" {
		t.Errorf("logged %s", log)
	}
}

func TestAWebhookThatFailsIsTriedAgainAndThenGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   []string
	}{
		"500 twice": {failing(2, http.StatusInternalServerError), []string{"failed", "failed", "delivered"}},
		"500 for ever": {failing(1<<30, http.StatusInternalServerError),
			[]string{"failed", "failed", "failed", "failed", "failed", "failed", "failed", "failed", "failed", "given-up"}},
		"cut off": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, []string{"failed", "failed"}},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, []string{"delivered"}},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.answer)
			defer server.Close()
			h := startHook(t, server.URL+"/in-the-path", hookSecret)
			h.push(api.Alert{Kind: api.AlertDenialsSpike})
			h.becomes(t, c.want...)
			if log := h.logged(); strings.Contains(log, hookSecret) || strings.Contains(log, "in-the-path") {
				t.Errorf("the log has a secret: %s", log)
			}
		})
	}
}

func failing(times, status int) http.HandlerFunc {
	var mu sync.Mutex
	return func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if times > 0 {
			times--
			w.WriteHeader(status)
		}
	}
}

func TestADeadWebhookIsNamedWithoutItsPath(t *testing.T) {
	server := httptest.NewServer(nil)
	url := server.URL
	server.Close()
	h := startHook(t, url+"/in-the-path", "")
	h.push(api.Alert{Kind: api.AlertDenialsSpike})
	h.becomes(t, "failed")
	if log := h.logged(); strings.Contains(log, "in-the-path") || !strings.Contains(log, strings.TrimPrefix(url, "http://")) || !strings.Contains(log, "refused") {
		t.Errorf("logged %s", log)
	}
}

func TestNeitherAlertNorTokenFollowsARedirect(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	h := startHook(t, server.URL, hookSecret)
	h.push(api.Alert{Kind: api.AlertDenialsSpike})
	h.becomes(t, "failed", "failed")
}

func TestAWebhookNobodyVouchesForIsNotTold(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the alert was told") }))
	defer server.Close()
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	h := startHook(t, server.URL, hookSecret)
	h.push(api.Alert{Kind: api.AlertDenialsSpike})
	h.becomes(t, "failed")
	if log := h.logged(); !strings.Contains(log, "certificate") {
		t.Errorf("logged %s", log)
	}
}

func TestASlowWebhookHoldsNobodyUp(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(release)
	h := startHook(t, server.URL, "")
	began := time.Now()
	for range 3 * hookRoom {
		h.push(api.Alert{Kind: api.AlertDenialsSpike})
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %s to tell a slow webhook", took)
	}
	h.webhook.mu.Lock()
	waiting := len(h.waiting)
	h.webhook.mu.Unlock()
	if waiting > hookRoom {
		t.Errorf("%d alerts wait", waiting)
	}
	h.becomes(t, "given-up")
}

// With a listener that takes the connection and never speaks, each try ends
// after its time, and the pauses grow.
func TestASilentWebhookIsGivenTenSecondsEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, err := newWebhook(config.Alerts{Webhook: "http://127.0.0.1:1/x"}, slog.New(slog.DiscardHandler), func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		var tries []time.Time
		w.client.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
			tries = append(tries, time.Now())
			near, far := net.Pipe()
			go func() { io.Copy(io.Discard, far); far.Close() }()
			return near, nil
		}
		began := time.Now()
		if !w.deliver(t.Context(), api.Alert{}) {
			t.Error("the webhook stops")
		}
		w.client.CloseIdleConnections()
		if len(tries) != hookTries {
			t.Fatalf("%d tries", len(tries))
		}
		if first := tries[1].Sub(tries[0]); first != hookPatient+firstPause {
			t.Errorf("the second try comes after %s", first)
		}
		if took := time.Since(began); took < 10*time.Minute || took > 11*time.Minute {
			t.Errorf("given up after %s", took)
		}
	})
}

func TestATokenFileMustHoldAToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	c := config.Alerts{Webhook: "https://hooks.example/x", WebhookTokenFile: path}
	for _, text := range []string{"", "\n", "two\nlines", "a b", "\x00", strings.Repeat("x", maxToken+1), "ż"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := newWebhook(c, nil, nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%.20q is taken for a token: %v", text, err)
		}
	}
	os.Remove(path)
	if _, err := newWebhook(c, nil, nil); err == nil || !strings.Contains(err.Error(), "alerts.webhook_token_file") {
		t.Errorf("a missing file: %v", err)
	}
	if w, err := newWebhook(config.Alerts{}, nil, nil); w != nil || err != nil {
		t.Errorf("no webhook is %v, %v", w, err)
	}
}
