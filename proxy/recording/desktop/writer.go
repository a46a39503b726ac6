package desktop

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/pawelmojski/inside/proxy/rdpentry/codec"
	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/recording/internal/ondisk"
)

// encoder compresses blocks for all recordings of the process.
var encoder = sync.OnceValue(func() *zstd.Encoder {
	// Windows of a block are a block; nothing is checked twice, since a block
	// has a checksum of its own.
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(blockSize), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err)
	}
	return e
})

// A Writer appends to a recording. Its methods may be called from several
// goroutines; each returns after the event is written to the tail or the file.
// After the first failure every call returns that error: what cannot be
// recorded must not be shown.
type Writer struct {
	name  string
	root  *os.Root
	file  *os.File // holds a lock as long as it is written
	start time.Time
	ahead time.Duration // of the recording's time at start
	bell  ondisk.Bell

	mu      sync.Mutex
	err     error // the first failure; fs.ErrClosed after Close
	tail    *os.File
	size    int64             // of the complete blocks in the file
	chain   [sha256.Size]byte // the last record's SHA-256
	pending []byte            // events of the next block
	first   time.Duration     // of the events that are pending
	last    time.Duration
	entry   []byte // memory for a tail entry
	dirty   bool   // waits for the next round of the committer

	key      time.Duration // when the last keyframe was made
	keySize  int64         // the file's size then
	keyTook  time.Duration // to make it
	eventful bool          // something was drawn since

	side   sync.Mutex // one round at a time; taken before mu
	closed bool
}

func tailName(name string) (string, error) {
	base, ok := strings.CutSuffix(name, ".rdpr")
	if !ok || base == "" {
		return "", fmt.Errorf("recording %q: the name must end in .rdpr", name)
	}
	return base + ".tail", nil
}

// Create makes a new recording called name, which is [Name] but in tests, and
// its tail under root, both with mode 0640. It fails if one exists. root stays
// open until Close.
func Create(root *os.Root, name string, h recording.Header) (*Writer, error) {
	w, err := create(root, name, h)
	if err != nil {
		return nil, fmt.Errorf("recording %s: %w", name, err)
	}
	return w, nil
}

func create(root *os.Root, name string, h recording.Header) (_ *Writer, err error) {
	tail, err := tailName(name)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if h.Start.IsZero() {
		h.Start = start
	}
	head, err := line(h)
	if err != nil {
		return nil, err
	}
	w := &Writer{name: name, root: root, start: start, ahead: max(start.Sub(h.Start), 0), chain: sha256.Sum256(head)}
	const made = os.O_RDWR | os.O_APPEND | os.O_CREATE | os.O_EXCL
	if w.file, err = root.OpenFile(name, made, 0o640); err != nil {
		return nil, err
	}
	if err = ondisk.Lock(w.file); err == nil {
		w.tail, err = root.OpenFile(tail, made, 0o640)
	}
	if err == nil {
		err = w.bell.Hang(w.file)
	}
	if err == nil {
		err = w.write(head)
	}
	if err != nil {
		w.bell.Take()
		return nil, errors.Join(err, w.file.Close(), w.closeTail())
	}
	w.key, w.keySize = w.now(), w.size
	return w, nil
}

func (w *Writer) closeTail() error {
	if w.tail == nil {
		return nil
	}
	return w.tail.Close()
}

// now returns the time of an event, by the monotonic clock.
func (w *Writer) now() time.Duration { return w.ahead + time.Since(w.start) }

// Update appends a bitmap update: TS_UPDATE_BITMAP_DATA, whether it came by
// the slow path or the fast, with its bulk compression undone.
func (w *Writer) Update(p []byte) error { return w.event(Update, p) }

// Bitmaps appends a bitmap update of these bitmaps.
func (w *Writer) Bitmaps(b ...codec.Bitmap) error {
	return w.event(Update, codec.AppendBitmaps(nil, b...))
}

// Pointer appends a pointer update by its fast-path code.
func (w *Writer) Pointer(code byte, p []byte) error {
	return w.event(Pointer, append([]byte{code}, p...))
}

// Move appends where the client moved the pointer.
func (w *Writer) Move(x, y uint16) error { return w.event(Move, pair(x, y)) }

// Resize appends a new size of the desktop, which is black then.
func (w *Writer) Resize(width, height uint16) error { return w.event(Resize, pair(width, height)) }

func pair(a, b uint16) []byte {
	return binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, a), b)
}

// Palette appends the colours of an 8 bit session.
func (w *Writer) Palette(p codec.Palette) error {
	data := make([]byte, 0, 3*len(p))
	for _, v := range p {
		data = append(data, byte(v>>16), byte(v>>8), byte(v))
	}
	return w.event(Palette, data)
}

// Channel appends, in words, what went through a channel: never the bytes.
func (w *Writer) Channel(what string) error { return w.event(Channel, []byte(fit(what))) }

// Notice appends that a line was shown over the desktop; "" that it was taken
// away.
func (w *Writer) Notice(text string) error { return w.event(Notice, []byte(fit(text))) }

// Graphics appends messages of the graphics pipeline that was passed through,
// with segments and compression undone.
func (w *Writer) Graphics(p []byte) error { return w.event(Graphics, p) }

func (w *Writer) event(k Kind, data []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if len(data) > MaxData {
		w.err = fmt.Errorf("recording %s: an event of %d bytes is too long", w.name, len(data))
		return w.err
	}
	at := w.now().Truncate(time.Microsecond)
	w.entry = appendTail(w.entry[:0], w.size, at, k, data)
	if _, err := w.tail.Write(w.entry); err != nil {
		w.err = fmt.Errorf("recording %s: tail: %w", w.name, err)
		return w.err
	}
	if cap(w.entry) > blockSize {
		w.entry = nil
	}
	if len(w.pending) == 0 {
		w.first, w.last = at, at
	}
	w.pending = appendEvent(w.pending, at-w.last, k, data)
	w.last = at
	w.eventful = w.eventful || k != Channel && k != Move && k != Notice
	if len(w.pending) >= blockSize {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.touched()
	return nil
}

// touched wakes followers and asks for a round.
func (w *Writer) touched() {
	if !w.dirty {
		w.dirty = true
		ondisk.Commit(w)
	}
	w.bell.Ring()
}

// flush makes a block of what is pending and empties the tail.
func (w *Writer) flush() error {
	if len(w.pending) == 0 {
		return nil
	}
	if err := w.block(kindEvents, w.first, w.pending); err != nil {
		return err
	}
	w.pending = w.pending[:0]
	if cap(w.pending) > 2*blockSize {
		w.pending = nil
	}
	if err := w.tail.Truncate(0); err != nil {
		w.err = fmt.Errorf("recording %s: tail: %w", w.name, err)
		return w.err
	}
	return nil
}

// block compresses and writes one block.
func (w *Writer) block(kind byte, at time.Duration, plain []byte) error {
	b, chain := makeBlock(kind, w.size, at, plain, w.chain)
	if err := w.write(b); err != nil {
		return err
	}
	w.chain = chain
	return nil
}

// makeBlock returns a block and the chain after it; without events only the
// record.
func makeBlock(kind byte, offset int64, at time.Duration, plain []byte, chain [sha256.Size]byte) ([]byte, [sha256.Size]byte) {
	b := make([]byte, ondisk.RecordSize, ondisk.RecordSize+len(plain)/4)
	if plain != nil {
		b = encoder().EncodeAll(plain, b)
	}
	payload := b[ondisk.RecordSize:]
	r := ondisk.Record{Kind: kind, Length: uint32(len(payload)), Offset: offset, Time: at, Sum: crc32.Checksum(payload, ondisk.Castagnoli)}
	chain = r.Next(chain, payload)
	r.Append(b[:0], chain)
	return b, chain
}

// write hands whole blocks to the kernel, or none.
func (w *Writer) write(b []byte) error {
	if err := ondisk.Append(w.file, b, w.size); err != nil {
		w.err = fmt.Errorf("recording %s: %w", w.name, err)
		return w.err
	}
	w.size += int64(len(b))
	return nil
}

// KeyframeDue says that [Writer.Keyframe] should be called: 30 seconds or 4 MB
// of the recording have passed since the last one, and something was drawn. A
// keyframe of the largest desktop takes a second: a server that fills 4 MB as
// fast as it can does not make the gate do nothing else.
func (w *Writer) KeyframeDue() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	since := w.now() - w.key
	return w.err == nil && w.eventful && (w.size-w.keySize >= keyBytes || since >= keyEvery) && since >= keyRest*w.keyTook
}

// Keyframe appends the picture as it is after all events so far.
func (w *Writer) Keyframe(s *screen.Screen) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if err := w.flush(); err != nil {
		return err
	}
	at := w.now().Truncate(time.Microsecond)
	// A keyframe is not in the tail: nothing is lost with it.
	key := appendEvent(nil, 0, Keyframe, s.AppendState(nil))
	if s.Pipelined() {
		key = appendEvent(key, 0, Surfaces, s.Surfaces().AppendState(nil))
	}
	if err := w.block(kindKey, at, key); err != nil {
		return err
	}
	w.key, w.keySize, w.keyTook, w.eventful = at, w.size, w.now()-at, false
	w.touched()
	return nil
}

// Round is called by the committer after something was written.
func (w *Writer) Round() {
	w.side.Lock()
	defer w.side.Unlock()
	w.mu.Lock()
	w.dirty = false
	err := w.err
	if err == nil {
		err = w.flush()
		w.bell.Ring()
	}
	w.mu.Unlock()
	if w.closed || err != nil {
		return
	}
	if err := ondisk.Datasync(w.file); err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.err == nil {
			w.err = fmt.Errorf("recording %s: %w", w.name, err)
		}
	}
}

// Close ends the recording and says why; live followers come to an end. It
// returns the first error the recording had.
func (w *Writer) Close(why string) error {
	err := w.event(End, []byte(fit(why)))
	w.side.Lock()
	defer w.side.Unlock()
	if w.closed {
		return fs.ErrClosed
	}
	w.closed = true
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		err = w.flush()
	}
	if err == nil {
		err = w.block(kindEnd, w.last, nil)
	}
	if err == nil {
		err = ondisk.Datasync(w.file)
	}
	if err == nil { // else the tail may hold the only copy
		name, _ := tailName(w.name)
		err = w.root.Remove(name)
	}
	w.err = fmt.Errorf("recording %s: %w", w.name, fs.ErrClosed)
	err = errors.Join(err, w.tail.Close(), w.file.Close())
	w.bell.Take()
	return err
}
