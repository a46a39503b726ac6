package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/netfilter/nettest"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// window is what xfreerdp shows in its own window.
func (d *desk) window() screen.Picture {
	d.h.t.Helper()
	id := strings.Fields(d.must("xdotool search --onlyvisible --name FreeRDP"))[0]
	raw := d.must("import -silent -window " + id + " -depth 8 ppm:-")
	var width, height int
	if _, err := fmt.Sscanf(raw, "P6\n%d %d\n255\n", &width, &height); err != nil || len(raw) < 3*width*height {
		d.h.t.Fatalf("the window of xfreerdp is %.20q, %v", raw, err)
	}
	p := screen.NewPicture(width, height)
	raw = raw[len(raw)-3*width*height:]
	for i := range p.Pix {
		p.Pix[i] = uint32(raw[3*i])<<16 | uint32(raw[3*i+1])<<8 | uint32(raw[3*i+2])
	}
	return p
}

func differing(a, b screen.Picture) (n int) {
	for i := range a.Pix {
		if a.Pix[i] != b.Pix[i] {
			n++
		}
	}
	return n
}

// What a person sees in the window of xfreerdp is what the recording adds up
// to, pixel by pixel, and what the video shows, as well as video can.
func TestTheVideoShowsWhatTheClientShowed(t *testing.T) {
	nettest.Need(t, "ffmpeg", "ffprobe")
	h, d, _ := desktopHouse(t, settings{listen: port})
	h.grant("--protocol", "rdp", "--duration", "1h")
	s := d.login("ideo", password)
	d.shows("the desktop", desktopColour, 100_000, s)
	id := h.live(1)[0].ID
	h.deskIsLookedAt(id)
	h.watchDesk(id, h.bearer("slow", "operator")) // who reads nothing holds up nobody
	d.keys("click 1 type --delay 5 'seq 300; ls -la /; id'")
	d.keys("key Return")

	var shown screen.Picture
	h.until("the window shows what is recorded", func() bool {
		// What is drawn between the two looks would be a difference that is none.
		shown = d.window()
		recorded := h.replay(id)
		return differing(shown, recorded) == 0 && differing(shown, d.window()) == 0 && len(slices.Compact(slices.Clone(shown.Pix))) > 5000
	})
	watcher := h.watchDesk(id, h.bearer("watcher", "operator"))
	if f := watcher.until('f'); f[4] != 1 || binary.LittleEndian.Uint16(f[5:]) != 800 || binary.LittleEndian.Uint16(f[7:]) != 560 {
		t.Errorf("a late viewer begins with %x", f[:11])
	}

	h.inside("session", "kill", id[:8])
	s.ends(t, exitAdmin)
	h.ended(id)
	if why := watcher.until('e'); string(why) != policy.AdminEnded.Error() {
		t.Errorf("the live view ends with %q", why)
	}
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
	h.deskIsKept(id)
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
