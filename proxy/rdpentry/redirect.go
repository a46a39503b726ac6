package rdpentry

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording"
)

// A lastPage ends a session with a page of the gate's own in its place: what
// it says is more than a code can.
type lastPage struct {
	cause error
	lines []string
}

func (e *lastPage) Error() string { return e.cause.Error() }
func (e *lastPage) Unwrap() error { return e.cause }

// redirected is the end of a session whose server sends the client to another
// one (MS-RDPBCGR 2.2.13). It is not followed, and the client does not hear of
// it: what somebody was decided about is the server they dialled, and where
// this one would have them go the gate may not be in between. They are told
// where that is; when they dial it, it is an entry of its own.
func (f *flow) redirected(packet []byte) error {
	r, err := wire.ParseRedirection(packet)
	if err != nil {
		return err
	}
	target := "another server, which it does not name"
	if len(r.Targets) > 0 {
		target = plainLine(strings.Join(r.Targets[:min(len(r.Targets), 4)], ", "), maxName)
	}
	said := "not followed"
	if r.Not {
		said = "the client was only told of it"
	}
	if f.redirects++; f.redirects == 1 || !r.Not {
		if err := f.visit.Note(recording.Event{Kind: "redirect", To: target, Detail: fmt.Sprintf("session %d there; %s", r.Session, said)}); err != nil {
			return policy.RecordingFailed
		}
	}
	if r.Not {
		return nil
	}
	f.log.Info("redirection not followed", "target", target)
	return &lastPage{policy.ServerLeft, []string{
		fmt.Sprintf("Inside: %s sends you on to %s.", f.where(), target),
		"The gateway does not follow: what you may enter is the server you dialled. Connect to the other one yourself; that is an entry of its own.",
	}}
}

// show takes the client's desktop away and shows the page, once the goroutine
// that reads the client is gone.
func (e *lastPage) show(ctx context.Context, f *flow, reader <-chan struct{}) {
	f.client.raw.SetReadDeadline(time.Now())
	<-reader
	f.client.raw.SetReadDeadline(time.Time{})
	if f.own == nil && f.desktop.begun.Load() {
		id, _ := f.share.get()
		if f.client.write(deactivateAll(id)) != nil {
			return
		}
	}
	f.tell(ctx, e.lines, wire.ErrorAdminDisconnect)
}
