package appliance

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"
)

func TestWhoHasACertificateDoesNotWaitForThoseThatAreMade(t *testing.T) {
	c, err := OpenCertificates(t.TempDir(), nil, "gate-1", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	known, other := netip.MustParseAddrPort("10.30.0.140:3389"), netip.MustParseAddrPort("10.30.0.141:3389")
	first, _, err := c.Own(t.Context(), known, "desk")
	if err != nil {
		t.Fatal(err)
	}
	c.making <- struct{}{} // somebody's key is being made, and takes for ever
	for range 2 {
		if again, _, err := c.Own(t.Context(), known, "desk"); err != nil || again.Leaf.SerialNumber.Cmp(first.Leaf.SerialNumber) != 0 {
			t.Errorf("another certificate, %v", err)
		}
		delete(c.own, known) // from its file the second time
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := c.Own(ctx, other, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("somebody who has left is waited for: %v", err)
	}
	<-c.making
	var wait sync.WaitGroup
	serials := make([]string, 8)
	for i := range serials {
		wait.Go(func() {
			if cert, _, err := c.Own(t.Context(), other, ""); err == nil {
				serials[i] = cert.Leaf.SerialNumber.String()
			}
		})
	}
	wait.Wait()
	for _, s := range serials {
		if s == "" || s != serials[0] {
			t.Errorf("eight at once were given %q", serials)
			break
		}
	}
}
