package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// open opens a recording; "" and - are standard input. What cannot be read
// twice is put into a file without a name first.
func open(name, dir string) (*os.File, error) {
	f := os.Stdin
	if name != "" && name != "-" {
		var err error
		if f, err = os.Open(name); err != nil {
			return nil, err
		}
	}
	info, err := f.Stat()
	if err != nil || info.Mode().IsRegular() {
		return f, err
	}
	if f != os.Stdin {
		f.Close()
		return nil, fmt.Errorf("%s is not a file", name)
	}
	spool, err := os.CreateTemp(dir, ".inside-render-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(spool.Name()); err != nil {
		spool.Close()
		return nil, err
	}
	if _, err := io.Copy(spool, f); err != nil {
		spool.Close()
		return nil, fmt.Errorf("reading standard input: %w", err)
	}
	return spool, nil
}

// An outline is what must be known of a recording before its first frame: how
// large the one canvas is and how long the video gets.
type outline struct {
	header        recording.Header
	width, height int
	length        time.Duration
}

// survey reads the recording once. Where it is damaged or torn, the outline
// ends.
func survey(f *os.File) (o outline, err error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return o, err
	}
	h, events, err := desktop.Read(f)
	if err != nil {
		return o, err
	}
	o = outline{header: h, width: h.Width, height: h.Height}
	for e, err := range events {
		if unreadable(err) {
			break
		}
		if err != nil {
			return o, err
		}
		o.length = e.Time
		if w, h, ok := e.Size(); ok {
			o.width, o.height = max(o.width, w), max(o.height, h)
		}
	}
	return o, nil
}

// unreadable says whether err is in the recording, not in reading it.
func unreadable(err error) bool {
	var damage *recording.Damage
	return errors.Is(err, recording.ErrTorn) || errors.As(err, &damage) || errors.Is(err, desktop.ErrBlock)
}
