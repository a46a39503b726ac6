package rdpentry

import (
	"context"
	"errors"
	"fmt"
	"image"
	"time"

	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// readingTime is how long a message stands on a screen of the gate's own.
const readingTime = 30 * time.Second

// turnAway tells the person why they are refused, unless it was they who gave
// up, or nobody sits there any more.
func (f *flow) turnAway(ctx context.Context, r *proxy.Refusal) {
	if f.server != nil {
		f.server.close()
	}
	if errors.Is(r, errGivenUp) || errors.Is(r, errLeft) || errors.Is(r, errDawdled) {
		f.client.hangUp(f.farewell(pageShare, wire.ErrorDenied), lastWords/2)
		return
	}
	f.tell(ctx, f.denialText(r), wire.ErrorDenied)
}

// tell is a server to the client for as long as it takes to read something: it
// opens a desktop with nothing on it but the message.
func (f *flow) tell(ctx context.Context, lines []string, code uint32) {
	ctx, cancel := context.WithTimeout(ctx, readingTime+lastWords)
	defer cancel()
	err := f.guarded(ctx, f.client, func() error {
		p, err := f.openPage()
		if err != nil {
			return err
		}
		message := messagePage(lines, p.width, p.height)
		if err := p.show(message, image.Pt((p.width-message.W)/2, (p.height-message.H)/2)); err != nil {
			return err
		}
		goodbye := func() { f.client.hangUp(f.farewell(pageShare, code), lastWords/2) }
		read := time.AfterFunc(readingTime, goodbye)
		defer read.Stop()
		err = p.dismissed()
		if err == nil {
			goodbye()
			err = p.dismissed() // the client hangs up in turn: nothing of it is lost
		}
		return err
	})
	f.log.Debug("message shown", "end", err)
}

// dismissed waits until the person closes the window or presses Enter or
// Escape.
func (p *page) dismissed() error {
	for {
		inputs, err := p.input()
		if err != nil {
			return err
		}
		for _, in := range inputs {
			if in.Kind == wire.InputKey && !in.Released && (in.Code == 0x01 || in.Code == 0x1c) {
				return nil
			}
		}
	}
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

// messagePage draws the lines into a box, which goes to the middle of a page;
// around it stays what a client shows before anything is drawn.
func messagePage(lines []string, width, height int) screen.Picture {
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
	return p
}
