// The inside-render command makes a video of the recording of a desktop
// session. It is a process of its own because it decodes what strangers sent:
// it gives up what it could do to anybody, network and files first, and talks to
// nobody but ffmpeg and, in lines of JSON on standard output, to whoever
// started it. insided starts it for `inside export --mp4`; it can be used by
// hand:
//
//	inside-render [--output desktop.mp4] [--fps 10] [desktop.rdpr | -]
//
// With --asked the folder of the recording is one line on standard input: so
// inside-render.socket starts it in a unit of its own for insided.
//
// It exits with 0 when the video is whole, also if parts of the recording
// could not be drawn: the video and a line of JSON say so in words.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

func main() {
	output := flag.String("output", "desktop.mp4", "the video to write")
	fps := flag.Int("fps", 10, "most frames a second, 1 to 60")
	pointer := flag.Bool("pointer", true, "draw the pointer")
	asked := flag.Bool("asked", false, "read on standard input which folder's recording to make a video of")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: inside-render [--output FILE.mp4] [--fps N] [--pointer=false] [RECORDING.rdpr | -]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 1 || *fps < 1 || *fps > 60 {
		flag.Usage()
		os.Exit(2)
	}
	if *asked {
		err := answer()
		fmt.Fprintln(os.Stderr, "inside-render: error:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, flag.Arg(0), *output, *fps, *pointer); err != nil {
		fmt.Fprintln(os.Stderr, "inside-render: error:", err)
		os.Exit(1)
	}
}

// answer reads the folder and starts the program again with it: what is given
// up must be known from the start. It returns only when it fails.
func answer() error {
	folder, err := bufio.NewReader(io.LimitReader(os.Stdin, 4096)).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read which folder: %w", err)
	}
	folder = strings.TrimSuffix(folder, "\n")
	args := []string{os.Args[0], "--output", filepath.Join(folder, "desktop.mp4"), filepath.Join(folder, desktop.Name)}
	return syscall.Exec("/proc/self/exe", args, os.Environ())
}

// run renders one recording. The video appears under its name when it is
// whole.
func run(ctx context.Context, recording, output string, fps int, pointer bool) (err error) {
	if err := confine(recording, filepath.Dir(output)); err != nil {
		return fmt.Errorf("giving up privileges: %w", err)
	}
	in, err := open(recording, filepath.Dir(output))
	if err != nil {
		return err
	}
	defer in.Close()
	output, err = filepath.Abs(output)
	if err != nil {
		return err
	}
	if err := os.Chdir(filepath.Dir(output)); err != nil {
		return err
	}
	ffmpeg, err := findEncoder()
	if err != nil {
		return err
	}
	// Whoever looks for files that are evidence passes by what ends in .mp4.
	part := strings.TrimSuffix(filepath.Base(output), ".mp4") + ".part.mp4"
	defer func() {
		if err != nil {
			err = errors.Join(err, removed(part))
		}
	}()
	r := &renderer{fps: fps, pointer: pointer, tell: newTeller(os.Stdout), encoder: ffmpeg}
	if err := r.render(ctx, in, part); err != nil {
		return err
	}
	return os.Rename(part, filepath.Base(output))
}

func removed(name string) error {
	if err := os.Remove(name); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
