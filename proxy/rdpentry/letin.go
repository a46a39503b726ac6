package rdpentry

import (
	"context"
	"errors"
	"fmt"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording"
)

// letIn decides about the person, now with their login, goes to the server,
// and passes the login on once the entry is written down. Who has sent less
// than that takes is asked.
func (f *flow) letIn(ctx context.Context) error {
	err := f.decide()
	if err == nil {
		err = f.reach(ctx)
	}
	if why := wanting(err); why != "" {
		err = f.signIn(ctx, why)
	}
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	if err := f.admit(ctx); err != nil {
		return err
	}
	for _, e := range append(f.tries, recording.Event{Kind: "login", Detail: f.howLoggedIn()}) {
		if err := f.visit.Note(e); err != nil {
			return policy.RecordingFailed
		}
	}
	if err := f.openDesktop(); err != nil {
		f.log.Error("recording could not be opened", "error", err)
		return policy.RecordingFailed
	}
	if err := f.sendLogin(); err != nil {
		return policy.ServerLeft
	}
	return nil
}

// decide asks the book with the login the client sent.
func (f *flow) decide() error {
	if v := f.visit.Verdict(); !v.Allowed() {
		return &proxy.Refusal{Verdict: v, Login: plainLine(f.login, maxName)}
	}
	switch {
	case f.request.Flags&wire.RestrictedAdmin != 0:
		return f.refusal(policy.NotServed, errAdminMode)
	case f.request.Flags&wire.RemoteCredentialGuard != 0:
		return f.refusal(policy.NotServed, errGuarded)
	case f.info.SmartCard():
		return f.refusal(policy.NotServed, errors.New("a smart card's PIN cannot pass the gate"))
	}
	if f.info.User == "" {
		return f.decideNameless()
	}
	return f.decideLogin()
}

// decideLogin asks it about the login, wherever that comes from.
func (f *flow) decideLogin() error {
	shown := plainLine(f.login, maxName)
	if !soundLogin(f.login) {
		f.login = shown
		return f.refusal(policy.WrongLogin, errors.New("not a login name"))
	}
	if v := f.visit.Decide(f.login); !v.Allowed() {
		return &proxy.Refusal{Verdict: v, Login: f.login}
	}
	return nil
}

var errNameless = errors.New("the client sent no login name: give it one, such as /u: of xfreerdp")

// decideNameless lets somebody whose client sent no login see the server's own
// prompt, unless the login is what their grant depends on.
func (f *flow) decideNameless() error {
	f.login = ""
	v := f.visit.Verdict()
	if v.Grant != nil && len(v.Grant.Logins) > 0 {
		return f.refusal(policy.WrongLogin, errNameless)
	}
	return nil
}

// howLoggedIn says for the event log what the client offered the server.
func (f *flow) howLoggedIn() string {
	how := "password"
	switch {
	case f.relayed:
		how = "what the client showed it"
	case f.held != nil:
		how += " with " + f.held.held.ID
	case f.typed:
		how = "password asked for in the gate's sign-in form"
	}
	if f.chosen == wire.ProtocolHybrid {
		return how + ", taken by the server (NLA)"
	}
	if f.info.User != "" && f.info.Password != "" && f.info.Autologon() {
		return how
	}
	return "at the server's own prompt"
}

// sendLogin passes the Client Info PDU on. It is the one thing that is sent to
// a server and held nowhere: the password is forgotten here.
func (f *flow) sendLogin() error {
	f.info.Recordable()
	f.info.Notify()
	err := f.toServer(f.serverIO, f.info.Bytes())
	f.info = wire.ClientInfo{}
	return err
}

// toServer sends data on a channel of the server's side.
func (f *flow) toServer(channel uint16, data []byte) error {
	if len(data) > wire.MaxData {
		return fmt.Errorf("%w: %d bytes in one PDU", wire.ErrMalformed, len(data))
	}
	return f.server.write(wire.MCS{Kind: wire.SendDataRequest, User: f.us, Channel: channel, Data: data}.Frame())
}
