package rdpentry

import (
	"context"
	"errors"
	"fmt"

	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// The gate's own numbers towards a client.
const (
	clientIO     = 1003 // the channel of everything that has none of its own
	firstChannel = 1004 // the static virtual channels follow

	serverVersion = 0x00080004 // RDP 5.0 to 8.1
	maxGreeting   = 2*wire.MaxChannels + 16
)

var (
	errTooEarly = errors.New("not RDP: input or graphics before the session has begun")
	errEndless  = errors.New("not RDP: the connection sequence has no end")
)

// greet is the connection sequence with the client (MS-RDPBCGR 1.3.1.1) up to
// its Client Info PDU: what a server does, with nobody behind it yet.
func (f *flow) greet(ctx context.Context) error {
	login, cancel := context.WithTimeoutCause(ctx, f.grace(), errGrace)
	defer cancel()
	hello, enough := context.WithTimeoutCause(login, f.grace()/10, errGrace)
	defer enough()
	err := f.guarded(hello, f.client, func() error { return f.secure(hello) })
	if err == nil {
		err = f.guarded(login, f.client, func() error { return f.proveClient(login) })
	}
	if err == nil {
		err = f.guarded(login, f.client, f.meet)
	}
	var refusal *proxy.Refusal
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &refusal):
		return refusal
	case hello.Err() != nil && login.Err() != nil, errors.Is(err, context.DeadlineExceeded):
		err = errGrace
	}
	return f.refusal(denialOfGreeting(err), err)
}

// guarded closes a side when ctx ends while fn runs, and says why.
func (f *flow) guarded(ctx context.Context, s *side, fn func() error) error {
	stop := context.AfterFunc(ctx, s.close)
	err := fn()
	if !stop() && err == nil {
		err = context.Cause(ctx)
	} else if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

// meet is MCS and GCC with the client, up to its login.
func (f *flow) meet() error {
	p, err := f.client.nextPayload()
	if err != nil {
		return err
	}
	data, err := wire.ParseConnectInitial(p)
	if err != nil {
		return err
	}
	if f.data, err = wire.ParseClientData(data); err != nil {
		return err
	}
	f.channels = channelsFor(f.data.Channels)
	f.user = firstChannel + uint16(len(f.channels))
	answer := wire.ServerData{Version: serverVersion, Requested: f.request.Protocols, IO: clientIO}
	for _, ch := range f.channels {
		answer.Channels = append(answer.Channels, ch.client)
	}
	if err := f.client.write(wire.ConnectResponse(answer.Bytes())); err != nil {
		return err
	}
	for range maxGreeting {
		p, err := f.client.next()
		if err != nil {
			return err
		}
		if done, err := f.meetPDU(p); done || err != nil {
			return err
		}
	}
	return errEndless
}

// meetPDU answers one PDU before the login; the login is the last.
func (f *flow) meetPDU(p wire.MCS) (done bool, err error) {
	switch p.Kind {
	case wire.ErectDomainRequest:
		return false, nil
	case wire.AttachUserRequest:
		return false, f.client.write(wire.MCS{Kind: wire.AttachUserConfirm, User: f.user}.Frame())
	case wire.ChannelJoinRequest:
		confirm := wire.MCS{Kind: wire.ChannelJoinConfirm, User: f.user, Channel: p.Channel}
		if p.Channel < clientIO || p.Channel > f.user {
			confirm.Result = 3 // rt-no-such-channel
		}
		return false, f.client.write(confirm.Frame())
	case wire.SendDataRequest:
		flags, rest, err := wire.ParseSecurity(p.Data)
		if err != nil {
			return false, err
		}
		if p.Channel != clientIO || flags&wire.SecInfo == 0 {
			return false, nil // what a client may say early and nobody needs
		}
		if f.info, err = wire.ParseClientInfo(rest); err != nil {
			return false, err
		}
		f.takeLogin()
		return true, nil
	}
	return false, fmt.Errorf("%w: MCS PDU %d before the login", wire.ErrMalformed, p.Kind)
}
