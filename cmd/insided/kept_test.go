package main

import (
	"archive/tar"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// bearer makes a token of a role.
func (h *house) bearer(name, role string) string {
	h.t.Helper()
	return insideJSON[api.Token](h, "token", "create", name, "--role", role).Secret
}

// A deskViewer looks at a desktop over the API's port.
type deskViewer struct {
	t    testing.TB
	body io.Reader
}

// watchDesk looks at the desktop of a session with a token, until the test
// ends.
func (h *house) watchDesk(id, token string) *deskViewer {
	h.t.Helper()
	resp, err := h.askLive(id, token)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		h.t.Fatalf("the live view is answered with %s", resp.Status)
	}
	return &deskViewer{h.t, resp.Body}
}

func (h *house) askLive(id, token string) (*http.Response, error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		c, err := h.Gateway.Dial(ctx, addr)
		if err == nil {
			c.SetDeadline(time.Now().Add(2 * patience))
		}
		return c, err
	}}
	r, err := http.NewRequest("GET", "http://"+port+"/api/v1/sessions/"+id+"/live", nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return (&http.Client{Transport: transport}).Do(r)
}

// until returns the next message of a kind.
func (v *deskViewer) until(kind byte) []byte {
	v.t.Helper()
	for {
		var head [5]byte
		if _, err := io.ReadFull(v.body, head[:]); err != nil {
			v.t.Fatalf("the live view ended before a message %c: %v", kind, err)
		}
		b := make([]byte, binary.LittleEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(v.body, b); err != nil {
			v.t.Fatal(err)
		}
		if head[0] == kind {
			return b
		}
	}
}

// deskIsLookedAt proves what an admin is told of a live desktop, and that
// nobody sees it who may not.
func (h *house) deskIsLookedAt(id string) {
	t := h.t
	t.Helper()
	for who, c := range map[string]struct {
		token string
		want  int
	}{"nobody": {"", http.StatusUnauthorized}, "a viewer": {h.bearer("viewer", "viewer"), http.StatusForbidden}} {
		resp, err := h.askLive(id, c.token)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("%s asks for the live view and is answered with %s", who, resp.Status)
		}
	}
	says := func(command, want string) {
		t.Helper()
		if out := h.inside(strings.Fields(command)...); !strings.Contains(out, want) {
			t.Errorf("inside %s does not say %q:\n%s", command, want, out)
		}
	}
	says("sessions --live", " rdp ")
	says("stays", "p.mojski")
	says("session show "+id, "desktop, ")
	if out, err := h.tryInside("watch", id); err == nil || !strings.Contains(out, "--picture") || strings.Count(out, "\n") != 2 {
		t.Errorf("inside watch: %v\n%s", err, out)
	}
	if n := h.numbers()[`inside_sessions{protocol="rdp"}`]; n != 1 {
		t.Errorf("the numbers tell of %v desktops", n)
	}
}

// deskIsKept proves that what is kept of a desktop session that an admin has
// ended is found, taken away and checked like that of any other.
func (h *house) deskIsKept(id string) {
	t := h.t
	t.Helper()
	for _, command := range []string{"search rdp", "search --protocol rdp ended", "sessions", "entries", "stays --all"} {
		if out := h.inside(strings.Fields(command)...); !strings.Contains(out, "p.mojski") || !strings.Contains(out, "test-ssh-server") {
			t.Errorf("inside %s does not tell of the desktop:\n%s", command, out)
		}
	}
	shown := insideJSON[struct {
		api.Session
		Recordings []api.Recording `json:"recordings"`
		Events     []api.Event     `json:"events"`
	}](h, "session", "show", id)
	if s := shown.Session; s.Protocol != "rdp" || s.Login != "ideo" || s.Cause != "ended-by-admin" || s.In == 0 || s.Out == 0 || s.Stay == "" {
		t.Errorf("session %+v", s)
	}
	if len(shown.Recordings) != 1 || !shown.Recordings[0].Desktop || shown.Recordings[0].Size == 0 {
		t.Errorf("recordings %+v", shown.Recordings)
	}
	var kinds []string
	for _, e := range shown.Events {
		kinds = append(kinds, e.Kind)
	}
	if all := strings.Join(kinds, " "); !strings.Contains(all, "login") || !strings.HasSuffix(all, "end") {
		t.Errorf("events %q", all)
	}
	for _, look := range []string{"recording.watch", "recording.export"} {
		rows := h.audit(look)
		if len(rows) == 0 || !strings.Contains(rows[0].Detail, "of p.mojski on test-ssh-server") {
			t.Errorf("audit of %s: %+v", look, rows)
		}
	}
	found, err := h.api().Search(context.Background(), api.Search{Query: "rdp " + id[:12]})
	if err != nil || len(found.Results) != 1 {
		t.Errorf("search: %+v %v", found, err)
	}
	if n := h.numbers()["inside_recording_bytes_total"]; n < float64(shown.Recordings[0].Size) {
		t.Errorf("the numbers tell of %v bytes recorded, the desktop has %d", n, shown.Recordings[0].Size)
	}

	file := filepath.Join(h.dir, "desk.tar")
	h.inside("export", id, file)
	packed, err := tarNames(file)
	if err != nil || !strings.Contains(packed, id+"/"+desktop.Name) || !strings.Contains(packed, id+"/session.json") {
		t.Errorf("the export holds %s: %v", packed, err)
	}

	// The seal is made soon after the end; what is changed later is found.
	h.until("the desktop is sealed", func() bool {
		return len(h.audit("recording.sealed")) > 0
	})
	if out := h.inside("audit", "verify", "--recordings"); strings.Contains(out, "broken") {
		t.Errorf("audit verify:\n%s", out)
	}
	name := filepath.Join(h.sessionDir(id), desktop.Name)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(name, b, 0o640); err != nil {
		t.Fatal(err)
	}
	if out, err := h.tryInside("audit", "verify", "--recordings"); err == nil || !strings.Contains(out, desktop.Name) {
		t.Errorf("a changed desktop is not found: %v\n%s", err, out)
	}
}

// tarNames are the names of the files in a tar, and an error where one cannot
// be read.
func tarNames(file string) (names string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	in := tar.NewReader(f)
	for {
		head, err := in.Next()
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return names, err
		}
		names += head.Name + "\n"
		if filepath.Base(head.Name) == "session.json" {
			var all api.Exported
			if err := json.NewDecoder(in).Decode(&all); err != nil || all.Session.Protocol != "rdp" {
				return names, fmt.Errorf("session.json: %v: %w", all.Session, err)
			}
		}
	}
}
