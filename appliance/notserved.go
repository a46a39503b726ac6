package appliance

import (
	"context"
	"net"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
)

// notServed is the entry of a protocol this gate intercepts and cannot carry
// yet: it refuses, so that nothing passes unseen, and the entry says what the
// decision was.
type notServed struct{}

func (notServed) Serve(ctx context.Context, client net.Conn, v proxy.Visit) error {
	if c, ok := client.(*net.TCPConn); ok {
		c.SetLinger(0)
	}
	client.Close()
	verdict := v.Verdict()
	if verdict.Allowed() {
		verdict.Denial = policy.NotServed
	}
	return &proxy.Refusal{Verdict: verdict}
}
