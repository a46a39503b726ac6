package appliance

import (
	"context"
	"errors"
	"net"
	"runtime/debug"

	"github.com/pawelmojski/inside/netfilter"
	"github.com/pawelmojski/inside/policy"
)

// handle is the life of one flow: the visit asks the book who this is and
// whether they may enter, the entry carries the flow — or says why not — and
// the end is written down, whatever it was.
func (a *Appliance) handle(ctx context.Context, c netfilter.Conn, p policy.Protocol) {
	v := a.receive(ctx, c, p)
	defer a.crashed(v)
	err := a.entries[p].Serve(v.ctx, c, v)
	v.leave(err)
}

// crashed keeps a panic in one flow from ending everybody's.
func (a *Appliance) crashed(v *visit) {
	if r := recover(); r != nil {
		a.log.Error("flow crashed", "client", v.flow.Client, "dest", v.flow.Dest, "panic", r, "stack", string(debug.Stack()))
		v.leave(policy.Failed)
	}
}

// accept hands every connection of one entry to handle, as long as the doors
// have room for it.
func (a *Appliance) accept(ctx context.Context, l *netfilter.Listener, p policy.Protocol) error {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if !a.doors.enter(c.Client.Addr()) {
			a.metrics.turnedAway.Inc()
			reset(c.TCPConn)
			continue
		}
		a.flows.Go(func() { a.handle(ctx, c, p) })
	}
}

// reset closes a connection so that the peer sees it refused and not finished.
func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}
