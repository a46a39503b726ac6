package rdpentry

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// never is longer than any flow takes whose peers say nothing: it was there to
// the end.
const never = time.Duration(math.MaxInt64)

// opening is how much of a conversation there is until client and server have
// a desktop.
func opening(t *testing.T, c conversation) int {
	t.Helper()
	for i, s := range c {
		p, err := wire.Payload(s.frame[4:])
		if s.server || err != nil {
			continue
		}
		pdu, err := wire.ParseMCS(p)
		if err != nil || pdu.Channel != clientIO {
			continue
		}
		if share, _, err := wire.ParseShare(pdu.Data); err == nil && share.Kind == wire.ConfirmActive && isShare(pdu.Data) {
			return i
		}
	}
	t.Fatal("the conversation opens no desktop")
	return 0
}

// reason is what the entry or the session's log says in the end.
func (s *stage) reason() string {
	var refusal *proxy.Refusal
	if errors.As(s.end, &refusal) {
		return fmt.Sprint(refusal.Verdict.Denial, ": ", refusal.Err)
	}
	for _, e := range s.events {
		if e.Kind == "failure" {
			return e.Detail
		}
	}
	return ""
}

// At every step of the connection sequence, after every frame and in the midst
// of every frame, both peers may fall silent for ever. The flow ends, and it
// is said why.
func TestSilenceAtEveryStepIsEndedWithAReason(t *testing.T) {
	for _, name := range []string{"xrdp", "shadow"} {
		t.Run(name, func(t *testing.T) {
			c := loadConversation(t, name)
			last := opening(t, c)
			s := newStage(t, newTally())
			for i := range last + 1 {
				whole := c[i]
				for _, n := range []int{0, 1, len(whole.frame) / 2, len(whole.frame)} {
					if i == last && n == len(whole.frame) {
						continue // then there is a desktop, on which nothing may happen for hours
					}
					silent := append(conversation(nil), c[:i]...)
					if n > 0 {
						silent = append(silent, said{server: whole.server, frame: whole.frame[:n]})
					}
					if len(silent) == 0 {
						silent = conversation{{frame: []byte{3}}}
					}
					s.play(t, silent, true)
					reason := s.reason()
					switch {
					case s.took > 3*time.Minute:
						t.Errorf("silence after frame %d and %d bytes: the flow is not ended", i, n)
					case !strings.Contains(reason, errGrace.Error()) && !strings.Contains(reason, errSilent.Error()):
						t.Errorf("silence after frame %d and %d bytes: %q and %v", i, n, reason, s.end)
					}
				}
			}
			s.tally.report(t)
			// A desktop on which nothing happens is no reason to end anything.
			if s.play(t, c[:last+1], true); s.took != never {
				t.Errorf("a session in which nobody does anything was ended after %v: %v", s.took, s.end)
			}
		})
	}
}

// A peer that says one byte a second is as good as silent.
func TestSlowPeersAreNotWaitedFor(t *testing.T) {
	c := loadConversation(t, "xrdp")
	s := newStage(t, newTally())
	s.pace = time.Second
	for _, side := range []struct {
		name       string
		fastClient bool
		want       error
		within     time.Duration
	}{
		{"client", false, errGrace, defaultLoginGrace},
		{"server", true, errSilent, defaultLoginGrace/4 + readingTime + time.Second},
	} {
		t.Run(side.name, func(t *testing.T) {
			s.fastClient, s.fastServer = side.fastClient, !side.fastClient
			s.play(t, c, true)
			if s.took > side.within || !strings.Contains(s.reason(), side.want.Error()) {
				t.Errorf("ended after %v with %q: %v", s.took, s.reason(), s.end)
			}
		})
	}
}
