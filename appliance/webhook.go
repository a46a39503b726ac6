package appliance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/appliance/config"
)

const (
	hookRoom    = 256 // alerts that wait; at the limit the oldest is given up
	hookTries   = 10  // of one alert, over about ten minutes
	hookPatient = 10 * time.Second
	firstPause  = time.Second
	longPause   = 5 * time.Minute
	maxToken    = 4 << 10
)

// A webhook tells the alerts to another program, in order, each once it is
// taken: POST, JSON, one alert. It never holds up who tells it. Its address is
// treated as a secret, because many have one in their path.
type webhook struct {
	url    string
	host   string        // for the log
	token  string        // path of the file
	pause  time.Duration // after the first failure
	log    *slog.Logger
	client *http.Client
	ended  func(result string)

	mu      sync.Mutex
	waiting []api.Alert
	more    chan struct{}
}

// newWebhook returns nil where there is none to tell.
func newWebhook(c config.Alerts, log *slog.Logger, ended func(string)) (*webhook, error) {
	if c.Webhook == "" {
		return nil, nil
	}
	u, err := url.Parse(c.Webhook)
	if err != nil {
		return nil, errors.New("alerts.webhook is not a URL")
	}
	w := &webhook{
		url: c.Webhook, host: u.Host, token: c.WebhookTokenFile, pause: firstPause, log: log, ended: ended, more: make(chan struct{}, 1),
		client: &http.Client{
			Timeout: hookPatient,
			Transport: &http.Transport{
				DialContext:            (&net.Dialer{Timeout: hookPatient}).DialContext,
				TLSHandshakeTimeout:    hookPatient,
				MaxResponseHeaderBytes: 64 << 10,
				MaxIdleConns:           1,
				IdleConnTimeout:        time.Minute,
			},
			// Whoever answers in its place must not send the alert, or the
			// token, elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	_, err = w.secret()
	return w, err
}

// push takes an alert in.
func (w *webhook) push(a api.Alert) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) >= hookRoom {
		w.log.Error("alert not told to the webhook: too many wait", "webhook", w.host, "alert", w.waiting[0].Kind, "object", w.waiting[0].Object)
		w.waiting = w.waiting[1:]
		w.ended("given-up")
	}
	w.waiting = append(w.waiting, a)
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// inherit takes over what the one before has not told; either may be nil.
func (w *webhook) inherit(before *webhook) {
	for before != nil {
		a, ok := before.next()
		if !ok {
			return
		}
		w.push(a)
	}
}

// tellWebhook tells alerts to the webhook there is until ctx ends.
func (a *Appliance) tellWebhook(ctx context.Context) {
	for ctx.Err() == nil {
		_, changed := a.settings.now()
		hook := a.webhook.Load()
		while, stop := context.WithCancel(ctx)
		var telling sync.WaitGroup
		if hook != nil {
			telling.Go(func() { hook.run(while) })
		}
		for same := true; same; {
			select {
			case <-ctx.Done():
				same = false
			case <-changed:
				_, changed = a.settings.now()
				same = a.webhook.Load() == hook
			}
		}
		stop()
		telling.Wait()
		a.webhook.Load().inherit(hook) // what was being told when it was stopped
	}
}

// run tells what waits until ctx ends.
func (w *webhook) run(ctx context.Context) {
	defer w.client.CloseIdleConnections()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.more:
		}
		for {
			a, ok := w.next()
			if !ok {
				break
			}
			if !w.deliver(ctx, a) {
				w.mu.Lock()
				w.waiting = append([]api.Alert{a}, w.waiting...)
				w.mu.Unlock()
				return
			}
		}
	}
}

func (w *webhook) next() (api.Alert, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 {
		return api.Alert{}, false
	}
	a := w.waiting[0]
	w.waiting = w.waiting[1:]
	return a, true
}

// deliver tells one alert, again and again while that fails, and reports
// whether to go on.
func (w *webhook) deliver(ctx context.Context, a api.Alert) bool {
	pause := w.pause
	for try := 1; ; try++ {
		err := w.post(ctx, a)
		if err == nil {
			w.ended("delivered")
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if try == hookTries {
			w.log.Error("alert not told to the webhook", "webhook", w.host, "alert", a.Kind, "object", a.Object, "tries", try, "error", err)
			w.ended("given-up")
			return true
		}
		if try == 1 {
			w.log.Warn("the webhook does not take an alert: it is tried again", "webhook", w.host, "error", err)
		}
		w.ended("failed")
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
		pause = min(2*pause, longPause)
	}
}

func (w *webhook) post(ctx context.Context, a api.Alert) error {
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, "POST", w.url, bytes.NewReader(body))
	if err != nil {
		return errors.New("not a URL")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "inside")
	token, err := w.secret()
	if err != nil {
		return err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := w.client.Do(r)
	if err != nil {
		var at *url.Error
		if errors.As(err, &at) {
			err = at.Err // without the URL
		}
		return err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection serves again
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("it answered %d", resp.StatusCode)
	}
	return nil
}

// secret reads the token, each time, so that it can be changed.
func (w *webhook) secret() (string, error) {
	if w.token == "" {
		return "", nil
	}
	f, err := os.Open(w.token)
	if err != nil {
		return "", fmt.Errorf("alerts.webhook_token_file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil {
		return "", fmt.Errorf("alerts.webhook_token_file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || len(text) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("alerts.webhook_token_file: %s holds no token: one line of printable characters", w.token)
	}
	return token, nil
}
