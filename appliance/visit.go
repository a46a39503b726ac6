package appliance

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pawelmojski/inside/appliance/tailscale"
	"github.com/pawelmojski/inside/netfilter"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
	"github.com/pawelmojski/inside/store"
)

const (
	// writeDown bounds how long a person waits for the database to take the
	// entry down. No record, no entry.
	writeDown = 5 * time.Second

	// lastWords is how long an entry has, after its session was ended, to say
	// so and close both connections before they are closed for it.
	lastWords = time.Second

	// backstop is how far behind the effective end the deadline of both
	// sockets lies: it ends the session should everything else hang.
	backstop = 500 * time.Millisecond
)

// A visit is one flow in the house; it implements proxy.Visit. Until Admit it
// is a question at the door, afterwards a live session.
type visit struct {
	house  *Appliance
	flow   policy.Flow
	ctx    context.Context
	cancel context.CancelCauseFunc
	client net.Conn

	notices chan string

	unidentified error // why the network did not say who comes

	// Moments since began, on the monotonic clock: when the session was last
	// used, and its effective end; 0 is none.
	began      time.Time
	used, ends atomic.Int64

	deciding sync.Mutex // held while the session is reconsidered

	mu      sync.Mutex
	verdict policy.Verdict
	session policy.Session // ID is empty until Admit
	dir     *os.Root
	log     *recording.Log
	server  net.Conn
	seen    Traffic // without the bytes
	timers  []*time.Timer
	// The deadlines of both sockets: the first of the two counts.
	endDeadline, idleDeadline time.Time
	idleTimer                 *time.Timer
	idleTold                  struct { // of what the person was warned
		used int64 // since this use
		left time.Duration
	}
	atDoor   bool
	finished bool
}

var _ proxy.Visit = (*visit)(nil)

// receive makes a visit of a connection and asks the book about it.
func (a *Appliance) receive(ctx context.Context, c netfilter.Conn, p policy.Protocol) *visit {
	ctx, cancel := context.WithCancelCause(ctx)
	v := &visit{
		house:   a,
		flow:    policy.Flow{Client: c.Client, Dest: c.Dest, Protocol: p},
		ctx:     ctx,
		cancel:  cancel,
		client:  c.TCPConn,
		notices: make(chan string, 8),
		began:   time.Now(),
		atDoor:  true,
	}
	v.flow.Identity, v.unidentified = a.whoComes(ctx, c.Client)
	v.verdict = v.Decide("")
	context.AfterFunc(ctx, func() { time.AfterFunc(lastWords, v.closeBoth) })
	return v
}

func (v *visit) Flow() policy.Flow { return v.flow }

func (v *visit) Notices() <-chan string { return v.notices }

func (v *visit) Verdict() policy.Verdict {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.verdict
}

// Decide asks the book, and then the house: where nothing can be recorded or
// written down, nobody is let in.
func (v *visit) Decide(login string) policy.Verdict {
	began := time.Now()
	defer func() { v.house.metrics.decided(time.Since(began)) }()
	f := v.believed()
	f.Login = login
	book := v.house.book.Load()
	verdict := book.Decide(f, v.house.clock.now())
	if verdict.Denial == policy.UnknownPerson && v.unidentified != nil && !errors.Is(v.unidentified, tailscale.ErrNobody) {
		verdict.Denial = policy.Unidentified
	}
	if v.house.warns(f.Dest) {
		verdict = book.Waive(verdict, f)
	}
	switch {
	case v.house.forbidden(f.Dest):
		verdict.Denial = policy.ForbiddenDest
	case !verdict.Allowed():
	case v.house.records.ready() != nil:
		verdict.Denial = policy.RecorderUnavailable
	case !v.house.ledger.writable():
		verdict.Denial = policy.LedgerUnavailable
	}
	return verdict
}

// Admit implements proxy.Visit.
func (v *visit) Admit(ctx context.Context, login string) (policy.Session, error) {
	verdict := v.Decide(login)
	refuse := func(d policy.Denial, err error) (policy.Session, error) {
		verdict.Denial = d
		return policy.Session{}, &proxy.Refusal{Verdict: verdict, Login: login, Err: err}
	}
	if !verdict.Allowed() {
		return refuse(verdict.Denial, nil)
	}
	identity, err := v.stillThem(ctx)
	if err != nil && !v.house.warns(v.flow.Dest) {
		return refuse(policy.Unidentified, err)
	}
	if err != nil && verdict.Waived == "" {
		verdict.Denial = policy.Unidentified
		verdict = v.house.book.Load().Waive(verdict, v.flow)
	}
	se := policy.Session{
		ID:       newSessionID(),
		Person:   verdict.Person.ID,
		Server:   verdict.Server.ID,
		Grant:    verdict.Grant.ID,
		Waived:   verdict.Waived,
		Protocol: v.flow.Protocol,
		Login:    login,
		Client:   v.flow.Client,
		Identity: identity,
		Dest:     v.flow.Dest,
		Gate:     v.house.cfg.Gate.Name,
		Start:    v.house.clock.now(),
	}
	dir, err := v.house.records.create(se)
	if err != nil {
		return refuse(policy.RecorderUnavailable, err)
	}
	log, err := recording.CreateLog(dir)
	if err != nil {
		dir.Close()
		return refuse(policy.RecorderUnavailable, err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeDown)
	defer cancel()
	v.house.before.own(se.ID)
	entered, joined, err := v.enter(ctx, se, &verdict)
	if noMore(err) != "" {
		log.Close()
		dir.Close()
		v.house.records.discard(se)
		return refuse(verdict.Denial, err)
	}
	if err != nil {
		v.house.ledger.failed(err)
		v.house.ledger.leave(se.ID, se.Start, policy.Failed, policy.Carried{}) // should it stand there all the same
		log.Close()
		dir.Close()
		v.house.records.discard(se)
		return refuse(policy.LedgerUnavailable, err)
	}
	se = entered
	v.flow.Login, v.flow.Inside = login, true
	v.Used()
	v.mu.Lock()
	v.session, v.dir, v.log, v.verdict = se, dir, log, verdict
	v.mu.Unlock()
	v.passDoor()
	v.house.metrics.entered(se.Protocol, joined)
	v.house.lookout.keyRight(se.Dest)
	v.house.log.Info("entered", "person", verdict.Person.Name, "server", verdict.Server.Name, "login", login,
		"identity", se.Identity.String(), "grant", se.Grant, "stay", se.Stay, "session", se.ID, "joined", joined, "until", verdict.Until, "waived", string(se.Waived))
	v.house.live.add(v, se)
	v.house.tellEntered(se, joined)
	return se, nil
}

// noMore is the denial of a grant that the store says is full; "" of every
// other error.
func noMore(err error) policy.Denial {
	switch {
	case errors.Is(err, store.ErrFull):
		return policy.TooManySessions
	case errors.Is(err, store.ErrOften):
		return policy.TooManyEntries
	}
	return ""
}

// enter writes the session down under the grant of the verdict or, where that
// is full, under the next that serves; the verdict becomes the one by that
// grant, or the denial that is left.
func (v *visit) enter(ctx context.Context, se policy.Session, verdict *policy.Verdict) (entered policy.Session, joined bool, err error) {
	f := v.believed()
	f.Login = se.Login
	var full []policy.Full
	for settled := false; ; {
		entered, joined, err = v.house.store.Enter(ctx, se)
		denial := noMore(err)
		switch {
		case denial == "":
			return entered, joined, err
		case denial == policy.TooManySessions && !settled:
			// The session whose place this takes may have ended already, and
			// its end wait to be written down.
			settled = true
			v.house.ledger.settle(ctx)
			continue
		}
		full = append(full, policy.Full{Grant: se.Grant, Denial: denial})
		book := v.house.book.Load()
		*verdict = book.DecideWithout(full, f, v.house.clock.now())
		if v.house.warns(f.Dest) {
			*verdict = book.Waive(*verdict, f)
		}
		if !verdict.Allowed() {
			return entered, joined, err
		}
		se.Grant, se.Waived = verdict.Grant.ID, verdict.Waived
	}
}

// passDoor gives the place at the doors back.
func (v *visit) passDoor() {
	v.mu.Lock()
	atDoor := v.atDoor
	v.atDoor = false
	v.mu.Unlock()
	if atDoor {
		v.house.doors.leave(v.flow.Client.Addr())
	}
}

// Dial implements proxy.Visit: the address that was dialled, and no other.
func (v *visit) Dial(ctx context.Context) (net.Conn, error) {
	began := time.Now()
	c, err := v.house.dial(ctx, v.flow)
	v.house.metrics.dialEnded(time.Since(began), err)
	if s := v.Verdict().Server; s != nil && (err == nil || !errors.Is(ctx.Err(), context.Canceled)) { // not when the person went away
		v.house.lookout.dialled(v.flow.Dest, s, err)
	}
	if err != nil {
		return nil, err
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		c = &counted{TCPConn: tcp}
	}
	v.mu.Lock()
	v.server = c
	v.mu.Unlock()
	if v.ctx.Err() != nil {
		c.Close()
		return nil, context.Cause(v.ctx)
	}
	return c, nil
}

// Record implements proxy.Visit.
func (v *visit) Record(channel int, h recording.Header) (*recording.Writer, error) {
	h.Channel = channel
	return openRecording(v, h, func(dir *os.Root, h recording.Header) (*recording.Writer, error) {
		return recording.Create(dir, castName(channel), h)
	})
}

// RecordDesktop implements proxy.Visit.
func (v *visit) RecordDesktop(h recording.Header) (*desktop.Writer, error) {
	return openRecording(v, h, func(dir *os.Root, h recording.Header) (*desktop.Writer, error) {
		return desktop.Create(dir, desktop.Name, h)
	})
}

// openRecording fills in what the house knows.
func openRecording[W any](v *visit, h recording.Header, create func(*os.Root, recording.Header) (W, error)) (w W, err error) {
	v.mu.Lock()
	se, dir, verdict := v.session, v.dir, v.verdict
	v.mu.Unlock()
	if dir == nil {
		return w, errNotAdmitted
	}
	h.Person, h.Server, h.Login = verdict.Person.Name, verdict.Server.Name, se.Login
	h.Source, h.Grant, h.Stay, h.Session = se.Client.String(), string(se.Grant), string(se.Stay), string(se.ID)
	h.Title = verdict.Person.Name + " on " + verdict.Server.Name + " as " + se.Login
	if h.Start.IsZero() {
		h.Start = v.house.clock.now()
	}
	if w, err = create(dir, h); err != nil {
		v.house.log.Error("recording could not be opened", "session", se.ID, "error", err)
		return w, err
	}
	v.mu.Lock()
	v.seen.Recordings++
	v.mu.Unlock()
	return w, nil
}

// Note implements proxy.Visit.
func (v *visit) Note(e recording.Event) error {
	v.mu.Lock()
	log := v.log
	see(&v.seen, e)
	v.mu.Unlock()
	if log == nil {
		return errNotAdmitted
	}
	if e.Time.IsZero() {
		e.Time = v.house.clock.now()
	}
	return log.Append(e)
}

var errNotAdmitted = errors.New("nothing is recorded before the person was admitted")

// notify puts a line where the entry shows it to the person; a full box loses
// the oldest.
func (v *visit) notify(line string) {
	for {
		select {
		case v.notices <- line:
			return
		default:
		}
		select {
		case <-v.notices:
		default:
		}
	}
}

// end ends the session from the house's side, for a cause.
func (v *visit) end(why policy.EndCause) { v.cancel(why) }

func (v *visit) closeBoth() {
	v.client.Close()
	v.mu.Lock()
	server := v.server
	v.mu.Unlock()
	if server != nil {
		server.Close()
	}
}

// leave is the end of the flow, whatever it was: a refusal is written down as
// a denied entry, a session gets its end and cause.
func (v *visit) leave(err error) {
	v.mu.Lock()
	finished := v.finished
	v.finished = true
	se := v.session
	v.mu.Unlock()
	if finished {
		return
	}
	defer v.cancel(nil)
	v.closeBoth()
	v.passDoor()
	if se.ID == "" {
		v.writeRefusal(err)
		return
	}
	why := v.causeOf(err)
	v.house.live.remove(v)
	v.disarm()
	if err := errors.Join(v.Note(recording.Event{Kind: "end", Detail: string(why)}), v.log.Close(), v.dir.Close()); err != nil {
		v.house.log.Error("event log not closed", "session", se.ID, "error", err)
	}
	v.house.log.Info("left", "session", se.ID, "stay", se.Stay, "cause", string(why), "error", err)
	se.End, se.Cause = v.house.clock.now(), why
	se.Carried = v.traffic()
	v.house.ledger.leave(se.ID, se.End, why, se.Carried)
	v.house.tellLeft(se)
}

// causeOf finds why a session ended: what the house said, if it spoke first,
// else what the entry says.
func (v *visit) causeOf(err error) policy.EndCause {
	var why policy.EndCause
	if errors.As(context.Cause(v.ctx), &why) {
		return why
	}
	if errors.As(err, &why) {
		return why
	}
	if err == nil {
		return policy.ClientLeft
	}
	return policy.Failed
}

// writeRefusal writes the denied entry. A flow that ended by itself before
// anybody was refused says what it was: a server that took no credentials, or
// a client that spoke no protocol.
func (v *visit) writeRefusal(err error) {
	verdict, login, detail := v.Verdict(), "", ""
	var refusal *proxy.Refusal
	switch {
	case errors.As(err, &refusal):
		verdict, login = refusal.Verdict, refusal.Login
		if refusal.Err != nil {
			detail = refusal.Err.Error()
		}
	case verdict.Allowed():
		verdict.Denial = policy.NotAuthenticated
		if err != nil {
			detail = err.Error()
		}
	}
	if detail == "" {
		detail = v.notKnown(verdict.Denial)
	}
	e := store.Entry{
		Time: v.house.clock.now(), Gate: v.house.cfg.Gate.Name,
		Client: v.flow.Client, Dest: v.flow.Dest, Protocol: v.flow.Protocol,
		Login: login, Denial: verdict.Denial, Detail: detail, Identity: v.flow.Identity,
	}
	if verdict.Person != nil {
		e.Person = verdict.Person.ID
	}
	if verdict.Server != nil {
		e.Server = verdict.Server.ID
	}
	if verdict.Grant != nil {
		e.Grant = verdict.Grant.ID
	}
	v.house.log.Info("denied", "client", e.Client, "dest", e.Dest, "login", login, "denial", string(e.Denial), "detail", detail)
	v.house.metrics.refused(e.Protocol, e.Denial)
	v.house.lookout.denied(e.Denial, e.Dest, verdict.Server, e.Time)
	v.house.ledger.deny(e)
	v.house.tellDenied(e)
}
