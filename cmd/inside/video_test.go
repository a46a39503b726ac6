package main

import (
	"context"
	"image"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pawelmojski/inside/policy"
	picture "github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
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
	g.renders.Program, g.renders.Pause = ts.MkAbs("inside-render"), 0
	if out, err := exec.Command("go", "build", "-o", g.renders.Program, "../inside-render").CombinedOutput(); err != nil {
		ts.Fatalf("%v: %s", err, out)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var working sync.WaitGroup
	working.Go(func() { g.renders.Run(ctx) })
	g.filming = func() { cancel(); working.Wait() }
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
