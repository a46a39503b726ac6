package main

import (
	"context"
	"crypto/rand"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

func TestGarbageSilenceAndFloodsDisturbNobodyAndLeaveNothing(t *testing.T) {
	h := newHouse(t, settings{lab: nettest.Options{}})
	h.know()
	h.grant()
	tm := h.sit(at("ideo", nettest.BackendIP4), "echo ready; cat")
	h.shows(tm, "ready")
	h.live(1)
	before := descriptors(t, h.daemon.PID())
	memory := resident(t, h.daemon.PID())

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
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			var held sync.WaitGroup
			for range 200 {
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
			// The neighbour types meanwhile.
			word := "still here, " + name
			tm.stdin.Write([]byte(word + "\n"))
			h.shows(tm, word)
			held.Wait()
		})
	}
	h.until("descriptors are back where they were", func() bool { return descriptors(t, h.daemon.PID()) <= before })
	if now := resident(t, h.daemon.PID()); now > memory+128<<20 {
		t.Errorf("memory went from %d MiB to %d MiB", memory>>20, now>>20)
	}
	if r := h.ssh(at("ideo", nettest.BackendIP4), "true"); r.exit != 0 {
		t.Errorf("after the flood: exit %d: %s", r.exit, r.stderr)
	}
}
