package rdpentry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording"
)

// lastWords is how long the client has to be told about the end and to go.
const lastWords = 400 * time.Millisecond

// A share is what both directions know of the shared desktop.
type share struct {
	mu     sync.Mutex
	id     uint32
	active bool // client and server have told each other what they can do
	opened bool // they have done so once
}

func (s *share) set(id uint32, active bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id, s.active = id, active
	s.opened = s.opened || active
}

func (s *share) get() (id uint32, active bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id, s.active
}

// carry relays between the two until somebody leaves or the house ends it.
func (f *flow) carry(ctx context.Context) error {
	f.noteClosed()
	var pumps sync.WaitGroup
	pumps.Add(2)
	clientGone := make(chan struct{})
	f.spawn(func() {
		defer pumps.Done()
		defer close(clientGone)
		f.end(f.up())
	})
	f.spawn(func() {
		defer pumps.Done()
		f.end(f.down())
	})
	f.spawn(f.showNotices)
	late := time.AfterFunc(f.grace(), f.overdue)
	defer late.Stop()
	select {
	case <-ctx.Done():
		f.end(context.Cause(ctx))
	case <-f.over:
	}
	f.server.close() // what is under way from it is not wanted any more
	var page *lastPage
	if errors.As(f.cause, &page) {
		page.show(ctx, f, clientGone)
	} else {
		f.sayGoodbye()
	}
	select {
	case <-clientGone: // it has hung up in turn: nothing of the farewell is lost
	case <-time.After(lastWords):
	}
	f.client.close()
	pumps.Wait()
	f.noteFailure()
	if f.cause != policy.ClientLeft && f.cause != policy.ServerLeft {
		f.log.Info("session ends", "cause", f.cause)
	}
	return endOf(f.cause)
}

// overdue ends a session that has no desktop yet: licensing without end, or a
// peer that says nothing.
func (f *flow) overdue() {
	f.share.mu.Lock()
	opened := f.share.opened
	f.share.mu.Unlock()
	switch {
	case opened:
	case f.desktop.begun.Load():
		f.end(fmt.Errorf("the client does not take the desktop: %w", errGrace))
	default:
		f.end(fmt.Errorf("there is no desktop: %w", errSilent))
	}
}

// noteFailure writes down what was wrong, where the cause of the end only says
// that something was.
func (f *flow) noteFailure() {
	var why policy.EndCause
	if !errors.As(f.cause, &why) {
		f.visit.Note(recording.Event{Kind: "failure", Detail: plainLine(f.cause.Error(), 4*maxName)})
	}
}

// endOf names the cause of an end that came from the bytes.
func endOf(err error) error {
	var cause policy.EndCause
	if errors.As(err, &cause) {
		return err
	}
	return errors.Join(policy.Failed, err)
}

// gone names the peer that has left, if that is what err tells.
func gone(err error, who policy.EndCause) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, os.ErrDeadlineExceeded):
		return who
	}
	return err
}

var errCut = errors.New("the session is over")

// codeOf is how a cause is told in RDP.
func codeOf(cause error) uint32 {
	var why policy.EndCause
	if !errors.As(cause, &why) {
		return wire.ErrorAdminDisconnect
	}
	switch why {
	case policy.GrantExpired, policy.ScheduleClosed:
		return wire.ErrorSessionLimit
	case policy.Idle:
		return wire.ErrorIdle
	case policy.ClientLeft, policy.ServerLeft:
		return 0
	}
	return wire.ErrorAdminDisconnect
}

// sayGoodbye tells the client why it is hung up on, and hangs up.
func (f *flow) sayGoodbye() {
	id, _ := f.share.get()
	f.client.hangUp(f.farewell(id, codeOf(f.cause)), lastWords/2)
}

// farewell is the error code, where the client has said that it understands
// one, and the end.
func (f *flow) farewell(share, code uint32) []byte {
	var words []byte
	if code != 0 && f.data.Core.Early()&wire.EarlyErrorInfo != 0 {
		info := wire.ErrorInfo(share, code).Bytes()
		words = wire.MCS{Kind: wire.SendDataIndication, User: wire.ServerUser, Channel: clientIO, Data: info}.Frame()
	}
	return append(words, wire.MCS{Kind: wire.DisconnectUltimatum, Reason: wire.ProviderInitiated}.Frame()...)
}
