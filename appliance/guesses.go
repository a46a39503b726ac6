package appliance

import (
	"cmp"
	"maps"
	"sync"
	"time"
)

// Wrong passwords towards the gate itself are counted by the credential that
// was guessed at, not by address: a person's addresses may be a whole prefix.
// Whoever guesses at one shuts the person's own way by it, too, for as long;
// the way by TLS, where the server is asked, stays open.
const (
	guessesAtOnce = 10
	guessRegained = time.Minute // one
)

// sweepAbove is how many may be remembered that nobody guesses at any more.
const sweepAbove = 1000

// guesses counts the wrong passwords for each credential, or for each name or
// place of admins who sign in.
type guesses struct {
	most     int           // at once; 0: guessesAtOnce
	regained time.Duration // one; 0: guessRegained

	mu   sync.Mutex
	left map[string]guessesLeft
}

type guessesLeft struct {
	n     int
	since time.Time
}

// guess takes one guess at a credential; without any left it reports false.
func (g *guesses) guess(credential string, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	most, each := cmp.Or(g.most, guessesAtOnce), cmp.Or(g.regained, guessRegained)
	if len(g.left) > sweepAbove {
		maps.DeleteFunc(g.left, func(_ string, l guessesLeft) bool { return l.n+int(now.Sub(l.since)/each) >= most })
	}
	had, known := g.left[credential]
	if !known {
		had = guessesLeft{most, now}
	}
	if regained := int(now.Sub(had.since) / each); regained > 0 {
		had.n = min(had.n+regained, most)
		had.since = had.since.Add(time.Duration(regained) * each)
	}
	if had.n == 0 {
		return false
	}
	had.n--
	if g.left == nil {
		g.left = map[string]guessesLeft{}
	}
	g.left[credential] = had
	return true
}

// right gives all guesses back.
func (g *guesses) right(credential string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.left, credential)
}
