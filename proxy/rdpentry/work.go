package rdpentry

import "time"

// A work is the time that the pictures of one server take. Few bytes can be much
// of it, so a server that makes a processor work without end has half of one
// and no more: its neighbours are to have the rest. What is drawn now and then
// is not held up, however large it is.
type work struct {
	debt time.Duration
	at   time.Time // of the debt
}

// freeWork is how much may be owed: a screen of four monitors or so.
const freeWork = 200 * time.Millisecond

// done notes work.
func (w *work) done(d time.Duration) { w.debt += d }

// owed is how long to rest. It takes the time since it was last asked for rest.
func (w *work) owed(now time.Time) time.Duration {
	if w.debt == 0 {
		w.at = now
		return 0
	}
	w.debt = max(w.debt-now.Sub(w.at)/2, 0)
	w.at = now
	return max(2*(w.debt-freeWork), 0)
}
