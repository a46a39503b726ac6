package main

import (
	"context"
	"errors"
	"image"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/policy"
	picture "github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
	"github.com/pawelmojski/inside/store/storetest"
)

// film SESSION records a small desktop for a session, by the real writer.
func film(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: film session")
	}
	g := gateOf(ts)
	se, err := g.store.Session(context.Background(), args[0])
	ts.Check(err)
	dir, err := g.root.OpenRoot(filepath.Join(se.Start.UTC().Format("2006/01/02"), string(se.ID)))
	ts.Check(err)
	defer dir.Close()
	w, err := desktop.Create(dir, desktop.Name, recording.Header{Width: 320, Height: 200, Session: string(se.ID)})
	ts.Check(err)
	p := picture.NewPicture(320, 200)
	p.Fill(image.Rect(0, 0, 320, 200), 0x305080)
	p.Text(image.Pt(10, 10), "a desktop", 0xffffff, 2)
	ts.Check(w.Bitmaps(p.Bitmaps(image.Rect(0, 0, 320, 200), image.Point{}, 24, 16000)...))
	ts.Check(w.Close(string(policy.ClientLeft)))
}

// make-videos has the gate make the videos that are asked for.
func makeVideos(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: make-videos")
	}
	g := gateOf(ts)
	if out, err := exec.Command("go", "build", "-o", ts.MkAbs("inside-render"), "../inside-render").CombinedOutput(); err != nil {
		ts.Fatalf("%v: %s", err, out)
	}
	g.makeVideos(ts.MkAbs("inside-render"))
}

// makeVideos has the gate make videos by a program until it is closed.
func (g *standIn) makeVideos(program string) {
	g.renders.Program, g.renders.Pause = program, 0
	ctx, cancel := context.WithCancel(context.Background())
	var working sync.WaitGroup
	working.Go(func() { g.renders.Run(ctx) })
	g.filming = func() { cancel(); working.Wait() }
}

func TestWhoWaitsForAVideoSeesHowFarItIs(t *testing.T) {
	g := openGate(t, storetest.SQLite(t), shortDir(t))
	defer g.close()
	id := newSession(t, g)
	se, err := g.store.Session(t.Context(), id)
	if err == nil {
		err = g.leave(id)
	}
	if err == nil {
		err = g.root.WriteFile(filepath.Join(se.Start.UTC().Format("2006/01/02"), id, desktop.Name), nil, 0o640)
	}
	if err != nil {
		t.Fatal(err)
	}
	// A program that is done when it is told so.
	dir := t.TempDir()
	goOn, program := filepath.Join(dir, "go-on"), filepath.Join(dir, "inside-render")
	script := "#!/bin/sh\necho '{\"done\":42,\"total\":100}'\nread line <" + goOn + "\nprintf 'a video' >\"$2\"\n"
	if err := errors.Join(unix.Mkfifo(goOn, 0o600), os.WriteFile(program, []byte(script), 0o700)); err != nil {
		t.Fatal(err)
	}

	screen, tty := openTerminal(t)
	file := filepath.Join(dir, "a.mp4")
	cmd := inside(g, "export", id, file, "--mp4")
	cmd.Stderr = tty
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	readUntil(t, screen, "waiting for other videos")
	g.makeVideos(program)
	readUntil(t, screen, "making the video: 42 %")
	if err := os.WriteFile(goOn, []byte("now\n"), 0); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(file); string(b) != "a video" {
		t.Errorf("%q %v", b, err)
	}
}

// spoil-video SESSION writes something else where a desktop was recorded.
func spoilVideo(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: spoil-video session")
	}
	g := gateOf(ts)
	se, err := g.store.Session(context.Background(), args[0])
	ts.Check(err)
	ts.Check(g.root.WriteFile(filepath.Join(se.Start.UTC().Format("2006/01/02"), string(se.ID), desktop.Name), []byte("no recording\n"), 0o640))
}
