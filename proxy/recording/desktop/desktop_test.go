package desktop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"iter"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pawelmojski/inside/proxy/rdpentry/codec"
	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/recording/internal/ondisk"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newRoot(t testing.TB) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	must(t, err)
	t.Cleanup(func() { root.Close() })
	return root
}

var header = recording.Header{
	Width: 320, Height: 200, Start: time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC), Title: "alice on win-01 as Administrator",
	Person: "alice", Server: "win-01", Login: "Administrator", Source: "10.1.1.1:5000", Grant: "7", Stay: "3", Session: "abcdefgh",
}

func creates(t testing.TB, root *os.Root) *Writer {
	t.Helper()
	h := header
	h.Start = time.Time{}
	w, err := Create(root, Name, h)
	must(t, err)
	return w
}

// A shown event, kept.
type shown struct {
	Kind Kind
	Data string
}

func collect(seq iter.Seq2[Event, error]) (all []shown, err error) {
	last := time.Duration(0)
	for e, err := range seq {
		if err != nil {
			return all, err
		}
		if e.Time < last {
			return all, fmt.Errorf("time runs backwards: %v after %v, %c, event %d", e.Time, last, e.Kind, len(all))
		}
		last = e.Time
		all = append(all, shown{e.Kind, string(e.Data)})
	}
	return all, nil
}

func readAll(t testing.TB, root *os.Root) (recording.Header, []shown, error) {
	t.Helper()
	f, err := root.Open(Name)
	must(t, err)
	defer f.Close()
	h, seq, err := Read(f)
	if err != nil {
		return h, nil, err
	}
	all, err := collect(seq)
	return h, all, err
}

// A user makes what a session would, the same for the same seed: rectangles,
// pointers, notices, noise.
type user struct {
	r    *rand.Rand
	w    *Writer
	s    *screen.Screen
	done []shown
}

func newUser(t testing.TB, seed uint64, w *Writer) *user {
	s, err := screen.New(header.Width, header.Height)
	must(t, err)
	return &user{r: rand.New(rand.NewPCG(seed, 3)), w: w, s: s}
}

// event makes the next event.
func (u *user) event() (Kind, []byte) {
	r := u.r
	switch r.IntN(12) {
	case 0:
		return Notice, []byte([]string{"", "your stay ends in 5 minutes"}[r.IntN(2)])
	case 1:
		return Move, pair(uint16(r.IntN(400)), uint16(r.IntN(300)))
	case 2:
		return Pointer, []byte{[]byte{screen.PointerHidden, screen.PointerDefault}[r.IntN(2)]}
	case 3:
		return Channel, []byte("clipboard: text of 12 bytes to the server")
	}
	w, h := 1+r.IntN(64), 1+r.IntN(40)
	p := screen.NewPicture(w, h)
	p.Fill(image.Rect(0, 0, w, h), r.Uint32()&0xffffff)
	for range r.IntN(w * h) {
		p.Pix[r.IntN(len(p.Pix))] = r.Uint32() & 0xffffff
	}
	return Update, codec.AppendBitmaps(nil, p.Bitmaps(image.Rect(0, 0, w, h), image.Pt(r.IntN(320), r.IntN(200)), 24, 60000)...)
}

// act records an event and shows it.
func (u *user) act() error {
	k, data := u.event()
	if err := u.w.event(k, data); err != nil {
		return err
	}
	u.done = append(u.done, shown{k, string(data)})
	return Event{Kind: k, Data: data}.Apply(u.s)
}

func (u *user) keyframe() error {
	u.done = append(u.done, shown{Keyframe, string(u.s.AppendState(nil))})
	return u.w.Keyframe(u.s)
}

func (u *user) close(why string) error {
	u.done = append(u.done, shown{End, why})
	return u.w.Close(why)
}

func TestWhatWasWrittenIsRead(t *testing.T) {
	root := newRoot(t)
	w, err := Create(root, Name, header)
	must(t, err)
	u := newUser(t, 1, w)
	for i := range 500 {
		must(t, u.act())
		switch i % 100 {
		case 50:
			must(t, u.keyframe())
		case 80:
			w.Round()
		}
	}
	must(t, u.close("client-left"))
	h, all, err := readAll(t, root)
	must(t, err)
	if diff := cmp.Diff(header, h); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(u.done, all); diff != "" {
		t.Error(diff)
	}
	s, err := Verify(root, Name)
	if err != nil || !s.Ended || s.Recovered || s.Reframed != -1 || s.Head == [32]byte{} {
		t.Errorf("%+v %v", s, err)
	}
	if e, ended, err := Ended(root, Name); err != nil || !ended || e.Head != s.Head || e.Size != s.Size || e.Recovered {
		t.Errorf("%+v %v %v", e, ended, err)
	}
	if _, err := root.Stat("desktop.tail"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the tail is still there: %v", err)
	}
	if info, err := root.Stat(Name); err != nil || info.Size() != s.Size || info.Mode().Perm() != 0o640 {
		t.Errorf("%v %v", info, err)
	}
}

// The picture that events add up to is the picture that was shown, from
// whatever keyframe they are read.
func TestAReaderSeesThePictureThatWasShown(t *testing.T) {
	root := newRoot(t)
	w := creates(t, root)
	u := newUser(t, 2, w)
	for i := range 300 {
		must(t, u.act())
		if i%70 == 69 {
			must(t, u.keyframe())
		}
	}
	must(t, u.close("client-left"))
	for _, at := range []time.Duration{0, time.Millisecond, Newest} {
		h, seq, err := Follow(t.Context(), root, Name, at, nil)
		must(t, err)
		s, err := screen.New(h.Width, h.Height)
		must(t, err)
		n := 0
		for e, err := range seq {
			must(t, err)
			must(t, e.Apply(s))
			n++
		}
		if !bytes.Equal(s.AppendState(nil), u.s.AppendState(nil)) {
			t.Errorf("from %v on, after %d events, the picture differs", at, n)
		}
		if at == Newest && n > 50 || at == 0 && n != len(u.done) {
			t.Errorf("from %v on there are %d events", at, n)
		}
	}
}

func TestFollowersSeeEveryEventOnceWhileItIsWritten(t *testing.T) {
	for seed := range uint64(3) {
		root := newRoot(t)
		w := creates(t, root)
		u := newUser(t, seed, w)
		var wg sync.WaitGroup
		results := make([][]shown, 4)
		errs := make([]error, 4)
		for i := range 600 {
			if i%150 == 20 {
				wg.Go(func() {
					_, seq, err := Follow(t.Context(), root, Name, 0, nil)
					if err == nil {
						results[i/150], err = collect(seq)
					}
					errs[i/150] = err
				})
			}
			must(t, u.act())
			switch u.r.IntN(40) {
			case 0:
				w.Round()
			case 1:
				must(t, u.keyframe())
			}
		}
		must(t, u.close("client-left"))
		wg.Wait()
		for i, got := range results {
			if errs[i] != nil || !slices.Equal(got, u.done) {
				t.Fatalf("seed %d: follower %d saw %d of %d events: %v", seed, i, len(got), len(u.done), errs[i])
			}
		}
	}
}

func TestAFollowerHearsAtOnceWhatIsOnlyInTheTail(t *testing.T) {
	root := newRoot(t)
	w := creates(t, root)
	ctx, cancel := context.WithCancel(t.Context())
	caught := make(chan struct{}, 100)
	_, seq, err := Follow(ctx, root, Name, Newest, func() { caught <- struct{}{} })
	must(t, err)
	got := make(chan string)
	go func() {
		defer close(got)
		for e, err := range seq {
			if err != nil {
				if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				return
			}
			got <- string(e.Data)
		}
	}()
	<-caught
	for _, text := range []string{"one", "two", "three"} {
		must(t, w.Notice(text))
		if s := <-got; s != text {
			t.Errorf("%q", s)
		}
	}
	cancel()
	for range got {
	}
	must(t, w.Close("x"))
}

func TestAKeyframeIsDueWhenSomethingWasDrawn(t *testing.T) {
	root := newRoot(t)
	w := creates(t, root)
	u := newUser(t, 1, w)
	w.ahead = time.Hour
	must(t, w.Move(1, 1))
	if w.KeyframeDue() {
		t.Error("nothing was drawn")
	}
	must(t, w.Bitmaps(codec.Raw(0, 0, 4, 4, make([]uint32, 16), 4, 24, 1000)...))
	if !w.KeyframeDue() {
		t.Error("30 s have passed")
	}
	must(t, u.keyframe())
	must(t, w.Bitmaps(codec.Raw(0, 0, 4, 4, make([]uint32, 16), 4, 24, 1000)...))
	if w.KeyframeDue() {
		t.Error("there was one just now")
	}
	w.keyTook = 0 // however busy the machine is
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(u.r.Uint32())
	}
	for range 5 {
		must(t, w.Graphics(noise))
	}
	if !w.KeyframeDue() {
		t.Error("4 MB have passed")
	}
	must(t, w.Close("x"))
}

func TestAScreenOfManyMonitorsHasKeyframes(t *testing.T) {
	root := newRoot(t)
	w, err := Create(root, Name, recording.Header{Width: 3840, Height: 2160})
	must(t, err)
	s, err := screen.New(3840, 2160)
	must(t, err)
	must(t, w.Keyframe(s))
	must(t, w.Close("x"))
	_, all, err := readAll(t, root)
	if err != nil || len(all) != 2 || all[0].Data != string(s.AppendState(nil)) {
		t.Errorf("%d events, %v", len(all), err)
	}
}

func TestWhatCannotBeARecordingIsRefused(t *testing.T) {
	root := newRoot(t)
	for _, name := range []string{"x", ".rdpr", "../x.rdpr"} {
		if _, err := Create(root, name, header); err == nil {
			t.Errorf("%q was created", name)
		}
	}
	if _, err := Create(root, Name, recording.Header{Width: 0, Height: 5}); err == nil {
		t.Error("a screen without width is recorded")
	}
	w := creates(t, root)
	if _, err := Create(root, Name, header); err == nil {
		t.Error("a recording was written over")
	}
	if _, err := Recover(root, Name); !errors.Is(err, recording.ErrLive) {
		t.Errorf("recovering what is written: %v", err)
	}
	if err := w.Graphics(make([]byte, MaxData+1)); err == nil {
		t.Error("an event may have any length")
	}
	if err := w.Notice("x"); err == nil {
		t.Error("it goes on after a failure")
	}
	if err := w.Close("x"); err == nil {
		t.Error("the failure is forgotten")
	}
	if err := w.Close("x"); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	for _, bad := range []string{"", "{}", "{}\n", `{"format":"inside desktop 2"}` + "\n", `{"format":"inside desktop 1","width":65535,"height":65535}` + "\n"} {
		if _, _, err := Read(bytes.NewReader([]byte(bad))); err == nil {
			t.Errorf("%q is a recording", bad)
		}
	}
}

// small writes a recording with a block, a keyframe, a tail and, if asked for,
// an end.
func small(t testing.TB, end bool) (*os.Root, []shown) {
	t.Helper()
	root := newRoot(t)
	w := creates(t, root)
	u := newUser(t, 9, w)
	for range 4 {
		must(t, u.act())
	}
	w.Round()
	must(t, u.keyframe())
	for range 3 {
		must(t, u.act())
	}
	if end {
		must(t, u.close("client-left"))
	} else {
		t.Cleanup(func() { w.Close("x") })
	}
	return root, u.done
}

func files(t testing.TB, root *os.Root) (file, tail []byte) {
	t.Helper()
	file, err := root.ReadFile(Name)
	must(t, err)
	tail, _ = root.ReadFile("desktop.tail")
	return file, tail
}

func rootWith(t testing.TB, file, tail []byte) *os.Root {
	t.Helper()
	root := newRoot(t)
	must(t, root.WriteFile(Name, file, 0o640))
	if tail != nil {
		must(t, root.WriteFile("desktop.tail", tail, 0o640))
	}
	return root
}

func TestVerifyFindsEveryChange(t *testing.T) {
	root, _ := small(t, true)
	good, _ := files(t, root)
	head := bytes.IndexByte(good, '\n') + 1
	r := rand.New(rand.NewPCG(1, 1))
	before, err := Verify(root, Name)
	must(t, err)
	check := func(what string, bad []byte) {
		t.Helper()
		root := rootWith(t, bad, nil)
		s, err := Verify(root, Name)
		if err == nil && s == before {
			t.Errorf("%s: it was not found", what)
		}
		if _, seq, err := Follow(t.Context(), root, Name, Newest, nil); err == nil {
			collect(seq)
		}
	}
	step := max((len(good)-head)/30, 1)
	for i := head; i < len(good); i += 1 + r.IntN(2*step) {
		flipped := bytes.Clone(good)
		flipped[i] ^= 1 << r.IntN(8)
		check("a bit was flipped", flipped)
		check("it was cut", good[:i])
		check("bytes were taken out", append(bytes.Clone(good[:i]), good[min(i+1+r.IntN(100), len(good)):]...))
		check("bytes were put in", slices.Concat(good[:i], []byte{byte(r.Uint32())}, good[i:]))
	}
	check("another person", bytes.Replace(good, []byte(`"alice"`), []byte(`"mallo"`), 1))
	check("it goes on", append(bytes.Clone(good), 0))
}

// A crash may leave the file and the tail cut anywhere.
func TestRecoverKeepsAllThatIsWhole(t *testing.T) {
	root, done := small(t, false)
	file, tail := files(t, root)
	if len(tail) == 0 {
		t.Fatal("there is no tail")
	}
	head := bytes.IndexByte(file, '\n') + 1
	r := rand.New(rand.NewPCG(1, 1))
	recovered := func(file, tail []byte) []shown {
		t.Helper()
		root := rootWith(t, file, tail)
		rec, err := Recover(root, Name)
		must(t, err)
		_, all, err := readAll(t, root)
		must(t, err)
		s, err := Verify(root, Name)
		if err != nil || !s.Ended || !s.Recovered || s.Size != rec.Size {
			t.Fatalf("%+v %+v %v", s, rec, err)
		}
		if again, err := Recover(root, Name); err != nil || !again.Ended {
			t.Fatalf("recovered again: %+v %v", again, err)
		}
		if last := all[len(all)-1]; last.Kind != End || last.Data != recording.Interrupted {
			t.Fatalf("it ends with %v", last)
		}
		all = all[:len(all)-1]
		if !slices.Equal(all, done[:len(all)]) {
			t.Fatal("other events than were written")
		}
		return all
	}
	if all := recovered(file, tail); len(all) != len(done) {
		t.Errorf("%d of %d events are left", len(all), len(done))
	}
	for i := head; i < len(file); i += 1 + r.IntN(3000) {
		recovered(file[:i], tail)
		flipped := bytes.Clone(file)
		flipped[i] ^= 0x10
		recovered(flipped, tail)
	}
	for i := 0; i < len(tail); i += 1 + r.IntN(600) {
		if all := recovered(file, tail[:i]); len(all) < len(done)-3 {
			t.Errorf("with the tail cut at %d only %d events are left", i, len(all))
		}
		flipped := bytes.Clone(tail)
		flipped[i] ^= 0x10
		recovered(file, flipped)
	}
	// The crash came after a block was written and before the tail was emptied.
	stale := appendTail(nil, int64(head), time.Second, Notice, []byte("this is in a block already"))
	if all := recovered(file, stale); len(all) != len(done)-3 {
		t.Errorf("%d events", len(all))
	}
	for i := range head {
		root := rootWith(t, file[:i], tail)
		if _, err := Recover(root, Name); err != nil {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
}

func TestATornRecordingIsReadToItsLastBlock(t *testing.T) {
	root, done := small(t, false)
	file, _ := files(t, root)
	_, all, err := readAll(t, rootWith(t, file[:len(file)-1], nil))
	if !errors.Is(err, recording.ErrTorn) || len(all) != 4 || !slices.Equal(all, done[:4]) {
		t.Errorf("%d events, %v", len(all), err)
	}
}

// A session on xrdp 0.9.21 with xfreerdp 2.11 (a story of cmd/insided compares
// such sessions with the client's window): what is written once must stay
// readable, and look the same.
func TestARecordingOfARealServerLooksAsItDid(t *testing.T) {
	root, err := os.OpenRoot("testdata")
	must(t, err)
	defer root.Close()
	s, err := Verify(root, "xrdp.rdpr")
	if err != nil || !s.Ended || s.Size != 6707 {
		t.Errorf("%+v %v", s, err)
	}
	h, seq, err := Follow(t.Context(), root, "xrdp.rdpr", 0, nil)
	must(t, err)
	pic, err := screen.New(h.Width, h.Height)
	must(t, err)
	kinds := map[Kind]int{}
	for e, err := range seq {
		must(t, err)
		must(t, e.Apply(pic))
		kinds[e.Kind]++
	}
	pixels := make([]byte, 0, 3*len(pic.Picture().Pix))
	for _, v := range pic.Picture().Pix {
		pixels = append(pixels, byte(v>>16), byte(v>>8), byte(v))
	}
	const want = "02a007cf9d21507be2c9850c670fc066ec9997be0020738d5f24fd8bf035272c"
	if got := fmt.Sprintf("%x", sha(pixels)); h.Width != 800 || h.Height != 560 || got != want {
		t.Errorf("%d × %d with the pixels %s", h.Width, h.Height, got)
	}
	if diff := cmp.Diff(map[Kind]int{Update: 11, Pointer: 3, Move: 7, Resize: 1, End: 1}, kinds); diff != "" {
		t.Error(diff)
	}
}

func FuzzRead(f *testing.F) {
	root, _ := small(f, true)
	file, _ := files(f, root)
	f.Add(file[:200])
	real, err := os.ReadFile("testdata/xrdp.rdpr")
	must(f, err)
	f.Add(real)
	f.Add([]byte(`{"format":"inside desktop 1","width":8,"height":4}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, seq, err := Read(bytes.NewReader(b))
		if err == nil {
			collect(seq)
		}
	})
}

// FuzzEvents reads blocks whose checksums are right, whatever they hold.
func FuzzEvents(f *testing.F) {
	f.Add(appendEvent(nil, time.Second, Notice, []byte("x")))
	f.Add(appendEvent(nil, 0, Resize, pair(8192, 8192)))
	f.Add(appendEvent(appendEvent(nil, 0, Palette, make([]byte, 768)), 0, Move, pair(1, 2)))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 'u', 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	real, err := os.ReadFile("testdata/xrdp.rdpr")
	must(f, err)
	blocks := newBlockReader(bytes.NewReader(real))
	_, err = blocks.header()
	must(f, err)
	for {
		_, payload, err := blocks.next()
		if err != nil || len(payload) == 0 {
			break
		}
		plain, err := expand(nil, payload)
		must(f, err)
		f.Add(plain)
	}
	f.Fuzz(func(t *testing.T, plain []byte) {
		head, err := line(recording.Header{Width: 16, Height: 8})
		must(t, err)
		b, _ := makeBlock(kindEvents, int64(len(head)), 0, append([]byte{}, plain...), sha(head))
		_, seq, err := Read(bytes.NewReader(append(head, b...)))
		must(t, err)
		s, err := screen.New(16, 8)
		must(t, err)
		for e, err := range seq {
			if err != nil {
				return
			}
			e.Apply(s)
		}
	})
}

func FuzzTail(f *testing.F) {
	f.Add(appendTail(nil, 5, time.Second, Notice, []byte("x")))
	f.Add([]byte{255, 255, 255, 255, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for off := int64(0); ; {
			e, next, ok := readTail(bytes.NewReader(b), 5, off)
			if !ok {
				return
			}
			if !bytes.Equal(appendTail(nil, 5, e.Time, e.Kind, e.Data), b[off:next]) {
				t.Skip("a time that does not fit a Duration")
			}
			off = next
		}
	})
}

func BenchmarkUpdate(b *testing.B) {
	root := newRoot(b)
	w := creates(b, root)
	u := newUser(b, 1, w)
	p := codec.AppendBitmaps(nil, codec.Bitmap{Width: 64, Height: 64, Right: 63, Bottom: 63, Depth: 24, Compressed: true, Data: make([]byte, 4000)})
	for i := range p[22:] {
		p[22+i] = byte(u.r.Uint32() & 7)
	}
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		must(b, w.Update(p))
	}
	must(b, w.Close("x"))
}

func BenchmarkKeyframe(b *testing.B) {
	root := newRoot(b)
	w := creates(b, root)
	s, err := screen.New(1024, 768)
	must(b, err)
	page := screen.NewPicture(1024, 768)
	page.Fill(image.Rect(0, 0, 1024, 768), 0xf0f0f0)
	for y := 0; y < 760; y += 20 {
		page.Text(image.Pt(5, y), "some text on a page, as in an office: lines of it, one below the other, with numbers 12345", 0x202020, 1)
	}
	for _, bm := range page.Bitmaps(image.Rect(0, 0, 1024, 768), image.Point{}, 24, 60000) {
		must(b, s.Draw(bm))
	}
	for b.Loop() {
		must(b, w.Keyframe(s))
	}
	b.ReportMetric(float64(w.size)/float64(b.N), "B/keyframe")
	must(b, w.Close("x"))
}

var _ ondisk.Rounder = (*Writer)(nil)

// A large desktop, filled as fast as it can be: keyframes are a small part of
// what that costs.
func TestKeyframesOfALargeDesktopAreFew(t *testing.T) {
	w := creates(t, newRoot(t))
	s, err := screen.New(screen.MaxSide/2, screen.MaxSide/4)
	must(t, err)
	noise := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	began, spent, last, keyframes := time.Now(), time.Duration(0), time.Duration(0), 0
	for range 24 {
		must(t, w.Update(noise))
		if w.KeyframeDue() {
			at := time.Now()
			must(t, w.Keyframe(s))
			spent, last = spent+last, time.Since(at)
			keyframes++
		}
	}
	if total := time.Since(began); keyframes == 0 || spent > total/8 { // the rest after the last is not over
		t.Errorf("%d keyframes took %v and %v of %v", keyframes, spent, last, total)
	}
	must(t, w.Close(""))
}
