package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

func TestGarbageSilenceAndFloodsDisturbNobodyAndLeaveNothing(t *testing.T) {
	// With a limit the runtime collects soon whatever floor the daemon has given
	// its heap.
	h := newHouse(t, settings{before: "export GOMEMLIMIT=64MiB"})
	h.know()
	h.grant()
	tm := h.sit(at("ideo", nettest.BackendIP4), "echo ready; cat")
	h.shows(tm, "ready")
	h.live(1)
	before, goroutines := descriptors(t, h.daemon.PID()), h.numbers()["go_goroutines"]

	attacks := map[string]func(net.Conn){
		"silence":        func(c net.Conn) {},
		"garbage":        func(c net.Conn) { b := make([]byte, 4096); rand.Read(b); c.Write(b) },
		"half handshake": func(c net.Conn) { c.Write([]byte("SSH-2.0-x\r\n")) },
		"huge packet":    func(c net.Conn) { c.Write([]byte("SSH-2.0-x\r\n\xff\xff\xff\xff\x10\x14")) },
		"endless banner": func(c net.Conn) {
			for range 100 {
				c.Write(make([]byte, 1024))
			}
		},
		"proxy protocol": func(c net.Conn) { c.Write([]byte("PROXY TCP4 10.50.0.9 10.30.0.140 1 22\r\n")) },
	}
	// The first wave makes what is made once; whatever is lost per connection
	// shows in the second. A kilobyte is not lost: the bus remembers the last
	// few thousand news.
	const perWave = 900
	var alive [2]float64
	for wave := range alive {
		h.flood(t, attacks, tm, wave)
		h.until("descriptors are back where they were", func() bool { return descriptors(t, h.daemon.PID()) <= before+few })
		h.until("goroutines are back where they were", func() bool { return h.numbers()["go_goroutines"] <= goroutines+few })
		alive[wave] = h.alive()
	}
	t.Logf("alive after each wave: %.0f and %.0f KiB", alive[0]/1024, alive[1]/1024)
	if lost := (alive[1] - alive[0]) / perWave; lost > 2048 {
		t.Errorf("each connection of the second wave left %.0f bytes", lost)
	}
	if r := h.ssh(at("ideo", nettest.BackendIP4), "true"); r.exit != 0 {
		t.Errorf("after the flood: exit %d: %s", r.exit, r.stderr)
	}
}

// few more descriptors and goroutines there may be: connections to the API and
// to the database come and go.
const few = 10

// alive is how many bytes the daemon's collector finds alive, once it has
// taken what the pools hold as well: for that it takes two collections after
// the last use, and the one that is under way does not count.
func (h *house) alive() (bytes float64) {
	h.t.Helper()
	const collections = "go_gc_duration_seconds_count"
	from := h.numbers()[collections]
	h.until("the collector has run three times", func() bool {
		n := h.numbers() // which makes something to collect
		bytes = n["go_gc_heap_live_bytes"]
		return n[collections] >= from+3
	})
	return bytes
}

// flood makes one wave of every attack, and holds what the gate does not close
// while a neighbour types.
func (h *house) flood(t *testing.T, attacks map[string]func(net.Conn), neighbour *terminal, wave int) {
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			var made, held sync.WaitGroup
			typed := make(chan struct{})
			for range 150 {
				made.Add(1)
				held.Go(func() {
					done := sync.OnceFunc(made.Done)
					defer done()
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					defer cancel()
					c, err := h.Client.Dial(ctx, "10.30.0.140:22")
					if err != nil {
						return // turned away at the door
					}
					defer c.Close()
					attack(c)
					done()
					<-typed
				})
			}
			made.Wait()
			word := fmt.Sprintf("still here %d, %s", wave, name)
			neighbour.stdin.Write([]byte(word + "\n"))
			h.shows(neighbour, word)
			close(typed)
			held.Wait()
		})
	}
}
