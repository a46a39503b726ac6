package appliance

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/store"
	"github.com/pawelmojski/inside/store/storetest"
)

// keyedHouse is a house whose tokens are known as soon as they are made, and a
// clock that only the test moves.
func keyedHouse(t *testing.T) (h *House, b *Bearers, clock *time.Time, ctx context.Context) {
	t.Helper()
	h, _, ctx = newHouse(t)
	clock = new(time.Now())
	h.Now = func() time.Time { return *clock }
	b = NewBearers(h.Store, h.Now, slog.New(slog.DiscardHandler))
	refresh := h.Refresh
	h.Refresh = func(ctx context.Context) error {
		if err := refresh(ctx); err != nil {
			return err
		}
		return b.Read(ctx, h.Book().Facts().Revision)
	}
	return h, b, clock, ctx
}

func TestATokenIsGoodUntilItExpiresOrIsRevoked(t *testing.T) {
	h, b, clock, ctx := keyedHouse(t)
	ci := must[api.Token](t)(h.CreateToken(ctx, api.NewToken{Name: "ci", Role: api.Operator, Expires: "1h"}))
	other := must[api.Token](t)(h.CreateToken(ctx, api.NewToken{Name: "other", Role: api.Admin}))
	if !other.Expires.Equal(clock.Add(90*24*time.Hour).Truncate(time.Microsecond)) || !other.DefaultLength || ci.DefaultLength {
		t.Errorf("%+v", other)
	}
	for _, made := range []api.Token{ci, other} {
		a := must[api.Actor](t)(b.Bearer(made.Secret))
		if a.Name != "token:"+made.Name || a.Role != made.Role {
			t.Errorf("%s is %+v", made.Name, a)
		}
	}
	refused := func(token, why string) {
		t.Helper()
		if a, err := b.Bearer(token); codeOf(err) != api.CodeUnknown || !strings.Contains(err.Error(), why) || a.Role != "" {
			t.Errorf("%+v, %v: want %q", a, err, why)
		}
	}
	refused(api.NewTokenText(), "does not know")
	refused("", "does not know")
	refused(ci.Secret[:len(ci.Secret)-1]+"z", "does not know")

	*clock = clock.Add(time.Hour - time.Microsecond)
	must[api.Actor](t)(b.Bearer(ci.Secret))
	*clock = clock.Add(time.Microsecond)
	refused(ci.Secret, "the token ci expired at ")
	if got := must[[]api.Token](t)(h.Tokens(ctx, api.TokenFilter{})); got[0].State != api.TokenExpired || got[1].State != api.TokenGood {
		t.Errorf("%+v", got)
	}

	must[api.Token](t)(h.RevokeToken(ctx, "other"))
	refused(other.Secret, "the token other was revoked at ")
	*clock = clock.Add(tokenRemembered + time.Second)
	if err := h.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	refused(other.Secret, "does not know")
}

func TestATokenOfARoleThatIsNoneMayNothing(t *testing.T) {
	h, b, clock, ctx := keyedHouse(t)
	text := api.NewTokenText()
	_, err := h.Store.AddToken(ctx, "root", store.Token{Name: "x", Role: "root", Hash: sha256.Sum256([]byte(text)), Created: *clock, Expires: clock.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	if a := must[api.Actor](t)(b.Bearer(text)); a.Role == api.Admin || a.Role == api.Viewer || a.Role == api.Operator {
		t.Errorf("%+v", a)
	}
}

func TestTokensAreAllDifferent(t *testing.T) {
	seen := map[string]bool{}
	for range 10_000 {
		token := api.NewTokenText()
		if seen[token] || !api.IsToken(token) {
			t.Fatal(token)
		}
		seen[token] = true
	}
	for _, not := range []string{"", "ins_", strings.ToUpper(api.NewTokenText()), api.NewTokenText() + "a", " " + api.NewTokenText(), "ins_" + strings.Repeat("1", 52)} {
		if api.IsToken(not) {
			t.Errorf("%q is taken for a token", not)
		}
	}
}

func TestTheLastUseOfATokenIsWrittenDownOnceAMinute(t *testing.T) {
	h, b, clock, ctx := keyedHouse(t)
	ci := must[api.Token](t)(h.CreateToken(ctx, api.NewToken{Name: "ci", Role: api.Viewer}))
	keeping, stop := context.WithCancel(ctx)
	var keeper sync.WaitGroup
	keeper.Go(func() { b.Keep(keeping) })
	defer keeper.Wait()
	defer stop()
	used := func(want time.Time) {
		t.Helper()
		deadline := time.Now().Add(20 * time.Second)
		for {
			got := must[[]api.Token](t)(h.Tokens(ctx, api.TokenFilter{}))[0].Used
			if got.Equal(want.Truncate(time.Microsecond)) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("used %s, want %s", got, want)
			}
			time.Sleep(time.Millisecond)
		}
	}
	first := *clock
	must[api.Actor](t)(b.Bearer(ci.Secret))
	used(first)
	*clock = first.Add(59 * time.Second)
	must[api.Actor](t)(b.Bearer(ci.Secret))
	*clock = first.Add(60 * time.Second)
	must[api.Actor](t)(b.Bearer(ci.Secret))
	used(first.Add(60 * time.Second))
}

// What a token may, it may also while the database is away: that is when
// somebody has to end a session.
func TestATokenIsGoodWhileTheDatabaseIsAway(t *testing.T) {
	h, b, _, ctx := keyedHouse(t)
	ci := must[api.Token](t)(h.CreateToken(ctx, api.NewToken{Name: "ci", Role: api.Operator}))
	h.Store.Close()
	if err := b.Read(ctx, 99); err == nil || b.asNewAs(99) {
		t.Errorf("tokens were read from a closed database: %v", err)
	}
	must[api.Actor](t)(b.Bearer(ci.Secret))
}

// On every engine a token is revoked for all gates that share it.
func TestATokenRevokedAtOneGateIsUselessAtAnother(t *testing.T) {
	url := storetest.PostgreSQL(t)
	here, there := storetest.Open(t, url), storetest.Open(t, url)
	a, b := NewBearers(here, time.Now, slog.New(slog.DiscardHandler)), NewBearers(there, time.Now, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel()
	read := make(chan int64, 16)
	following.Go(func() {
		for revision, err := range there.Changes(ctx) {
			if err == nil && b.Read(ctx, revision) == nil {
				read <- revision
			}
		}
	})
	<-read
	text := api.NewTokenText()
	if _, err := here.AddToken(ctx, "root", store.Token{Name: "ci", Role: "viewer", Hash: sha256.Sum256([]byte(text)), Created: time.Now(), Expires: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	<-read
	must[api.Actor](t)(b.Bearer(text))
	start := time.Now()
	if _, err := here.RevokeToken(ctx, "root", "ci", time.Now()); err != nil {
		t.Fatal(err)
	}
	<-read
	if _, err := b.Bearer(text); codeOf(err) != api.CodeUnknown || time.Since(start) > busy {
		t.Errorf("after %s: %v", time.Since(start), err)
	}
	if err := a.Read(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Bearer(text); codeOf(err) != api.CodeUnknown {
		t.Error(err)
	}
}

// A wrong token takes as long as a right one.
func BenchmarkBearer(b *testing.B) {
	bearers := NewBearers(nil, time.Now, slog.New(slog.DiscardHandler))
	right := api.NewTokenText()
	for i := range 1000 {
		text := api.NewTokenText()
		if i == 0 {
			text = right
		}
		t := store.Token{ID: fmt.Sprint(i), Name: "x", Role: "viewer", Hash: sha256.Sum256([]byte(text)), Expires: time.Now().Add(time.Hour)}
		bearers.tokens = append(bearers.tokens, t)
	}
	for name, token := range map[string]string{"right": right, "nearly-right": right[:len(right)-1] + "a", "wrong": api.NewTokenText()} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				bearers.Bearer(token)
			}
		})
	}
}
