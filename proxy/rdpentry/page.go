package rdpentry

import (
	"errors"
	"fmt"
	"image"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry/codec"
	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// A page is a desktop of the gate's own in the client's window: a message, or
// the sign-in form. The server's may take its place.
type page struct {
	f             *flow
	width, height int
	depth         int
	area          image.Rectangle // what is drawn on
	shown         screen.Picture  // what stands there
	shownAgain    time.Time       // to a client that asked
}

// pageShare is the number of the gate's own desktop.
const pageShare = 0x000103ea

// openPage returns the page in the client's window, which is opened at the
// first call.
func (f *flow) openPage() (*page, error) {
	if f.own != nil {
		return f.own, nil
	}
	p := &page{f: f}
	f.share.set(pageShare, false)
	p.width, p.height, p.depth = f.page()
	if err := p.open(); err != nil {
		return nil, err
	}
	f.own = p
	return p, nil
}

// page is the size and depth of the desktop the client wants.
func (f *flow) page() (width, height, depth int) {
	clamp := func(n int) int { return min(max(n, 200), screen.MaxSide/2) }
	return clamp(f.data.Core.Width()), clamp(f.data.Core.Height()), f.data.Core.Depth()
}

// Share data PDUs that open a desktop (MS-RDPBCGR 2.2.1.14 to 2.2.1.22).
const (
	controlRequest   = 1
	controlGranted   = 2
	controlCooperate = 4
)

func (p *page) send(data []byte) error {
	return p.f.client.write(wire.MCS{Kind: wire.SendDataIndication, User: wire.ServerUser, Channel: clientIO, Data: data}.Frame())
}

// open is the second half of the connection sequence, from licensing to the
// font map, as a server does it.
func (p *page) open() error {
	if !p.f.licensed && !p.f.licensing { // else the client knows already
		if err := p.send(wire.ValidClient()); err != nil {
			return err
		}
		p.f.licensed = true
	}
	demand := wire.Active{Share: pageShare, Source: []byte("RDP\x00"), Capabilities: ownCapabilities(p.width, p.height, p.depth)}
	if err := p.send(wire.Share{Kind: wire.DemandActive, Source: wire.ServerUser, Body: demand.Bytes()}.Bytes()); err != nil {
		return err
	}
	reply := func(kind byte, body ...byte) error {
		return p.send(wire.NewData(pageShare, wire.ServerUser, kind, body).Bytes())
	}
	user := p.f.user
	for range maxGreeting {
		pdu, err := p.f.client.next()
		if err != nil {
			return err
		}
		kind, action := openingStep(pdu)
		switch {
		case pdu.Kind == wire.DisconnectUltimatum:
			return policy.ClientLeft
		case kind == wire.DataSynchronize:
			err = errors.Join(reply(wire.DataSynchronize, 1, 0, byte(user), byte(user>>8)),
				reply(wire.DataControl, controlCooperate, 0, 0, 0, 0, 0, 0, 0))
		case kind == wire.DataControl && action == controlRequest:
			err = reply(wire.DataControl, controlGranted, 0, byte(user), byte(user>>8), 0xea, 3, 0, 0)
		case kind == wire.DataFontList:
			return reply(wire.DataFontMap, 0, 0, 0, 0, 3, 0, 4, 0)
		}
		if err != nil {
			return err
		}
	}
	return errEndless
}

// openingStep is the kind of a share data PDU, and what a control PDU wants.
func openingStep(p wire.MCS) (kind, action int) {
	if p.Kind != wire.SendDataRequest || p.Channel != clientIO {
		return -1, 0
	}
	s, _, err := wire.ParseShare(p.Data)
	if err != nil || s.Kind != wire.ShareData {
		return -1, 0
	}
	d, err := wire.ParseData(s.Body)
	if err != nil {
		return -1, 0
	}
	if len(d.Body) >= 2 {
		action = int(le.Uint16(d.Body))
	}
	return int(d.Kind), action
}

// show puts a picture on the page, and nothing else on it. Where it stood
// already, only what differs is sent.
func (p *page) show(pic screen.Picture, at image.Point) error {
	area := image.Rect(0, 0, pic.W, pic.H).Add(at)
	var frames []byte
	if area != p.area {
		black := screen.NewPicture(p.area.Dx(), p.area.Dy())
		frames = p.frames(black, p.area.Sub(p.area.Min), p.area.Min)
		frames = append(frames, p.frames(pic, area.Sub(at), at)...)
		p.area, p.shown = area, screen.NewPicture(pic.W, pic.H)
	} else {
		for _, r := range differing(p.shown, pic) {
			frames = append(frames, p.frames(pic, r, at)...)
		}
	}
	copy(p.shown.Pix, pic.Pix)
	return p.write(frames)
}

// againEvery is the least time between two times a client is shown all of a
// page because it asks for it.
const againEvery = 250 * time.Millisecond

// again is for a client that has lost what it showed.
func (p *page) again() error {
	time.Sleep(time.Until(p.shownAgain.Add(againEvery)))
	p.shownAgain = time.Now()
	return p.write(p.frames(p.shown, p.area.Sub(p.area.Min), p.area.Min))
}

// write gives up on a client that does not take what it is shown. In a session
// it may be slow, but here nobody was let in yet.
func (p *page) write(frames []byte) error {
	p.f.client.raw.SetWriteDeadline(time.Now().Add(p.f.grace() / 4))
	defer p.f.client.raw.SetWriteDeadline(time.Time{})
	return p.f.client.write(frames)
}

// frames are the updates that draw the part r of a picture whose corner is at.
func (p *page) frames(pic screen.Picture, r image.Rectangle, at image.Point) []byte {
	return bitmapFrames(pageShare, pic.Bitmaps(r, at.Add(r.Min), uint16(p.depth), maxBitmap))
}

// differing finds where two pictures of one size differ, in bands: one letter
// more is no reason to send a whole page. Old clients draw well only what is
// a multiple of four wide.
func differing(a, b screen.Picture) (rects []image.Rectangle) {
	const band = 16
	for top := 0; top < a.H; top += band {
		r := image.Rectangle{}
		for y := top; y < min(top+band, a.H); y++ {
			for x := range a.W {
				if a.Pix[y*a.W+x] != b.Pix[y*a.W+x] {
					r = r.Union(image.Rect(x&^3, y, min(x&^3+4, a.W), y+1))
				}
			}
		}
		if !r.Empty() {
			rects = append(rects, r)
		}
	}
	return rects
}

// close takes the page away, so that another desktop can be opened
// (MS-RDPBCGR 2.2.3.1).
func (p *page) close() error {
	p.f.own = nil
	return p.f.client.write(deactivateAll(pageShare))
}

func deactivateAll(share uint32) []byte {
	body := append(le.AppendUint32(nil, share), 1, 0, 0) // an empty name of whose it was
	data := wire.Share{Kind: wire.DeactivateAll, Source: wire.ServerUser, Body: body}.Bytes()
	return wire.MCS{Kind: wire.SendDataIndication, User: wire.ServerUser, Channel: clientIO, Data: data}.Frame()
}

// input waits for what the client sends next, and returns what the person has
// done by it, if anything. A client that wants to see the page again is shown
// it.
func (p *page) input() ([]wire.Input, error) {
	frame, err := p.f.client.frames.Next()
	switch {
	case err != nil:
		return nil, gone(err, policy.ClientLeft)
	case !frame.Fast:
		return p.slowInput(frame)
	case wire.FastSecured(frame.Header):
		return nil, fmt.Errorf("%w: encrypted input within TLS", wire.ErrMalformed)
	}
	return wire.ParseFastInput(frame.Header, frame.Body)
}

func (p *page) slowInput(frame wire.Frame) ([]wire.Input, error) {
	body, err := wire.Payload(frame.Body)
	if err != nil {
		return nil, err
	}
	pdu, err := wire.ParseMCS(body)
	switch {
	case err != nil:
		return nil, err
	case pdu.Kind == wire.DisconnectUltimatum:
		return nil, policy.ClientLeft
	case pdu.Kind != wire.SendDataRequest || pdu.Channel != clientIO:
		return nil, nil
	}
	s, _, err := wire.ParseShare(pdu.Data)
	if err != nil || s.Kind != wire.ShareData {
		return nil, err
	}
	d, err := wire.ParseData(s.Body)
	if err != nil {
		return nil, err
	}
	switch d.Kind {
	case wire.DataInput:
		return wire.ParseSlowInput(d.Body)
	case wire.DataRefresh, wire.DataSuppress:
		return nil, p.again()
	case wire.DataShutdown: // the window is being closed
		return nil, policy.ClientLeft
	}
	return nil, nil
}

// maxBitmap is how many bytes of a bitmap go into one update.
const maxBitmap = 12 << 10

// bitmapFrames are slow-path updates, which every client takes at any time,
// one rectangle each: some clients draw only the first of several.
func bitmapFrames(share uint32, bitmaps []codec.Bitmap) []byte {
	var frames []byte
	for _, b := range bitmaps {
		update := wire.NewData(share, wire.ServerUser, wire.DataUpdate, codec.AppendBitmaps(nil, b))
		frames = append(frames, wire.MCS{Kind: wire.SendDataIndication, User: wire.ServerUser, Channel: clientIO, Data: update.Bytes()}.Frame()...)
	}
	return frames
}
