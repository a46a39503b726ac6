package api

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener without a network, for tests in a bubble of time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	p.conns <- there
	return here, nil
}

// Hours without a byte are usual: the person has gone to lunch.
func TestAStreamOutlivesSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, w := newTrickle()
		l := newPipes()
		server := newServer(context.Background(), &stub{body: body}, socketDoor, func(net.Conn) Actor { return Actor{"root", Admin} })
		go server.Serve(l)
		defer server.Close()
		transport := &http.Transport{DialContext: l.dial}
		defer transport.CloseIdleConnections()
		client := newClient("", transport)

		got, err := client.Recording(t.Context(), "abcd", 0, Following{true})
		if err != nil {
			t.Fatal(err)
		}
		defer got.Close()
		go func() {
			for _, text := range []string{"before ", "lunch ", "after"} {
				io.WriteString(w, text)
				time.Sleep(3 * time.Hour)
			}
			w.Close()
		}()
		text, err := io.ReadAll(got)
		if err != nil || string(text) != "before lunch after" {
			t.Errorf("got %q, %v", text, err)
		}
	})
}

// Who asks and then says nothing does not hold a connection for ever.
func TestASilentCallerIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		server := newServer(context.Background(), new(stub), socketDoor, func(net.Conn) Actor { return Actor{"root", Admin} })
		go server.Serve(l)
		defer server.Close()
		c, _ := l.dial(t.Context(), "", "")
		defer c.Close()
		go io.WriteString(c, "POST /api/v1/persons HTTP/1.1\r\nHost: inside\r\nContent-Length: 100\r\n\r\n{")
		start := time.Now()
		for {
			if _, err := c.Read(make([]byte, 1024)); errors.Is(err, io.EOF) {
				break
			}
		}
		if passed := time.Since(start); passed > 2*patience {
			t.Errorf("dropped after %s", passed)
		}
	})
}
