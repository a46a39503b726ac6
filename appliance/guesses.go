package appliance

import (
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

// guesses counts the wrong passwords for each credential. There are not more of
// them than an admin has stored.
type guesses struct {
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
	had, known := g.left[credential]
	if !known {
		had = guessesLeft{guessesAtOnce, now}
	}
	if regained := int(now.Sub(had.since) / guessRegained); regained > 0 {
		had.n = min(had.n+regained, guessesAtOnce)
		had.since = had.since.Add(time.Duration(regained) * guessRegained)
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
