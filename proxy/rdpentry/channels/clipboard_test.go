package channels

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording"
)

// clip is a message of the clipboard.
func clip(kind, flags uint16, body ...byte) []byte {
	b := binary.LittleEndian.AppendUint16(nil, kind)
	b = binary.LittleEndian.AppendUint16(b, flags)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	return append(b, body...)
}

func u32s(values ...uint32) (b []byte) {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

func utf16le(text string) (b []byte) {
	for _, u := range utf16.Encode([]rune(text)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// longCaps says that names of formats may be of any length.
var longCaps = clip(clipCapabilities, 0, append([]byte{1, 0, 0, 0, 1, 0, 12, 0}, u32s(2, clipLongNames)...)...)

func formats(pairs ...any) []byte {
	var b []byte
	for i := 0; i < len(pairs); i += 2 {
		b = append(b, u32s(uint32(pairs[i].(int)))...)
		b = append(append(b, utf16le(pairs[i+1].(string))...), 0, 0)
	}
	return clip(clipFormatList, 0, b...)
}

// fileNames is a list of files of 100 bytes each.
func fileNames(names ...string) []byte {
	b := u32s(uint32(len(names)))
	for _, name := range names {
		d := make([]byte, clipDescriptor)
		binary.LittleEndian.PutUint32(d[68:], 100)
		copy(d[72:], utf16le(name))
		b = append(b, d...)
	}
	return clip(clipDataResponse, clipOK, b...)
}

// A board is a clipboard whose messages all pass, and what was noted.
type board struct {
	t      *testing.T
	c      *Clipboard
	events []string
}

func newBoard(t *testing.T) *board {
	b := &board{t: t}
	b.c = NewClipboard(func(e recording.Event) {
		b.events = append(b.events, fmt.Sprintf("%s %s %s %d %d: %s", e.Kind, e.Op, e.Path, e.In, e.Out, e.Detail))
	})
	b.down(longCaps)
	b.up(longCaps)
	return b
}

func (b *board) up(msg []byte) {
	b.t.Helper()
	if out, err := b.c.Up(msg); err != nil || out.Client != nil || len(out.Server) != 1 || !bytes.Equal(out.Server[0], msg) {
		b.t.Fatalf("% x upwards became %v, %v", msg[:8], out, err)
	}
}

func (b *board) down(msg []byte) {
	b.t.Helper()
	if out, err := b.c.Down(msg); err != nil || out.Server != nil || len(out.Client) != 1 || !bytes.Equal(out.Client[0], msg) {
		b.t.Fatalf("% x downwards became %v, %v", msg[:8], out, err)
	}
}

func (b *board) noted(want ...string) {
	b.t.Helper()
	if !slices.Equal(b.events, want) {
		b.t.Errorf("noted\n%s\nwant\n%s", strings.Join(b.events, "\n"), strings.Join(want, "\n"))
	}
	b.events = nil
}

func TestWhatGoesThroughTheClipboardIsNotedByKindAndSize(t *testing.T) {
	b := newBoard(t)
	b.up(formats(13, "", 49161, "HTML Format", 50000, "Secret Format", 8, ""))
	b.noted() // an offer is no transfer
	for _, id := range []uint32{13, 49161, 50000, 8} {
		b.down(clip(clipDataRequest, 0, u32s(1)...)) // which is given up
		b.down(clip(clipDataRequest, 0, u32s(id)...))
		b.up(clip(clipDataResponse, clipOK, make([]byte, 10)...))
	}
	b.down(clip(clipDataRequest, 0, u32s(99)...))
	b.up(clip(clipDataResponse, clipFail))
	b.noted("clipboard upload  10 0: text", "clipboard upload  10 0: html", "clipboard upload  10 0: format Secret Format",
		"clipboard upload  10 0: picture")

	b.down(formats(13, ""))
	b.up(clip(clipDataRequest, 0, u32s(13)...))
	b.up(formats(8, "")) // in between
	b.down(clip(clipDataResponse, clipOK, make([]byte, 7)...))
	b.noted("clipboard download  0 7: text")
}

func TestShortNamesOfFormats(t *testing.T) {
	b := newBoard(t)
	b.down(clip(clipCapabilities, 0, 0, 0, 0, 0)) // of an old server
	name := make([]byte, 32)
	copy(name, "image/png")
	b.down(clip(clipFormatList, clipASCII, append(u32s(50000), name...)...))
	b.up(clip(clipDataRequest, 0, u32s(50000)...))
	b.down(clip(clipDataResponse, clipOK, 1))
	clear(name)
	copy(name, utf16le("image/png"))
	b.down(clip(clipFormatList, 0, append(u32s(50001), name...)...))
	b.up(clip(clipDataRequest, 0, u32s(50001)...))
	b.down(clip(clipDataResponse, clipOK, 1))
	b.noted("clipboard download  0 1: picture", "clipboard download  0 1: picture")
}

// ranged asks for a part of a file.
func ranged(stream, index uint32, lock ...uint32) []byte {
	return clip(clipContentsRequest, 0, u32s(append([]uint32{stream, index, clipRange, 0, 0, 60}, lock...)...)...)
}

func part(stream uint32, n int) []byte {
	return clip(clipContents, clipOK, append(u32s(stream), make([]byte, n)...)...)
}

func TestFilesOfTheClipboardAreNotedByNameAndSize(t *testing.T) {
	b := newBoard(t)
	b.down(formats(49200, fileList))
	b.up(clip(clipDataRequest, 0, u32s(49200)...))
	b.down(fileNames(`folder\plan.txt`, "żółw.pdf"))
	b.noted("clipboard download  0 1188: names of 2 files")
	b.up(clip(clipContentsRequest, 0, u32s(1, 0, 1, 0, 0, 8)...)) // how long is it
	b.down(part(1, 8))
	b.up(ranged(2, 0))
	b.down(part(2, 60))
	b.up(ranged(3, 0))
	b.noted()
	b.down(part(3, 40))
	b.noted(`file download folder\plan.txt 0 100: clipboard`)
	b.up(clip(clipLock, 0, u32s(7)...))
	b.up(ranged(4, 1, 7))
	b.down(part(4, 60))
	b.down(formats(13, "")) // something else is there now
	b.noted("file download żółw.pdf 0 60: clipboard, a part of it")
	b.up(ranged(5, 1, 7)) // but the list is kept
	b.down(part(5, 40))
	b.c.Close()
	b.noted("file download żółw.pdf 0 40: clipboard, a part of it")
	b.up(ranged(6, 1))
	b.down(part(6, 60))
	b.noted("file download file 1 of the clipboard 0 60: clipboard")
}

func TestFilesThatAreToLieElsewhereAreRefused(t *testing.T) {
	for _, name := range []string{`..\..\Startup\x.exe`, `a\..\..\b`, `C:\x`, `\x`, "/etc/x", `a/../b`, "x:stream", `.. \x`, "", "a\x00b"} {
		b := newBoard(t)
		b.down(formats(49200, fileList))
		b.up(clip(clipDataRequest, 0, u32s(49200)...))
		out, err := b.c.Down(fileNames("good.txt", name))
		if err != nil || out.Server != nil || len(out.Client) != 1 || !bytes.Equal(out.Client[0], clipNo) {
			t.Errorf("%q became %v, %v", name, out, err)
		}
		if len(b.events) != 1 || !strings.HasPrefix(b.events[0], "denied ") {
			t.Errorf("%q: noted %q", name, b.events)
		}
	}
}

// What nobody has asked for could be taken for the answer to a request that is
// on its way.
func TestWhatNobodyAskedForDoesNotPass(t *testing.T) {
	b := newBoard(t)
	b.down(formats(49200, fileList))
	for _, msg := range [][]byte{fileNames(`..\x`), clip(clipDataResponse, clipOK, 1, 2, 3), part(9, 60)} {
		if out, err := b.c.Down(msg); err != nil || out.Client != nil || out.Server != nil {
			t.Errorf("% x became %v, %v", msg[:8], out, err)
		}
	}
	for _, msg := range [][]byte{clip(clipDataResponse, clipOK, make([]byte, 9000)...), part(9, 9000)} {
		if fate, out, err := b.c.BeginDown(msg[:chunkLen], len(msg)); fate != Dropped || out.Client != nil || err != nil {
			t.Errorf("% x became %v, %v, %v", msg[:8], fate, out, err)
		}
	}
	b.up(clip(clipContentsRequest, 0, u32s(1, 0, 1, 0, 0, 8)...)) // a size
	if out, err := b.c.Down(part(1, 60)); err != nil || out.Client != nil {
		t.Errorf("a size of 60 bytes became %v, %v", out, err)
	}
	// Neither does a list that says it is none.
	b.up(clip(clipDataRequest, 0, u32s(49200)...))
	list := fileNames(`..\x`)
	list[2] = clipFail | clipOK
	if out, err := b.c.Down(list); err != nil || !bytes.Equal(out.Client[0], clipNo) {
		t.Errorf("became %v, %v", out, err)
	}
	b.noted()
}

// Windows takes names of formats for the same in any case; and who has not
// heard the other side's capabilities yet reads the list in another way.
func TestAListOfFilesIsFoundHoweverItIsCalled(t *testing.T) {
	bad := fileNames(`..\x`)
	short := make([]byte, 32)
	copy(short, fileList)
	long := formats(5, fileList, 6, "of 36 bytes each")
	for len(long[clipHeader:])%36 != 0 { // which two short ones are, too
		long = append(long, 0)
	}
	binary.LittleEndian.PutUint32(long[4:], uint32(len(long)-clipHeader))
	for name, list := range map[string][]byte{
		"in capitals":                  formats(5, strings.ToUpper(fileList)),
		"in one byte each":             clip(clipFormatList, clipASCII, append(u32s(5), short...)...),
		"in one byte each, not saying": clip(clipFormatList, 0, append(u32s(5), short...)...),
		"long":                         long,
		"long, and not short":          formats(5, fileList),
	} {
		for _, heard := range []bool{true, false} {
			b := newBoard(t)
			b.c.client.long = heard
			b.down(list)
			b.up(clip(clipDataRequest, 0, u32s(5)...))
			if out, err := b.c.Down(bad); err != nil || len(out.Client) != 1 || !bytes.Equal(out.Client[0], clipNo) {
				t.Errorf("%s (%v): %v, %v", name, heard, out, err)
			}
		}
	}
}

func TestLongContentsPassPieceByPiece(t *testing.T) {
	b := newBoard(t)
	b.up(formats(8, "", 49200, fileList))
	b.down(clip(clipDataRequest, 0, u32s(8)...))
	up, _ := Assemblers(b.c, MaxClipboard)
	send := func(msg []byte) (chunks int, out Out, err error) {
		for i, c := range Chunks(msg, OptionShow) {
			s, err := up.Add(bytes.Clone(c))
			if err != nil || s.Complete {
				return chunks, out, fmt.Errorf("complete %v: %w", s.Complete, err)
			}
			if i == 0 {
				out = s.Out
				if len(b.events) == 0 {
					t.Error("the first piece passes before it is written down")
				}
			}
			if s.Chunk != nil {
				if chunks++; !bytes.Equal(s.Chunk, c) {
					t.Errorf("chunk %d has changed", i)
				}
			}
		}
		return chunks, out, nil
	}
	const picture = 8 << 20
	n, _, err := send(clip(clipDataResponse, clipOK, make([]byte, picture)...))
	if err != nil || n != (picture+clipHeader+chunkLen-1)/chunkLen || len(up.whole) > 0 {
		t.Errorf("%d chunks, %v", n, err)
	}
	b.noted(fmt.Sprintf("clipboard upload  %d 0: picture", picture))

	// A list of files must be read; one that is too long is not to be had.
	b.down(clip(clipDataRequest, 0, u32s(49200)...))
	n, out, err := send(clip(clipDataResponse, clipOK, make([]byte, 4+8000*clipDescriptor)...))
	if err != nil || n != 0 || len(out.Server) != 1 || !bytes.Equal(out.Server[0], clipNo) {
		t.Errorf("%d chunks, %v, %v", n, out, err)
	}
	b.noted("denied   0 0: clipboard: a list of 8000 files")
	b.down(ranged(1, 0))
	if n, _, err = send(part(1, 100_000)); err != nil || n != 63 {
		t.Errorf("%d chunks, %v", n, err)
	}
	b.noted("file upload file 0 of the clipboard 100000 0: clipboard")
}

func TestMessagesOfTheClipboardThatCannotBeAreRefused(t *testing.T) {
	for name, msg := range map[string][]byte{
		"half a head":           {1, 0, 0},
		"longer than it is":     {clipFormatList, 0, 0, 0, 9, 0, 0, 0, 1},
		"much behind it":        append(clip(clipMonitorReady, 0), make([]byte, clipPadding+1)...),
		"half a format":         clip(clipFormatList, 0, 1, 0, 0),
		"a name without an end": clip(clipFormatList, 0, 1, 0, 0, 0, 'x', 0),
		"half a request":        clip(clipDataRequest, 0, 1),
		"half a part":           clip(clipContentsRequest, 0, 1, 2, 3, 4),
		"contents of nothing":   clip(clipContents, clipOK, 1),
		"half a lock":           clip(clipLock, 0, 1),
		"two sets":              clip(clipCapabilities, 0, 2, 0, 0, 0),
	} {
		if out, err := newBoard(t).c.Down(msg); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v, %v", name, out, err)
		}
	}
	b := newBoard(t)
	b.down(formats(49200, fileList))
	b.up(clip(clipDataRequest, 0, u32s(49200)...))
	if out, err := b.c.Down(clip(clipDataResponse, clipOK, u32s(1<<31)...)); err != nil || !bytes.Equal(out.Client[0], clipNo) {
		t.Errorf("a list of 2³¹ files: %v, %v", out, err)
	}
	for i := range uint32(3 * maxParts) {
		b.up(ranged(i, 0))
	}
	if n := len(b.c.server.parts); n > maxParts {
		t.Errorf("%d parts are waited for", n)
	}
	if out, err := b.c.Up(clip(77, 0)); err != nil || out.Server != nil {
		t.Errorf("an unknown message passes: %v, %v", out, err)
	}
}
