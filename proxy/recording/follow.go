package recording

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"time"

	"github.com/pawelmojski/inside/proxy/recording/internal/ondisk"
)

// How often a recording that another process writes is looked at.
const lookEvery = time.Second

// Follow reads a recording from its beginning and goes on with what is
// appended until nobody writes it any more (it was closed, or its writer is
// gone) or ctx ends, which is the last error then. A recording that ends in
// the middle of a line gives [ErrTorn]. Each range over the frames starts at
// the beginning.
func Follow(ctx context.Context, root *os.Root, name string) (Header, iter.Seq2[Frame, error], error) {
	f, err := ondisk.Open(root, name, os.O_RDONLY)
	if err != nil {
		return Header{}, nil, fmt.Errorf("recording %s: %w", name, err)
	}
	defer f.Close()
	line, err := newFollower(f).next(ctx)
	if err != nil {
		return Header{}, nil, fmt.Errorf("recording %s: %w", name, noHeader(err))
	}
	h, err := parseHeader(line)
	if err != nil {
		return Header{}, nil, fmt.Errorf("recording %s: %w", name, err)
	}
	return h, func(yield func(Frame, error) bool) {
		f, err := ondisk.Open(root, name, os.O_RDONLY)
		if err == nil {
			defer f.Close()
			err = newFollower(f).frames(ctx, yield)
		}
		if err != nil && err != errStopped {
			yield(Frame{}, fmt.Errorf("recording %s: %w", name, err))
		}
	}, nil
}

// errStopped says that the consumer of frames wants no more.
var errStopped = errors.New("stopped")

// A follower reads the lines of a growing file.
type follower struct {
	f    *os.File
	bell *ondisk.Bell // nil: another process writes it, or nobody
	in   lineReader
	live bool // somebody wrote the file before what is in the buffer was read
	wake <-chan struct{}
}

func newFollower(f *os.File) *follower {
	w := &follower{f: f, bell: ondisk.BellOf(f)}
	w.look()
	return w
}

// look begins to read behind the last whole line. What was written in part is
// read again when there is more: it may even have been taken back.
func (w *follower) look() {
	w.wake = w.bell.Listen() // before reading, or a line could be missed
	live, err := ondisk.Written(w.f)
	w.live = live && err == nil
	tail := io.NewSectionReader(w.f, w.in.off, math.MaxInt64-w.in.off)
	if w.in.r == nil {
		w.in.r = bufio.NewReaderSize(tail, 32<<10)
	} else {
		w.in.r.Reset(tail)
	}
}

// next returns the next line, which may still have to be written.
func (w *follower) next(ctx context.Context) ([]byte, error) {
	for {
		line, err := w.in.next()
		if err == nil || (err != io.EOF && !errors.Is(err, ErrTorn)) || !w.live {
			return line, err
		}
		if err := w.wait(ctx); err != nil {
			return nil, err
		}
		w.look()
	}
}

func (w *follower) wait(ctx context.Context) error {
	// Also with a bell: it hangs in this process only, and a missed ring must
	// cost a second, not the live view.
	t := time.NewTimer(lookEvery)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-w.wake:
	case <-t.C:
	}
	return nil
}

// frames yields all frames up to the end.
func (w *follower) frames(ctx context.Context, yield func(Frame, error) bool) error {
	if _, err := w.next(ctx); err != nil {
		return err // of the header, which was read before
	}
	var d decoder
	for ctx.Err() == nil {
		at := w.in.off
		line, err := w.next(ctx)
		if err != nil {
			if f, ok := d.rest(); ok && ctx.Err() == nil && !yield(f, nil) {
				return errStopped
			}
			if err == io.EOF {
				return nil
			}
			return err
		}
		f, ok, what := d.line(line)
		if what != "" {
			return &Damage{Offset: at, What: what}
		}
		if ok && !yield(f, nil) {
			return errStopped
		}
	}
	return context.Cause(ctx)
}
