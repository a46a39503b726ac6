package channels

import "github.com/pawelmojski/inside/proxy/rdpentry/wire"

// DisplayName is the dynamic channel on which a client asks for another size
// of the desktop.
const DisplayName = "Microsoft::Windows::RDS::DisplayControl"

// Display lets a client ask for monitors (MS-RDPEDISP) that make a desktop
// which can be recorded; a layout that does not is not passed on, and the
// desktop stays as it is. Nothing else passes.
type Display struct {
	// Fits reports whether a desktop of this size can be recorded.
	Fits func(width, height int) bool
}

// The messages of MS-RDPEDISP 2.2.
const (
	displayLayout = 2
	displayCaps   = 5

	displayHeader  = 8
	displayMonitor = 40
	maxMonitors    = 16
)

// Limit implements [Tap].
func (Display) Limit() int { return displayHeader + 8 + maxMonitors*displayMonitor }

// Down implements [Tap].
func (Display) Down(msg []byte) ([][]byte, error) {
	r := wire.Read(msg)
	kind := r.U32()
	if err := r.End("a message about monitors"); err != nil || kind != displayCaps {
		return nil, err
	}
	return [][]byte{msg}, nil
}

// Up implements [Tap].
func (d Display) Up(msg []byte) ([][]byte, error) {
	r := wire.Read(msg)
	kind := r.U32()
	r.U32() // length
	size, n := r.U32(), r.U32()
	if err := r.End("a message about monitors"); err != nil || kind != displayLayout {
		return nil, err
	}
	if size != displayMonitor || n == 0 || n > maxMonitors {
		return nil, malformed("a layout of %d monitors of %d bytes", n, size)
	}
	var left, top, right, bottom int64
	for range n {
		m := wire.Read(r.Take(displayMonitor))
		m.U32() // flags
		x, y := int64(int32(m.U32())), int64(int32(m.U32()))
		w, h := int64(m.U32()), int64(m.U32())
		left, top, right, bottom = min(left, x), min(top, y), max(right, x+w), max(bottom, y+h)
	}
	if err := r.End("a layout of monitors"); err != nil {
		return nil, err
	}
	if !d.Fits(int(right-left), int(bottom-top)) {
		return nil, nil
	}
	return [][]byte{msg}, nil
}
