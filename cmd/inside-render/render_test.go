package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/proxy/rdpentry/codec"
	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// The program is tested as the process it is: this test binary again, told by
// childEnv what to be.
const childEnv = "INSIDE_RENDER_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		warmUp()
		os.Exit(m.Run())
	case "render":
		main()
		os.Exit(0)
	case "confined":
		confinedChild()
	case "starter":
		startRender()
	}
}

// warmUp makes what recordings share, outside any bubble of a test.
func warmUp() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	root, err := os.OpenRoot(dir)
	if err != nil {
		panic(err)
	}
	defer root.Close()
	w, err := desktop.Create(root, desktop.Name, recording.Header{Width: 1, Height: 1})
	if err != nil {
		panic(err)
	}
	if err := w.Close(""); err != nil {
		panic(err)
	}
	time.Sleep(1500 * time.Millisecond) // the committer comes to rest
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// needs fails, or on a machine that is no CI skips, without ffmpeg.
func needs(t testing.TB) {
	t.Helper()
	for _, tool := range []string{"ffmpeg", "ffprobe"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
}

// A desk is a session being recorded, with what is on its screen.
type desk struct {
	t testing.TB
	r *rand.Rand
	w *desktop.Writer
	s *screen.Screen
}

// record makes a recording by the real writer, in a bubble where an hour takes
// no time, and returns its path and the screen at the end.
func record(t testing.TB, w, h int, session func(d *desk)) (path string, last *screen.Screen) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	bubble(t, func() {
		rec, err := desktop.Create(root, desktop.Name, recording.Header{Width: w, Height: h, Start: time.Now(), Person: "alice", Server: "win-01"})
		must(t, err)
		s, err := screen.New(w, h)
		must(t, err)
		d := &desk{t: t, r: rand.New(rand.NewPCG(1, 2)), w: rec, s: s}
		session(d)
		must(t, rec.Close("client-left"))
		time.Sleep(5 * time.Second) // the committer comes to rest
		last = s
	})
	return filepath.Join(dir, desktop.Name), last
}

// bubble runs f where time passes only while everybody sleeps.
func bubble(t testing.TB, f func()) {
	switch t := t.(type) {
	case *testing.T:
		synctest.Test(t, func(*testing.T) { f() })
	default:
		// A benchmark cannot be a bubble: a test within it can.
		if !testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "bubble", F: func(t *testing.T) { synctest.Test(t, func(*testing.T) { f() }) }}}) {
			t.Fatal("recording failed")
		}
	}
}

func (d *desk) show(p screen.Picture, at image.Point) {
	d.t.Helper()
	for _, b := range p.Bitmaps(image.Rect(0, 0, p.W, p.H), at, 24, 16000) {
		must(d.t, d.w.Bitmaps(b))
		must(d.t, d.s.Draw(b))
	}
	if d.w.KeyframeDue() {
		must(d.t, d.w.Keyframe(d.s))
	}
}

// page fills the screen with a page of text.
func (d *desk) page() {
	b := d.s.Bounds()
	p := screen.NewPicture(b.Dx(), b.Dy())
	p.Fill(b, 0xe8e8e8)
	p.Fill(image.Rect(0, 0, b.Dx(), 24), 0x305080)
	for y := 30; y < b.Dy(); y += 20 {
		p.Text(image.Pt(10, y), fmt.Sprintf("line %d of a page with some numbers: %d", y/20, d.r.Uint32()), 0x202020, 2)
	}
	d.show(p, image.Point{})
}

// work is what a person in an office does in a minute: types, moves the
// pointer, turns a page, reads.
func (d *desk) work() {
	d.page()
	line := screen.NewPicture(12, 20)
	for i := range 150 { // typing
		line.Fill(image.Rect(0, 0, 12, 20), 0xffffff)
		line.Text(image.Point{}, string(rune('a'+i%26)), 0, 2)
		d.show(line, image.Pt(20+i%60*12, 100+i/60*20))
		time.Sleep(150 * time.Millisecond)
	}
	for i := range 100 { // the pointer
		x, y := uint16(100+4*i), uint16(90+2*i)
		must(d.t, d.w.Move(x, y))
		d.s.MovePointer(int(x), int(y))
		time.Sleep(30 * time.Millisecond)
	}
	time.Sleep(35 * time.Second) // reading
}

// rendered runs inside-render and returns the video and what it said.
func rendered(t testing.TB, recording string, more ...string) (video string, said []line) {
	t.Helper()
	video = filepath.Join(t.TempDir(), "desktop.mp4")
	c := render(t, append(append([]string{"--output", video}, more...), recording)...)
	var out, complaints bytes.Buffer
	c.Stdout, c.Stderr = &out, &complaints
	if err := c.Run(); err != nil {
		t.Fatalf("%v: %s", err, complaints.String())
	}
	for in := bufio.NewScanner(&out); in.Scan(); {
		var l line
		must(t, json.Unmarshal(in.Bytes(), &l))
		said = append(said, l)
	}
	return video, said
}

func render(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	c := exec.CommandContext(t.Context(), exe, args...)
	c.Env = append(os.Environ(), childEnv+"=render")
	return c
}

// probe asks ffprobe for size and duration.
func probe(t testing.TB, video string) (w, h int, duration time.Duration) {
	t.Helper()
	out, err := exec.Command("ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "stream=width,height:format=duration", "-of", "json", video).Output()
	must(t, err)
	var p struct {
		Streams []struct{ Width, Height int }
		Format  struct {
			Duration float64 `json:",string"`
		}
	}
	must(t, json.Unmarshal(out, &p))
	return p.Streams[0].Width, p.Streams[0].Height, time.Duration(p.Format.Duration * float64(time.Second))
}

// frameAt takes the frame out of a video that stands at a time.
func frameAt(t testing.TB, video string, at time.Duration, w, h int) screen.Picture {
	t.Helper()
	out, err := exec.Command("ffmpeg", "-v", "error", "-i", video, "-vf", fmt.Sprintf("fps=4,trim=start=%.3f", at.Seconds()), "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "bgr0", "pipe:1").Output()
	must(t, err)
	if len(out) != w*h*4 {
		t.Fatalf("the frame at %v has %d bytes", at, len(out))
	}
	p := screen.NewPicture(w, h)
	for i := range p.Pix {
		p.Pix[i] = binary.LittleEndian.Uint32(out[4*i:]) & 0xffffff
	}
	return p
}

// psnr says how alike two pictures of one size are, in decibels.
func psnr(a, b screen.Picture) float64 {
	sum := 0.0
	for i := range a.Pix {
		for shift := 0; shift < 24; shift += 8 {
			d := float64(a.Pix[i]>>shift&0xff) - float64(b.Pix[i]>>shift&0xff)
			sum += d * d
		}
	}
	return 10 * math.Log10(255*255/(sum/float64(3*len(a.Pix))+1e-9))
}

func about(t testing.TB, what string, got, want time.Duration) {
	t.Helper()
	if d := got - want; d < -200*time.Millisecond || d > 400*time.Millisecond {
		t.Errorf("%s: %v, not %v", what, got, want)
	}
}

func TestAVideoShowsWhatThePersonSaw(t *testing.T) {
	needs(t)
	var first screen.Picture
	path, s := record(t, 801, 601, func(d *desk) { // odd sides become even
		d.page()
		first = screen.NewPicture(802, 602)
		f := screen.NewPicture(801, 601)
		d.s.Frame(f, true)
		copyInto(first, f)
		time.Sleep(20 * time.Second)
		d.page()
		must(t, d.w.Notice("your stay ends in 1 minute"))
		d.s.SetNotice("your stay ends in 1 minute")
		time.Sleep(10 * time.Second)
	})
	video, said := rendered(t, path)
	w, h, duration := probe(t, video)
	if w != 802 || h != 602 {
		t.Errorf("the video is %d × %d", w, h)
	}
	about(t, "the video's duration", duration, 30*time.Second)
	last := screen.NewPicture(802, 602)
	f := screen.NewPicture(801, 601)
	s.Frame(f, true)
	copyInto(last, f)
	for at, want := range map[time.Duration]screen.Picture{5 * time.Second: first, 15 * time.Second: first, 25 * time.Second: last} {
		if db := psnr(frameAt(t, video, at, 802, 602), want); db < 30 {
			t.Errorf("the frame at %v is not what was shown: %.1f dB", at, db)
		}
	}
	if psnr(first, last) > 25 {
		t.Error("the pictures are too alike to tell")
	}
	end := said[len(said)-1]
	if !end.Finished || end.Frames < 2 || end.Frames > 12 {
		t.Errorf("%+v", end)
	}
}

// copyInto copies a smaller picture to the corner of a larger one, the last
// column and row doubled as the encoder needs them.
func copyInto(dst, src screen.Picture) {
	for y := range dst.H {
		for x := range dst.W {
			dst.Pix[y*dst.W+x] = src.Pix[min(y, src.H-1)*src.W+min(x, src.W-1)]
		}
	}
}

// Before it is encoded, a frame is the screen pixel by pixel: what is drawn
// piece by piece is what is drawn at once.
func TestTheFrameBeforeEncodingIsTheScreen(t *testing.T) {
	needs(t)
	path, s := record(t, 640, 480, func(d *desk) {
		for range 2 {
			d.work()
		}
	})
	in, err := os.Open(path)
	must(t, err)
	defer in.Close()
	ffmpeg, err := findEncoder()
	must(t, err)
	r := &renderer{fps: 10, pointer: true, tell: newTeller(new(bytes.Buffer)), encoder: ffmpeg}
	must(t, r.render(t.Context(), in, filepath.Join(t.TempDir(), "x.mp4")))
	want := screen.NewPicture(640, 480)
	s.Frame(want, true)
	if !slices.Equal(r.frame.Pix, want.Pix) {
		t.Error("the last frame differs from the screen")
	}
	whole := newCanvas(640, 480)
	whole.draw(want, s.Bounds())
	if !bytes.Equal(whole.data, r.canvas.data) {
		t.Error("what was converted in pieces differs from what is converted at once")
	}
}

func TestAResizeKeepsOneCanvas(t *testing.T) {
	needs(t)
	path, s := record(t, 320, 200, func(d *desk) {
		d.page()
		time.Sleep(2 * time.Second)
		for _, size := range [][2]int{{640, 300}, {200, 400}} {
			must(t, d.w.Resize(uint16(size[0]), uint16(size[1])))
			must(t, d.s.Resize(size[0], size[1]))
			d.page()
			time.Sleep(2 * time.Second)
		}
	})
	video, _ := rendered(t, path, "--pointer=false")
	w, h, duration := probe(t, video)
	if w != 640 || h != 400 {
		t.Fatalf("the video is %d × %d", w, h)
	}
	about(t, "the video's duration", duration, 6*time.Second)
	want := screen.NewPicture(640, 400)
	for y := range 400 {
		copy(want.Pix[y*640:], s.Picture().Pix[y*200:][:200])
	}
	if db := psnr(frameAt(t, video, 5500*time.Millisecond, 640, 400), want); db < 30 {
		t.Errorf("after two resizes the frame is not what was shown: %.1f dB", db)
	}
}

func TestAnIdleHourCostsSeconds(t *testing.T) {
	needs(t)
	path, _ := record(t, 640, 480, func(d *desk) {
		d.page()
		time.Sleep(time.Hour)
		d.page()
	})
	began := time.Now()
	video, said := rendered(t, path)
	if took := time.Since(began); took > 36*time.Second && !raceEnabled {
		t.Errorf("it took %v", took)
	}
	_, _, duration := probe(t, video)
	about(t, "the video's duration", duration, time.Hour)
	if n := said[len(said)-1].Frames; n > 400 {
		t.Errorf("%d frames", n)
	}
}

func TestWhatCannotBeRenderedIsSaidInWords(t *testing.T) {
	needs(t)
	path, _ := record(t, 320, 200, func(d *desk) {
		d.page()
		must(t, d.w.Graphics([]byte("data of the graphics pipeline")))
		must(t, d.w.Update(codec.AppendBitmaps(nil, codec.Bitmap{Right: 3, Width: 4, Height: 1, Depth: 24, Compressed: true, Data: []byte{0xff}})))
		time.Sleep(3 * time.Second)
	})
	whole, err := os.ReadFile(path)
	must(t, err)
	var blocks []int // where they begin: see ondisk.Record
	for at := bytes.IndexByte(whole, '\n') + 1; at < len(whole); at += 64 + int(binary.LittleEndian.Uint32(whole[at+4:])) {
		blocks = append(blocks, at)
	}
	unfinished := whole[:blocks[len(blocks)-2]] // without the event and the record that end it
	for name, c := range map[string]struct {
		bytes []byte
		want  []string
	}{
		"whole":    {whole, []string{"not graphics", "could not be drawn"}},
		"torn":     {whole[:len(whole)-10], []string{"ends here"}},
		"given up": {unfinished, []string{"ends here: it was not finished"}},
		"damaged":  {append(bytes.Clone(whole[:len(whole)-80]), make([]byte, 80)...), []string{"ends here"}},
	} {
		file := filepath.Join(t.TempDir(), "x.rdpr")
		must(t, os.WriteFile(file, c.bytes, 0o600))
		video, said := rendered(t, file)
		warnings := ""
		for _, l := range said {
			warnings += l.Warning + "\n"
		}
		for _, want := range c.want {
			if !strings.Contains(warnings, want) {
				t.Errorf("%s: %q does not say %q", name, warnings, want)
			}
		}
		if w, h, _ := probe(t, video); w != 320 || h != 200 {
			t.Errorf("%s: the video is %d × %d", name, w, h)
		}
	}
}

func TestARecordingComesThroughAPipeToo(t *testing.T) {
	needs(t)
	path, _ := record(t, 320, 200, func(d *desk) { d.page(); time.Sleep(time.Second) })
	video := filepath.Join(t.TempDir(), "v.mp4")
	b, err := os.ReadFile(path)
	must(t, err)
	c := render(t, "--output", video)
	c.Stdin = bytes.NewReader(b)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if w, h, _ := probe(t, video); w != 320 || h != 200 {
		t.Errorf("the video is %d × %d", w, h)
	}
}

func TestWhatFailsLeavesNothing(t *testing.T) {
	needs(t)
	path, _ := record(t, 320, 200, func(d *desk) { d.page(); time.Sleep(time.Second) })
	noise := filepath.Join(t.TempDir(), "noise.rdpr")
	must(t, os.WriteFile(noise, []byte("this is no recording\n"), 0o600))
	fake := t.TempDir()
	must(t, os.WriteFile(filepath.Join(fake, "ffmpeg"), []byte("#!/bin/sh\ncat >/dev/null\necho broken >&2\nexit 3\n"), 0o700))
	for name, c := range map[string]struct{ file, tools, want string }{
		"no recording":        {noise, os.Getenv("PATH"), "not a header"},
		"no such file":        {noise + "x", os.Getenv("PATH"), "no such file"},
		"no ffmpeg":           {path, t.TempDir(), "apt install ffmpeg"},
		"an ffmpeg that dies": {path, fake + ":/usr/bin:/bin", "broken"},
	} {
		dir := t.TempDir()
		cmd := render(t, "--output", filepath.Join(dir, "v.mp4"), c.file)
		cmd.Env = append(cmd.Env, "PATH="+c.tools)
		out, err := cmd.CombinedOutput()
		left, _ := os.ReadDir(dir)
		if err == nil || !strings.Contains(string(out), c.want) || len(left) > 0 {
			t.Errorf("%s: %v, %q, left %v", name, err, out, left)
		}
	}
}

// startRender starts the program as insided does, and waits for it.
func startRender() {
	os.Setenv(childEnv, "render")
	c := exec.Command("/proc/self/exe", os.Args[1:]...)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := c.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// When the gate is killed, nothing of a rendering goes on without it.
func TestNobodyRendersForAGateThatIsGone(t *testing.T) {
	path, _ := record(t, 640, 480, func(d *desk) { d.page(); time.Sleep(time.Minute) })
	tools, dir := t.TempDir(), t.TempDir()
	// It never reads, so that the program waits for it.
	must(t, os.WriteFile(filepath.Join(tools, "ffmpeg"), []byte("#!/bin/sh\necho $PPID $$ >"+dir+"/pids\nexec sleep 60\n"), 0o700))
	c := render(t, "--output", filepath.Join(dir, "v.mp4"), path)
	c.Env = append(c.Env, "PATH="+tools+":/usr/bin:/bin", childEnv+"=starter")
	must(t, c.Start())
	var pids []string
	wait := func(what string, ok func() bool) {
		t.Helper()
		for began := time.Now(); !ok(); time.Sleep(5 * time.Millisecond) {
			if time.Since(began) > 20*time.Second {
				t.Fatal(what)
			}
		}
	}
	wait("the encoder does not start", func() bool {
		b, _ := os.ReadFile(filepath.Join(dir, "pids"))
		pids = strings.Fields(string(b))
		return len(pids) == 2 && bytes.HasSuffix(b, []byte("\n"))
	})
	must(t, c.Process.Kill())
	c.Wait()
	for i, who := range []string{"inside-render", "ffmpeg"} {
		wait(who+" goes on", func() bool {
			state, err := os.ReadFile("/proc/" + pids[i] + "/stat")
			return err != nil || bytes.Contains(state, []byte(") Z ")) // dead, and nobody asks for it
		})
	}
}

// confinedChild gives everything up and says what it still can.
func confinedChild() {
	defer os.Exit(0)
	folder := os.Getenv("FOLDER")
	if err := confine("", folder); err != nil {
		fmt.Println("confine:", err)
		return
	}
	_, err := net.Dial("tcp", "127.0.0.1:1")
	fmt.Println("dial:", err)
	status, err := exec.Command("/bin/cat", "/proc/self/status").Output()
	fmt.Println(string(status), err)
	python, err := exec.Command("/bin/sh", "-c", "ulimit -c; exec 3<>/dev/null; chown 12345 /proc/self/fd/3 2>&1; true").CombinedOutput()
	fmt.Println(string(python), err)
	for _, name := range []string{"/etc/passwd", filepath.Join(folder, "..", "neighbour", "secret")} {
		_, err := os.ReadFile(name)
		fmt.Println("read:", err)
	}
	fmt.Println("change:", os.WriteFile(filepath.Join(folder, "..", "neighbour", "secret"), nil, 0o600))
	fmt.Println("video:", os.WriteFile(filepath.Join(folder, "video"), nil, 0o600))
	score, _ := os.ReadFile("/proc/self/oom_score_adj")
	fmt.Printf("oom score: %s", score)
	fmt.Println("signal:", syscall.Kill(os.Getppid(), 0))
}

func TestTheProgramAndItsChildrenHaveNoNetworkNoPrivilegesAndNoFiles(t *testing.T) {
	exe, err := os.Executable()
	must(t, err)
	folders := t.TempDir()
	for _, name := range []string{"mine", "neighbour"} {
		must(t, os.Mkdir(filepath.Join(folders, name), 0o700))
	}
	must(t, os.WriteFile(filepath.Join(folders, "neighbour", "secret"), []byte("secret"), 0o600))
	c := exec.Command(exe)
	c.Env = append(os.Environ(), childEnv+"=confined", "FOLDER="+filepath.Join(folders, "mine"))
	out, err := c.CombinedOutput()
	must(t, err)
	// Landlock is there since Linux 5.13, its rule for signals since 6.12.
	version, _, _ := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	for least, want := range map[int][]string{
		1: {"read: open /etc/passwd: permission denied", "read: open .*/secret: permission denied", "change: open .*/secret: permission denied", "video: <nil>"},
		6: {"signal: operation not permitted"},
	} {
		for _, w := range want {
			if found, _ := regexp.MatchString(w, string(out)); !found && int(version) >= least {
				t.Errorf("%q is not in %s", w, out)
			}
		}
	}
	for _, want := range []string{"socket: permission denied", "NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "not permitted", "oom score: 500"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in %s", want, out)
		}
	}
}

// The calls by which the program gives up what it has are in no set of Debian
// 12's systemd that its unit could allow instead.
func TestTheUnitLetsTheProgramConfineItself(t *testing.T) {
	unit, err := os.ReadFile("../../packaging/systemd/inside-render@.service")
	must(t, err)
	var allowed []string
	for _, line := range regexp.MustCompile(`(?m)^SystemCallFilter=([^~].*)$`).FindAllStringSubmatch(string(unit), -1) {
		allowed = append(allowed, strings.Fields(line[1])...)
	}
	for _, call := range []string{"capset", "setpriority", "seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"} {
		if !slices.Contains(allowed, call) {
			t.Errorf("the unit forbids %s", call)
		}
	}
}

func TestTheTimesOfAnEventfulSecondAreApart(t *testing.T) {
	needs(t)
	path, _ := record(t, 320, 200, func(d *desk) {
		p := screen.NewPicture(10, 10)
		for i := range 300 { // 100 changes a second
			p.Fill(image.Rect(0, 0, 10, 10), uint32(i)<<8)
			d.show(p, image.Pt(i%300, 50))
			time.Sleep(10 * time.Millisecond)
		}
	})
	_, said := rendered(t, path)
	if n := said[len(said)-1].Frames; n < 25 || n > 35 {
		t.Errorf("3 s at 10 frames a second are %d frames", n)
	}
}

// BenchmarkRender says how much faster than it happened a session becomes a
// video.
func BenchmarkRender(b *testing.B) {
	needs(b)
	for name, session := range map[string]struct {
		run func(d *desk)
	}{
		"office": {func(d *desk) {
			for range 5 {
				d.work()
			}
		}},
		"idle": {func(d *desk) {
			d.page()
			time.Sleep(2 * time.Hour)
		}},
	} {
		b.Run(name, func(b *testing.B) {
			path, _ := record(b, 1024, 768, session.run)
			for b.Loop() {
				began := time.Now()
				video, said := rendered(b, path)
				_, _, length := probe(b, video)
				b.ReportMetric(length.Seconds()/time.Since(began).Seconds(), "×realtime")
				b.ReportMetric(float64(said[len(said)-1].Frames)/time.Since(began).Seconds(), "frames/s")
			}
		})
	}
}
