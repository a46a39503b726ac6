package desktop

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/recording/internal/ondisk"
)

// Verify checks the chain of a recording. A *[recording.Damage] names the
// first block that is not what was written; the summary then ends before it.
// What a recording that is not ended has in its tail is not checked.
func Verify(root *os.Root, name string) (recording.Summary, error) {
	f, err := ondisk.Open(root, name, os.O_RDONLY)
	if err != nil {
		return recording.Summary{}, fmt.Errorf("recording %s: %w", name, err)
	}
	defer f.Close()
	w, err := walk(f)
	if errors.Is(err, recording.ErrTorn) && !w.Ended {
		if live, e := ondisk.Written(f); e == nil && live {
			err = nil // a block is being written
		} else {
			err = &recording.Damage{Offset: w.Size, What: "a block is cut"}
		}
	}
	if err != nil {
		return w.Summary, fmt.Errorf("recording %s: %w", name, err)
	}
	return w.Summary, nil
}

// A walked recording is good up to its summary.
type walked struct {
	recording.Summary
	last ondisk.Record // of a block
}

// walk reads all blocks. The error says what comes behind the summary; it is
// nil at the end of the file.
func walk(f io.Reader) (walked, error) {
	w := walked{Summary: recording.Summary{Reframed: -1}}
	in := newBlockReader(f)
	if _, err := in.header(); err != nil {
		return w, err
	}
	w.Size, w.Head = in.off, in.chain
	for {
		rec, _, err := in.next()
		if err == io.EOF {
			return w, nil
		}
		if err != nil {
			return w, err
		}
		if rec.Kind == kindRescued && w.Reframed < 0 {
			w.Reframed = w.Size
		}
		if ends(rec) {
			w.Ended, w.Recovered = true, rec.Kind == kindCrashed
		} else {
			w.Frames++
			w.last = rec
		}
		w.Size, w.Head = in.off, in.chain
	}
}

// Recover ends the recording called name that a crash left open: what the tail
// holds becomes a block, an end follows that says [recording.Interrupted].
// What comes behind the last good block is moved to desktop.rdpr.torn, a tail
// that fits nothing to desktop.tail.torn. A recording that is being written
// gives [recording.ErrLive], one that has its end is left alone, damaged or
// not. Called again after a crash of its own it goes on.
func Recover(root *os.Root, name string) (recording.Recovery, error) {
	r, err := recoverFile(root, name)
	if err != nil {
		return r, fmt.Errorf("recovering recording %s: %w", name, err)
	}
	return r, nil
}

func recoverFile(root *os.Root, name string) (r recording.Recovery, err error) {
	tailFile, err := tailName(name)
	if err != nil {
		return r, err
	}
	f, err := ondisk.Open(root, name, os.O_RDWR|os.O_APPEND)
	if err != nil {
		return r, err
	}
	defer f.Close()
	if err := ondisk.Lock(f); err != nil {
		return r, err
	}
	info, err := f.Stat()
	if err != nil {
		return r, err
	}
	r.Size = info.Size()
	w, err := walk(f)
	if w.Ended || hasEnd(f, info.Size()) {
		return recording.Recovery{Ended: true, Size: info.Size()}, nil
	}
	var damage *recording.Damage
	if err != nil && w.Size > 0 && !errors.Is(err, recording.ErrTorn) && !errors.As(err, &damage) {
		return r, err
	}
	r.Cut = info.Size() - w.Size
	if err := ondisk.MoveTail(root, name+".torn", f, w.Size); err != nil {
		return r, err
	}
	if w.Size == 0 { // without a header there is nothing to end
		r.Size = 0
		return r, nil
	}
	if r.Size, err = endRecovered(root, tailFile, f, w); err != nil {
		return r, err
	}
	return r, nil
}

// hasEnd says whether the last record of a file is an end, whatever came
// before.
func hasEnd(f *os.File, size int64) bool {
	_, _, ok := lastRecord(f, size)
	return ok
}

// lastRecord reads the end of a file of a size, if it has one, and the chain's
// head with it.
func lastRecord(f *os.File, size int64) (rec ondisk.Record, head [sha256.Size]byte, ok bool) {
	var b [ondisk.RecordSize]byte
	if _, err := f.ReadAt(b[:], size-ondisk.RecordSize); err != nil {
		return rec, head, false
	}
	rec, head, ok = ondisk.ParseRecord(b[:])
	return rec, head, ok && ends(rec) && rec.Offset == size-ondisk.RecordSize
}

// Ended reads the end of a recording and nothing else: its size and the head
// of its chain, as the recording says them. ended is false where there is none.
func Ended(root *os.Root, name string) (e recording.Ending, ended bool, err error) {
	f, err := ondisk.Open(root, name, os.O_RDONLY)
	if err != nil {
		return e, false, fmt.Errorf("recording %s: %w", name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return e, false, fmt.Errorf("recording %s: %w", name, err)
	}
	rec, head, ok := lastRecord(f, info.Size())
	if !ok {
		return e, false, nil
	}
	return recording.Ending{Size: info.Size(), Head: head, Recovered: rec.Kind == kindCrashed}, true, nil
}

// endRecovered appends what the tail holds, and the end.
func endRecovered(root *os.Root, tailFile string, f *os.File, w walked) (int64, error) {
	until, err := lastTime(f, w.last)
	if err != nil {
		return 0, err
	}
	plain, first, last, err := rescue(root, tailFile, w.Size, until)
	if err != nil {
		return 0, err
	}
	plain = appendEvent(plain, 0, End, []byte(recording.Interrupted))
	b, chain := makeBlock(kindRescued, w.Size, first, plain, w.Head)
	end, _ := makeBlock(kindCrashed, w.Size+int64(len(b)), last, nil, chain)
	b = append(b, end...)
	if _, err := f.Write(b); err != nil {
		return 0, errors.Join(err, f.Truncate(w.Size))
	}
	if err := ondisk.Datasync(f); err != nil {
		return 0, err
	}
	if err := root.Remove(tailFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	return w.Size + int64(len(b)), nil
}

// lastTime returns the time of the last event of a block.
func lastTime(f *os.File, rec ondisk.Record) (last time.Duration, err error) {
	if rec.Length == 0 { // there is no block
		return 0, nil
	}
	payload := make([]byte, rec.Length)
	if _, err := f.ReadAt(payload, rec.Offset+ondisk.RecordSize); err != nil {
		return 0, err
	}
	plain, err := expand(nil, payload)
	if err == nil {
		_, err = events(plain, rec.Time, func(e Event) bool { last = e.Time; return true })
	}
	return last, err
}

// rescue makes events of the block at gen of those in the tail.
func rescue(root *os.Root, tailFile string, gen int64, until time.Duration) (plain []byte, first, last time.Duration, err error) {
	first, last = until, until
	tail, err := ondisk.Open(root, tailFile, os.O_RDWR)
	if errors.Is(err, os.ErrNotExist) {
		return nil, first, last, nil
	}
	if err != nil {
		return nil, 0, 0, err
	}
	defer tail.Close()
	off := int64(0)
	for {
		e, next, ok := readTail(tail, gen, off)
		if !ok {
			break
		}
		if plain == nil {
			first, last = e.Time, e.Time
		}
		plain = appendEvent(plain, max(e.Time-last, 0), e.Kind, e.Data)
		last = max(e.Time, last)
		off = next
	}
	// Behind the last entry may be one that was cut, or all of it belongs to
	// a block that is in the file already.
	return plain, first, last, ondisk.MoveTail(root, tailFile+".torn", tail, off)
}
