package netfilter

import "context"

// Rest leaves the rules alone from now on: a successor, another process, puts
// its own in their place, and the two must not repair each other's. What is
// accepted and dialled goes on.
func (g *Gate) Rest() {
	g.watching.Lock()
	defer g.watching.Unlock()
	if g.closed {
		return
	}
	g.endWatch()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.resting = true
}

// Wake is for a gate whose successor came to nothing: its own rules are put
// back and watched again, until ctx ends.
func (g *Gate) Wake(ctx context.Context) error {
	g.watching.Lock()
	defer g.watching.Unlock()
	if g.closed {
		return nil
	}
	events, err := subscribe()
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.events, g.resting = events, false
	ctx, g.stop = context.WithCancel(ctx)
	g.wg.Go(func() { g.watch(ctx) })
	g.wg.Go(func() { g.tell(ctx) })
	return g.apply(g.rules)
}

// Retire stops listening for good, and leaves the rules and the listening
// sockets to the successor that has them too. Somebody must go on calling
// Accept until it returns: a connection that is accepted already is this
// process's, and is not reset.
func (g *Gate) Retire() {
	for _, l := range g.listeners {
		l.retire()
	}
}

func (l *Listener) retire() {
	for _, ln := range l.listeners {
		ln.Close()
	}
	l.wg.Wait()
	l.Close()
}
