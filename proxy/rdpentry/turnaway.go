package rdpentry

import (
	"context"
	"errors"
	"fmt"
	"image"
	"time"

	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/rdpentry/codec"
	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// readingTime is how long a message stands on a screen of the gate's own.
const readingTime = 30 * time.Second

// turnAway is a server to the client for as long as it takes to read why it is
// refused: it opens a desktop with nothing on it but the message.
func (f *flow) turnAway(ctx context.Context, r *proxy.Refusal) {
	if f.server != nil {
		f.server.close()
	}
	ctx, cancel := context.WithTimeout(ctx, readingTime+lastWords)
	defer cancel()
	const share = 0x000103ea
	width, height, depth := f.page()
	err := f.guarded(ctx, f.client, func() error {
		if err := f.openPage(share, width, height, depth); err != nil {
			return err
		}
		if err := f.client.write(bitmapFrames(share, messagePage(f.denialText(r), width, height, depth))); err != nil {
			return err
		}
		goodbye := func() { f.client.hangUp(f.farewell(share, wire.ErrorDenied), lastWords/2) }
		read := time.AfterFunc(readingTime, goodbye)
		defer read.Stop()
		err := f.dismissed()
		if err == nil {
			goodbye()
			err = f.dismissed() // the client hangs up in turn: nothing of it is lost
		}
		return err
	})
	f.log.Debug("message shown", "end", err)
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

// openPage is the second half of the connection sequence, from licensing to
// the font map, as a server does it.
func (f *flow) openPage(share uint32, width, height, depth int) error {
	send := func(data []byte) error {
		return f.client.write(wire.MCS{Kind: wire.SendDataIndication, User: wire.ServerUser, Channel: clientIO, Data: data}.Frame())
	}
	if err := send(wire.ValidClient()); err != nil {
		return err
	}
	demand := wire.Active{Share: share, Source: []byte("RDP\x00"), Capabilities: ownCapabilities(width, height, depth)}
	if err := send(wire.Share{Kind: wire.DemandActive, Source: wire.ServerUser, Body: demand.Bytes()}.Bytes()); err != nil {
		return err
	}
	reply := func(kind byte, body ...byte) error {
		return send(wire.NewData(share, wire.ServerUser, kind, body).Bytes())
	}
	for range maxGreeting {
		p, err := f.client.next()
		if err != nil {
			return err
		}
		kind, action := openingStep(p)
		switch {
		case p.Kind == wire.DisconnectUltimatum:
			return errCut
		case kind == wire.DataSynchronize:
			err = errors.Join(reply(wire.DataSynchronize, 1, 0, byte(f.user), byte(f.user>>8)),
				reply(wire.DataControl, controlCooperate, 0, 0, 0, 0, 0, 0, 0))
		case kind == wire.DataControl && action == controlRequest:
			err = reply(wire.DataControl, controlGranted, 0, byte(f.user), byte(f.user>>8), 0xea, 3, 0, 0)
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

// dismissed waits until the person closes the window or presses Enter or
// Escape.
func (f *flow) dismissed() error {
	for {
		frame, err := f.client.frames.Next()
		if err != nil {
			return err
		}
		if frame.Fast && isDismissal(frame.Body) {
			return nil
		}
		if !frame.Fast {
			if p, err := wire.Payload(frame.Body); err == nil {
				if pdu, err := wire.ParseMCS(p); err == nil && pdu.Kind == wire.DisconnectUltimatum {
					return errCut
				}
			}
		}
	}
}

// isDismissal looks for Enter or Escape as the first event of fast-path input
// (2.2.8.1.2.2.1): code zero without flags is a key pressed, by its scan code.
func isDismissal(body []byte) bool {
	return len(body) >= 2 && body[0] == 0 && (body[1] == 0x01 || body[1] == 0x1c)
}

// The message's colours and measures.
const (
	pagePaper = 0x1f2933
	pageInk   = 0xf5f7fa
	pageFaint = 0x9aa5b1
	pageEdge  = 24
	pageScale = 2
	pageWidth = 720
)

// messagePage draws the lines into a box in the middle; around it stays what a
// client shows before anything is drawn.
func messagePage(lines []string, width, height, depth int) []codec.Bitmap {
	box := min(pageWidth, width)
	across := max((box-2*pageEdge)/(screen.TextWidth*pageScale), 8)
	var text []string
	for i, line := range lines {
		if i > 0 {
			text = append(text, "")
		}
		text = append(text, screen.Wrap(line, across)...)
	}
	const step = (screen.TextHeight + 2) * pageScale
	hint := fmt.Sprintf("This window closes after %d seconds, or with Enter.", readingTime/time.Second)
	tall := min(len(text)*step+2*pageEdge+step, height)
	p := screen.NewPicture(box, tall)
	p.Fill(image.Rect(0, 0, box, tall), pagePaper)
	for i, line := range text {
		p.Text(image.Pt(pageEdge, pageEdge+i*step), line, pageInk, pageScale)
	}
	p.Text(image.Pt(pageEdge, tall-pageEdge), hint, pageFaint, 1)
	return p.Bitmaps(image.Rect(0, 0, box, tall), image.Pt((width-box)/2, (height-tall)/2), uint16(depth), maxBitmap)
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
