package rdpentry

import (
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// A side is the connection to one of the two peers. One goroutine reads it;
// several may write.
type side struct {
	raw    net.Conn
	conn   net.Conn // raw, or TLS on top of it
	frames *wire.Reader

	writing  sync.Mutex
	patience time.Duration // how long a write may take; zero: for ever
}

func newSide(c net.Conn) *side {
	return &side{raw: c, conn: c, frames: wire.NewReader(c)}
}

// A punctual is a connection that is written to until the session is over: TLS
// above it may be in the midst of a long piece.
type punctual struct {
	net.Conn
	out *proxy.Punctual
}

func newPunctual(c net.Conn, v proxy.Visit) punctual {
	return punctual{c, proxy.NewPunctual(c, v)}
}

func (p punctual) Write(b []byte) (int, error) { return p.out.Write(b) }

// secured goes on over TLS.
func (s *side) secured(c *tls.Conn) {
	s.conn, s.frames = c, wire.NewReader(c)
}

// next reads the MCS PDU of the next frame.
func (s *side) next() (wire.MCS, error) {
	p, err := s.nextPayload()
	if err != nil {
		return wire.MCS{}, err
	}
	return wire.ParseMCS(p)
}

// nextPayload reads what the next frame carries, which must not be fast-path.
func (s *side) nextPayload() ([]byte, error) {
	frame, err := s.frames.Next()
	if err != nil {
		return nil, err
	}
	if frame.Fast {
		return nil, errTooEarly
	}
	return wire.Payload(frame.Body)
}

func (s *side) write(b []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.patience > 0 {
		s.raw.SetWriteDeadline(time.Now().Add(s.patience))
	}
	_, err := s.conn.Write(b)
	return err
}

// close is also how reads and writes are broken off, so it takes no time: a
// TLS farewell is not waited for.
func (s *side) close() { s.raw.Close() }

// hangUp writes the last words and ends the connection's one direction, but
// not for longer than patience.
func (s *side) hangUp(words []byte, patience time.Duration) {
	s.raw.SetWriteDeadline(time.Now().Add(patience))
	if s.write(words) != nil {
		return
	}
	if c, ok := s.conn.(*tls.Conn); ok {
		c.CloseWrite()
	}
}
