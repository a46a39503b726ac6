package desktop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"math"
	"os"
	"time"

	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/recording/internal/ondisk"
)

// How often a recording that another process writes is looked at.
const lookEvery = time.Second

// Newest is a moment after every keyframe.
const Newest = time.Duration(math.MaxInt64)

// Follow reads a recording from the last keyframe at or before the moment at,
// or from its beginning, and goes on with what is appended, the tail included,
// until nobody writes it any more (it was closed, or its writer is gone) or
// ctx ends, which is the last error then. A recording that ends in the middle
// of a block gives [recording.ErrTorn]. Each range over the events starts anew.
//
// caught, if it is not nil, is called each time there is nothing more to read
// yet: what comes then comes as it happens.
func Follow(ctx context.Context, root *os.Root, name string, at time.Duration, caught func()) (recording.Header, iter.Seq2[Event, error], error) {
	f, h, err := openFollowed(root, name)
	if err != nil {
		return recording.Header{}, nil, fmt.Errorf("recording %s: %w", name, err)
	}
	f.close()
	return h, func(yield func(Event, error) bool) {
		f, _, err := openFollowed(root, name)
		if err == nil {
			defer f.close()
			f.caught = caught
			err = f.run(ctx, at, func(e Event) bool { return yield(e, nil) })
		}
		if err != nil && err != errStopped {
			yield(Event{}, fmt.Errorf("recording %s: %w", name, err))
		}
	}, nil
}

// errStopped says that the consumer of events wants no more.
var errStopped = errors.New("stopped")

// A follower reads the blocks of a growing file, and what is in the tail
// before it is in a block.
type follower struct {
	file, tail *os.File
	bell       *ondisk.Bell // nil: another process writes it, or nobody
	caught     func()

	off     int64 // of the next block
	tailOff int64 // of the next tail entry of that block
	seen    int   // its events that were read in the tail
	payload []byte
	plain   []byte
}

func openFollowed(root *os.Root, name string) (*follower, recording.Header, error) {
	tail, err := tailName(name)
	if err != nil {
		return nil, recording.Header{}, err
	}
	f := &follower{}
	if f.file, err = ondisk.Open(root, name, os.O_RDONLY); err != nil {
		return nil, recording.Header{}, err
	}
	// A recording that was closed has no tail any more.
	if f.tail, err = ondisk.Open(root, tail, os.O_RDONLY); err != nil && !errors.Is(err, os.ErrNotExist) {
		f.close()
		return nil, recording.Header{}, err
	}
	f.bell = ondisk.BellOf(f.file)
	b, err := bufio.NewReaderSize(io.NewSectionReader(f.file, 0, maxHeader), maxHeader).ReadBytes('\n')
	if err != nil {
		f.close()
		return nil, recording.Header{}, fmt.Errorf("there is no header: %w", recording.ErrTorn)
	}
	f.off = int64(len(b))
	h, err := parseHeader(bytes.TrimSuffix(b, []byte{'\n'}))
	if err != nil {
		f.close()
		return nil, recording.Header{}, err
	}
	return f, h, nil
}

func (f *follower) close() {
	f.file.Close()
	if f.tail != nil {
		f.tail.Close()
	}
}

// seek goes to the last keyframe at or before the moment at. Only records are
// read.
func (f *follower) seek(at time.Duration) error {
	for off := f.off; ; {
		rec, err := f.record(off)
		if err == errNotYet || err == nil && (ends(rec) || rec.Time > at) {
			return nil
		}
		if err != nil {
			return err
		}
		if rec.Kind == kindKey {
			f.off = off
		}
		off += ondisk.RecordSize + int64(rec.Length)
	}
}

// errNotYet says that what is asked for is not written, or not whole.
var errNotYet = errors.New("not written yet")

func (f *follower) record(off int64) (ondisk.Record, error) {
	var head [ondisk.RecordSize]byte
	if _, err := f.file.ReadAt(head[:], off); err == io.EOF {
		return ondisk.Record{}, errNotYet
	} else if err != nil {
		return ondisk.Record{}, err
	}
	rec, _, ok := ondisk.ParseRecord(head[:])
	if what := misfit(rec, ok, off, false); what != "" {
		return rec, &recording.Damage{Offset: off, What: what}
	}
	return rec, nil
}

func (f *follower) run(ctx context.Context, at time.Duration, yield func(Event) bool) error {
	if err := f.seek(at); err != nil {
		return err
	}
	for ctx.Err() == nil {
		wake := f.bell.Listen() // before reading, or an event could be missed
		live, err := ondisk.Written(f.file)
		live = live && err == nil
		ended, err := f.blocks(ctx, yield)
		if err != nil || ended {
			return err
		}
		if err := f.entries(ctx, yield); err != nil {
			return err
		}
		if !live {
			return f.rest()
		}
		if f.caught != nil {
			f.caught()
		}
		f.wait(ctx, wake)
	}
	return context.Cause(ctx)
}

// blocks yields what whole blocks hold and the tail did not.
func (f *follower) blocks(ctx context.Context, yield func(Event) bool) (ended bool, err error) {
	for ctx.Err() == nil {
		rec, err := f.record(f.off)
		if err == nil {
			err = f.read(rec)
		}
		if err == errNotYet {
			return false, nil
		}
		if err != nil || ends(rec) {
			return true, err
		}
		more, err := events(f.plain, rec.Time, func(e Event) bool {
			if f.seen > 0 {
				f.seen--
				return true
			}
			return yield(e)
		})
		if err != nil {
			return true, &recording.Damage{Offset: f.off, What: err.Error()}
		}
		if !more {
			return true, errStopped
		}
		f.off += ondisk.RecordSize + int64(rec.Length)
		f.seen, f.tailOff = 0, 0
	}
	return false, nil
}

// read reads and expands the block of a record.
func (f *follower) read(rec ondisk.Record) error {
	if info, err := f.file.Stat(); err != nil {
		return err
	} else if info.Size() < f.off+ondisk.RecordSize+int64(rec.Length) {
		return errNotYet
	}
	if ends(rec) {
		return nil
	}
	if cap(f.payload) < int(rec.Length) {
		f.payload = make([]byte, rec.Length)
	}
	f.payload = f.payload[:rec.Length]
	if _, err := f.file.ReadAt(f.payload, f.off+ondisk.RecordSize); err == io.EOF {
		return errNotYet
	} else if err != nil {
		return err
	}
	if crc32.Checksum(f.payload, ondisk.Castagnoli) != rec.Sum {
		return &recording.Damage{Offset: f.off, What: "the bytes differ from what was written"}
	}
	plain, err := expand(f.plain, f.payload)
	if err != nil {
		return &recording.Damage{Offset: f.off, What: err.Error()}
	}
	f.plain = plain
	return nil
}

// entries yields what the tail holds of the block to come.
func (f *follower) entries(ctx context.Context, yield func(Event) bool) error {
	if f.tail == nil {
		return nil
	}
	for ctx.Err() == nil {
		e, next, ok := readTail(f.tail, f.off, f.tailOff)
		if !ok {
			return nil
		}
		if !yield(e) {
			return errStopped
		}
		f.seen++
		f.tailOff = next
	}
	return nil
}

// readTail reads the entry of the tail at off, before the block at gen.
func readTail(tail io.ReaderAt, gen, off int64) (e Event, next int64, ok bool) {
	var head [tailHead]byte
	if _, err := tail.ReadAt(head[:], off); err != nil {
		return e, 0, false
	}
	length := binary.LittleEndian.Uint32(head[:])
	if length < tailBody || length > tailBody+MaxData {
		return e, 0, false
	}
	body := make([]byte, length)
	if _, err := tail.ReadAt(body, off+tailHead); err != nil {
		return e, 0, false
	}
	if tailSum(gen, body) != binary.LittleEndian.Uint32(head[4:]) {
		return e, 0, false
	}
	us := binary.LittleEndian.Uint64(body)
	return Event{Time: time.Duration(us) * time.Microsecond, Kind: Kind(body[8]), Data: body[tailBody:]}, off + tailHead + int64(length), true
}

// rest says what the end of a file that nobody writes is.
func (f *follower) rest() error {
	info, err := f.file.Stat()
	if err == nil && info.Size() > f.off {
		err = fmt.Errorf("byte %d: %w", f.off, recording.ErrTorn)
	}
	return err
}

func (f *follower) wait(ctx context.Context, wake <-chan struct{}) {
	// Also with a bell: a missed ring must cost a second, not the live view.
	t := time.NewTimer(lookEvery)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-t.C:
	}
}
