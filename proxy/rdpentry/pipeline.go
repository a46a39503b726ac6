package rdpentry

import (
	"errors"
	"fmt"
	"time"

	"github.com/pawelmojski/inside/proxy/rdpentry/channels"
	"github.com/pawelmojski/inside/proxy/rdpentry/gfx"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// A pipeline is a server's graphics pipeline (MS-RDPEGFX) on its way to the
// client. Its compression is undone for the recording and not done again: what
// the client gets is, byte for byte, what was recorded.
type pipeline struct {
	flow   *flow
	expand gfx.Decompressor
	client gfx.Client
	notice gfx.Notice
}

var _ channels.Tap = (*pipeline)(nil)

// Limit implements [channels.Tap]: a transmission may be compressed, but need
// not, and then its segments have heads.
func (p *pipeline) Limit() int { return gfx.MaxMessages + 1<<12 }

// Up implements [channels.Tap].
func (p *pipeline) Up(msg []byte) ([][]byte, error) {
	out, err := p.client.Rewrite(msg)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", wire.ErrMalformed, err)
	}
	if len(out) == 0 {
		return nil, nil
	}
	return [][]byte{out}, nil
}

// Down implements [channels.Tap]. It is called while showing is held.
func (p *pipeline) Down(msg []byte) ([][]byte, error) {
	began := time.Now()
	messages, err := p.expand.Expand(msg)
	p.flow.desktop.work.done(time.Since(began))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", wire.ErrMalformed, err)
	}
	if err := p.flow.desktop.graphics(messages); err != nil {
		return nil, err
	}
	return [][]byte{gfx.Segments(messages)}, nil
}

// graphics draws messages of the graphics pipeline into the picture, as far as
// that can be done here, and records them.
func (t *desktopTap) graphics(messages []byte) error {
	began := time.Now()
	drawn, err := t.screen.Graphics(messages)
	t.work.done(time.Since(began))
	switch {
	case errors.Is(err, gfx.ErrMalformed):
		return fmt.Errorf("%w: %w", wire.ErrMalformed, err)
	case err != nil:
		return fmt.Errorf("%w: %w", errUnrecordable, err)
	}
	for _, r := range drawn {
		t.touch(r)
	}
	if _, _, reset := gfx.OutputSize(messages); reset {
		t.under = nowhere
		t.place()
	}
	return recorded(t.writer.Graphics(messages))
}

// overlayPipeline is overlay where the server draws by its pipeline. It does
// nothing where that is closed. It needs showing.
func (f *flow) overlayPipeline() (done bool, err error) {
	p, t := f.drawing, f.desktop
	if p == nil || !t.screen.Pipelined() {
		return false, nil
	}
	ch, say := f.sayer(p)
	if say == nil {
		return false, nil
	}
	surfaces := t.screen.Surfaces()
	if surfaces.Framed() {
		return true, nil // after the frame
	}
	lost := p.notice.Lost(surfaces)
	if !t.stale && !lost {
		return true, nil
	}
	var messages []byte
	if t.fresh || lost {
		messages = p.notice.Put(surfaces, &p.client, t.covered, t.label.Pix, t.label.W)
	} else {
		messages = p.notice.Again(&p.client)
	}
	t.stale, t.fresh, t.under = false, false, nowhere
	if len(messages) == 0 {
		return true, nil
	}
	return true, f.pour(ch, channels.Out{Client: say(gfx.Segments(messages))})
}

// sayer finds the way to say something to the client on a pipeline; nil, if it
// is closed.
func (f *flow) sayer(p *pipeline) (*channel, func([]byte) [][]byte) {
	for _, ch := range f.channels {
		if d, ok := ch.filter.(*channels.Dynamic); ok {
			return ch, d.Sayer(p)
		}
	}
	return nil, nil
}
