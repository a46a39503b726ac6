package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// findEncoder finds ffmpeg while the file system can still be searched.
func findEncoder() (string, error) {
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		return "", errors.New("there is no ffmpeg: apt install ffmpeg")
	}
	return path, nil
}

// An encoding is ffmpeg at work. Frames go in by a pipe with their times; they
// come out as H.264 that browsers play.
type encoding struct {
	cmd    *exec.Cmd
	pipe   io.WriteCloser
	stream matroska
	said   tail
}

func encode(ctx context.Context, ffmpeg, output string, w, h int, last time.Duration) (*encoding, error) {
	e := &encoding{}
	e.cmd = exec.CommandContext(ctx, ffmpeg, "-hide_banner", "-loglevel", "error", "-nostats", "-y",
		"-f", "matroska", "-i", "pipe:0", "-an",
		"-fps_mode", "passthrough", "-enc_time_base", "1:1000",
		"-c:v", "libx264", "-preset", "veryfast", "-crf", "26", "-g", "300", "-pix_fmt", "yuv420p", "-threads", "2",
		"-color_range", "tv", "-colorspace", "smpte170m", "-color_primaries", "smpte170m", "-color_trc", "smpte170m",
		"-movflags", "+faststart", "-f", "mp4", output)
	e.cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	e.cmd.Stderr = &e.said
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	if e.pipe, err = e.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := e.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting ffmpeg: %w", err)
	}
	e.stream.w = e.pipe
	if err := e.stream.begin(w, h, last); err != nil {
		return nil, e.finish(err)
	}
	return e, nil
}

func (e *encoding) frame(at time.Duration, data []byte) error { return e.stream.frame(at, data) }

// finish lets ffmpeg finish, after an error of ours or without one.
func (e *encoding) finish(failed error) error {
	e.pipe.Close()
	if err := e.cmd.Wait(); err != nil {
		// What ffmpeg says is the reason; ours is then that nobody reads.
		return fmt.Errorf("ffmpeg: %w: %s", err, strings.TrimSpace(e.said.String()))
	}
	return failed
}

// A tail keeps the end of what was written to it.
type tail struct{ bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	t.Buffer.Write(p)
	if over := t.Len() - 2000; over > 0 {
		t.Next(over)
	}
	return len(p), nil
}
