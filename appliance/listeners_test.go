package appliance

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
)

// busy is how long what takes a second may take on a machine with forty things
// to do. That it takes a second is shown where time is not the machine's:
// TestAStreamEndsWithinASecondOfItsToken in package api.
const busy = 20 * time.Second

// openPort serves a house with a bus at a port of its own, and gives the
// secret of a viewer's token.
func openPort(t *testing.T) (h *House, b *Bearers, addr, token string, ctx context.Context) {
	t.Helper()
	h, b, _, ctx = keyedHouse(t)
	h.Now, b.now = time.Now, time.Now
	h.Bus = NewBus(time.Now)
	token = must[api.Token](t)(h.CreateToken(ctx, api.NewToken{Name: "viewer", Role: api.Viewer})).Secret
	l, err := api.ListenTCP(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(context.Background())
	var server sync.WaitGroup
	server.Go(func() {
		if err := api.ServeTCP(serving, l, h, b, nil, nil); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); server.Wait() })
	return h, b, l.Addr().String(), token, ctx
}

// listen asks for the news at a port; they have begun when it returns.
func listen(t *testing.T, addr, token string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(5 * time.Minute)) // a thousand of them, on a busy machine
	fmt.Fprintf(c, "GET /api/v1/events HTTP/1.0\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", addr, token)
	return c
}

func TestAThousandListenersHearEverythingInOrder(t *testing.T) {
	const listeners, pieces = 1000, 10
	h, _, addr, first, ctx := openPort(t)
	tokens := []string{first} // one has a bound of calls under way
	for _, name := range []string{"second", "third"} {
		tokens = append(tokens, must[api.Token](t)(h.CreateToken(ctx, api.NewToken{Name: name, Role: api.Viewer})).Secret)
	}
	var wg sync.WaitGroup
	var begun, heard atomic.Int64
	all := make(chan struct{})
	for i := range listeners {
		c := listen(t, addr, tokens[i%len(tokens)])
		wg.Go(func() {
			defer c.Close()
			r := bufio.NewReader(c)
			for next := 0; next < pieces; {
				line, err := r.ReadString('\n')
				if err != nil {
					t.Error(err)
					return
				}
				if strings.HasPrefix(line, "retry: ") && begun.Add(1) == listeners {
					close(all)
				}
				data, ok := strings.CutPrefix(line, "data: ")
				if !ok {
					continue
				}
				var n api.News
				if err := json.Unmarshal([]byte(data), &n); err != nil || string(n.Data) != fmt.Sprintf(`{"revision":%d}`, next) {
					t.Errorf("piece %d is %s, %v", next, data, err)
					return
				}
				next++
			}
			heard.Add(1)
		})
	}
	<-all
	start := time.Now()
	for i := range pieces {
		h.Bus.Tell(api.NewsFacts, api.Facts{Revision: int64(i)})
	}
	told := time.Since(start)
	wg.Wait()
	if heard.Load() != listeners {
		t.Errorf("%d of %d heard everything", heard.Load(), listeners)
	}
	t.Logf("told in %s, heard by all after %s", told, time.Since(start))
}

// Who does not read keeps nobody waiting; when they read again they hear that
// they have missed some, and then what there is.
func TestASlowListenerKeepsNobodyWaiting(t *testing.T) {
	h, _, addr, token, _ := openPort(t)
	slow, quick := listen(t, addr, token), listen(t, addr, token)
	first := func(c net.Conn) *bufio.Reader {
		r := bufio.NewReader(c)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(line, "retry: ") {
				return r
			}
		}
	}
	lazy, keen := first(slow), first(quick)
	big := strings.Repeat("x", 16<<10)
	const pieces = 1500 // 24 MiB: more than the bus keeps and the kernel holds together
	for i := range pieces {
		h.Bus.Tell(api.NewsAlert, api.Alert{Kind: "test", Object: fmt.Sprint(i), Text: big})
		if line := nextData(t, keen); !strings.Contains(line, fmt.Sprintf(`"object":"%d"`, i)) {
			t.Fatalf("piece %d is %.200s", i, line)
		}
	}
	resets := 0
	for {
		line := nextData(t, lazy)
		if strings.Contains(line, `"kind":"reset"`) {
			resets++
		}
		if strings.Contains(line, fmt.Sprintf(`"object":"%d"`, pieces-1)) {
			break
		}
	}
	if resets != 1 {
		t.Errorf("the slow one was told %d times that it lost some", resets)
	}
}

func nextData(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			return data
		}
	}
}

func TestAListenerOfARevokedTokenIsToldAndCutOff(t *testing.T) {
	h, _, addr, token, ctx := openPort(t)
	c := listen(t, addr, token)
	bufio.NewReader(c).ReadString('\n')
	start := time.Now()
	must[api.Token](t)(h.RevokeToken(ctx, "viewer"))
	rest, err := io.ReadAll(c)
	if passed := time.Since(start); err != nil || passed > busy {
		t.Errorf("%v after %s", err, passed)
	}
	if !strings.Contains(string(rest), "event: end\ndata: ") || !strings.Contains(string(rest), "the token viewer was revoked at") {
		t.Errorf("%s", rest)
	}
	r, _ := http.NewRequestWithContext(ctx, "GET", "http://"+addr+"/api/v1/events", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("afterwards: %d", resp.StatusCode)
	}
}

func TestAListenerIsCutOffWhenTheTokenExpires(t *testing.T) {
	h, _, addr, _, ctx := openPort(t)
	brief := must[api.Token](t)(h.CreateToken(ctx, api.NewToken{Name: "brief", Role: api.Viewer, Expires: "1s"}))
	rest, err := io.ReadAll(listen(t, addr, brief.Secret))
	if late := time.Since(brief.Expires); err != nil || late < 0 || late > busy {
		t.Errorf("%v, %s after its end", err, late)
	}
	if !strings.Contains(string(rest), "the token brief expired at") {
		t.Errorf("%s", rest)
	}
}

func TestNewsOfAKindThatIsNoneAreRefused(t *testing.T) {
	h, _, ctx := newHouse(t)
	h.Bus = NewBus(time.Now)
	for _, kinds := range []string{"entries", "entry,", ",", "entry, stay", strings.Repeat("x", 10_000), api.NewsPulse, api.NewsReset} {
		if _, err := h.News(ctx, api.NewsFilter{Kinds: kinds}); codeOf(err) != api.CodeInvalid || len(err.Error()) > 200 {
			t.Errorf("%.40q: %v", kinds, err)
		}
	}
}
