package channels

import "github.com/pawelmojski/inside/proxy/rdpentry/wire"

// TouchName is the dynamic channel of fingers and pens.
const TouchName = "Microsoft::Windows::RDS::Input"

// Touch lets fingers and pens pass (MS-RDPEI), as keys and the mouse do, and
// says when they are used.
type Touch struct {
	Used func()
}

// The messages of MS-RDPEI 2.2 that a client sends on its own account.
const (
	touchEvent = 3
	penEvent   = 8
)

// Limit implements [Tap].
func (Touch) Limit() int { return 64 << 10 }

// Down implements [Tap].
func (Touch) Down(msg []byte) ([][]byte, error) { return [][]byte{msg}, nil }

// Up implements [Tap].
func (t Touch) Up(msg []byte) ([][]byte, error) {
	r := wire.Read(msg)
	if kind := r.U16(); kind == touchEvent || kind == penEvent {
		t.Used()
	}
	return [][]byte{msg}, r.End("a message about fingers")
}
