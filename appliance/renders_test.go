package appliance

import (
	"context"
	"encoding/binary"
	"errors"
	"image"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
	"github.com/pawelmojski/inside/store"
)

// desktopSession is a session whose desktop is being recorded.
func desktopSession(t *testing.T, h *House, ctx context.Context) (policy.Session, *desktop.Writer) {
	t.Helper()
	p := must[policy.Person](t)(h.Store.AddPerson(ctx, "root", policy.Person{Name: "alice"}))
	v := must[policy.Server](t)(h.Store.AddServer(ctx, "root", policy.Server{Name: "win-01", Prefix: netip.MustParsePrefix("10.30.0.140/32")}))
	g := must[policy.Grant](t)(h.Store.CreateGrant(ctx, "root", policy.Grant{Person: p.ID, Server: v.ID, Start: time.Now()}))
	se, _, err := h.Store.Enter(ctx, policy.Session{
		Person: p.ID, Server: v.ID, Grant: g.ID, Protocol: policy.RDP, Gate: h.Gate,
		Client: netip.MustParseAddrPort("100.64.0.20:50000"), Dest: netip.MustParseAddrPort("10.30.0.140:3389"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Records.MkdirAll(folder(se), 0o750); err != nil {
		t.Fatal(err)
	}
	dir := must[*os.Root](t)(h.Records.OpenRoot(folder(se)))
	t.Cleanup(func() { dir.Close() })
	w := must[*desktop.Writer](t)(desktop.Create(dir, desktop.Name, recording.Header{Width: 64, Height: 48}))
	t.Cleanup(func() { w.Close("") })
	return se, w
}

// program writes a shell script that takes the place of inside-render.
func program(t *testing.T, script string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "inside-render")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}

// working has renders made until stop is called.
func working(h *House, program string) (stop func()) {
	return workingIn(h, func() error { return nil }, program)
}

// workingIn is working where the disk has room as room says.
func workingIn(h *House, room func() error, program string) (stop func()) {
	r := NewRenders(h.Gate, h.Store, h.Records, room, program, time.Now, slog.New(slog.DiscardHandler))
	r.Pause = 0
	h.Renders = r
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { r.Run(ctx) })
	return func() { cancel(); run.Wait() }
}

func awaitVideo(t *testing.T, h *House, ctx context.Context, id policy.SessionID, what string, ok func(api.Video) bool) api.Video {
	t.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		v := must[api.Video](t)(h.Video(ctx, string(id)))
		if ok(v) {
			return v
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("%s never came: %+v", what, v)
		}
	}
}

func TestAVideoThatIsBeingMadeSurvivesARestart(t *testing.T) {
	h, _, ctx := newHouse(t)
	se, w := desktopSession(t, h, ctx)
	if err := w.Close("client-left"); err != nil {
		t.Fatal(err)
	}
	stop := working(h, program(t, `echo '{"done":1,"total":4}'; exec sleep 60`))
	if v := must[api.Video](t)(h.AskVideo(ctx, string(se.ID), api.NewVideo{})); v.State != "queued" {
		t.Errorf("%+v", v)
	}
	awaitVideo(t, h, ctx, se.ID, "its progress", func(v api.Video) bool { return v.State == "running" && v.Progress == 0.25 })
	if _, err := h.VideoFile(ctx, string(se.ID)); codeOf(err) != api.CodeConflict {
		t.Errorf("what is not done is given away: %v", err)
	}
	began := time.Now()
	stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the gate waited %v for a video", took)
	}
	if v := must[api.Video](t)(h.Video(ctx, string(se.ID))); v.State != "queued" || v.Attempts != 0 {
		t.Errorf("after a stop it is %+v", v)
	}

	// A crash: nobody put it back, and what there was of it lies around.
	must[store.Render](t)(h.Store.NextRender(ctx, h.Gate, time.Now()))
	if err := h.Records.WriteFile(filepath.Join(folder(se), videoStart), []byte("half"), 0o640); err != nil {
		t.Fatal(err)
	}
	stop = working(h, program(t, `printf 'a video' >"$2"; echo '{"warning":"at 3s: it is not shown"}'`))
	defer stop()
	v := awaitVideo(t, h, ctx, se.ID, "its end", func(v api.Video) bool { return v.State == "done" })
	if v.Attempts != 2 || v.Size != 7 || v.Detail != "at 3s: it is not shown" {
		t.Errorf("%+v", v)
	}
	file := must[io.ReadCloser](t)(h.VideoFile(ctx, string(se.ID)))
	defer file.Close()
	if b, err := io.ReadAll(file); string(b) != "a video" || err != nil {
		t.Errorf("%q %v", b, err)
	}
	if _, err := h.Records.Lstat(filepath.Join(folder(se), videoStart)); err == nil {
		t.Error("half a video is left")
	}
}

// Nobody gets in while the disk is full, so that videos, which can be made
// again, go before that, and none is made meanwhile.
func TestVideosMakeRoomForRecordings(t *testing.T) {
	h, _, ctx := newHouse(t)
	se, w := desktopSession(t, h, ctx)
	if err := w.Close("client-left"); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var short error
	asked := make(chan struct{}, 100)
	room := func() error {
		mu.Lock()
		defer mu.Unlock()
		asked <- struct{}{}
		return short
	}
	fill := func(err error) { mu.Lock(); defer mu.Unlock(); short = err }
	defer workingIn(h, room, program(t, `printf 'a video' >"$2"`))()
	must[api.Video](t)(h.AskVideo(ctx, string(se.ID), api.NewVideo{}))
	awaitVideo(t, h, ctx, se.ID, "its end", func(v api.Video) bool { return v.State == "done" })

	fill(errors.New("the disk is full"))
	h.Renders.Wake()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		_, err := h.Records.Lstat(filepath.Join(folder(se), videoName))
		if _, gone := h.Video(ctx, string(se.ID)); err != nil && codeOf(gone) == api.CodeNotFound {
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatal("the video stays")
		}
	}
	if _, err := h.Records.Lstat(filepath.Join(folder(se), desktop.Name)); err != nil {
		t.Errorf("the recording: %v", err)
	}
	if v, err := h.AskVideo(ctx, string(se.ID), api.NewVideo{}); codeOf(err) != api.CodeUnavailable || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("on a full disk it is %+v, %v", v, err)
	}
	must[store.Render](t)(h.Store.AskRender(ctx, "root", se, time.Now(), false)) // before it was full
	for len(asked) > 0 {
		<-asked
	}
	h.Renders.Wake()
	<-asked
	h.Renders.Wake()
	<-asked // so that the first time is over
	if v := must[api.Video](t)(h.Video(ctx, string(se.ID))); v.State != "queued" || v.Attempts != 0 {
		t.Errorf("on a full disk it is %+v", v)
	}
	fill(nil)
	h.Renders.Wake()
	awaitVideo(t, h, ctx, se.ID, "its end", func(v api.Video) bool { return v.State == "done" })
}

// A video that takes the last room is given up, and so is what there is of it.
func TestAVideoThatFillsTheDiskIsGivenUp(t *testing.T) {
	h, _, ctx := newHouse(t)
	se, w := desktopSession(t, h, ctx)
	if err := w.Close("client-left"); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(folder(se), videoStart)
	room := func() error {
		if _, err := h.Records.Lstat(name); err == nil {
			return errors.New("the disk is full")
		}
		return nil
	}
	defer workingIn(h, room, program(t, `printf half >"${2%.mp4}.part.mp4"; echo '{"done":1,"total":4}'; exec sleep 60`))()
	must[api.Video](t)(h.AskVideo(ctx, string(se.ID), api.NewVideo{}))
	v := awaitVideo(t, h, ctx, se.ID, "its failure", func(v api.Video) bool { return v.State == "failed" })
	if !strings.Contains(v.Detail, "the disk is full") {
		t.Errorf("%+v", v)
	}
	if _, err := h.Records.Lstat(name); err == nil {
		t.Error("half a video is left")
	}
}

func TestAVideoThatCannotBeMadeSaysWhy(t *testing.T) {
	for name, c := range map[string]struct{ program, want string }{
		"a program that complains": {program(t, "echo 'no room' >&2; exit 1"), "no room"},
		"a program that is killed": {program(t, "kill -9 $$"), "killed"},
		"a program that babbles":   {program(t, "head -c 3000000 /dev/zero; head -c 100000 /dev/zero | tr '\\0' x >&2; echo; exit 4"), "exit status 4"},
		"no program":               {"/nonexistent/inside-render", "inside-render"},
	} {
		t.Run(name, func(t *testing.T) {
			h, _, ctx := newHouse(t)
			se, w := desktopSession(t, h, ctx)
			if err := w.Close("client-left"); err != nil {
				t.Fatal(err)
			}
			defer working(h, c.program)()
			must[api.Video](t)(h.AskVideo(ctx, string(se.ID), api.NewVideo{}))
			v := awaitVideo(t, h, ctx, se.ID, "its failure", func(v api.Video) bool { return v.State == "failed" })
			if v.Attempts != store.RenderAttempts || !strings.Contains(v.Detail, c.want) || len(v.Detail) > 3000 {
				t.Errorf("%+v", v)
			}
		})
	}
}

func TestALiveDesktopIsWatchedAndThatIsWrittenDown(t *testing.T) {
	h, gate, ctx := newHouse(t)
	se, w := desktopSession(t, h, ctx)
	gate.sessions[se.ID] = Traffic{}
	if _, err := h.AskVideo(ctx, string(se.ID), api.NewVideo{}); codeOf(err) != api.CodeConflict {
		t.Errorf("a video is made of what still runs: %v", err)
	}
	live := must[io.ReadCloser](t)(h.LiveDesktop(ctx, string(se.ID)))
	next := func() (kind byte, b []byte) {
		var head [5]byte
		if _, err := io.ReadFull(live, head[:]); err != nil {
			t.Fatal(err)
		}
		b = make([]byte, binary.LittleEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(live, b); err != nil {
			t.Fatal(err)
		}
		return head[0], b
	}
	if kind, b := next(); kind != 'h' || !strings.Contains(string(b), `"width":64`) {
		t.Errorf("%c %s", kind, b)
	}
	if kind, b := next(); kind != 'f' || b[4] != 1 {
		t.Errorf("the first frame is %c %x", kind, b)
	}
	p := screen.NewPicture(8, 8)
	p.Fill(image.Rect(0, 0, 8, 8), 0xff0000)
	if err := w.Bitmaps(p.Bitmaps(image.Rect(0, 0, 8, 8), image.Pt(3, 4), 24, 1000)...); err != nil {
		t.Fatal(err)
	}
	if kind, b := next(); kind != 'f' || b[4] != 0 || binary.LittleEndian.Uint16(b[11:]) != 3 {
		t.Errorf("what changed is %c %x", kind, b[:min(len(b), 20)])
	}
	if err := live.Close(); err != nil {
		t.Error(err)
	}
	rows := must[[]store.AuditRow](t)(h.Store.AuditRows(ctx, store.AuditFilter{Action: "recording.watch"}))
	if len(rows) != 1 || rows[0].By != "root" || !strings.Contains(rows[0].Object, string(se.ID)) {
		t.Errorf("%+v", rows)
	}
	if _, err := h.LiveDesktop(ctx, "nosuchsession"); codeOf(err) != api.CodeNotFound {
		t.Error(err)
	}
}

// A desktop that a crash left open is ended, and sealed by its chain's head.
func TestADesktopIsSealedByItsHead(t *testing.T) {
	h, _, ctx := newHouse(t)
	se, w := desktopSession(t, h, ctx)
	if _, err := sealFolder(ctx, h.Records, se, false); err == nil {
		t.Error("what is still written was sealed")
	}
	if err := w.Close("client-left"); err != nil {
		t.Fatal(err)
	}
	seal := must[recordSeal](t)(sealFolder(ctx, h.Records, se, false))
	if len(seal.Files) != 1 || seal.Files[0].Head == "" {
		t.Fatalf("%+v", seal)
	}
	name := filepath.Join(folder(se), desktop.Name)
	if err := h.Records.WriteFile(filepath.Join(folder(se), videoStart), []byte("half a video"), 0o640); err != nil {
		t.Fatal(err)
	}
	if broken := must[[]brokenFile](t)(seal.check(ctx, h.Records)); len(broken) != 0 {
		t.Errorf("%v", broken)
	}
	b := must[[]byte](t)(h.Records.ReadFile(name))
	b[len(b)-100] ^= 1
	if err := h.Records.WriteFile(name, b, 0o640); err != nil {
		t.Fatal(err)
	}
	if broken := must[[]brokenFile](t)(seal.check(ctx, h.Records)); len(broken) != 1 {
		t.Errorf("%v", broken)
	}
}

// A recording that its session had to give up, as on a full disk, is ended
// before it is sealed: what was shown last is in its tail only.
func TestADesktopThatWasGivenUpIsEndedAndSealed(t *testing.T) {
	h, _, ctx := newHouse(t)
	se, w := desktopSession(t, h, ctx)
	if err := w.Notice("shown last"); err != nil {
		t.Fatal(err)
	}
	given := se
	given.ID = "given-up"
	if err := h.Records.Mkdir(folder(given), 0o750); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{desktop.Name, "desktop.tail"} {
		b := must[[]byte](t)(h.Records.ReadFile(filepath.Join(folder(se), name)))
		if err := h.Records.WriteFile(filepath.Join(folder(given), name), b, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	seal := must[recordSeal](t)(sealFolder(ctx, h.Records, given, false))
	if len(seal.Files) != 1 || !seal.Files[0].Recovered || seal.Files[0].Head == "" {
		t.Fatalf("%+v", seal)
	}
	file := must[*os.File](t)(h.Records.Open(filepath.Join(folder(given), desktop.Name)))
	defer file.Close()
	_, events, err := desktop.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	said := ""
	for e, err := range events {
		if err != nil {
			t.Fatal(err)
		}
		said += string(e.Data) + "\n"
	}
	if said != "shown last\n"+recording.Interrupted+"\n" {
		t.Errorf("it holds %q", said)
	}
}
