package rdpentry

import (
	"fmt"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording"
)

// down carries what the server shows to the person: it is recorded first.
func (f *flow) down() error {
	for {
		frame, err := f.server.frames.Next()
		if err != nil {
			return f.unlicensed(gone(err, policy.ServerLeft))
		}
		if err := f.pass(frame); err != nil {
			return f.unlicensed(err)
		}
		if pause := f.desktop.work.owed(time.Now()); pause > 0 {
			select {
			case <-f.over:
			case <-time.After(pause):
			}
		}
	}
}

// pass records a frame, shows it, and draws the notice again where it was
// drawn over. No notice changes in between.
func (f *flow) pass(frame wire.Frame) error {
	f.showing.Lock()
	defer f.showing.Unlock()
	if f.isOver() {
		return errCut // what nobody is shown any more is not recorded either
	}
	var err error
	if frame.Fast {
		err = f.downFast(frame)
	} else {
		err = f.downFrame(frame)
	}
	if err != nil {
		return err
	}
	if err := f.desktop.keyframe(); err != nil {
		return err
	}
	return f.overlay()
}

// downFast records updates and passes them on as they are: they hold no
// numbers of either side.
func (f *flow) downFast(frame wire.Frame) error {
	if wire.FastSecured(frame.Header) {
		return fmt.Errorf("%w: encrypted output within TLS", wire.ErrMalformed)
	}
	if err := f.desktop.fast(frame.Body); err != nil {
		return err
	}
	return f.show(frame.Raw)
}

func (f *flow) downFrame(frame wire.Frame) error {
	p, err := wire.Payload(frame.Body)
	if err != nil {
		return err
	}
	pdu, err := wire.ParseMCS(p)
	if err != nil {
		return err
	}
	switch pdu.Kind {
	case wire.DisconnectUltimatum:
		return policy.ServerLeft
	case wire.SendDataIndication:
	default:
		return fmt.Errorf("%w: MCS PDU %d from the server", wire.ErrMalformed, pdu.Kind)
	}
	if pdu.Channel == f.serverIO {
		return f.downIO(pdu.Data)
	}
	return f.downChannel(pdu.Channel, pdu.Data)
}

// downIO carries what comes over the I/O channel: licensing until the server
// tells what it can do, share PDUs from then on.
func (f *flow) downIO(data []byte) error {
	if !f.desktop.begun.Load() {
		if flags, rest, err := wire.ParseSecurity(data); err == nil && !isShare(data) {
			switch {
			case flags&wire.SecRedirection != 0:
				return f.redirected(rest)
			case flags&wire.SecLicense != 0:
				return f.downLicense(data)
			}
			return fmt.Errorf("%w: security header %#x before the desktop", wire.ErrMalformed, flags)
		}
	}
	for len(data) > 0 {
		s, rest, err := wire.ParseShare(data)
		if err != nil {
			return err
		}
		data = rest
		if f.own != nil && s.Kind == wire.DemandActive { // the server's desktop takes its place
			if err := f.own.close(); err != nil {
				return policy.ClientLeft
			}
		}
		if err := f.downShare(&s); err != nil {
			return err
		}
		if s.Kind < 0 {
			continue
		}
		if err := f.showOn(clientIO, s.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// isShare tells a share control PDU from one with a security header: the
// former begins with its own length and version.
func isShare(data []byte) bool {
	return len(data) >= 6 && int(le.Uint16(data)) == len(data) && data[2]&0xf0 == 0x10
}

// downShare looks into one share PDU, records what it draws and makes it the
// client's.
func (f *flow) downShare(s *wire.Share) error {
	switch s.Kind {
	case wire.DemandActive:
		a, err := wire.ParseActive(s.Body, false)
		if err != nil {
			return err
		}
		f.share.set(a.Share, false)
		if err := f.desktop.begin(a); err != nil {
			return err
		}
		s.Body = uncompressed(a).Bytes()
	case wire.DeactivateAll:
		id, _ := f.share.get()
		f.share.set(id, false)
	case wire.Redirection:
		s.Kind = -1 // two bytes of padding stand before it (2.2.13.3.1)
		return f.redirected(s.Body[min(2, len(s.Body)):])
	case wire.ShareData:
		d, err := wire.ParseData(s.Body)
		if err != nil {
			return err
		}
		if d.Body, err = f.desktop.slow(d); err != nil {
			return err
		}
		if d.Kind == wire.DataLogon {
			return f.loggedOn(d.Body)
		}
	}
	return nil
}

// maxLogons is how often another user may log on in one session. Each stands
// in its event log.
const maxLogons = 100

// loggedOn hears from the server who has logged in. At its own prompt that may
// be somebody else than the client said; the grant is asked about them, too.
func (f *flow) loggedOn(body []byte) error {
	domain, user, ok := wire.LogonName(body)
	if !ok || user == "" {
		return nil
	}
	if who := plainLine(domain+`\`+user, maxName); who != f.loggedAs {
		if f.logons++; f.logons > maxLogons {
			return fmt.Errorf("%w: the server tells of %d logons", wire.ErrMalformed, f.logons)
		}
		if err := f.visit.Note(recording.Event{Kind: "logon", Detail: who}); err != nil {
			return policy.RecordingFailed
		}
		f.loggedAs = who
	}
	if v := f.visit.Verdict(); v.Grant == nil || len(v.Grant.Logins) == 0 || user == f.login {
		return nil
	}
	if f.visit.Decide(user).Allowed() || f.visit.Decide(domain+`\`+user).Allowed() {
		return nil
	}
	return policy.NoLongerAllowed
}

// show sends what was recorded.
func (f *flow) show(frame []byte) error {
	if f.isOver() {
		return errCut
	}
	if f.client.write(frame) != nil {
		return policy.ClientLeft
	}
	return nil
}

func (f *flow) showOn(channel uint16, data []byte) error {
	if len(data) > wire.MaxData {
		return fmt.Errorf("%w: %d bytes in one PDU", wire.ErrMalformed, len(data))
	}
	return f.show(wire.MCS{Kind: wire.SendDataIndication, User: wire.ServerUser, Channel: channel, Data: data}.Frame())
}
