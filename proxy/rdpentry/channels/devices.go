package channels

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording"
)

// DevicesName is the static channel that drives, printers, ports and smart
// cards of the client share.
const DevicesName = "rdpdr"

// MaxDevices is the longest message of it: what a server reads or writes at
// once.
const MaxDevices = 16 << 20

// Devices filters the devices of the client that the server may use
// (MS-RDPEFS). The server hears only of those that are permitted, and the
// client of no request for any other: the gate answers it. What was read and
// written of files is written down by name and size.
type Devices struct {
	may  func(policy.Redirection) bool
	note func(recording.Event)

	mu      sync.Mutex
	devices map[uint32]device
	asked   map[request]asked
	files   map[handle]*openFile
}

// A device is one that the server has heard of.
type device struct {
	kind policy.Redirection
	name string
}

// A request of the server's is known by its device and a number.
type request struct{ device, number uint32 }

// What the client is asked for, as far as the answer matters.
type asked struct {
	major  uint32
	handle uint32 // of the file
	path   string // to be opened, or to be renamed to
	class  uint32 // of what is set
}

type handle struct{ device, number uint32 }

// An openFile is a file of a drive, or a job of a printer.
type openFile struct {
	path        string
	read, wrote uint64
}

const (
	maxDevices = 256
	maxRequest = 4096 // requests that are not answered yet
	maxFiles   = 4096 // that are open
)

// NewDevices returns a filter that asks may for each message and notes what
// passes. Both may be called by both directions at the same time.
func NewDevices(may func(policy.Redirection) bool, note func(recording.Event)) *Devices {
	return &Devices{may: may, note: note, devices: map[uint32]device{}, asked: map[request]asked{}, files: map[handle]*openFile{}}
}

// The messages of MS-RDPEFS 2.2.1.1, each behind its component: the core, or
// printers (MS-RDPEPC).
const (
	coreComponent    = 0x4472
	printerComponent = 0x5052

	devAnnounce       = 0x496e // of the server
	devClientID       = 0x4343
	devClientName     = 0x434e
	devList           = 0x4441
	devReply          = 0x6472
	devRequest        = 0x4952
	devCompletion     = 0x4943
	devServerCan      = 0x5350
	devClientCan      = 0x4350
	devRemove         = 0x444d
	devLoggedOn       = 0x554c
	devPrinterCache   = 0x5043
	devPrinterWithXPS = 0x5543
)

// kindsOfDevices are the types of MS-RDPEFS 2.2.1.3.
var kindsOfDevices = map[uint32]policy.Redirection{
	0x01: policy.Port, 0x02: policy.Port, 0x04: policy.Printer, 0x08: policy.Drive, 0x20: policy.SmartCard,
}

// OverDevices are what this channel carries.
const OverDevices = policy.Drive | policy.Printer | policy.Port | policy.SmartCard

// What the gate answers for the client (MS-ERREF).
const (
	statusNoDevice  = 0xc000000e
	statusDenied    = 0xc0000022
	statusBadName   = 0xc0000033
	statusExhausted = 0xc000009a
)

// Up implements [Filter].
func (d *Devices) Up(msg []byte) (Out, error) {
	r := wire.Read(msg)
	component, kind := r.U16(), r.U16()
	if err := r.End("a message about devices"); err != nil {
		return Out{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	pass := Out{Server: [][]byte{msg}}
	switch {
	case component == printerComponent && kind == devPrinterCache && d.may(policy.Printer):
		return pass, nil
	case component != coreComponent:
		return Out{}, nil
	}
	switch kind {
	case devClientID, devClientName, devClientCan:
		return pass, nil
	case devList:
		return d.announced(r.Rest())
	case devRemove:
		return d.removed(r.Rest())
	case devCompletion:
		return d.completed(r.Rest(), msg)
	}
	return Out{}, nil
}

// Down implements [Filter].
func (d *Devices) Down(msg []byte) (Out, error) {
	r := wire.Read(msg)
	component, kind := r.U16(), r.U16()
	if err := r.End("a message about devices"); err != nil {
		return Out{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	pass := Out{Client: [][]byte{msg}}
	switch {
	case component == printerComponent && (kind == devPrinterCache || kind == devPrinterWithXPS) && d.may(policy.Printer):
		return pass, nil
	case component != coreComponent:
		return Out{}, nil
	}
	switch kind {
	case devAnnounce, devClientID, devServerCan, devLoggedOn:
		return pass, nil
	case devReply:
		if _, ok := d.devices[r.U32()]; ok {
			return pass, nil
		}
	case devRequest:
		return d.request(r.Rest(), msg)
	}
	return Out{}, nil
}

// announced tells the server of the permitted devices.
func (d *Devices) announced(body []byte) (Out, error) {
	r := wire.Read(body)
	count := r.U32()
	if count > maxDevices {
		return Out{}, malformed("%d devices", count)
	}
	list := binary.LittleEndian.AppendUint32([]byte{0x72, 0x44, 0x41, 0x44}, 0)
	passed := uint32(0)
	for range count {
		before := r.Rest()
		code, id := r.U32(), r.U32()
		name, _, _ := bytes.Cut(r.Take(8), []byte{0})
		n := r.U32()
		if n > MaxDevices {
			return Out{}, malformed("a device of %d bytes", n)
		}
		r.Take(int(n))
		if err := r.End("a list of devices"); err != nil {
			return Out{}, err
		}
		dev := device{kindsOfDevices[code], strings.ToValidUTF8(string(name), "?")}
		what := fmt.Sprintf("%s %s", dev.kind, dev.name)
		if dev.kind == 0 {
			what = fmt.Sprintf("device of kind %d", code)
		}
		if dev.kind == 0 || !d.may(dev.kind) || len(d.devices) >= maxDevices {
			d.note(recording.Event{Kind: "denied", Detail: what})
			continue
		}
		d.note(recording.Event{Kind: "device", Detail: what})
		d.devices[id] = dev
		list = append(list, before[:len(before)-len(r.Rest())]...)
		passed++
	}
	if passed == 0 && count > 0 {
		return Out{}, nil
	}
	binary.LittleEndian.PutUint32(list[4:], passed)
	return Out{Server: [][]byte{list}}, nil
}

// removed tells the server of devices it has heard of.
func (d *Devices) removed(body []byte) (Out, error) {
	r := wire.Read(body)
	count := r.U32()
	if int64(count)*4 > int64(len(r.Rest())) {
		return Out{}, malformed("%d devices that go away", count)
	}
	list := binary.LittleEndian.AppendUint32([]byte{0x72, 0x44, 0x4d, 0x44}, 0)
	passed := uint32(0)
	for range count {
		id := r.U32()
		if _, ok := d.devices[id]; !ok {
			continue
		}
		d.closeFiles(func(h handle) bool { return h.device == id })
		delete(d.devices, id)
		for q := range d.asked {
			if q.device == id {
				delete(d.asked, q)
			}
		}
		list = binary.LittleEndian.AppendUint32(list, id)
		passed++
	}
	if passed == 0 {
		return Out{}, nil
	}
	binary.LittleEndian.PutUint32(list[4:], passed)
	return Out{Server: [][]byte{list}}, nil
}

// The requests that matter (MS-RDPEFS 2.2.1.4).
const (
	majorCreate = 0
	majorClose  = 2
	majorRead   = 3
	majorWrite  = 4
	majorSet    = 6

	majorDirectory = 12
	minorQuery     = 1

	classRename = 10
	classDelete = 13
)

// request passes one on to the client, or answers it.
func (d *Devices) request(body, msg []byte) (Out, error) {
	r := wire.Read(body)
	id, file, number, major := r.U32(), r.U32(), r.U32(), r.U32()
	minor := r.U32()
	if err := r.End("a request to a device"); err != nil {
		return Out{}, err
	}
	q := request{id, number}
	dev, known := d.devices[id]
	switch {
	case !known:
		return refused(q, statusNoDevice), nil
	case !d.may(dev.kind):
		return refused(q, statusDenied), nil
	case len(d.asked) >= maxRequest, major == majorCreate && len(d.files) >= maxFiles:
		return refused(q, statusExhausted), nil
	}
	a := asked{major: major, handle: file}
	sound := true
	switch major {
	case majorCreate:
		r.Take(24) // access, size, attributes, sharing, disposition
		r.U32()    // options
		a.path, sound = pathOf(r.Take(int(min(r.U32(), MaxDevices))))
	case majorDirectory:
		if minor == minorQuery {
			r.Take(4 + 1) // class, whether it begins
			n := r.U32()
			r.Take(23)
			a.path, sound = pathOf(r.Take(int(min(n, MaxDevices))))
		}
	case majorRead, majorWrite:
		r.U32()
	case majorSet:
		if a.class = r.U32(); a.class == classRename {
			r.Take(4 + 24 + 2) // length, padding, whether to replace, root
			a.path, sound = pathOf(r.Take(int(min(r.U32(), MaxDevices))))
		} else if a.class == classDelete && r.U32() > 0 {
			r.Take(24)
			if r.U8() == 0 {
				a.class = 0 // it stays, after all
			}
		}
	}
	if err := r.End("a request to a device"); err != nil {
		return Out{}, err
	}
	if !sound {
		d.note(recording.Event{Kind: "denied", Path: a.path, Detail: "a path that leaves " + dev.name})
		return refused(q, statusBadName), nil
	}
	d.asked[q] = a
	return Out{Client: [][]byte{msg}}, nil
}

// refused answers a request in the client's name: with an error, and nothing
// where there would be a handle or a length.
func refused(q request, status uint32) Out {
	b := []byte{0x72, 0x44, 0x43, 0x49}
	b = binary.LittleEndian.AppendUint32(b, q.device)
	b = binary.LittleEndian.AppendUint32(b, q.number)
	b = binary.LittleEndian.AppendUint32(b, status)
	return Out{Server: [][]byte{append(b, 0, 0, 0, 0, 0)}}
}

// completed passes an answer on that the server waits for.
func (d *Devices) completed(body, msg []byte) (Out, error) {
	r := wire.Read(body)
	id, number, status := r.U32(), r.U32(), r.U32()
	if err := r.End("an answer of a device"); err != nil {
		return Out{}, err
	}
	q := request{id, number}
	a, known := d.asked[q]
	if !known {
		return Out{}, nil
	}
	delete(d.asked, q)
	dev := d.devices[id]
	if !d.may(dev.kind) {
		return refused(q, statusDenied), nil
	}
	h := handle{id, a.handle}
	if status == 0 {
		n := r.U32() // a handle, or a length
		d.done(dev, h, a, n)
	}
	if a.major == majorClose {
		d.closeFiles(func(o handle) bool { return o == h })
	}
	return Out{Server: [][]byte{msg}}, nil
}

// done follows what has been done with a file.
func (d *Devices) done(dev device, h handle, a asked, n uint32) {
	f := d.files[h]
	switch {
	case a.major == majorCreate && dev.kind&(policy.Drive|policy.Printer) != 0:
		path := strings.TrimRight(dev.name, ": ") + ":" + a.path
		d.files[handle{h.device, n}] = &openFile{path: path}
	case f == nil:
	case a.major == majorRead:
		f.read += uint64(n)
	case a.major == majorWrite:
		f.wrote += uint64(n)
	case a.major == majorSet && a.class == classRename:
		to := strings.TrimRight(dev.name, ": ") + ":" + a.path
		d.note(recording.Event{Kind: "file", Op: "rename", Path: f.path, To: to, Detail: dev.kind.String()})
		f.path = to
	case a.major == majorSet && a.class == classDelete:
		d.note(recording.Event{Kind: "file", Op: "remove", Path: f.path, Detail: dev.kind.String()})
	}
}

// closeFiles writes down what became of files, and forgets them.
func (d *Devices) closeFiles(which func(handle) bool) {
	for h, f := range d.files {
		if !which(h) {
			continue
		}
		delete(d.files, h)
		e := recording.Event{Kind: "file", Path: f.path, In: int64(f.read), Out: int64(f.wrote), Detail: d.devices[h.device].kind.String()}
		switch {
		case f.wrote > 0:
			e.Op = "download"
		case f.read > 0:
			e.Op = "upload"
		default:
			continue // looked at
		}
		d.note(e)
	}
}

// Close writes down what has not come to its end.
func (d *Devices) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closeFiles(func(handle) bool { return true })
}
