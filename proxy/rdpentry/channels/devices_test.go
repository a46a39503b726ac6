package channels

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording"
)

// core is a message about devices.
func core(kind uint16, numbers ...uint32) []byte {
	b := binary.LittleEndian.AppendUint16(nil, coreComponent)
	b = binary.LittleEndian.AppendUint16(b, kind)
	return append(b, u32s(numbers...)...)
}

func announce(devices ...[]byte) []byte {
	return append(core(devList, uint32(len(devices))), bytes.Join(devices, nil)...)
}

func dev(kind, id uint32, name string) []byte {
	b := append(u32s(kind, id), make([]byte, 8)...)
	copy(b[8:], name)
	return append(append(b, u32s(3)...), "abc"...)
}

func openPath(device, number uint32, path string) []byte {
	name := append(utf16le(path), 0, 0)
	b := core(devRequest, device, 0, number, majorCreate, 0)
	b = append(b, make([]byte, 28)...)
	return append(append(b, u32s(uint32(len(name)))...), name...)
}

// A shelf is a filter of devices, and what was noted.
type shelf struct {
	t      *testing.T
	d      *Devices
	may    policy.Redirection
	events []string
}

func newShelf(t *testing.T, may policy.Redirection) *shelf {
	s := &shelf{t: t, may: may}
	s.d = NewDevices(func(r policy.Redirection) bool { return s.may&r != 0 }, func(e recording.Event) {
		s.events = append(s.events, strings.TrimSpace(fmt.Sprintf("%s %s %s %s %d %d: %s", e.Kind, e.Op, e.Path, e.To, e.In, e.Out, e.Detail)))
	})
	return s
}

// up and down hand the filter a message and want it to send on these.
func (s *shelf) up(msg []byte, server ...[]byte) {
	s.t.Helper()
	out, err := s.d.Up(bytes.Clone(msg))
	if err != nil || out.Client != nil || !slices.EqualFunc(out.Server, server, bytes.Equal) {
		s.t.Fatalf("% x upwards became\n%x, %x, %v, want\n%x", msg, out.Server, out.Client, err, server)
	}
}

func (s *shelf) down(msg []byte, client ...[]byte) {
	s.t.Helper()
	out, err := s.d.Down(bytes.Clone(msg))
	if err != nil || out.Server != nil || !slices.EqualFunc(out.Client, client, bytes.Equal) {
		s.t.Fatalf("% x downwards became\n%x, %x, %v, want\n%x", msg, out.Server, out.Client, err, client)
	}
}

// refused wants the gate to answer a request with an error.
func (s *shelf) refused(msg []byte, device, number, status uint32) {
	s.t.Helper()
	out, err := s.d.Down(msg)
	if err != nil || out.Client != nil || len(out.Server) != 1 || !bytes.HasPrefix(out.Server[0], core(devCompletion, device, number, status)) {
		s.t.Fatalf("% x became %x, %x, %v", msg, out.Server, out.Client, err)
	}
}

func (s *shelf) noted(want ...string) {
	s.t.Helper()
	if !slices.Equal(s.events, want) {
		s.t.Errorf("noted\n%s\nwant\n%s", strings.Join(s.events, "\n"), strings.Join(want, "\n"))
	}
	s.events = nil
}

func TestTheServerHearsOfPermittedDevicesOnly(t *testing.T) {
	drive, printer, card, com := dev(8, 1, "home"), dev(4, 2, "PRN1"), dev(0x20, 3, "SCARD"), dev(1, 4, "COM1")
	s := newShelf(t, policy.Drive|policy.SmartCard)
	s.down(core(devAnnounce, 0x000c0001, 7), core(devAnnounce, 0x000c0001, 7))
	s.up(core(devClientID, 0x000c0001, 7), core(devClientID, 0x000c0001, 7))
	s.up(announce(drive, printer, card, com, dev(0x99, 5, "odd")), announce(drive, card))
	s.noted("device    0 0: drive home", "denied    0 0: printer PRN1", "device    0 0: smartcard SCARD", "denied    0 0: port COM1", "denied    0 0: device of kind 153")
	s.up(announce(printer))
	s.down(core(devReply, 1, 0), core(devReply, 1, 0))
	s.down(core(devReply, 2, 0))
	for _, id := range []uint32{2, 4, 5, 77} {
		s.refused(openPath(id, 9, `\x`), id, 9, statusNoDevice)
		s.up(core(devCompletion, id, 9, 0, 1)) // nobody asked
	}
	s.up(core(devRemove, 3, 1, 2, 77), core(devRemove, 1, 1))
	s.refused(openPath(1, 9, `\x`), 1, 9, statusNoDevice)
	for _, kind := range []uint16{devPrinterCache, devPrinterWithXPS} {
		msg := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, printerComponent), kind)
		s.down(msg)
		s.up(msg)
	}
	s.up(core(0x1234, 1))
	s.down(core(0x1234, 1))
}

func TestWhatIsReadAndWrittenOfADriveIsNoted(t *testing.T) {
	s := newShelf(t, policy.Drive|policy.Printer)
	drive, printer := dev(8, 1, "C:"), dev(4, 2, "PRN1")
	s.up(announce(drive, printer), announce(drive, printer))
	s.events = nil
	pass := func(q, a []byte) {
		t.Helper()
		s.down(q, q)
		s.up(a, a)
	}
	pass(openPath(1, 1, `\docs\plan.txt`), core(devCompletion, 1, 1, 0, 50))
	pass(core(devRequest, 1, 50, 2, majorRead, 0, 60), core(devCompletion, 1, 2, 0, 60))
	pass(core(devRequest, 1, 50, 3, majorRead, 0, 60), core(devCompletion, 1, 3, 0, 40))
	pass(core(devRequest, 1, 50, 4, majorRead, 0, 60), core(devCompletion, 1, 4, 0xc0000011, 0)) // the end
	s.noted()
	pass(core(devRequest, 1, 50, 5, majorClose, 0), core(devCompletion, 1, 5, 0, 0))
	s.noted(`file upload C:\docs\plan.txt  100 0: drive`)

	pass(openPath(1, 1, `\new`), core(devCompletion, 1, 1, 0, 51))
	pass(core(devRequest, 1, 51, 2, majorWrite, 0, 60), core(devCompletion, 1, 2, 0, 60))
	to := utf16le(`\old`)
	rename := append(core(devRequest, 1, 51, 3, majorSet, 0, classRename, 0), make([]byte, 24+2)...)
	rename = append(append(rename, u32s(uint32(len(to)))...), to...)
	pass(rename, core(devCompletion, 1, 3, 0, 0))
	pass(core(devRequest, 1, 51, 4, majorSet, 0, classDelete, 0), core(devCompletion, 1, 4, 0, 0))
	pass(openPath(1, 5, `\looked-at`), core(devCompletion, 1, 5, 0, 52))
	pass(openPath(1, 6, `\nothing`), core(devCompletion, 1, 6, 0xc0000034, 0))
	pass(openPath(2, 7, ""), core(devCompletion, 2, 7, 0, 53))
	pass(core(devRequest, 2, 53, 8, majorWrite, 0, 9), core(devCompletion, 2, 8, 0, 9))
	pass(core(devRequest, 2, 53, 9, majorClose, 0), core(devCompletion, 2, 9, 0, 0))
	s.d.Close()
	s.noted(`file rename C:\new C:\old 0 0: drive`, `file remove C:\old  0 0: drive`, `file download PRN1:  0 9: printer`, `file download C:\old  0 60: drive`)
}

func TestAPathThatLeavesItsDriveIsRefused(t *testing.T) {
	s := newShelf(t, policy.Drive)
	s.up(announce(dev(8, 1, "home")), announce(dev(8, 1, "home")))
	for _, path := range []string{`\..\..\etc\passwd`, `\a/../../b`, `..`, "\\a\x00\\..\\b"} {
		s.refused(openPath(1, 1, path), 1, 1, statusBadName)
	}
	to := utf16le(`\..\x`)
	rename := append(core(devRequest, 1, 51, 3, majorSet, 0, classRename, 0), make([]byte, 24+2)...)
	s.refused(append(append(rename, u32s(uint32(len(to)))...), to...), 1, 3, statusBadName)
	look := append(core(devRequest, 1, 51, 4, majorDirectory, minorQuery, 12), 1)
	look = append(append(look, u32s(uint32(len(to)))...), make([]byte, 23)...)
	s.refused(append(look, to...), 1, 4, statusBadName)
	if len(s.events) != 7 {
		t.Errorf("noted %q", s.events)
	}
}

func TestADeviceThatIsNoLongerPermittedIsUsedNoMore(t *testing.T) {
	s := newShelf(t, policy.Drive|policy.SmartCard)
	s.up(announce(dev(8, 1, "home"), dev(0x20, 2, "card")), announce(dev(8, 1, "home"), dev(0x20, 2, "card")))
	s.down(openPath(1, 1, `\x`), openPath(1, 1, `\x`))
	s.may = policy.SmartCard
	s.up(core(devCompletion, 1, 1, 0, 50), append(core(devCompletion, 1, 1, statusDenied), 0, 0, 0, 0, 0))
	s.refused(openPath(1, 2, `\x`), 1, 2, statusDenied)
	q := core(devRequest, 2, 0, 3, 14, 0)
	s.down(q, q)
}

func TestMessagesAboutDevicesThatCannotBeAreRefused(t *testing.T) {
	s := newShelf(t, policy.Drive)
	s.up(announce(dev(8, 1, "home")), announce(dev(8, 1, "home")))
	for name, msg := range map[string][]byte{
		"half a head":       {0x72},
		"endless devices":   core(devList, 1<<30),
		"half a device":     core(devList, 1, 8),
		"an endless device": append(core(devList, 1, 8, 1, 0, 0), 0xff, 0xff, 0xff, 0xff),
		"devices that go":   core(devRemove, 1<<30, 1),
		"half a completion": core(devCompletion, 1),
	} {
		if _, err := s.d.Up(msg); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, msg := range map[string][]byte{
		"half a request":  core(devRequest, 1),
		"an endless path": append(core(devRequest, 1, 0, 1, majorCreate, 0), append(make([]byte, 28), 0xff, 0xff, 0xff, 0xff)...),
		"half a path":     openPath(1, 1, `\long`)[:66],
	} {
		if _, err := s.d.Down(msg); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range uint32(maxRequest) {
		q := core(devRequest, 1, 50, i, majorRead, 0, 60)
		s.down(q, q)
	}
	s.refused(core(devRequest, 1, 50, maxRequest, majorRead, 0, 60), 1, maxRequest, statusExhausted)
}
