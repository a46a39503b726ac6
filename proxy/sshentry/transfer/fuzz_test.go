package transfer

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/proxy/recording"
)

// decodeSteps makes a conversation of fuzzed bytes: direction and length, then
// that many bytes.
func decodeSteps(b []byte) (steps []step) {
	for len(b) > 2 {
		n := min(int(b[0]&0x7f)<<8|int(b[1]), len(b)-2)
		steps = append(steps, step{b[0]&0x80 == 0, b[2 : 2+n]})
		b = b[2+n:]
	}
	return steps
}

func encodeSteps(steps []step) (b []byte) {
	for _, s := range steps {
		dir := byte(0x80)
		if s.up {
			dir = 0
		}
		b = append(b, dir|byte(len(s.b)>>8), byte(len(s.b)))
		b = append(b, s.b...)
	}
	return b
}

func checkFuzzed(t *testing.T, events []recording.Event) {
	t.Helper()
	lost := 0
	for _, e := range events {
		if strings.Contains(e.Detail, "panic") {
			t.Fatalf("%+v", e)
		}
		if strings.Contains(e.Detail, "no longer followed") {
			lost++
		}
		if e.Kind != "file" || e.In < 0 || e.Out < 0 || len(e.Path) > maxPath+200 || e.SHA256 != "" && len(e.SHA256) != 64 {
			t.Fatalf("%+v", e)
		}
	}
	if lost > 1 {
		t.Fatal("it was said more than once")
	}
}

func FuzzSFTP(f *testing.F) {
	ok := func(id int) step { return down(typeStatus, id, statusOK, "", "") }
	f.Add(encodeSteps(join(greeting, opened(1, "/f", writeFlag, "h"), up(typeWrite, 2, "h", uint64(0), "data"), ok(2), up(typeClose, 3, "h"), ok(3))))
	f.Add(encodeSteps(join(greeting, opened(1, "/f", readFlag, "h"), up(typeRead, 2, "h", uint64(0), 4), down(typeData, 2, "data"), up(typeClose, 3, "h"), ok(3))))
	f.Add(encodeSteps(join(greeting, up(typeRename, 1, "a", "b"), ok(1), up(typeExtended, 2, "copy-data", "h", uint64(0), uint64(0), "h", uint64(0)), ok(2))))
	f.Fuzz(func(t *testing.T, b []byte) {
		events, _ := sftpEvents(t, decodeSteps(b))
		checkFuzzed(t, events)
	})
}

func BenchmarkSFTPUpload(b *testing.B) {
	data := make([]byte, 32<<10)
	s := SFTP(func(recording.Event) {})
	for _, st := range join(greeting, opened(1, "/f", writeFlag, "h")) {
		if st.up {
			s.Up(st.b)
		} else {
			s.Down(st.b)
		}
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	ok := packet(typeStatus, 2, statusOK, "", "")
	write := packet(typeWrite, 2, "h", uint64(0), data)
	at := uint64(0)
	for b.Loop() {
		binary.BigEndian.PutUint64(write[lead+4+4+1:], at)
		at += uint64(len(data))
		s.Up(write)
		s.Down(ok)
	}
	if s.Lost() || s.protocol.(*sftp).files["h"].up.broken {
		b.Fatal("not followed")
	}
}

func BenchmarkSHA256(b *testing.B) {
	data := make([]byte, 32<<10)
	h := sha256.New()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		h.Write(data)
	}
}
