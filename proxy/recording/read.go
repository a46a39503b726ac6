package recording

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Read reads a recording as far as it is written now. A torn tail ends it:
// the last element is then an error that is [ErrTorn]. The frames can be
// ranged over once.
func Read(r io.Reader) (Header, iter.Seq2[Frame, error], error) {
	in := &lineReader{r: bufio.NewReaderSize(r, 32<<10)}
	line, err := in.next()
	if err != nil {
		return Header{}, nil, fmt.Errorf("recording: %w", noHeader(err))
	}
	h, err := parseHeader(line)
	if err != nil {
		return Header{}, nil, fmt.Errorf("recording: %w", err)
	}
	return h, func(yield func(Frame, error) bool) {
		var d decoder
		for {
			at := in.off
			line, err := in.next()
			if err != nil {
				if f, ok := d.rest(); ok && !yield(f, nil) {
					return
				}
				if err != io.EOF {
					yield(Frame{}, fmt.Errorf("recording: %w", err))
				}
				return
			}
			f, ok, what := d.line(line)
			if what != "" {
				yield(Frame{}, fmt.Errorf("recording: %w", &Damage{Offset: at, What: what}))
				return
			}
			if ok && !yield(f, nil) {
				return
			}
		}
	}, nil
}

func noHeader(err error) error {
	if err == io.EOF || errors.Is(err, ErrTorn) {
		return fmt.Errorf("there is no header: %w", ErrTorn)
	}
	return err
}

// A lineReader splits a stream into lines of at most maxLine.
type lineReader struct {
	r   *bufio.Reader
	off int64 // of the next line
	buf []byte
}

// next returns the next line without its newline, valid until the next call.
// It returns io.EOF at the end, ErrTorn when that is in the middle of a line.
func (l *lineReader) next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		l.buf = l.buf[:0]
		for err == bufio.ErrBufferFull && len(l.buf)+len(line) <= maxLine {
			l.buf = append(l.buf, line...)
			line, err = l.r.ReadSlice('\n')
		}
		l.buf = append(l.buf, line...)
		line = l.buf
	}
	switch {
	case len(line) > maxLine || err == bufio.ErrBufferFull:
		return nil, &Damage{Offset: l.off, What: "a line is too long"}
	case err == io.EOF && len(line) > 0:
		return nil, fmt.Errorf("byte %d: %w", l.off+int64(len(line)), ErrTorn)
	case err != nil:
		return nil, err
	}
	l.off += int64(len(line))
	return bytes.TrimSuffix(line, []byte{'\n'}), nil
}
