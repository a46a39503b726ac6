package sshentry

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"

	"github.com/pawelmojski/inside/proxy"
)

// A ring is a house's keyring that a test can look into.
type ring struct {
	h      *house
	owners map[string]proxy.KeyOwner
	held   []proxy.Held
	secret func(proxy.Held) (*proxy.Secret, error)
	lost   error // of Owner

	mu      sync.Mutex
	taken   []string
	refused []string
	settled []proxy.Login
}

func (r *ring) Owner(_ context.Context, key []byte) (proxy.KeyOwner, error) {
	return r.owners[string(key)], r.lost
}

func (r *ring) Held() []proxy.Held { return r.held }

func (r *ring) Prove(context.Context, proxy.Held, func([]byte) bool) error {
	return errors.ErrUnsupported // by SSH a person proves keys
}

func (r *ring) Take(_ context.Context, h proxy.Held) (*proxy.Secret, error) {
	r.h.mu.Lock()
	admitted := len(r.h.admitted)
	r.h.mu.Unlock()
	if admitted != 1 {
		return nil, fmt.Errorf("taken when %d were admitted", admitted)
	}
	r.mu.Lock()
	r.taken = append(r.taken, h.ID)
	r.mu.Unlock()
	return r.secret(h)
}

func (r *ring) Refused(_ context.Context, h proxy.Held) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = append(r.refused, h.ID)
}

func (r *ring) Settle(_ context.Context, how proxy.Login, _ bool, _ func(context.Context, string) (string, error)) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settled = append(r.settled, how)
	return "", nil
}

func (r *ring) took() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.taken)
}

// A pair is a key of a test.
type pair struct {
	private ed25519.PrivateKey
	signer  ssh.Signer
}

func newPair(t testing.TB) pair {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return pair{private, signer}
}

func (p pair) blob() string { return string(p.signer.PublicKey().Marshal()) }

// copied is the private key for a secret that will be wiped.
func (p pair) copied() crypto.Signer { return slices.Clone(p.private) }

// An offer shows a key and asks whether it would be taken, but does not sign.
type offer struct{ ssh.Signer }

func (offer) Sign(io.Reader, []byte) (*ssh.Signature, error) {
	return nil, errors.New("only asking")
}

// takesKeys is a server that lets these keys in.
func takesKeys(keys ...pair) *ssh.ServerConfig {
	return &ssh.ServerConfig{MaxAuthTries: -1, PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if slices.ContainsFunc(keys, func(p pair) bool { return p.blob() == string(key.Marshal()) }) {
			return nil, nil
		}
		return nil, errors.New("unknown")
	}}
}

// Key offered is not key proven (CVE-2024-45337): whatever a client shows in
// whatever order, what is held is used when it has signed with a key of the
// person's, and never before.
func TestWhatIsHeldIsUsedForTheKeyThatWasProven(t *testing.T) {
	mine, others, stranger, accepted, held := newPair(t), newPair(t), newPair(t), newPair(t), newPair(t)
	g := newGateTo(t, takesKeys(held, accepted), nil)
	var mu sync.Mutex
	var last *ring
	g.set(func() {
		g.keyring = func(h *house) (proxy.Keyring, error) {
			mu.Lock()
			defer mu.Unlock()
			last = &ring{
				h: h, held: []proxy.Held{{ID: "credential 1", Kind: proxy.HeldKey}},
				owners: map[string]proxy.KeyOwner{mine.blob(): proxy.PersonsKey, others.blob(): proxy.OthersKey},
				secret: func(proxy.Held) (*proxy.Secret, error) { return &proxy.Secret{Key: held.copied()}, nil },
			}
			return last, nil
		}
	})
	keys := []pair{mine, others, stranger, accepted}
	type step struct {
		key   int
		signs bool
	}
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
			return step{rapid.IntRange(0, len(keys)-1).Draw(rt, "key"), rapid.Bool().Draw(rt, "signs")}
		}), 1, 12).Draw(rt, "steps")
		i := 0
		client, err := g.connectWith(&ssh.ClientConfig{User: "ideo", AuthCallback: func(*ssh.ClientAuthContext) (ssh.AuthMethod, error) {
			if i == len(steps) {
				return nil, errors.New("nothing left to try")
			}
			s := keys[steps[i].key].signer
			if !steps[i].signs {
				s = offer{s}
			}
			i++
			return ssh.PublicKeys(s), nil
		}})
		// The first signature that counts decides.
		first := slices.IndexFunc(steps, func(s step) bool { return s.signs && (s.key == 0 || s.key == 3) })
		if (err == nil) != (first >= 0) {
			rt.Fatalf("%+v: %v", steps, err)
		}
		mu.Lock()
		r := last
		mu.Unlock()
		want := 0
		if first >= 0 && steps[first].key == 0 {
			want = 1
			if out := mustRun(t, client, "x"); out == "" {
				rt.Fatalf("%+v: no command runs", steps)
			}
		}
		if taken := r.took(); len(taken) != want {
			rt.Fatalf("%+v: taken %q, want %d", steps, taken, want)
		}
		if admitted := len(r.h.admittedAs()); admitted != min(1, first+1) {
			rt.Fatalf("%+v: admitted %d times", steps, admitted)
		}
		if client != nil {
			client.Close()
		}
	})
}

func (h *house) admittedAs() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.admitted)
}

// withRing has a gate's house hold something; ring returns the last one.
func (g *gate) withRing(fill func(*ring)) func() *ring {
	var mu sync.Mutex
	var last *ring
	g.set(func() {
		g.keyring = func(h *house) (proxy.Keyring, error) {
			mu.Lock()
			defer mu.Unlock()
			last = &ring{h: h, owners: map[string]proxy.KeyOwner{}}
			fill(last)
			return last, nil
		}
	})
	return func() *ring {
		mu.Lock()
		defer mu.Unlock()
		return last
	}
}

func TestASecondFactorIsStillAskedOfThePerson(t *testing.T) {
	mine, held := newPair(t), newPair(t)
	server := takesKeys(held)
	server.VerifiedPublicKeyCallback = func(ssh.ConnMetadata, ssh.PublicKey, *ssh.Permissions, string) (*ssh.Permissions, error) {
		return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{
			KeyboardInteractiveCallback: func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
				if a, err := ask("", "", []string{"code: "}, []bool{true}); err != nil || a[0] != "123456" {
					return nil, errors.New("wrong code")
				}
				return nil, nil
			},
		}}
	}
	g := newGateTo(t, server, nil)
	last := g.withRing(func(r *ring) {
		r.owners[mine.blob()] = proxy.PersonsKey
		r.held = []proxy.Held{{ID: "credential 1", Kind: proxy.HeldKey}}
		r.secret = func(proxy.Held) (*proxy.Secret, error) { return &proxy.Secret{Key: held.copied()}, nil }
	})
	asked := 0
	client, err := g.connect("ideo", ssh.PublicKeys(mine.signer), ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
		asked++
		return []string{"123456"}, nil
	}))
	if err != nil || asked != 1 {
		t.Fatalf("asked %d times: %v", asked, err)
	}
	mustRun(t, client, "x")
	if r := last(); len(r.took()) != 1 || len(r.h.admittedAs()) != 1 {
		t.Errorf("taken %q, admitted %q", r.took(), r.h.admittedAs())
	}
}

func TestWhatTheServerDoesNotTakeIsSaidAndTheNextIsTried(t *testing.T) {
	mine, old, good := newPair(t), newPair(t), newPair(t)
	g := newGateTo(t, takesKeys(good), nil)
	var given []*proxy.Secret
	give := func(p pair) (*proxy.Secret, error) {
		given = append(given, &proxy.Secret{Key: p.copied()})
		return given[len(given)-1], nil
	}
	last := g.withRing(func(r *ring) {
		r.owners[mine.blob()] = proxy.PersonsKey
		r.held = []proxy.Held{{ID: "credential 1", Kind: proxy.HeldKey}, {ID: "credential 2", Kind: proxy.HeldPassword}, {ID: "credential 3", Kind: proxy.HeldKey}, {ID: "credential 4", Kind: proxy.HeldKey}}
		r.secret = func(h proxy.Held) (*proxy.Secret, error) {
			switch h.ID {
			case "credential 1":
				return give(old)
			case "credential 3":
				return nil, errors.New("the data key is gone")
			}
			return give(good)
		}
	})
	var banner string
	client, err := g.connectWith(&ssh.ClientConfig{User: "ideo", Auth: []ssh.AuthMethod{ssh.PublicKeys(mine.signer)}, BannerCallback: func(m string) error {
		banner += m
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	mustRun(t, client, "x")
	r := last()
	if got := fmt.Sprint(r.took()); got != "[credential 1 credential 3 credential 4]" {
		t.Errorf("taken %s", got)
	}
	for _, s := range given {
		if s.Key != nil {
			t.Error("a key stays in memory after it was used")
		}
	}
	if got := fmt.Sprint(r.refused); got != "[credential 1]" {
		t.Errorf("refused %s", got)
	}
	want := "Inside: the server does not take credential 1, which the gate holds for you: please tell its administrator.\n" +
		"Inside: credential 3, which the gate holds for you, cannot be used: please tell its administrator.\n"
	if banner != want {
		t.Errorf("said %q", banner)
	}
	if events := r.h.noted("login"); len(events) != 2 || events[1].Detail != "publickey with credential 4" {
		t.Errorf("events %+v", events)
	}
}

func TestWithoutTheHousesKeysNothingIsKnownOfAnyKey(t *testing.T) {
	mine, held := newPair(t), newPair(t)
	for what, fill := range map[string]func(*ring){
		"the database is away": func(r *ring) { r.lost = errors.New("no database") },
		"nothing is held":      func(r *ring) { r.held = nil },
	} {
		g := newGateTo(t, takesKeys(held), nil)
		last := g.withRing(func(r *ring) {
			r.owners[mine.blob()] = proxy.PersonsKey
			r.held = []proxy.Held{{ID: "credential 1", Kind: proxy.HeldKey}}
			r.secret = func(proxy.Held) (*proxy.Secret, error) { return &proxy.Secret{Key: held.copied()}, nil }
			fill(r)
		})
		if _, err := g.connect("ideo", ssh.PublicKeys(mine.signer)); err == nil {
			t.Errorf("%s: let in", what)
		}
		if r := last(); len(r.took()) != 0 || len(r.h.admittedAs()) != 0 {
			t.Errorf("%s: taken %q, admitted %q", what, r.took(), r.h.admittedAs())
		}
	}
}

func TestAKeyIsNotTakenFromSomebodyWhoMayNotEnter(t *testing.T) {
	mine, held := newPair(t), newPair(t)
	g := newGateTo(t, takesKeys(held), nil)
	last := g.withRing(func(r *ring) {
		r.owners[mine.blob()] = proxy.PersonsKey
		r.held = []proxy.Held{{ID: "credential 1", Kind: proxy.HeldKey}}
		r.secret = func(proxy.Held) (*proxy.Secret, error) { return &proxy.Secret{Key: held.copied()}, nil }
	})
	// The grant ends between the first decision and the proof.
	g.set(func() {
		g.admit = func(string) error { return &proxy.Refusal{} }
	})
	if _, err := g.connect("ideo", ssh.PublicKeys(mine.signer)); err == nil {
		t.Error("let in")
	}
	if r := last(); len(r.took()) != 0 {
		t.Errorf("taken %q", r.took())
	}
}

// A server may ask anything; only what it asks as it asks for a password is
// answered with one.
func TestAStoredPasswordAnswersOneHiddenQuestionAndNoOther(t *testing.T) {
	for what, c := range map[string]struct {
		prompts []string
		echo    []bool
		in      bool
	}{
		"a hidden question":   {[]string{"Password: "}, []bool{false}, true},
		"one that is shown":   {[]string{"Name: "}, []bool{true}, false},
		"two hidden ones":     {[]string{"Password: ", "Code: "}, []bool{false, false}, false},
		"a second one behind": {[]string{"Password: "}, []bool{false}, false},
	} {
		var mu sync.Mutex
		var answered []string
		server := &ssh.ServerConfig{MaxAuthTries: -1, KeyboardInteractiveCallback: func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			for range 2 {
				answers, err := ask("", "", c.prompts, c.echo)
				mu.Lock()
				answered = append(answered, answers...)
				mu.Unlock()
				if err != nil || len(answers) == 0 || answers[0] != "sesame" {
					return nil, errors.New("wrong")
				}
				if c.in {
					return nil, nil
				}
			}
			return nil, errors.New("it answers for ever")
		}}
		mine := newPair(t)
		g := newGateTo(t, server, nil)
		last := g.withRing(func(r *ring) {
			r.owners[mine.blob()] = proxy.PersonsKey
			r.held = []proxy.Held{{ID: "credential 1", Kind: proxy.HeldPassword}}
			r.secret = func(proxy.Held) (*proxy.Secret, error) { return &proxy.Secret{Password: []byte("sesame")}, nil }
		})
		_, err := g.connect("ideo", ssh.PublicKeys(mine.signer))
		if c.in != (err == nil) {
			t.Errorf("%s: %v", what, err)
		}
		mu.Lock()
		said := strings.Count(fmt.Sprint(answered), "sesame")
		mu.Unlock()
		if want := map[bool]int{true: 1}[c.in || what == "a second one behind"]; said != want {
			t.Errorf("%s: the password was given %d times, want %d", what, said, want)
		}
		if r := last(); len(r.took()) != 1 {
			t.Errorf("%s: taken %q", what, r.took())
		}
	}
}

func TestNotMoreIsTriedThanAServerLetsTry(t *testing.T) {
	mine, wrong := newPair(t), newPair(t)
	g := newGateTo(t, takesKeys(), nil)
	last := g.withRing(func(r *ring) {
		r.owners[mine.blob()] = proxy.PersonsKey
		for n := range maxHeld + 2 {
			r.held = append(r.held, proxy.Held{ID: fmt.Sprint("credential ", n+1), Kind: proxy.HeldKey})
		}
		r.secret = func(proxy.Held) (*proxy.Secret, error) { return &proxy.Secret{Key: wrong.copied()}, nil }
	})
	if _, err := g.connect("ideo", ssh.PublicKeys(mine.signer)); err == nil {
		t.Error("let in")
	}
	if took := last().took(); len(took) != maxHeld {
		t.Errorf("taken %q", took)
	}
}

func TestAKeyOfSomebodyElseIsNotTakenThoughTheServerWould(t *testing.T) {
	others := newPair(t)
	g := newGateTo(t, takesKeys(others), nil)
	last := g.withRing(func(r *ring) { r.owners[others.blob()] = proxy.OthersKey })
	if _, err := g.connect("ideo", ssh.PublicKeys(others.signer)); err == nil {
		t.Error("let in")
	}
	if r := last(); len(r.h.admittedAs()) != 0 {
		t.Errorf("admitted %q", r.h.admittedAs())
	}
}
