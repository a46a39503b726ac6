package rdpentry

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// soakMutations is how many damaged PDUs a soak hands to the gate; otherwise it
// is as many as there is time for.
const (
	soakMutations = 1_000_000
	mutationTime  = 10 * time.Second
)

// Real conversations are held again, each time with some PDUs damaged. The
// entry is the real one, with TLS on both sides and a recording; each flow is a
// bubble of its own, in which it is known when the gate has nothing left to do,
// in which time passes only then, and which goroutines must have left.
func TestMutatedPDUsEndNothingButTheirFlow(t *testing.T) {
	soak := os.Getenv("INSIDE_SOAK") != ""
	var all []conversation
	for _, name := range everyConversation {
		all = append(all, loadConversation(t, name))
	}
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("INSIDE_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("INSIDE_SEED=%d", seed)
	newStage(t, newTally()).play(t, all[0], false) // what is made once is not counted
	tally := newTally()
	goroutines, before := runtime.NumGoroutine(), heap()
	until := time.Now().Add(mutationTime)
	if deadline, ok := t.Deadline(); ok && soak { // what -timeout allows is counted
		until = deadline.Add(-time.Minute)
	}
	t.Run("flows", func(t *testing.T) {
		for worker := range max(runtime.GOMAXPROCS(0), 2) {
			t.Run(fmt.Sprint(worker), func(t *testing.T) {
				t.Parallel()
				s := newStage(t, tally)
				for n := 0; !t.Failed(); n++ {
					if time.Now().After(until) || soak && tally.damaged.Load() >= soakMutations {
						return
					}
					r := mathrand.New(mathrand.NewPCG(seed, uint64(worker)<<32|uint64(n)))
					which := r.IntN(len(all))
					s.permit(everyConversation[which])
					if !s.play(t, mutate(r, all[which]), r.IntN(2) == 0) {
						t.Errorf("flow %d of worker %d", n, worker)
					}
				}
			})
		}
	})
	tally.report(t)
	if n := tally.damaged.Load(); n < 20 || soak && n < soakMutations {
		t.Errorf("only %d damaged PDUs reached the gate", n)
	}
	if n := tally.panics.Load(); n != 0 {
		t.Errorf("%d flows panicked", n)
	}
	for range 100 { // goroutines that have said goodbye need a moment to be gone
		if runtime.NumGoroutine() <= goroutines {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d goroutines, %d before", n, goroutines)
	}
	if more := heap() - before; more > 32<<20 {
		t.Errorf("the heap grew by %d bytes", more)
	}
}

// What nobody damaged is carried to its end.
func TestConversationsAreHeldAgain(t *testing.T) {
	for _, name := range everyConversation {
		tally := newTally()
		s := newStage(t, tally)
		s.permit(name)
		s.play(t, loadConversation(t, name), false)
		if tally.ends[string(policy.ClientLeft)]+tally.ends[string(policy.ServerLeft)] != 1 || s.drawn == 0 {
			t.Errorf("%s ended with %v and %d updates", name, tally.ends, s.drawn)
		}
	}
}

// A tally counts how flows ended.
type tally struct {
	mu      sync.Mutex
	ends    map[string]int
	flows   int
	damaged atomic.Int64 // PDUs that reached the gate
	pdus    atomic.Int64
	panics  atomic.Int64
}

func newTally() *tally { return &tally{ends: map[string]int{}} }

// add says by which name an end goes; "" is one without a reason.
func (y *tally) add(err error) string {
	var refusal *proxy.Refusal
	var cause policy.EndCause
	end := ""
	switch {
	case errors.As(err, &refusal):
		end = "denied: " + string(refusal.Verdict.Denial)
		if refusal.Verdict.Allowed() {
			end = ""
		}
	case errors.As(err, &cause):
		end = string(cause)
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	y.ends[end]++
	y.flows++
	return end
}

func (y *tally) report(t *testing.T) {
	y.mu.Lock()
	defer y.mu.Unlock()
	t.Logf("%d flows, %d PDUs, %d of them damaged", y.flows, y.pdus.Load(), y.damaged.Load())
	for _, end := range slices.Sorted(maps.Keys(y.ends)) {
		t.Logf("%8d %s", y.ends[end], end)
	}
}

// A stage is where flows are played one after the other.
type stage struct {
	*gate
	tally *tally
	dir   string
	drawn int
	stack string // of the last panic
	end   error  // of the last flow
	took  time.Duration
	pace  time.Duration // between two bytes of a peer that is slow; zero: at once

	fastClient, fastServer bool // whatever the pace

	dial func() net.Conn
}

func newStage(t testing.TB, tally *tally) *stage {
	t.Helper()
	g := newGate(t)
	g.own = quickCertificate(t)
	s := &stage{gate: g, tally: tally}
	// Recordings are made and thrown away: on a disk that is all that takes time.
	var err error
	if s.dir, err = os.MkdirTemp("/dev/shm", "inside-"); err != nil {
		s.dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(s.dir) })
	if g.root, err = os.OpenRoot(s.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.root.Close() })
	// The encoder of all recordings must not belong to a bubble.
	w, err := desktop.Create(g.root, "first.rdpr", recordingHeader)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Move(1, 1), w.Close("made once")); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stage) Dial(context.Context) (net.Conn, error) { return s.dial(), nil }

// Enabled, Handle, WithAttrs and WithGroup make the stage a log that looks for
// panics.
func (s *stage) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }
func (s *stage) WithAttrs([]slog.Attr) slog.Handler           { return s }
func (s *stage) WithGroup(string) slog.Handler                { return s }
func (s *stage) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "rdp session panicked" {
		s.tally.panics.Add(1)
		r.Attrs(func(a slog.Attr) bool { s.stack += a.String() + "\n"; return true })
	}
	return nil
}

// play holds a conversation with the gate; at its end the peers are silent, or
// leave at once. It reports whether the flow ended as flows may.
func (s *stage) play(t *testing.T, c conversation, silence bool) (ok bool) {
	s.stack = ""
	s.events, s.pins, s.admitted = nil, nil, nil
	synctest.Test(t, func(t *testing.T) {
		s.notices = make(chan string) // of this bubble
		clientNear, clientFar := net.Pipe()
		client, server := newActor(clientNear, s), newActor(nil, s)
		client.fast, server.fast = s.fastClient, s.fastServer
		dialled := make(chan net.Conn, 1)
		s.dial = func() net.Conn {
			near, far := net.Pipe()
			dialled <- near
			return far
		}
		ctx, cancel := context.WithCancelCause(context.Background())
		defer cancel(nil)
		done := make(chan struct{})
		began := time.Now()
		go func() {
			defer close(done)
			s.end = (&Entry{Certificates: s, Log: slog.New(s)}).Serve(ctx, clientFar, s)
		}()
		go client.asClient()
		go server.asServer(dialled, s.own)
		for i, said := range c {
			if i > 0 && said.server != c[i-1].server { // the other side waits for its turn
				synctest.Wait()
				if over(done) {
					break
				}
				select { // the house has something to say
				case s.notices <- "your stay ends in 5 minutes":
				default:
				}
			}
			if said.server {
				server.say <- said
			} else {
				client.say <- said
			}
		}
		close(client.say)
		close(server.say)
		synctest.Wait()
		if !over(done) && silence {
			select {
			case <-done:
				synctest.Wait()
			case <-time.After(10 * time.Minute):
			}
		}
		if over(done) {
			s.took = time.Since(began)
		} else {
			s.took = never
		}
		client.leave()
		server.leave()
		<-done
		time.Sleep(3 * time.Second) // what is to be made durable is
		select {
		case conn := <-dialled:
			conn.Close()
		default:
		}
	})
	s.drawn = s.updates()
	for _, name := range []string{desktop.Name, "desktop.tail"} {
		s.root.Remove(name)
	}
	switch {
	case s.stack != "":
		t.Errorf("a flow panicked: %s", s.stack)
	case s.tally.add(s.end) == "":
		t.Errorf("a flow ended without a reason: %v", s.end)
	default:
		return true
	}
	return false
}

// updates counts what is in the recording, which must be whole.
func (s *stage) updates() (n int) {
	f, err := s.root.Open(desktop.Name)
	if err != nil {
		return 0
	}
	defer f.Close()
	_, events, err := desktop.Read(f)
	if err != nil {
		s.t.Errorf("the recording cannot be read: %v", err)
		return 0
	}
	ended := false
	for e, err := range events {
		if err != nil {
			s.t.Errorf("the recording cannot be read: %v", err)
			return n
		}
		if e.Kind == desktop.Update || e.Kind == desktop.Graphics {
			n++
		}
		ended = e.Kind == desktop.End
	}
	if !ended {
		s.t.Error("the recording has no end")
	}
	return n
}

func over(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// An actor is a peer that says what it is told to say and listens to nothing.
type actor struct {
	stage *stage
	say   chan said
	gone  chan struct{}
	once  sync.Once
	fast  bool // whatever the pace of the stage

	mu   sync.Mutex
	conn net.Conn
}

func newActor(c net.Conn, s *stage) *actor {
	return &actor{stage: s, conn: c, say: make(chan said, 4096), gone: make(chan struct{})}
}

func (a *actor) leave() {
	a.once.Do(func() { close(a.gone) })
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn != nil {
		a.conn.Close()
	}
}

func (a *actor) asClient() {
	a.act(func(first []byte) (*tls.Conn, error) {
		if _, err := a.conn.Write(first); err != nil {
			return nil, err
		}
		if _, err := wire.NewReader(a.conn).Next(); err != nil {
			return nil, err
		}
		return tls.Client(a.conn, &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}}), nil
	})
}

func (a *actor) asServer(dialled <-chan net.Conn, cert tls.Certificate) {
	a.act(func(first []byte) (*tls.Conn, error) {
		select {
		case c := <-dialled:
			a.mu.Lock()
			a.conn = c
			a.mu.Unlock()
		case <-a.gone:
			return nil, net.ErrClosed
		}
		if _, err := wire.NewReader(a.conn).Next(); err != nil {
			return nil, err
		}
		if _, err := a.conn.Write(first); err != nil {
			return nil, err
		}
		return tls.Server(a.conn, &tls.Config{Certificates: []tls.Certificate{cert}, CurvePreferences: []tls.CurveID{tls.X25519}}), nil
	})
}

// act says the first frame in the clear, takes up TLS, and goes on. Whoever is
// hung up on hangs up.
func (a *actor) act(begin func([]byte) (*tls.Conn, error)) {
	first, ok := <-a.say
	if !ok {
		return
	}
	conn, err := begin(first.frame)
	if err == nil {
		a.count(first)
		err = conn.Handshake()
	}
	if err != nil {
		a.leave()
		return
	}
	var listening sync.WaitGroup
	listening.Go(func() {
		io.Copy(io.Discard, conn)
		a.leave()
	})
	for said := range a.say {
		if err := a.write(conn, said.frame); err != nil {
			break
		}
		a.count(said)
	}
	listening.Wait()
}

func (a *actor) write(c net.Conn, frame []byte) error {
	if a.stage.pace == 0 || a.fast {
		_, err := c.Write(frame)
		return err
	}
	for i := range frame {
		time.Sleep(a.stage.pace)
		if _, err := c.Write(frame[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

// count counts what the gate has read.
func (a *actor) count(s said) {
	a.stage.tally.pdus.Add(1)
	if s.damaged {
		a.stage.tally.damaged.Add(1)
	}
}

// quickCertificate is one whose key takes little time to use.
func quickCertificate(t testing.TB) tls.Certificate {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

// mutate damages some PDUs of a conversation, which ends soon after the last
// of them.
func mutate(r *mathrand.Rand, c conversation) conversation {
	c = slices.Clone(c)
	at := r.IntN(len(c))
	if r.IntN(4) > 0 {
		at = r.IntN(min(60, len(c))) // the connection sequence
	}
	for range 1 + r.IntN(12) {
		i := min(at, len(c)-2)
		switch r.IntN(12) {
		case 0: // twice
			c = slices.Insert(c, i, c[i])
		case 1: // too early
			j := max(i-1-r.IntN(4), 0)
			c[i], c[j] = c[j], c[i]
			c[j].damaged = true
		case 2: // never
			c = slices.Delete(c, i, i+1)
		case 3: // by the other side
			c[i].server = !c[i].server
		default:
			c[i].frame = damage(r, c[i].frame, c[r.IntN(len(c))].frame)
		}
		c[i].damaged = true
		at += r.IntN(4)
	}
	return c[:min(at+8, len(c))]
}

// damage damages one frame.
func damage(r *mathrand.Rand, frame, other []byte) []byte {
	f := bytes.Clone(frame)
	refit := true
	switch r.IntN(8) {
	case 0, 1: // some bits
		for range 1 + r.IntN(8) {
			f[r.IntN(len(f))] ^= 1 << r.IntN(8)
		}
		refit = r.IntN(4) != 0
	case 2, 3: // a length, or what else has 16 bits
		if len(f) < 2 {
			return f
		}
		at := r.IntN(min(len(f), 64) - 1)
		values := []uint16{0, 1, 3, 4, 0x7f, 0x80, 0x7fff, 0x8000, 0xffff, uint16(len(f)), uint16(r.Uint32())}
		v := values[r.IntN(len(values))]
		if r.IntN(2) == 0 {
			binary.BigEndian.PutUint16(f[at:], v)
		} else {
			binary.LittleEndian.PutUint16(f[at:], v)
		}
		refit = at > 3
	case 4: // cut short
		f = f[:1+r.IntN(len(f))]
		refit = r.IntN(3) != 0
	case 5: // the head of one, the tail of another
		f = append(f[:r.IntN(len(f)+1)], other[r.IntN(len(other)):]...)
		refit = r.IntN(3) != 0
	case 6: // more than there was
		more := make([]byte, 1+r.IntN(64))
		for i := range more {
			more[i] = byte(r.Uint32())
		}
		f = slices.Insert(f, r.IntN(len(f)+1), more...)
	case 7: // anything
		for i := r.IntN(len(f)); i < len(f); i++ {
			f[i] = byte(r.Uint32())
		}
	}
	if refit {
		fit(f)
	}
	return f
}

// fit makes the length of a frame right again, so that what is in it is looked
// at.
func fit(f []byte) {
	switch {
	case len(f) >= 4 && f[0] == 3:
		binary.BigEndian.PutUint16(f[2:], uint16(len(f)))
	case len(f) >= 3 && f[0]&3 == 0 && f[1]&0x80 != 0:
		binary.BigEndian.PutUint16(f[1:], uint16(len(f))|0x8000)
	case len(f) >= 2 && f[0]&3 == 0 && len(f) < 0x80:
		f[1] = byte(len(f))
	}
}
