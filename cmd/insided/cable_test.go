package main

import (
	"bytes"
	"errors"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pawelmojski/inside/store/storetest"
)

// A cable leads from the gateway to the database, which listens on a unix
// socket only, and can be damaged in every way a network can.
type cable struct {
	house  *house
	addr   string // on the gateway
	server string // the database's socket

	commits atomic.Int64 // asked for on a cable that loses answers

	mu       sync.Mutex
	listener net.Listener
	damage   damage
	conns    map[net.Conn]bool
}

type damage int

const (
	sound       damage = iota
	cut                // connections are refused
	swallowing         // connections are taken, and nothing passes any more
	unanswering        // of every third commit the answer is lost
	shaking            // connections are reset again and again
	trickling          // one byte a second passes
)

func newCable(h *house, pg *storetest.Cluster) *cable {
	h.t.Helper()
	c := &cable{house: h, addr: "127.0.0.1:5432", server: pg.Socket(), conns: map[net.Conn]bool{}}
	c.plug()
	h.t.Cleanup(func() { c.unplug(); c.drop() })
	return c
}

// url is the database's, reached by the cable.
func (c *cable) url(t testing.TB, direct string) string {
	t.Helper()
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	u.Host, u.RawQuery = c.addr, "sslmode=disable"
	return u.String()
}

func (c *cable) plug() {
	l, err := c.house.Gateway.Listen(c.addr)
	if err != nil {
		c.house.t.Fatal(err)
	}
	c.mu.Lock()
	c.listener = l
	c.mu.Unlock()
	go c.serve(l)
}

func (c *cable) unplug() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listener.Close()
}

func (c *cable) serve(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", c.server)
		if err != nil {
			reset(client)
			continue
		}
		c.mu.Lock()
		c.conns[client], c.conns[server] = true, true
		c.mu.Unlock()
		lost := new(atomic.Bool)
		go c.carry(server, client, false, lost)
		go c.carry(client, server, true, lost)
	}
}

// carry passes bytes on as far as the damage lets them. lost is set when the
// next answer on this connection is to be lost, and the connection with it.
func (c *cable) carry(to, from net.Conn, answers bool, lost *atomic.Bool) {
	defer c.forget(to, from)
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		switch d := c.damaged(); {
		case d == swallowing:
			continue
		case answers && lost.Load():
			return
		case d == trickling:
			if !c.trickle(to, buf[:n]) {
				return
			}
		default:
			if d == unanswering && !answers && bytes.Contains(buf[:n], []byte("commit")) && c.commits.Add(1)%3 == 0 {
				lost.Store(true)
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
}

// trickle passes a byte a second until the damage is repaired.
func (c *cable) trickle(to net.Conn, b []byte) bool {
	for i := range b {
		if c.damaged() != trickling {
			return false
		}
		if _, err := to.Write(b[i : i+1]); err != nil {
			return false
		}
		time.Sleep(time.Second)
	}
	return true
}

func (c *cable) damaged() damage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.damage
}

func (c *cable) forget(conns ...net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		conn.Close()
		delete(c.conns, conn)
	}
}

// drop resets every connection.
func (c *cable) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		reset(conn)
	}
}

func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// damageIt damages the cable and returns what repairs it.
func (c *cable) damageIt(d damage) (repair func()) {
	c.mu.Lock()
	c.damage = d
	c.mu.Unlock()
	done := make(chan struct{})
	var shaken sync.WaitGroup
	switch d {
	case cut:
		c.unplug()
		c.drop()
	case shaking:
		shaken.Go(func() {
			for {
				c.drop()
				select {
				case <-done:
					return
				case <-time.After(50 * time.Millisecond):
				}
			}
		})
	}
	return func() {
		close(done)
		shaken.Wait()
		c.mu.Lock()
		c.damage = sound
		c.mu.Unlock()
		if d == cut {
			c.plug()
		} else {
			c.drop() // what lost bytes is of no use
		}
	}
}

var errNoEcho = errors.New("what was typed does not come back")
