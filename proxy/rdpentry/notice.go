package rdpentry

import (
	"image"
	"time"
)

// noticeTime is how long a line of the house's stands over the desktop.
const noticeTime = 20 * time.Second

// showNotices shows what the house has to say, each line until the next or
// until its time is over.
func (f *flow) showNotices() {
	away := time.NewTimer(noticeTime)
	away.Stop()
	defer away.Stop()
	for {
		text := ""
		select {
		case <-f.over:
			return
		case line := <-f.visit.Notices():
			text = plainLine("Inside: "+line, 4*maxName)
			away.Reset(noticeTime)
		case <-away.C:
		}
		if err := f.notice(text); err != nil {
			f.end(err)
			return
		}
	}
}

func (f *flow) notice(text string) error {
	f.showing.Lock()
	defer f.showing.Unlock()
	if err := f.desktop.setNotice(text); err != nil {
		return err
	}
	return f.overlay()
}

// overlay draws the notice over the desktop, when it is new or the server has
// drawn where it stands, and what was under it when it goes away. Between the
// fragments of an update nothing is drawn: pass comes by again after the last.
// It needs showing.
func (f *flow) overlay() error {
	id, active := f.share.get()
	if !active {
		return nil
	}
	if done, err := f.overlayPipeline(); done || err != nil {
		return err
	}
	bitmaps := f.desktop.overlay()
	if len(bitmaps) == 0 {
		return nil
	}
	return f.show(bitmapFrames(id, bitmaps))
}

var nowhere image.Rectangle
