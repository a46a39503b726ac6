package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pawelmojski/inside/netfilter/nettest"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// wordsColour is that of the place of graphics that are not shown.
const wordsColour = 0x3a3f4b

// showsAbout waits until the desk shows many pixels about a colour: H.264 keeps
// none exactly.
func (d *desk) showsAbout(what string, colour uint32, atLeast int, s *seat) {
	d.h.t.Helper()
	d.h.until("the desk shows "+what, func() bool {
		select {
		case <-s.done:
			d.h.t.Fatalf("xfreerdp ended with %d before %s was seen:\n%s", s.exit, what, s.output())
		case <-time.After(100 * time.Millisecond):
		}
		return d.shades(colour) >= atLeast
	})
}

// A server whose graphics pipeline passes draws H.264 in the window of
// xfreerdp; the gate's line stands over it, and the video shows both.
func TestTheGraphicsPipelineIsCarriedRecordedAndFilmed(t *testing.T) {
	nettest.Need(t, "ffmpeg")
	h, d, _ := shadowHouse(t)
	h.inside("server", "graphics", "test-ssh-server", "native")
	grant := h.grant("--protocol", "rdp", "--duration", "1h")
	s := d.rdp("/u:ideo", "/p:"+password, "/gfx:AVC420")
	d.showsAbout("the desktop", desktopColour, 100_000, s)
	id := h.live(1)[0].ID
	d.keys("click 1 type --delay 5 'seq 40'")
	d.keys("key Return")

	h.inside("grant", "extend", grant, "--duration", "2h")
	d.shows("the notice", noticeColour, 1000, s)
	d.keys("type --delay 5 'seq 50 80'") // and the server draws on, beneath it
	d.keys("key Return")
	d.shows("the notice still", noticeColour, 1000, s)
	shown := d.window()
	h.until("the window is still", func() bool {
		before := shown
		time.Sleep(time.Second)
		shown = d.window()
		return differing(before, shown) == 0
	})

	// The gate itself decodes no H.264: whoever watches live reads that.
	words := 0
	for _, c := range h.replay(id).Pix {
		if c == wordsColour {
			words++
		}
	}
	if words < 100_000 {
		t.Errorf("the live view has %d pixels of words about H.264", words)
	}
	h.inside("session", "kill", id[:8])
	s.ends(t, exitAdmin)
	h.ended(id)
	kinds := map[desktop.Kind]int{}
	for _, e := range h.desktopEvents(id) {
		kinds[e]++
	}
	if kinds[desktop.Graphics] < 3 || kinds[desktop.Update] > kinds[desktop.Graphics] { // it begins with bitmaps
		t.Errorf("events of the recording: %v", kinds)
	}
	video := filepath.Join(h.dir, "desktop.mp4")
	h.inside("export", id[:8], video, "--mp4")
	if db := likeness(t, shown, video); db < 28 {
		t.Errorf("the last frame of the video is not what the client showed: %.1f dB", db)
	}
}

// desktopEvents are the kinds of what a recording holds.
func (h *house) desktopEvents(id string) (kinds []desktop.Kind) {
	h.t.Helper()
	f, err := os.Open(filepath.Join(h.sessionDir(id), desktop.Name))
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	_, events, err := desktop.Read(f)
	if err != nil {
		h.t.Fatal(err)
	}
	for e, err := range events {
		if err != nil {
			h.t.Fatal(err)
		}
		kinds = append(kinds, e.Kind)
	}
	return kinds
}
