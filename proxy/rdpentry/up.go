package rdpentry

import (
	"errors"
	"fmt"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// up carries what the person does to the server. Once the session is over it
// goes on reading, so that the farewell is not lost in a reset.
func (f *flow) up() error {
	for {
		frame, err := f.client.frames.Next()
		if err != nil {
			return gone(err, policy.ClientLeft)
		}
		if f.isOver() {
			continue
		}
		if frame.Fast {
			err = f.upFast(frame)
		} else {
			err = f.upFrame(frame)
		}
		if err != nil && !f.cut.Load() {
			return err
		}
	}
}

// upFast passes input on as it is: it holds no numbers of either side.
func (f *flow) upFast(frame wire.Frame) error {
	if wire.FastSecured(frame.Header) {
		return fmt.Errorf("%w: encrypted input within TLS", wire.ErrMalformed)
	}
	if _, active := f.share.get(); !active {
		return nil // between two desktops there is nothing to be clicked on
	}
	f.visit.Used()
	x, y, moved, err := wire.LastMove(frame.Header, frame.Body)
	if err != nil {
		return err
	}
	if moved {
		if err := f.desktop.moved(x, y); err != nil {
			return err
		}
	}
	return f.sent(f.server.write(frame.Raw))
}

func (f *flow) upFrame(frame wire.Frame) error {
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
		f.server.write(wire.MCS{Kind: wire.DisconnectUltimatum, Reason: pdu.Reason}.Frame())
		return policy.ClientLeft
	case wire.SendDataRequest:
	default:
		return nil // a channel joined again, perhaps: the server has nothing to do with it
	}
	if pdu.Channel == clientIO {
		return f.upIO(pdu.Data)
	}
	return f.upChannel(pdu.Channel, pdu.Data)
}

// upIO carries what goes over the I/O channel: licensing before the desktop is
// there, share PDUs afterwards.
func (f *flow) upIO(data []byte) error {
	if !f.desktop.begun.Load() {
		flags, _, err := wire.ParseSecurity(data)
		if err != nil {
			return err
		}
		if flags&wire.SecLicense == 0 || f.licensed {
			return nil
		}
		return f.sent(f.toServer(f.serverIO, data))
	}
	for len(data) > 0 {
		s, rest, err := wire.ParseShare(data)
		if err != nil {
			return err
		}
		data = rest
		if s.Source = f.us; s.Kind == wire.ConfirmActive {
			if err := f.confirm(&s); err != nil {
				return err
			}
		} else if pass, err := f.upData(s); err != nil {
			return err
		} else if !pass {
			continue
		}
		if err := f.sent(f.toServer(f.serverIO, s.Bytes())); err != nil {
			return err
		}
	}
	return nil
}

// confirm rewrites the client's capabilities to what can be recorded.
func (f *flow) confirm(s *wire.Share) error {
	a, err := wire.ParseActive(s.Body, true)
	if err != nil {
		return err
	}
	id, _ := f.share.get()
	f.share.set(id, true)
	s.Body = tamed(a).Bytes()
	return nil
}

// upData reports whether the server may hear of a share PDU. It must not hear
// which bitmaps the client still has from earlier sessions: the recorder has
// none of them.
func (f *flow) upData(s wire.Share) (pass bool, err error) {
	if s.Kind != wire.ShareData {
		return false, nil
	}
	d, err := wire.ParseData(s.Body)
	if err != nil {
		return false, err
	}
	if _, active := f.share.get(); !active {
		return false, nil // said to the desktop before, which may have been the gate's sign-in form
	}
	switch d.Kind {
	case wire.DataBitmapKeys:
		return false, nil
	case wire.DataInput:
		f.visit.Used()
		if x, y, moved := wire.LastSlowMove(d.Body); moved {
			return true, f.desktop.moved(x, y)
		}
	}
	return true, nil
}

// sent makes of an error of writing to the server that it has left; what was
// wrong with the bytes stays.
func (f *flow) sent(err error) error {
	if err == nil || errors.Is(err, wire.ErrMalformed) {
		return err
	}
	return policy.ServerLeft
}
