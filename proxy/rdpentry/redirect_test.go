package rdpentry

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry/rdptest"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// redirection is what a broker sends: to an address, with a password.
func redirection(flags uint32, to string) []byte {
	text := func(s string) []byte {
		var b []byte
		for _, u := range append(utf16.Encode([]rune(s)), 0) {
			b = le.AppendUint16(b, u)
		}
		return append(le.AppendUint32(nil, uint32(len(b))), b...)
	}
	b := le.AppendUint32(nil, 3) // the session
	b = le.AppendUint32(b, flags|0x1|0x4|0x10)
	b = append(b, text(to)...)
	b = append(b, text("ideo")...)
	b = append(b, text("correct horse")...)
	head := le.AppendUint16(nil, wire.SecRedirection)
	head = le.AppendUint16(head, uint16(len(b)+4))
	return append(head, b...)
}

func TestARedirectionIsNotFollowedAndThePersonIsTold(t *testing.T) {
	inShare := func(b []byte) []byte {
		return wire.Share{Kind: wire.Redirection, Source: wire.ServerUser, Body: append([]byte{0, 0}, b...)}.Bytes()
	}
	for name, c := range map[string]struct {
		begun bool
		say   []byte
	}{
		"from a desktop":         {true, inShare(redirection(0, "10.30.0.9"))},
		"before the desktop":     {false, inShare(redirection(0, "10.30.0.9"))},
		"with a security header": {false, wire.Secured(wire.SecRedirection, redirection(0, "10.30.0.9"))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			p := g.enter(usual())
			s := g.accept(rdptest.Certificate(t))
			if c.begun {
				s.begin(p)
			}
			s.say(c.say)
			if c.begun {
				p.share(wire.DeactivateAll)
			}
			if page := p.openPage(); page[messageColour] < 10_000 {
				t.Error("the person is told nothing")
			}
			if _, err := s.side.frames.Next(); err == nil {
				t.Error("the server's connection is open")
			}
			p.types(enter)
			if code, said := p.farewell(); !said || code != wire.ErrorAdminDisconnect {
				t.Errorf("told code %d (%v)", code, said)
			}
			p.side.close()
			if err := g.end(); !errors.Is(err, policy.ServerLeft) {
				t.Errorf("the session ended with %v", err)
			}
			if e := g.events[len(g.events)-1]; e.Kind != "redirect" || e.To != "10.30.0.9" || !strings.Contains(e.Detail, "not followed") {
				t.Errorf("the events end with %+v", e)
			}
			if g.dialled.Load() != 1 {
				t.Errorf("%d servers were dialled", g.dialled.Load())
			}
		})
	}
}

func TestARedirectionThatIsOnlyToldDisturbsNobody(t *testing.T) {
	g, c, s := inside(t)
	for range 3 {
		s.say(wire.Share{Kind: wire.Redirection, Body: append([]byte{0, 0}, redirection(0x80, "10.30.0.9")...)}.Bytes())
	}
	drawn := s.draw(0, 0, 8, 0x123456)
	if frame, err := c.side.frames.Next(); err != nil || string(frame.Raw) != string(drawn) {
		t.Errorf("the client saw % x (%v), want what was drawn", frame.Raw, err)
	}
	c.side.close()
	g.end()
	told := 0
	for _, e := range g.events {
		if e.Kind == "redirect" {
			told++
		}
	}
	if told != 1 {
		t.Errorf("%d events tell of it", told)
	}
}
