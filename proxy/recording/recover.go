package recording

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"github.com/pawelmojski/inside/proxy/recording/internal/ondisk"
)

// Interrupted is the marker at the end of a recording that a crash ended.
const Interrupted = "the recording was interrupted here"

// A Recovery is what Recover did.
type Recovery struct {
	Ended bool  // the recording had its end already; nothing was done
	Size  int64 // of the recording now
	Cut   int64 // bytes that were moved to the .torn file
}

// Recover ends the recording called name that a crash left open. It keeps what
// is framed, and after it every whole line; a marker with the text
// [Interrupted] follows, then the end. What comes behind the last good line is
// moved to N.torn, records of the sidecar that fit nothing to N.idx.torn. A recording that is being written gives
// [ErrLive], one that has its end is left alone, damaged or not. Called again
// after a crash of its own it goes on.
func Recover(root *os.Root, name string) (Recovery, error) {
	r, err := recoverFile(root, name)
	if err != nil {
		return r, fmt.Errorf("recovering recording %s: %w", name, err)
	}
	return r, nil
}

func recoverFile(root *os.Root, name string) (Recovery, error) {
	side, err := sidecarName(name)
	if err != nil {
		return Recovery{}, err
	}
	cast, err := ondisk.Open(root, name, os.O_RDWR|os.O_APPEND)
	if err != nil {
		return Recovery{}, err
	}
	defer cast.Close()
	if err := ondisk.Lock(cast); err != nil {
		return Recovery{}, err
	}
	idx, err := ondisk.Open(root, side, os.O_RDWR|os.O_APPEND|os.O_CREATE)
	if err != nil {
		return Recovery{}, err
	}
	defer idx.Close()
	info, err := cast.Stat()
	if err != nil {
		return Recovery{}, err
	}
	if ended, err := hasEnd(idx); err != nil || ended {
		return Recovery{Ended: ended, Size: info.Size()}, err
	}
	w, err := walk(idx, cast)
	if err != nil {
		return Recovery{}, err
	}
	// Lines that no frame covers are kept. Bytes that a frame covers and that
	// differ from it are not what was shown, whatever they look like.
	good, last := w.Size, time.Duration(0)
	if !w.changed {
		if good, last, err = wholeLines(cast, w.Size); err != nil {
			return Recovery{}, err
		}
	}
	out := Recovery{Cut: info.Size() - good}
	if err := ondisk.MoveTail(root, strings.TrimSuffix(name, ".cast")+".torn", cast, good); err != nil {
		return Recovery{}, err
	}
	if err := ondisk.MoveTail(root, side+".torn", idx, w.records); err != nil {
		return Recovery{}, err
	}
	if out.Size, err = endRecovered(cast, idx, w, good, last); err != nil {
		return Recovery{}, err
	}
	return out, nil
}

// hasEnd says whether the last record of a sidecar is an end.
func hasEnd(idx *os.File) (bool, error) {
	info, err := idx.Stat()
	if err != nil || info.Size() < 2*ondisk.RecordSize || info.Size()%ondisk.RecordSize != 0 {
		return false, err
	}
	var b [ondisk.RecordSize]byte
	if _, err := idx.ReadAt(b[:], info.Size()-ondisk.RecordSize); err != nil {
		return false, err
	}
	r, _, ok := ondisk.ParseRecord(b[:])
	return ok && ends(r), nil
}

// wholeLines returns where the good lines from offset from on end, and the
// time of the last one.
func wholeLines(cast *os.File, from int64) (good int64, last time.Duration, err error) {
	in := lineReader{r: bufio.NewReader(io.NewSectionReader(cast, from, math.MaxInt64-from)), off: from}
	good = from
	var d decoder
	for {
		line, err := in.next()
		var damage *Damage
		switch {
		case err == io.EOF || errors.Is(err, ErrTorn) || errors.As(err, &damage):
			if last == 0 {
				last, err = lastTime(cast, good)
				return good, last, err
			}
			return good, last, nil
		case err != nil:
			return 0, 0, err
		}
		if in.off == int64(len(line))+1 {
			if _, err := parseHeader(line); err != nil {
				return good, last, nil
			}
		} else if _, _, what := d.line(line); what != "" {
			return good, last, nil
		}
		if d.raw == nil { // a "b" event is nothing without its text
			good, last = in.off, max(last, lineTime(line))
		}
	}
}

// lastTime returns the time of the line that ends at size.
func lastTime(cast *os.File, size int64) (time.Duration, error) {
	b := make([]byte, min(size, maxLine))
	if _, err := cast.ReadAt(b, size-int64(len(b))); err != nil && err != io.EOF {
		return 0, err
	}
	b = bytes.TrimSuffix(b, []byte{'\n'})
	return lineTime(b[bytes.LastIndexByte(b, '\n')+1:]), nil
}

// endRecovered appends the marker and brings the sidecar to its end.
func endRecovered(cast, idx *os.File, w walked, good int64, last time.Duration) (int64, error) {
	size := good
	if good > 0 { // without a header there is nothing to mark
		line := appendEvent(nil, last, 'm', []byte(Interrupted))
		if _, err := cast.Write(line); err != nil {
			return 0, err
		}
		size += int64(len(line))
	}
	if err := ondisk.Datasync(cast); err != nil {
		return 0, err
	}
	side := sidecar{f: idx, chain: w.Head, off: w.Size}
	if w.records == 0 {
		var err error
		if side, err = newSidecar(idx); err != nil {
			return 0, err
		}
	}
	if err := side.frame(recordReframed, cast, size); err != nil {
		return 0, err
	}
	return size, side.end(recordRecovered)
}
