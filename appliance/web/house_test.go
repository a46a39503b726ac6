package web_test

import (
	"context"
	"errors"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/appliance"
	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/appliance/doctor"
	"github.com/pawelmojski/inside/appliance/web"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store/storetest"
)

// A roleDoor has whoever comes signed in with one role.
type roleDoor struct{ role api.Role }

func (roleDoor) SignIn(context.Context, string, api.Secret, string) (string, error) { return "", nil }
func (d roleDoor) Signed(context.Context, string) (api.Actor, error) {
	return api.Actor{Name: "admin:vera", Role: d.role}, nil
}
func (roleDoor) Seen(context.Context, string)          {}
func (roleDoor) SignOut(context.Context, string) error { return nil }
func (roleDoor) ChangePassword(context.Context, string, api.Secret, api.Secret) error {
	return nil
}

// An idleGate carries nobody.
type idleGate struct{ status api.Status }

func (idleGate) Sessions() map[policy.SessionID]appliance.Traffic  { return nil }
func (idleGate) EndSession(policy.SessionID, policy.EndCause) bool { return false }
func (idleGate) EndStay(policy.StayID, policy.EndCause)            {}
func (g idleGate) Status(context.Context) api.Status               { return g.status }

// newHouse is a real house over a new database.
func newHouse(t *testing.T, status api.Status) *appliance.House {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	quiet := slog.New(slog.DiscardHandler)
	s := storetest.Open(t, storetest.SQLite(t))
	notary, err := appliance.OpenNotary(t.TempDir(), "gate-1", s, root, time.Now, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { notary.Close() })
	var book *policy.Book
	h := &appliance.House{
		Gate: "gate-1", Store: s, Notary: notary, Live: idleGate{status}, Numbers: appliance.NewMetrics(), Lookout: appliance.NewLookout("gate-1", quiet, func(api.Alert) {}),
		Records: root, Now: time.Now, Around: func(context.Context) doctor.Facts { return doctor.Facts{NoRoom: errors.New("the disk is full")} },
		Book: func() *policy.Book { return book },
		Refresh: func(ctx context.Context) error {
			facts, err := s.Facts(ctx)
			if err == nil {
				book, err = policy.NewBook(facts)
			}
			return err
		},
	}
	if err := h.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

// A visitor looks at the pages of a house in a role.
type visitor struct {
	*testing.T
	pages *web.Pages
}

func visitorOf(t *testing.T, h *appliance.House, role api.Role) visitor {
	return visitor{t, web.New(t.Context(), api.NewLocalClient(t.Context(), h), roleDoor{role})}
}

// does asks for a page or sends a form, and returns what it says.
func (v visitor) does(method, path string, want int) string {
	v.Helper()
	r := httptest.NewRequest(method, "http://127.0.0.1:5000"+path, nil)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Cookie", "inside_signin=ins_"+strings.Repeat("a", 52))
	w := httptest.NewRecorder()
	v.pages.ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		v.Fatal(err)
	}
	if w.Code != want {
		v.Fatalf("%s %s: %d, want %d: %s", method, path, w.Code, want, body)
	}
	return html.UnescapeString(string(body))
}

func (v visitor) sees(path string, sentences ...string) string {
	v.Helper()
	body := v.does(http.MethodGet, path, http.StatusOK)
	for _, s := range sentences {
		if !strings.Contains(body, s) {
			v.Errorf("%s does not say %q: %s", path, s, body)
		}
	}
	return body
}

func (v visitor) seesNot(path string, sentences ...string) {
	v.Helper()
	body := v.does(http.MethodGet, path, http.StatusOK)
	for _, s := range sentences {
		if strings.Contains(body, s) {
			v.Errorf("%s says %q", path, s)
		}
	}
}
