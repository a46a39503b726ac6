package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
)

// A pipeline writes messages of the graphics pipeline (MS-RDPEGFX 2.2.2).
type pipeline []byte

func (p *pipeline) put(kind uint16, body ...any) {
	var b bytes.Buffer
	for _, v := range body {
		binary.Write(&b, binary.LittleEndian, v)
	}
	*p = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(*p, uint32(kind)), uint32(8+b.Len()))
	*p = append(*p, b.Bytes()...)
}

func (p *pipeline) reset(w, h int) {
	p.put(0x0e, uint32(w), uint32(h), make([]byte, 324))
}

func (p *pipeline) surface(id, x, y, w, h int) {
	p.put(0x09, uint16(id), uint16(w), uint16(h), byte(0x20))
	p.put(0x0f, uint16(id), uint16(0), uint32(x), uint32(y))
}

func (p *pipeline) draw(id, codec int, r image.Rectangle, data []byte) {
	p.put(0x01, uint16(id), uint16(codec), byte(0x20), corners(r), uint32(len(data)), data)
}

func corners(r image.Rectangle) [4]uint16 {
	return [4]uint16{uint16(r.Min.X), uint16(r.Min.Y), uint16(r.Max.X), uint16(r.Max.Y)}
}

// video draws a picture of H.264 of which a part is shown.
func (p *pipeline) video(id int, part image.Rectangle, data []byte) {
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, uint32(1))
	binary.Write(&b, binary.LittleEndian, corners(part))
	p.draw(id, 0x0b, part, append(append(b.Bytes(), 22, 100), data...))
}

// send records what was written since.
func (p *pipeline) send(d *desk) {
	must(d.t, d.w.Graphics(*p))
	*p = nil
}

// h264 encodes pictures as a server does: BT.709, full range, one access unit
// each (MS-RDPEGFX 3.3.8.3.1).
func h264(t testing.TB, pictures ...screen.Picture) (units [][]byte) {
	t.Helper()
	w, h := pictures[0].W, pictures[0].H
	var raw bytes.Buffer
	for _, p := range pictures {
		planes := [3][]byte{}
		for i, c := range p.Pix {
			r, g, b := int(c>>16&0xff), int(c>>8&0xff), int(c&0xff)
			planes[0] = append(planes[0], byte((54*r+183*g+18*b)>>8))
			if i%w%2 == 0 && i/w%2 == 0 {
				planes[1] = append(planes[1], byte((-29*r-99*g+128*b)>>8+128))
				planes[2] = append(planes[2], byte((128*r-116*g-12*b)>>8+128))
			}
		}
		raw.Write(bytes.Join(planes[:], nil))
	}
	c := exec.Command("ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", fmt.Sprintf("%dx%d", w, h), "-i", "pipe:0",
		"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-crf", "18", "-x264-params", "aud=1:threads=1", "-f", "h264", "pipe:1")
	c.Stdin = &raw
	out, err := c.Output()
	must(t, err)
	start := []byte{0, 0, 0, 1, 9}
	for _, unit := range bytes.Split(out, start)[1:] {
		units = append(units, append(bytes.Clone(start), unit...))
	}
	if len(units) != len(pictures) {
		t.Fatalf("%d pictures became %d access units", len(pictures), len(units))
	}
	return units
}

// scenes are pictures of a square that moves.
func scenes(n, w, h int, paper, ink uint32) (pictures []screen.Picture) {
	for i := range n {
		p := screen.NewPicture(w, h)
		p.Fill(image.Rect(0, 0, w, h), paper)
		p.Fill(image.Rect(i*10, 20, i*10+40, 60), ink)
		p.Text(image.Pt(8, 70), fmt.Sprintf("scene %d", i), 0xf0f0f0, 2)
		pictures = append(pictures, p)
	}
	return pictures
}

func TestAVideoShowsTheGraphicsPipeline(t *testing.T) {
	needs(t)
	left, right := scenes(12, 160, 120, 0x204060, 0xd08020), scenes(3, 100, 120, 0x602020, 0x20c040)
	units, others := h264(t, left...), h264(t, right...)
	garbage := bytes.Repeat([]byte{0, 0, 0, 1, 0x41, 0x9a, 0xff, 0x13}, 20)
	path, _ := record(t, 200, 100, func(d *desk) {
		d.page()
		var p pipeline
		p.reset(260, 140)
		p.surface(1, 0, 0, 160, 120)
		p.surface(2, 160, 20, 100, 120)
		p.put(0x04, uint16(1), uint32(0xff0000ff), uint16(1), corners(image.Rect(0, 0, 160, 120)))
		p.send(d)
		time.Sleep(time.Second)
		for i, unit := range units {
			p.put(0x0b, uint32(0), uint32(i))
			p.video(1, image.Rect(0, 0, 160, 120), unit)
			if i < len(others) {
				p.video(2, image.Rect(0, 0, 100, 120), others[i])
			}
			p.put(0x0c, uint32(i))
			p.send(d)
			// The gate's own picture, which lacks what it cannot decode, does not
			// get into the video.
			must(t, d.w.Keyframe(d.s))
			time.Sleep(time.Second)
		}
		p.draw(2, 0x08, image.Rect(0, 60, 100, 120), []byte("ClearCodec"))
		p.video(1, image.Rect(0, 0, 40, 120), garbage)
		p.send(d)
		time.Sleep(2 * time.Second)
	})
	video, said := rendered(t, path, "--pointer=false")
	if w, h, _ := probe(t, video); w != 260 || h != 140 {
		t.Errorf("the video is %d × %d", w, h)
	}
	for i, at := range []time.Duration{0: 1500 * time.Millisecond, 2: 3500 * time.Millisecond, 11: 12500 * time.Millisecond} {
		if at == 0 {
			continue
		}
		want := screen.NewPicture(260, 140)
		paste(want, left[i], image.Point{})
		paste(want, right[min(i, 2)], image.Pt(160, 20))
		if db := psnr(frameAt(t, video, at, 260, 140), want); db < 28 {
			t.Errorf("scene %d is not what was shown: %.1f dB", i, db)
		}
	}
	warnings := ""
	for _, l := range said {
		warnings += l.Warning + "\n"
	}
	for _, want := range []string{"kind ClearCodec cannot be shown yet", "kind H.264 (AVC420) could not be decoded"} {
		if !strings.Contains(warnings, want) {
			t.Errorf("%q does not say %q", warnings, want)
		}
	}
}

func TestVideoOnMoreSurfacesThanAreDecodedIsSaidInWords(t *testing.T) {
	needs(t)
	units := h264(t, scenes(2, 64, 64, 0x204060, 0xd08020)...)
	path, _ := record(t, 400, 64, func(d *desk) {
		var p pipeline
		for id := range mostFilms + 1 {
			p.surface(id, 70*id, 0, 64, 64)
			p.video(id, image.Rect(0, 0, 64, 64), units[0])
		}
		p.video(0, image.Rect(0, 0, 64, 64), units[1])
		p.video(mostFilms, image.Rect(0, 0, 64, 64), units[1])
		p.send(d)
		time.Sleep(2 * time.Second)
	})
	_, said := rendered(t, path)
	warnings := 0
	for _, l := range said {
		if strings.Contains(l.Warning, "more than 4 surfaces") {
			warnings++
		}
	}
	if warnings != 1 {
		t.Errorf("%+v", said)
	}
}

func paste(dst, src screen.Picture, at image.Point) {
	for y := range src.H {
		copy(dst.Pix[(at.Y+y)*dst.W+at.X:][:src.W], src.Pix[y*src.W:])
	}
}
