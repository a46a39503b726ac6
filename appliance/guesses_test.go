package appliance

import (
	"testing"
	"time"
)

func TestGuessingAtAPasswordEnds(t *testing.T) {
	var g guesses
	now := time.Unix(1e9, 0)
	try := func(credential string) (n int) {
		for n < 1000 && g.guess(credential, now) {
			n++
		}
		return n
	}
	if n := try("1"); n != guessesAtOnce {
		t.Errorf("%d guesses at once, want %d", n, guessesAtOnce)
	}
	if n := try("2"); n != guessesAtOnce {
		t.Errorf("%d guesses at another credential, want %d", n, guessesAtOnce)
	}
	now = now.Add(3*guessRegained + guessRegained/2)
	if n := try("1"); n != 3 {
		t.Errorf("%d guesses regained, want 3", n)
	}
	now = now.Add(guessRegained / 2)
	if n := try("1"); n != 1 {
		t.Errorf("%d guesses regained, want 1: time that was waited counts", n)
	}
	now = now.Add(1000 * time.Hour)
	if n := try("1"); n != guessesAtOnce {
		t.Errorf("%d guesses after a long time, want %d", n, guessesAtOnce)
	}
	g.right("1")
	if n := try("1"); n != guessesAtOnce {
		t.Errorf("%d guesses after a right one, want %d", n, guessesAtOnce)
	}
}
