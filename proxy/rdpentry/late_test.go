package rdpentry

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// What the client has not taken when the gate is stopped over the end, it does
// not get when the gate goes on; and what nobody was shown is not recorded, but
// for the one piece that was on its way.
func TestNothingIsShownASecondAfterTheEnd(t *testing.T) {
	g, c, s := inside(t)
	stuck := make(chan int)
	go func() { // the server draws until nothing goes through
		drawn := 0
		for s.side.write(rectangle(0, 0, 64, 0x123456)) == nil {
			drawn++
		}
		stuck <- drawn
	}()
	shown := c.updates(100) // it is under way
	g.late.Store(true)      // the end was a second ago; nobody was told yet
	g.over.Store(true)
	for {
		if _, err := c.side.frames.Next(); err != nil {
			break
		}
		shown++
	}
	drawn := <-stuck
	g.end()
	recorded := 0
	for _, e := range g.recorded() {
		if e.Kind == desktop.Update {
			recorded++
		}
	}
	if shown >= drawn || recorded != shown && recorded != shown+1 {
		t.Errorf("of %d updates %d were shown and %d recorded", drawn, shown, recorded)
	}
}

// updates reads n fast-path frames.
func (p *peer) updates(n int) int {
	p.t.Helper()
	for range n {
		if frame, err := p.side.frames.Next(); err != nil || !frame.Fast {
			p.t.Fatalf("no update: %v", err)
		}
	}
	return n
}

// What a client has typed and the server has not taken by the end stays here.
func TestNothingIsTypedASecondAfterTheEnd(t *testing.T) {
	g, c, s := inside(t)
	piece := frames(wire.SendDataRequest, 1006, firstChannel+1, append([]byte{5, 0, 4, 0}, make([]byte, 1<<14)...), 0) // a sound was played
	sent := int64(0)
	for { // until the server, who does not read, has the gate wait
		c.side.raw.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		if c.side.write(piece) != nil {
			break
		}
		sent += int64(len(piece))
	}
	g.late.Store(true)
	g.over.Store(true)
	taken, err := io.Copy(io.Discard, s.side.conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the piece that was under way went on, and the gate waits for the next")
	}
	if g.end(); taken >= sent {
		t.Errorf("the server took all %d bytes", taken)
	}
}
