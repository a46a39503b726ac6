package appliance

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/store"
)

const goodPassword = "correct horse battery"

// newSignins is a house with an admin for each of the roles, and a clock to turn.
func newSignins(t *testing.T, roles ...api.Role) (h *House, g *Signins, ctx context.Context, turn func(time.Duration)) {
	t.Helper()
	h, _, ctx = newHouse(t)
	now := time.Now()
	h.Now = func() time.Time { return now }
	for _, role := range roles {
		if _, err := h.AddAdmin(ctx, api.NewNamedAdmin{Name: "the-" + string(role), Role: role, Password: api.Secret(goodPassword)}); err != nil {
			t.Fatal(err)
		}
	}
	return h, NewSignins(h.Store, h.Now, slog.New(slog.DiscardHandler)), ctx, func(d time.Duration) { now = now.Add(d) }
}

func (g *Signins) mustSignIn(t *testing.T, name string) string {
	t.Helper()
	secret, err := g.SignIn(t.Context(), name, api.Secret(goodPassword), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func TestWhoSignsInIsThatAdminUntilItEnds(t *testing.T) {
	h, g, ctx, turn := newSignins(t, api.Viewer, api.Operator)
	signed := func(secret string) string {
		a, err := g.Signed(ctx, secret)
		if err != nil {
			return codeOf(err)
		}
		return a.Name + " " + string(a.Role)
	}
	same := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("signed in is %q, want %q", got, want)
		}
	}
	secret := g.mustSignIn(t, "the-operator")
	same(signed(secret), "admin:the-operator operator")
	for _, none := range []string{"", "x", strings.Repeat("a", 5000), api.NewTokenText()} {
		same(signed(none), api.CodeUnknown)
	}

	turn(signinIdle - time.Second)
	same(signed(secret), "admin:the-operator operator")
	g.Seen(ctx, secret)
	turn(signinIdle - time.Second)
	same(signed(secret), "admin:the-operator operator")
	turn(time.Second)
	same(signed(secret), api.CodeUnknown)

	secret = g.mustSignIn(t, "the-operator")
	for range 12 {
		turn(time.Hour - time.Second)
		g.Seen(ctx, secret)
	}
	same(signed(secret), "admin:the-operator operator")
	turn(12 * time.Second)
	same(signed(secret), api.CodeUnknown)

	// Another role, a disabled account, another password and a removal count at
	// once.
	secret = g.mustSignIn(t, "the-operator")
	if _, err := h.SetAdmin(ctx, "the-operator", api.AdminChange{Role: api.Viewer}); err != nil {
		t.Fatal(err)
	}
	same(signed(secret), "admin:the-operator viewer")
	other := g.mustSignIn(t, "the-operator")
	if err := g.SignOut(ctx, other); err != nil {
		t.Fatal(err)
	}
	same(signed(other), api.CodeUnknown)
	same(signed(secret), "admin:the-operator viewer")
	other = g.mustSignIn(t, "the-operator")
	if err := g.ChangePassword(ctx, secret, api.Secret(goodPassword), api.Secret("quite another password")); err != nil {
		t.Fatal(err)
	}
	same(signed(other), api.CodeUnknown)
	same(signed(secret), "admin:the-operator viewer")
	if admins, err := h.Admins(ctx); err != nil || !admins[1].OwnPassword || admins[0].OwnPassword {
		t.Errorf("%+v, %v", admins, err)
	}
	if _, err := h.SetAdmin(ctx, "the-operator", api.AdminChange{Disabled: true}); err != nil {
		t.Fatal(err)
	}
	same(signed(secret), api.CodeUnknown)
	secret = g.mustSignIn(t, "the-viewer")
	if _, err := h.RemoveAdmin(ctx, "the-viewer"); err != nil {
		t.Fatal(err)
	}
	same(signed(secret), api.CodeUnknown)
}

func TestGuessingAtAnAdminEndsAndTellsNothing(t *testing.T) {
	_, g, ctx, turn := newSignins(t, api.Admin, api.Viewer)
	try := func(name, password string) error {
		_, err := g.SignIn(ctx, name, api.Secret(password), "127.0.0.1")
		return err
	}
	for _, name := range []string{"the-admin", "nobody"} {
		for range guessesAtOnce - 2 { // which takes no time
			g.byName.guess(name, g.now())
		}
		for range 2 {
			if err := try(name, "wrong"); !errors.Is(err, errWrong) {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if err := try(name, goodPassword); codeOf(err) != api.CodeTooMany {
			t.Errorf("%s after %d guesses: %v", name, guessesAtOnce, err)
		}
	}
	if err := try("the-viewer", goodPassword); err != nil {
		t.Errorf("guessing at one name shuts another: %v", err)
	}
	turn(guessRegained)
	if err := try("the-admin", goodPassword); err != nil {
		t.Errorf("after a minute: %v", err)
	}
	rows, err := g.store.AuditRows(ctx, store.AuditFilter{Action: "admin.refuse"})
	if err != nil || len(rows) != 4 {
		t.Errorf("%d rows of 4 wrong passwords, %v", len(rows), err)
	}
	for _, r := range rows {
		if strings.Contains(r.Object+r.Detail, "nobody") {
			t.Errorf("what was typed for an unknown name is written down: %+v", r)
		}
	}
}

// Nobody learns from the time whether there is an admin of a name.
func TestAnUnknownNameTakesAsLongAsAWrongPassword(t *testing.T) {
	_, g, ctx, turn := newSignins(t, api.Admin)
	took := func(name string) (least time.Duration) {
		for range 3 {
			turn(time.Hour)
			began := time.Now()
			if _, err := g.SignIn(ctx, name, api.Secret("wrong"), "127.0.0.1"); !errors.Is(err, errWrong) {
				t.Fatal(err)
			}
			if d := time.Since(began); least == 0 || d < least {
				least = d
			}
		}
		return least
	}
	known, unknown := took("the-admin"), took("nobody")
	if unknown < known/2 || unknown > 2*known {
		t.Errorf("a wrong password takes %s, an unknown name %s", known, unknown)
	}
}

func TestAPasswordIsKeptAsArgon2idOfRFC9106(t *testing.T) {
	kept, err := hashPassword(t.Context(), []byte(goodPassword))
	if err != nil || !strings.HasPrefix(kept, "$argon2id$v=19$m=65536,t=3,p=4$") {
		t.Fatalf("%q, %v", kept, err)
	}
	for password, want := range map[string]bool{goodPassword: true, "wrong": false, "": false} {
		if is, err := isPassword(t.Context(), kept, []byte(password)); is != want || err != nil {
			t.Errorf("isPassword(%q) = %v, %v", password, is, err)
		}
	}
	for _, damaged := range []string{"", "x", kept + "x", strings.Replace(kept, "t=3", "t=1", 1), argonHead + "$", argonHead + "AAAA$AAAA"} {
		if is, err := isPassword(t.Context(), damaged, []byte(goodPassword)); is || err != nil {
			t.Errorf("isPassword with %q kept = %v, %v", damaged, is, err)
		}
	}
}
