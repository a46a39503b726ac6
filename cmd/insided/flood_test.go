package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

func TestGarbageSilenceAndFloodsDisturbNobodyAndLeaveNothing(t *testing.T) {
	// With a limit the runtime collects in time whatever floor the daemon has
	// given its heap, so what remains resident is what is alive.
	h := newHouse(t, settings{before: "export GOMEMLIMIT=64MiB"})
	h.know()
	h.grant()
	tm := h.sit(at("ideo", nettest.BackendIP4), "echo ready; cat")
	h.shows(tm, "ready")
	h.live(1)
	before := descriptors(t, h.daemon.PID())

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
	// The first wave takes what the pools keep; whatever is lost per
	// connection shows in the second.
	var memory [2]int64
	for wave := range memory {
		h.flood(t, attacks, tm, wave)
		h.until("descriptors are back where they were", func() bool { return descriptors(t, h.daemon.PID()) <= before })
		memory[wave] = resident(t, h.daemon.PID())
	}
	t.Logf("resident after each wave: %d and %d MiB", memory[0]>>20, memory[1]>>20)
	if memory[1] > memory[0]+48<<20 {
		t.Errorf("a second wave took the memory from %d MiB to %d MiB", memory[0]>>20, memory[1]>>20)
	}
	if r := h.ssh(at("ideo", nettest.BackendIP4), "true"); r.exit != 0 {
		t.Errorf("after the flood: exit %d: %s", r.exit, r.stderr)
	}
}

// flood makes one wave of every attack, while a neighbour types.
func (h *house) flood(t *testing.T, attacks map[string]func(net.Conn), neighbour *terminal, wave int) {
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			var held sync.WaitGroup
			for range 150 {
				held.Go(func() {
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					defer cancel()
					c, err := h.Client.Dial(ctx, "10.30.0.140:22")
					if err != nil {
						return // turned away at the door
					}
					defer c.Close()
					attack(c)
					c.SetReadDeadline(time.Now().Add(2 * time.Second))
					c.Read(make([]byte, 1))
				})
			}
			word := fmt.Sprintf("still here %d, %s", wave, name)
			neighbour.stdin.Write([]byte(word + "\n"))
			h.shows(neighbour, word)
			held.Wait()
		})
	}
}
