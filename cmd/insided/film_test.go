package main

import (
	"context"
	"encoding/binary"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/netfilter/nettest"
	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// window is what xfreerdp shows in its own window.
func (d *desk) window() screen.Picture {
	d.h.t.Helper()
	id := strings.Fields(d.must("xdotool search --onlyvisible --name FreeRDP"))[0]
	raw := d.must("import -silent -window " + id + " -depth 8 rgb:-")
	if len(raw) != 800*560*3 {
		d.h.t.Fatalf("the window of xfreerdp has %d bytes of pixels", len(raw))
	}
	p := screen.NewPicture(800, 560)
	for i := range p.Pix {
		p.Pix[i] = uint32(raw[3*i])<<16 | uint32(raw[3*i+1])<<8 | uint32(raw[3*i+2])
	}
	return p
}

// recorded is the picture that a session's recording adds up to so far.
func (h *house) recorded(id string) screen.Picture {
	h.t.Helper()
	root, err := os.OpenRoot(h.sessionDir(id))
	if err != nil {
		h.t.Fatal(err)
	}
	defer root.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	head, events, err := desktop.Follow(ctx, root, desktop.Name, 0, cancel)
	if err != nil {
		h.t.Fatal(err)
	}
	s, err := screen.New(head.Width, head.Height)
	if err != nil {
		h.t.Fatal(err)
	}
	for e, err := range events {
		if err != nil {
			break // all that there is yet was read
		}
		if err := e.Apply(s); err != nil {
			h.t.Fatalf("an event of kind %c: %v", e.Kind, err)
		}
	}
	return s.Picture()
}

func differing(a, b screen.Picture) (n int) {
	for i := range a.Pix {
		if a.Pix[i] != b.Pix[i] {
			n++
		}
	}
	return n
}

// liveFrame is the first frame of the live view: its size, and how many
// rectangles it has.
func (h *house) liveFrame(id string) (width, height, rects int) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	body, err := h.api().LiveDesktop(ctx, id)
	if err != nil {
		h.t.Fatal(err)
	}
	defer body.Close()
	for {
		var head [5]byte
		if _, err := io.ReadFull(body, head[:]); err != nil {
			h.t.Fatal(err)
		}
		b := make([]byte, binary.LittleEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(body, b); err != nil {
			h.t.Fatal(err)
		}
		if head[0] == 'f' {
			u16 := func(at int) int { return int(binary.LittleEndian.Uint16(b[at:])) }
			return u16(5), u16(7), u16(9)
		}
	}
}

// What a person sees in the window of xfreerdp is what the recording adds up
// to, pixel by pixel, and what the video shows, as well as video can.
func TestTheVideoShowsWhatTheClientShowed(t *testing.T) {
	nettest.Need(t, "ffmpeg", "ffprobe")
	h, d, _ := desktopHouse(t, settings{})
	h.grant("--protocol", "rdp", "--duration", "1h")
	s := d.login("ideo", password)
	d.shows("the desktop", desktopColour, 100_000, s)
	id := h.live(1)[0].ID
	d.keys("click 1 type --delay 5 'seq 300; ls -la /; id'")
	d.keys("key Return")

	var shown screen.Picture
	h.until("the window shows what is recorded", func() bool {
		// What is drawn between the two looks would be a difference that is none.
		shown = d.window()
		recorded := h.recorded(id)
		return differing(shown, recorded) == 0 && differing(shown, d.window()) == 0 && len(slices.Compact(slices.Clone(shown.Pix))) > 5000
	})
	if w, ht, n := h.liveFrame(id); w != 800 || ht != 560 || n != 1 {
		t.Errorf("the live view begins with %d rectangles of %d × %d", n, w, ht)
	}

	h.inside("session", "kill", id[:8])
	s.ends(t, exitAdmin)
	h.ended(id)
	video := filepath.Join(h.dir, "desktop.mp4")
	h.inside("export", id[:8], video, "--mp4")
	size, err := exec.Command("ffprobe", "-v", "error", "-show_entries", "stream=width,height", "-of", "csv=p=0", video).Output()
	if err != nil || !strings.HasPrefix(string(size), "800,560") {
		t.Errorf("ffprobe: %q %v", size, err)
	}
	if db := likeness(t, shown, video); db < 30 {
		t.Errorf("the last frame of the video is not what the client showed: %.1f dB", db)
	}
	if rows := h.audit("recording.export"); len(rows) != 1 || !strings.Contains(rows[0].Object, id) {
		t.Errorf("audit: %+v", rows)
	}
}

// likeness compares a picture with the last frame of a video, in decibels of
// the peak signal-to-noise ratio. The pointer and its neighbourhood are in the
// video only.
func likeness(t *testing.T, p screen.Picture, video string) float64 {
	t.Helper()
	raw, err := exec.Command("ffmpeg", "-v", "error", "-sseof", "-0.5", "-i", video, "-update", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1").Output()
	if err != nil || len(raw) < 3*len(p.Pix) {
		t.Fatalf("ffmpeg: %d bytes, %v", len(raw), err)
	}
	raw = raw[len(raw)-3*len(p.Pix):]
	sum := 0.0
	for i, v := range p.Pix {
		for c := range 3 {
			diff := float64(v>>(16-8*c)&0xff) - float64(raw[3*i+c])
			sum += diff * diff
		}
	}
	return 10 * math.Log10(255*255*float64(3*len(p.Pix))/(sum+1e-9))
}

// BenchmarkFilm says how much disk a minute of scrolling text takes.
func BenchmarkFilm(b *testing.B) {
	h, d, _ := desktopHouse(b, settings{})
	h.grant("--protocol", "rdp", "--duration", "1h")
	s := d.login("ideo", password)
	d.shows("the desktop", desktopColour, 100_000, s)
	id := h.live(1)[0].ID
	size := func() int64 {
		info, err := os.Stat(filepath.Join(h.sessionDir(id), desktop.Name))
		if err != nil {
			b.Fatal(err)
		}
		return info.Size()
	}
	d.keys("click 1 type --delay 5 'while :; do seq 30; sleep 1; done'")
	d.keys("key Return")
	for b.Loop() {
		before, began := size(), time.Now()
		time.Sleep(20 * time.Second)
		b.ReportMetric(float64(size()-before)/time.Since(began).Seconds(), "B/s")
	}
}
