package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

// What a desktop through the gateway costs, against the same client and server
// without one: bytes to the client and processor time while text scrolls, the
// time from a key press to the pixel it changes, and what an idle desktop
// takes. All in one run, since the machine has its moods.
func BenchmarkDesktop(b *testing.B) {
	gate, gateDesk, _ := desktopHouse(b, settings{})
	gate.grant("--protocol", "rdp", "--duration", "1h")
	direct := emptyHouse(b, settings{})
	if _, err := direct.StartXRDP(nettest.XRDPOptions{Users: accounts("ideo")}); err != nil {
		b.Fatal(err)
	}
	directDesk := direct.desk()
	for b.Loop() {
		b.ReportMetric(gate.idles(), "nobody-cpu-ms/s")
		seats := []*seat{gateDesk.login("ideo", password), directDesk.login("ideo", password)}
		desks := []*desk{gateDesk, directDesk}
		for i, d := range desks {
			d.shows("the desktop", desktopColour, 100_000, seats[i])
		}

		time.Sleep(2 * time.Second) // all is drawn
		b.ReportMetric(gate.idles(), "idle-cpu-ms/s")

		took := keyPresses(b, desks, 200)
		for i, who := range []string{"gate", "direct"} {
			slices.Sort(took[i])
			b.ReportMetric(took[i][len(took[i])/2].Seconds()*1000, "key-p50-ms-"+who)
			b.ReportMetric(took[i][len(took[i])*99/100].Seconds()*1000, "key-p99-ms-"+who)
		}

		rate, cpu := gate.scrolls(gateDesk)
		plain, _ := direct.scrolls(directDesk)
		seats[1].leave()
		remoteFX := directDesk.rdp("/u:ideo", "/p:"+password, "/rfx", "/bpp:32", "/network:lan")
		direct.until("the desk shows the desktop", func() bool { return directDesk.shades(desktopColour) >= 100_000 })
		rfx, _ := direct.scrolls(directDesk)
		b.ReportMetric(rate/1000, "scroll-kB/s-gate")
		b.ReportMetric(plain/1000, "scroll-kB/s-direct")
		b.ReportMetric(rfx/1000, "scroll-kB/s-remotefx")
		b.ReportMetric(rate/rfx, "scroll-ratio")
		b.ReportMetric(cpu*100, "scroll-cpu-%")
		seats[0].leave()
		remoteFX.leave()
	}
}

// idles returns the milliseconds of processor time a second that the gate uses
// when nothing happens.
func (h *house) idles() float64 {
	const long = 10 * time.Second
	used := h.cpu()
	time.Sleep(long)
	return float64((h.cpu() - used).Milliseconds()) / long.Seconds()
}

// scrolls lets text scroll on a desktop and returns the bytes a second that
// came to the client, and the share of a core the gate used.
func (h *house) scrolls(d *desk) (bytesPerSecond, cpu float64) {
	const long = 12 * time.Second
	d.keys("click 1 type --delay 20 'clear; while :; do seq -s \" \" $((RANDOM)) 1 $((RANDOM+35000)) | head -c 90; echo; sleep 0.04; done'")
	d.keys("key Return")
	time.Sleep(2 * time.Second) // until it scrolls
	began, before, used := time.Now(), h.received(), time.Duration(0)
	if h.config != "" {
		used = h.cpu()
	}
	time.Sleep(long)
	took := time.Since(began).Seconds()
	bytesPerSecond = float64(h.received()-before) / took
	if h.config != "" {
		cpu = (h.cpu() - used).Seconds() / took
	}
	d.keys("key ctrl+c")
	return bytesPerSecond, cpu
}

// shades counts the pixels that the desk shows of about a colour: RemoteFX
// loses some of it.
func (d *desk) shades(colour uint32) (n int) {
	d.h.t.Helper()
	for c, count := range d.colours() {
		if abs(int(c>>16)-int(colour>>16)) < 12 && abs(int(c>>8&0xff)-int(colour>>8&0xff)) < 12 && abs(int(c&0xff)-int(colour&0xff)) < 12 {
			n += count
		}
	}
	return n
}

func abs(n int) int { return max(n, -n) }

// received is what has come to the client host over its network.
func (h *house) received() (n int64) {
	h.t.Helper()
	out, err := h.Client.Run(context.Background(), "cat", "/proc/net/dev")
	if err != nil {
		h.t.Fatal(err)
	}
	for line := range strings.Lines(out) {
		name, counters, _ := strings.Cut(line, ":")
		if fields := strings.Fields(counters); len(fields) > 8 && strings.TrimSpace(name) != "lo" {
			got, err := strconv.ParseInt(fields[0], 10, 64)
			if err != nil {
				h.t.Fatal(err)
			}
			n += got
		}
	}
	return n
}

// keyPresses types one key at a time, at each desk in turn, and returns how
// long each took until a pixel of that desk changed.
func keyPresses(b *testing.B, desks []*desk, n int) [][]time.Duration {
	b.Helper()
	took := make([][]time.Duration, len(desks))
	var typists []*typist
	for _, d := range desks {
		d.keys("click 1 type --delay 20 'clear; cat'")
		d.keys("key Return")
		typists = append(typists, d.typist())
	}
	for i := range n {
		for k, t := range typists {
			time.Sleep(time.Duration(20+rand.IntN(40)) * time.Millisecond) // not in step with anybody's frames
			took[k] = append(took[k], t.press(i%2 == 0))
		}
	}
	for _, d := range desks {
		d.keys("key ctrl+c")
	}
	return took
}

// A typist presses keys of a desk's X server by XTEST and sees in its
// framebuffer, which is a file, when something changes.
type typist struct {
	d      *desk
	x      net.Conn
	major  byte   // of the extension XTEST
	screen []byte // the file
	band   []byte // the lines of it where the keys show
	was    []byte
}

// Keycodes of a PC's keyboard as X has them.
const (
	keyX         = 53
	keyBackspace = 22
)

func (d *desk) typist() *typist {
	d.h.t.Helper()
	t := &typist{d: d}
	must := func(err error) {
		d.h.t.Helper()
		if err != nil {
			d.h.t.Fatal(err)
		}
	}
	f, err := os.Open(filepath.Join(d.h.dir, "Xvfb_screen0"))
	must(err)
	defer f.Close()
	info, err := f.Stat()
	must(err)
	t.screen, err = unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	must(err)
	d.h.t.Cleanup(func() { unix.Munmap(t.screen) })
	must(t.connect())
	t.find()
	return t
}

// connect makes the typist a client of the X server (X Window System Protocol,
// 8; XTEST Extension Protocol).
func (t *typist) connect() (err error) {
	socket := fmt.Sprintf("/proc/%d/root/tmp/.X11-unix/X%s", t.d.x.PID(), strings.TrimPrefix(deskDisplay, ":"))
	if t.x, err = net.Dial("unix", socket); err != nil {
		return err
	}
	t.d.h.t.Cleanup(func() { t.x.Close() })
	if _, err := t.x.Write([]byte{'l', 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		return err
	}
	var head [8]byte
	if _, err := io.ReadFull(t.x, head[:]); err != nil || head[0] != 1 {
		return fmt.Errorf("the X server answers %x: %v", head, err)
	}
	if _, err := io.CopyN(io.Discard, t.x, 4*int64(binary.LittleEndian.Uint16(head[6:]))); err != nil {
		return err
	}
	query := []byte{98, 0, 4, 0, 5, 0, 0, 0, 'X', 'T', 'E', 'S', 'T', 0, 0, 0}
	if _, err := t.x.Write(query); err != nil {
		return err
	}
	var reply [32]byte
	if _, err := io.ReadFull(t.x, reply[:]); err != nil || reply[0] != 1 || reply[8] == 0 {
		return fmt.Errorf("there is no XTEST: %x %v", reply, err)
	}
	t.major = reply[9]
	return nil
}

// key presses a key and lets it go.
func (t *typist) key(code byte) {
	t.d.h.t.Helper()
	var both [72]byte
	for i, kind := range []byte{2, 3} { // KeyPress, KeyRelease
		copy(both[36*i:], []byte{t.major, 2, 9, 0, kind, code})
	}
	if _, err := t.x.Write(both[:]); err != nil {
		t.d.h.t.Fatal(err)
	}
}

// find finds the lines of the screen where a typed letter shows.
func (t *typist) find() {
	t.d.h.t.Helper()
	head := func(i int) int { return int(binary.BigEndian.Uint32(t.screen[4*i:])) }
	pixels, stride := t.screen[head(0)+12*head(19):], head(12) // an X window dump: XWDFile.h
	time.Sleep(time.Second)
	before := bytes.Clone(pixels)
	t.key(keyX)
	time.Sleep(time.Second)
	first, last := -1, -1
	for y := range head(5) {
		if line := pixels[y*stride:][:stride]; !bytes.Equal(line, before[y*stride:][:stride]) {
			if last = y; first < 0 {
				first = y
			}
		}
	}
	if first < 0 || last-first > 40 {
		t.d.h.t.Fatalf("a letter was typed and lines %d to %d of the screen changed", first, last)
	}
	t.band = pixels[first*stride : (last+1)*stride]
	t.was = make([]byte, len(t.band))
	t.key(keyBackspace)
	time.Sleep(time.Second)
}

// press types a letter, or takes it away, and returns when that was seen.
func (t *typist) press(letter bool) time.Duration {
	t.d.h.t.Helper()
	code := byte(keyBackspace)
	if letter {
		code = keyX
	}
	copy(t.was, t.band)
	began := time.Now()
	t.key(code)
	for bytes.Equal(t.was, t.band) {
		if time.Since(began) > 5*time.Second {
			t.d.h.t.Fatal("a key was pressed and nothing changed")
		}
		time.Sleep(100 * time.Microsecond)
	}
	return time.Since(began)
}
