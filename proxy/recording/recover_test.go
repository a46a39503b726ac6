package recording

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pawelmojski/inside/proxy/recording/internal/ondisk"
)

// small makes a recording of a few hundred bytes in several frames, and
// returns its two files; ended says whether it was closed.
func small(t testing.TB, ended bool) (cast, idx []byte, h Header) {
	t.Helper()
	root := newRoot(t)
	h = Header{Width: 80, Height: 24, Start: time.Now().UTC().Truncate(time.Microsecond), Person: "alice"}
	w, err := Create(root, "0.cast", h)
	must(t, err)
	for i, s := range []string{"$ ls\r\n", "zażółć\xe6\xbc", "\xa2 \xff\xfe", "\x1b[1mbold\x1b[0m", "\xf0\x9f"} {
		must(t, w.Output([]byte(s)))
		must(t, w.Resize(80+i, 24))
		if i < 3 {
			w.Round() // a frame
		}
	}
	if ended {
		must(t, w.Close())
	} else {
		defer w.Close()
	}
	cast, err = root.ReadFile("0.cast")
	must(t, err)
	idx, err = root.ReadFile("0.idx")
	must(t, err)
	return cast, idx, h
}

func rootWith(t testing.TB, cast, idx []byte) *os.Root {
	t.Helper()
	root := newRoot(t)
	must(t, root.WriteFile("0.cast", cast, 0o600))
	if idx != nil {
		must(t, root.WriteFile("0.idx", idx, 0o600))
	}
	return root
}

// whole returns the whole lines at the start of b that hold whole events.
func whole(b []byte) []byte {
	b = b[:bytes.LastIndexByte(b, '\n')+1]
	last := bytes.LastIndexByte(bytes.TrimSuffix(b, []byte("\n")), '\n') + 1
	if bytes.Contains(b[last:], []byte(`,"b",`)) {
		b = b[:last]
	}
	return b
}

func TestAFileTornAnywhereIsReadUpToTheFault(t *testing.T) {
	cast, _, h := small(t, true)
	_, all, err := readBytes(t, cast)
	must(t, err)
	for n := range cast {
		got, frames, err := readBytes(t, cast[:n])
		atLine := n > 0 && cast[n-1] == '\n'
		if !atLine && !errors.Is(err, ErrTorn) || atLine && err != nil {
			t.Fatalf("torn at %d: %v", n, err)
		}
		if n > bytes.IndexByte(cast, '\n') && got != h {
			t.Fatalf("torn at %d: header %+v", n, got)
		}
		if !bytes.HasPrefix(output(all), output(frames)) {
			t.Fatalf("torn at %d: %q", n, output(frames))
		}
	}
}

func TestARecordingTornAnywhereIsRecovered(t *testing.T) {
	cast, idx, _ := small(t, false)
	try := func(n, m int) {
		t.Helper()
		root := rootWith(t, cast[:n], idx[:m])
		defer root.Close()
		_, before, _ := readBytes(t, cast[:n])
		r, err := Recover(root, "0.cast")
		if err != nil {
			t.Fatalf("torn at %d and %d: %v", n, m, err)
		}
		kept := whole(cast[:n])
		got, err := root.ReadFile("0.cast")
		must(t, err)
		if r.Size != int64(len(got)) || r.Cut != int64(n-len(kept)) {
			t.Fatalf("torn at %d and %d: %+v", n, m, r)
		}
		if !bytes.HasPrefix(got, kept) {
			t.Fatalf("torn at %d and %d: whole lines were lost: %q", n, m, got)
		}
		torn, err := root.ReadFile("0.torn")
		if err != nil && !errors.Is(err, fs.ErrNotExist) || !bytes.Equal(torn, cast[len(kept):n]) {
			t.Fatalf("torn at %d and %d: %q was kept: %v", n, m, torn, err)
		}
		s, err := Verify(root, "0.cast")
		if err != nil || !s.Ended || !s.Recovered {
			t.Fatalf("torn at %d and %d: %+v %v", n, m, s, err)
		}
		if len(kept) > 0 {
			_, frames, err := readBytes(t, got)
			must(t, err)
			if !bytes.Equal(output(frames), output(before)) {
				t.Fatalf("torn at %d and %d: %q became %q", n, m, output(before), output(frames))
			}
			if i := len(frames) - 1; string(frames[i].Data) != Interrupted && string(frames[i-1].Data) != Interrupted {
				t.Fatalf("torn at %d and %d: no mark", n, m)
			}
		}
		again, err := Recover(root, "0.cast")
		if err != nil || !again.Ended || again.Size != r.Size {
			t.Fatalf("recovered again: %+v %v", again, err)
		}
	}
	for n := range len(cast) + 1 {
		try(n, len(idx))
	}
	for m := range len(idx) + 1 {
		try(len(cast), m)
	}
	for range 200 {
		try(rand.IntN(len(cast)+1), rand.IntN(len(idx)+1))
	}
}

func TestARecordingWithoutASidecarIsRecovered(t *testing.T) {
	cast, _, _ := small(t, false)
	root := rootWith(t, cast, nil)
	r, err := Recover(root, "0.cast")
	must(t, err)
	s, err := Verify(root, "0.cast")
	must(t, err)
	if r.Cut != 0 || s.Reframed != 0 {
		t.Errorf("%+v %+v", r, s)
	}
}

func TestBytesThatDifferFromTheirFrameAreMovedAway(t *testing.T) {
	cast, idx, _ := small(t, false)
	root := rootWith(t, cast, idx)
	first, _, ok := ondisk.ParseRecord(idx[ondisk.RecordSize : 2*ondisk.RecordSize])
	if !ok {
		t.Fatal("no first frame")
	}
	bad := bytes.Clone(cast)
	at := int(first.Length) + bytes.IndexByte(cast[first.Length:], 'r') // still a line
	bad[at] = 'm'
	must(t, root.WriteFile("0.cast", bad, 0o600))
	_, err := Verify(root, "0.cast")
	var d *Damage
	if !errors.As(err, &d) || d.Offset != int64(first.Length) {
		t.Fatal(err)
	}
	r, err := Recover(root, "0.cast")
	must(t, err)
	if r.Cut != int64(len(cast)-int(first.Length)) {
		t.Errorf("%+v", r)
	}
	torn, err := root.ReadFile("0.torn")
	must(t, err)
	side, err := root.ReadFile("0.idx.torn")
	must(t, err)
	if !bytes.Equal(torn, bad[first.Length:]) || !bytes.Equal(side, idx[2*ondisk.RecordSize:]) {
		t.Error("evidence was lost")
	}
	if _, err := Verify(root, "0.cast"); err != nil {
		t.Error(err)
	}
}

func TestARecordingThatIsWrittenIsNotRecovered(t *testing.T) {
	root := newRoot(t)
	w := create(t, root, "0.cast")
	if _, err := Recover(root, "0.cast"); !errors.Is(err, ErrLive) {
		t.Fatal(err)
	}
	must(t, w.Output([]byte("goes on")))
	must(t, w.Close())
	r, err := Recover(root, "0.cast")
	if err != nil || !r.Ended {
		t.Fatal(r, err)
	}
}

func TestVerifyFindsEveryFlippedBit(t *testing.T) {
	cast, idx, _ := small(t, true)
	flip := func(cast, idx []byte, what string, at int) {
		t.Helper()
		root := rootWith(t, cast, idx)
		defer root.Close()
		_, err := Verify(root, "0.cast")
		var d *Damage
		if !errors.As(err, &d) {
			t.Fatalf("a flipped bit in byte %d of the %s: %v", at, what, err)
		}
		if what == "recording" {
			if start := frameStart(t, idx, int64(at)); d.Offset != start {
				t.Fatalf("byte %d of the frame at %d was flipped, %v", at, start, d)
			}
		}
	}
	for i := range cast {
		bad := bytes.Clone(cast)
		bad[i] ^= 1 << rand.IntN(8)
		flip(bad, idx, "recording", i)
	}
	for i := range idx {
		bad := bytes.Clone(idx)
		bad[i] ^= 1 << rand.IntN(8)
		flip(cast, bad, "sidecar", i)
	}
}

func frameStart(t *testing.T, idx []byte, at int64) int64 {
	for b := idx[ondisk.RecordSize:]; len(b) > 0; b = b[ondisk.RecordSize:] {
		if r, _, ok := ondisk.ParseRecord(b[:ondisk.RecordSize]); ok && at >= r.Offset && at < r.Offset+int64(r.Length) {
			return r.Offset
		}
	}
	t.Fatalf("byte %d has no frame", at)
	return 0
}

func TestVerifyFindsWhatIsMissingOrTooMuch(t *testing.T) {
	cast, idx, _ := small(t, true)
	records := func(i, j int) []byte { return idx[i*ondisk.RecordSize : j*ondisk.RecordSize] }
	n := len(idx) / ondisk.RecordSize
	for what, f := range map[string][2][]byte{
		"the recording was cut":            {cast[:len(cast)-1], idx},
		"the recording goes on":            {append(bytes.Clone(cast), "[9.0,\"o\",\"\"]\n"...), idx},
		"the recording is gone":            {{}, idx},
		"the sidecar is gone":              {cast, {}},
		"a record was cut":                 {cast, idx[:len(idx)-1]},
		"a record was dropped":             {cast, append(bytes.Clone(records(0, 2)), records(3, n)...)},
		"two records changed places":       {cast, bytes.Join([][]byte{records(0, 1), records(2, 3), records(1, 2), records(3, n)}, nil)},
		"a record was doubled":             {cast, append(bytes.Clone(records(0, 2)), records(1, n)...)},
		"the sidecar goes on":              {cast, append(bytes.Clone(idx), records(n-1, n)...)},
		"recording and frame were dropped": {cast[frameEnd(idx, 1):], append(bytes.Clone(records(0, 1)), records(2, n)...)},
	} {
		root := rootWith(t, f[0], f[1])
		var d *Damage
		if _, err := Verify(root, "0.cast"); !errors.As(err, &d) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// The head of the chain is what rules out an older copy of both.
	root := rootWith(t, cast, idx)
	s, err := Verify(root, "0.cast")
	must(t, err)
	if !s.Ended || s.Recovered || s.Reframed != -1 || s.Size != int64(len(cast)) || s.Frames != n-2 || !bytes.Equal(s.Head[:], idx[len(idx)-32:]) {
		t.Errorf("%+v", s)
	}
}

func frameEnd(idx []byte, i int) int64 {
	r, _, _ := ondisk.ParseRecord(idx[i*ondisk.RecordSize : (i+1)*ondisk.RecordSize])
	return r.Offset + int64(r.Length)
}

func FuzzRecover(f *testing.F) {
	cast, idx, _ := small(f, false)
	f.Add(cast, idx)
	f.Add(cast[:200], idx[:100])
	f.Add([]byte("{\"version\":2}\n[0.1,\"b\",\"ff\"]\n"), []byte(sidecarHead))
	f.Fuzz(func(t *testing.T, cast, idx []byte) {
		root := rootWith(t, cast, idx)
		r, err := Recover(root, "0.cast")
		must(t, err)
		if r.Ended { // it claimed to have its end
			return
		}
		s, err := Verify(root, "0.cast")
		if err != nil || !s.Recovered || s.Size != r.Size {
			t.Fatalf("%+v %+v %v", r, s, err)
		}
		b, err := root.ReadFile("0.cast")
		must(t, err)
		torn, err := root.ReadFile("0.torn")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if kept := len(cast) - len(torn); !bytes.Equal(torn, cast[kept:]) || !bytes.Equal(b[:kept], cast[:kept]) {
			t.Fatal("bytes were lost")
		}
		if len(b) > 0 {
			if _, _, err := readBytes(t, b); err != nil {
				t.Fatalf("%q: %v", b, err)
			}
		}
	})
}

func TestOnlyRegularFilesUnderTheRootAreOpened(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "in"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "out.cast"), []byte("{\"version\":2}\n"), 0o600))
	must(t, os.Symlink("../out.cast", filepath.Join(dir, "in", "link.cast")))
	must(t, syscall.Mkfifo(filepath.Join(dir, "in", "pipe.cast"), 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "in", "folder.cast"), 0o700))
	root, err := os.OpenRoot(filepath.Join(dir, "in"))
	must(t, err)
	defer root.Close()
	for _, name := range []string{"link.cast", "pipe.cast", "folder.cast", "../out.cast", "/etc/passwd.cast", "none.cast", "0.idx", ".cast", "a\x00.cast"} {
		if _, _, err := Follow(t.Context(), root, name); err == nil {
			t.Errorf("%q was followed", name)
		}
		if _, err := Recover(root, name); err == nil {
			t.Errorf("%q was recovered", name)
		}
		if _, err := Verify(root, name); err == nil {
			t.Errorf("%q was verified", name)
		}
		if _, err := Create(root, name, Header{}); err == nil && name != "none.cast" {
			t.Errorf("%q was created", name)
		}
	}
}

// Somebody who changes the recording and makes all CRCs fit must also make
// the whole chain anew, and then its head is another one.
func TestVerifyFindsAChangeWhoseChecksumsFit(t *testing.T) {
	cast, idx, _ := small(t, true)
	r, chain, ok := ondisk.ParseRecord(idx[ondisk.RecordSize : 2*ondisk.RecordSize])
	if !ok {
		t.Fatal("no first frame")
	}
	bad := bytes.Replace(cast, []byte("$ ls"), []byte("$ rm"), 1)
	r.Sum = crc32.Checksum(bad[:r.Length], ondisk.Castagnoli)
	forged := append(bytes.Clone(idx[:ondisk.RecordSize]), r.Append(nil, chain)...)
	forged = append(forged, idx[2*ondisk.RecordSize:]...)
	var d *Damage
	if _, err := Verify(rootWith(t, bad, forged), "0.cast"); !errors.As(err, &d) || d.Offset != 0 {
		t.Error(err)
	}
}
