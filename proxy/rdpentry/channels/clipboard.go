package channels

import (
	"cmp"
	"fmt"
	"strings"
	"sync"

	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording"
)

// ClipboardName is the static channel of the clipboard.
const ClipboardName = "cliprdr"

// MaxClipboard is the longest message of the clipboard's that is put together:
// lists of formats and of files. Contents are as long as they are.
const MaxClipboard = 4 << 20

// Clipboard follows what goes through the clipboard (MS-RDPECLIP) and writes
// down its kind and size, both ways, before it is sent on; of files each name
// and how much of it. Contents are looked at by nobody. Lists of files that
// would be put elsewhere than where they are dropped are refused
// (CVE-2019-0887).
type Clipboard struct {
	note func(recording.Event)

	mu             sync.Mutex
	client, server clipper
}

// A clipper is one side: what it offers, and what it was asked for.
type clipper struct {
	upload  bool // what it gives goes to the server
	long    bool // it knows names of formats of any length
	formats map[uint32]string
	asked   bool   // the other side wants something,
	wanted  string // of this kind
	files   []*clipFile
	locked  map[uint32][]*clipFile // lists that the other side keeps
	parts   map[uint32]*clipFile   // by the stream the other side asked for them with; nil is for a size
}

// What is kept of a hostile side.
const (
	maxFormats = 1024
	maxLocked  = 8
	maxParts   = 1024
)

// NewClipboard returns a filter that notes what passes. note may be called by
// both directions at the same time.
func NewClipboard(note func(recording.Event)) *Clipboard {
	c := &Clipboard{note: note, client: clipper{upload: true}}
	for _, side := range []*clipper{&c.client, &c.server} {
		side.locked, side.parts = map[uint32][]*clipFile{}, map[uint32]*clipFile{}
	}
	return c
}

// The messages of MS-RDPECLIP 2.2.1.
const (
	clipMonitorReady    = 1
	clipFormatList      = 2
	clipListResponse    = 3
	clipDataRequest     = 4
	clipDataResponse    = 5
	clipTempDirectory   = 6
	clipCapabilities    = 7
	clipContentsRequest = 8
	clipContents        = 9
	clipLock            = 10
	clipUnlock          = 11

	clipOK         = 1
	clipFail       = 2
	clipASCII      = 4
	clipHeader     = 8
	clipPadding    = 16  // that some put behind a message
	clipLongNames  = 2   // CB_USE_LONG_FORMAT_NAMES
	clipRange      = 2   // FILECONTENTS_RANGE
	clipDescriptor = 592 // CLIPRDR_FILEDESCRIPTOR
)

// A clipMessage is the head of any.
type clipMessage struct {
	kind, flags uint16
	body        []byte // as much as is there
	length      int    // of the whole body
}

func parseClip(b []byte, total int) (clipMessage, error) {
	c := wire.Read(b)
	m := clipMessage{kind: c.U16(), flags: c.U16()}
	n := c.U32()
	m.body = c.Rest()
	if err := c.End("a message of the clipboard"); err != nil {
		return m, err
	}
	if behind := int64(total-clipHeader) - int64(n); behind < 0 || behind > clipPadding {
		return m, malformed("a message of the clipboard has %d bytes, not %d", total, n)
	}
	m.length = int(n)
	m.body = m.body[:min(len(m.body), m.length)]
	return m, nil
}

// BeginUp and BeginDown implement [Beginner].
func (c *Clipboard) BeginUp(head []byte, total int) (Fate, Out, error) {
	return c.begin(&c.client, head, total)
}

func (c *Clipboard) BeginDown(head []byte, total int) (Fate, Out, error) {
	return c.begin(&c.server, head, total)
}

// begin passes contents through, once they are written down.
func (c *Clipboard) begin(from *clipper, head []byte, total int) (Fate, Out, error) {
	if total <= chunkLen {
		return Whole, Out{}, nil
	}
	m, err := parseClip(head, total)
	if err != nil {
		return Dropped, Out{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case m.kind == clipContents && len(m.body) >= 4:
		return through(c.contents(from, m)), Out{}, nil
	case m.kind != clipDataResponse:
		return Whole, Out{}, nil
	case !from.filesAsked():
		return through(c.data(from, m)), Out{}, nil
	case total > MaxClipboard:
		from.asked = false
		c.note(recording.Event{Kind: "denied", Detail: fmt.Sprintf("clipboard: a list of %d files", m.length/clipDescriptor)})
		return Dropped, c.towards(from, clipNo), nil
	}
	return Whole, Out{}, nil
}

func through(pass bool) Fate {
	if pass {
		return Through
	}
	return Dropped
}

// clipNo is the answer that there is nothing to be had.
var clipNo = []byte{clipDataResponse, 0, clipFail, 0, 0, 0, 0, 0}

// towards sends on what comes from one side.
func (c *Clipboard) towards(from *clipper, msg []byte) Out {
	if from.upload {
		return Out{Server: [][]byte{msg}}
	}
	return Out{Client: [][]byte{msg}}
}

// Up and Down implement [Filter].
func (c *Clipboard) Up(msg []byte) (Out, error)   { return c.pass(&c.client, &c.server, msg) }
func (c *Clipboard) Down(msg []byte) (Out, error) { return c.pass(&c.server, &c.client, msg) }

func (c *Clipboard) pass(from, to *clipper, msg []byte) (Out, error) {
	m, err := parseClip(msg, len(msg))
	if err != nil {
		return Out{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch m.kind {
	case clipMonitorReady, clipListResponse, clipTempDirectory:
	case clipCapabilities:
		from.long, err = longNames(m.body)
	case clipFormatList:
		err = c.offer(from, m, to)
	case clipDataRequest:
		err = to.ask(m.body)
	case clipDataResponse:
		if from.filesAsked() {
			return c.list(from, m, msg)
		}
		if !c.data(from, m) {
			return Out{}, nil
		}
	case clipContentsRequest:
		err = to.askContents(m.body)
	case clipContents:
		if len(m.body) < 4 {
			return Out{}, malformed("contents of a file without a number")
		}
		if !c.contents(from, m) {
			return Out{}, nil
		}
	case clipLock, clipUnlock:
		err = to.lock(m)
	default:
		return Out{}, nil
	}
	if err != nil {
		return Out{}, err
	}
	return c.towards(from, msg), nil
}

// longNames reads the general capability set, of which there is one: which of
// two counts is not for the gate to guess.
func longNames(body []byte) (long bool, err error) {
	c := wire.Read(body)
	sets := c.U16()
	c.U16()
	if sets > 1 {
		return false, malformed("%d capability sets of the clipboard", sets)
	}
	for range sets {
		kind, n := c.U16(), int(c.U16())
		set := wire.Read(c.Take(n - 4))
		set.U32() // version
		long = kind == 1 && set.U32()&clipLongNames != 0
	}
	return long, c.End("what a clipboard can do")
}

// How the names of formats are written.
const (
	longFormats  = iota // each up to its NUL
	shortFormats        // in 32 bytes
	asciiFormats        // likewise, of one byte each
)

// offer takes a list of formats: what was there before is there no more. A
// side that has not heard yet what the other can do reads the list in another
// way than the gate; a list of files is one in any.
func (c *Clipboard) offer(from *clipper, m clipMessage, to *clipper) (err error) {
	c.left(from)
	styles := []int{shortFormats, asciiFormats, longFormats} // the likeliest first
	switch {
	case from.long && to.long:
		styles = []int{longFormats, shortFormats, asciiFormats}
	case m.flags&clipASCII != 0:
		styles = []int{asciiFormats, shortFormats, longFormats}
	}
	from.formats = nil
	for _, style := range styles {
		formats, bad := parseFormats(m.body, style)
		switch {
		case bad != nil:
			err = cmp.Or(err, bad)
		case from.formats == nil:
			from.formats = formats
		default:
			for id, name := range formats {
				if kindOf(id, name) == fileList {
					from.formats[id] = name
				}
			}
		}
	}
	if from.formats != nil {
		return nil
	}
	return err
}

func parseFormats(body []byte, style int) (map[uint32]string, error) {
	formats := map[uint32]string{}
	r := wire.Read(body)
	for len(r.Rest()) > 0 {
		id := r.U32()
		if len(formats) >= maxFormats {
			return nil, malformed("more than %d formats of the clipboard", maxFormats)
		}
		switch style {
		case longFormats:
			rest, n := r.Rest(), 0
			for n+1 < len(rest) && (rest[n] != 0 || rest[n+1] != 0) {
				n += 2
			}
			formats[id] = wire.Text(r.Take(n))
			r.Take(2)
		case shortFormats:
			formats[id] = wire.Text(r.Take(32))
		case asciiFormats:
			name, _, _ := strings.Cut(string(r.Take(32)), "\x00")
			formats[id] = name
		}
	}
	return formats, r.End("a list of formats")
}

// ask notes that the other side wants one of them. Who asks again has given up
// the request before: that is how programs on both sides do it.
func (s *clipper) ask(body []byte) error {
	r := wire.Read(body)
	id := r.U32()
	s.asked, s.wanted = true, kindOf(id, s.formats[id])
	return r.End("a request for the clipboard")
}

// fileList is the format of a list of files; the files themselves are asked
// for one by one.
const fileList = "FileGroupDescriptorW"

func (s *clipper) filesAsked() bool { return s.asked && s.wanted == fileList }

// data writes down what is about to pass, whatever the message says of itself.
// What nobody has asked for does not pass: it could meet a request on its way,
// and be taken for what was never looked at.
func (c *Clipboard) data(from *clipper, m clipMessage) (pass bool) {
	if from.asked && m.length > 0 {
		c.note(from.event("clipboard", "", from.wanted, uint64(m.length)))
	}
	pass, from.asked = from.asked, false
	return pass
}

func (s *clipper) event(kind, path, detail string, n uint64) recording.Event {
	e := recording.Event{Kind: kind, Op: "download", Path: path, Detail: detail, Out: int64(n)}
	if s.upload {
		e.Op, e.In, e.Out = "upload", e.Out, 0
	}
	return e
}

// kindOf says a format in a word.
func kindOf(id uint32, name string) string {
	switch {
	case strings.EqualFold(name, fileList): // as Windows compares names of formats
		return fileList
	case name == "HTML Format" || name == "text/html":
		return "html"
	case name == "Rich Text Format":
		return "rich text"
	case name == "PNG" || name == "JFIF" || strings.HasPrefix(name, "image/"):
		return "picture"
	case strings.HasPrefix(name, "text/plain") || name == "UTF8_STRING":
		return "text"
	case name != "":
		return "format " + name
	}
	switch id {
	case 1, 7, 13: // CF_TEXT, CF_OEMTEXT, CF_UNICODETEXT
		return "text"
	case 2, 3, 6, 8, 9, 14, 17: // bitmaps, metafiles, TIFF, palette
		return "picture"
	case 11, 12: // CF_RIFF, CF_WAVE
		return "sound"
	case 15: // CF_HDROP
		return "file names"
	case 16:
		return "locale"
	}
	return fmt.Sprintf("format %d", id)
}

// Close writes down what has not come to its end.
func (c *Clipboard) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, side := range []*clipper{&c.client, &c.server} {
		c.left(side)
		for _, side.files = range side.locked {
			c.left(side)
		}
	}
}
