package channels

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// The PDUs that both sides of dynamic channels send, as MS-RDPEDYC 2.2 draws
// them, with numbers of one byte.
func version(v byte) []byte { return []byte{0x50, 0, v, 0, 1, 0, 2, 0, 3, 0, 4, 0} }
func answer(v byte) []byte  { return []byte{0x50, 0, v, 0} }
func create(id byte, name string) []byte {
	return append(append([]byte{0x10, id}, name...), 0)
}
func created(id byte, status uint32) []byte {
	return binary.LittleEndian.AppendUint32([]byte{0x10, id}, status)
}
func data(id byte, text string) []byte             { return append([]byte{0x30, id}, text...) }
func dataFirst(id, total byte, text string) []byte { return append([]byte{0x20, id, total}, text...) }
func closing(id byte) []byte                       { return []byte{0x40, id} }

// A talk is one filter with what it has let through.
type talk struct {
	t *testing.T
	d *Dynamic
}

func newTalk(t *testing.T, decide func(string) Way) talk { return talk{t, NewDynamic(decide)} }

// down and up hand the filter a message and want it to send on these.
func (k talk) down(msg []byte, server, client [][]byte) {
	k.t.Helper()
	k.same("server", msg, k.d.Down, server, client)
}

func (k talk) up(msg []byte, server, client [][]byte) {
	k.t.Helper()
	k.same("client", msg, k.d.Up, server, client)
}

func (k talk) same(from string, msg []byte, pass func([]byte) (Out, error), server, client [][]byte) {
	k.t.Helper()
	given := bytes.Clone(msg)
	out, err := pass(msg)
	if err != nil {
		k.t.Fatalf("% x of the %s: %v", given, from, err)
	}
	same := func(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }
	if !same(out.Server, server) || !same(out.Client, client) {
		k.t.Fatalf("% x of the %s became\n%x for the server, %x for the client, want\n%x and %x", given, from, out.Server, out.Client, server, client)
	}
}

func some(msgs ...[]byte) [][]byte { return msgs }

func only(names ...string) func(string) Way {
	return func(name string) Way { return Way{Open: slices.Contains(names, name)} }
}

func TestADynamicChannelThatMayNotBeOpenedIsRefusedByTheGate(t *testing.T) {
	k := newTalk(t, only("ECHO"))
	k.down(version(1), nil, some(version(1)))
	k.up(answer(1), some(answer(1)), nil)
	k.down(create(7, "URBDRC"), some(created(7, notFound)), nil)
	k.down(data(7, "plug in"), nil, nil)
	k.up(data(7, "sneaked"), nil, nil)
	k.down(closing(7), nil, nil)
	k.up(closing(7), nil, nil)
	k.up(created(7, 0), nil, nil)

	k.down(create(8, "ECHO"), nil, some(create(8, "ECHO")))
	k.down(data(8, "early"), nil, nil)
	k.up(data(8, "early"), nil, nil)
	k.up(created(8, 0), some(created(8, 0)), nil)
	k.down(data(8, "ping"), nil, some(data(8, "ping")))
	k.up(data(8, "ping"), some(data(8, "ping")), nil)
	k.down(closing(8), nil, some(closing(8)))
	k.up(closing(8), some(closing(8)), nil)
	k.up(data(8, "late"), nil, nil)

	k.down(create(9, "ECHO"), nil, some(create(9, "ECHO")))
	k.up(created(9, 0x80004005), some(created(9, 0x80004005)), nil) // the client does not want it
	k.up(data(9, "late"), nil, nil)
}

func TestANumberIsUsedAgainBeforeTheClientHasClosedIt(t *testing.T) {
	k := newTalk(t, only("ECHO"))
	k.down(create(8, "ECHO"), nil, some(create(8, "ECHO")))
	k.up(created(8, 0), some(created(8, 0)), nil)
	k.down(closing(8), nil, some(closing(8)))
	k.down(create(8, "ECHO"), nil, some(create(8, "ECHO")))
	k.up(closing(8), some(closing(8)), nil) // of the first
	k.up(created(8, 0), some(created(8, 0)), nil)
	k.down(data(8, "ping"), nil, some(data(8, "ping")))
	k.up(closing(8), some(closing(8)), nil)
	k.down(data(8, "ping"), nil, nil)
}

func TestCompressionIsNegotiatedAway(t *testing.T) {
	k := newTalk(t, only("ECHO"))
	k.down(version(3), nil, some(version(2)))
	if _, err := k.d.Up(answer(3)); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("a version nobody offered is taken: %v", err)
	}
	for name, msg := range map[string][]byte{
		"compressed data":       {0x70, 8, 0xe0, 1},
		"compressed first data": {0x60, 8, 2, 0xe0, 1},
		"a move to UDP":         {0x80, 0, 0, 0},
		"no command":            {0, 8},
		"nothing":               {},
		"a number of no size":   {0x33, 8, 1, 2, 3, 4, 5},
		"a name without end":    {0x10, 9, 'E', 'C'},
		"no name":               {0x10, 9, 0},
		"version zero":          {0x50, 0, 0, 0},
		"half a version":        {0x50, 0},
	} {
		if _, err := k.d.Down(msg); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s passes: %v", name, err)
		}
	}
	k.down(create(8, "ECHO"), nil, some(create(8, "ECHO")))
	if _, err := k.d.Down(create(8, "ECHO")); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("a channel is opened twice: %v", err)
	}
}

func TestWhatMayNoLongerPassIsClosedOnBothSides(t *testing.T) {
	may := true
	k := newTalk(t, func(string) Way { return Way{Open: may, Still: func() bool { return may }} })
	k.down(create(8, "URBDRC"), nil, some(create(8, "URBDRC")))
	k.up(created(8, 0), some(created(8, 0)), nil)
	k.up(data(8, "x"), some(data(8, "x")), nil)
	may = false
	k.up(data(8, "x"), some(closing(8)), some(closing(8)))
	k.up(data(8, "x"), nil, nil)
	k.down(data(8, "x"), nil, nil)
	k.down(closing(8), nil, nil)
	k.up(closing(8), nil, nil) // the client has heard it; the server knows
	if len(k.d.ways) != 0 {
		t.Errorf("%d channels are left", len(k.d.ways))
	}
}

// capitals is a tap that shouts downwards and says everything twice upwards.
type capitals struct{}

func (capitals) Up(msg []byte) ([][]byte, error)   { return [][]byte{msg, msg}, nil }
func (capitals) Down(msg []byte) ([][]byte, error) { return [][]byte{bytes.ToUpper(msg)}, nil }
func (capitals) Limit() int                        { return 4000 }

func TestATapSeesWholeMessagesAndSaysWhatIsSentOn(t *testing.T) {
	k := newTalk(t, func(string) Way { return Way{Open: true, Tap: capitals{}} })
	k.down(create(8, "X"), nil, some(create(8, "X")))
	k.up(created(8, 0), some(created(8, 0)), nil)
	k.down(dataFirst(8, 6, "abc"), nil, nil)
	k.up(data(8, "up"), some(data(8, "up"), data(8, "up")), nil)
	k.down(data(8, "de"), nil, nil)
	k.down(data(8, "f"), nil, some(data(8, "ABCDEF")))
	k.down(data(8, "g"), nil, some(data(8, "G")))

	// A long one is cut again, and is the same when it is put together.
	long := bytes.Repeat([]byte("0123456789"), 400)
	var whole fragments
	out, err := k.d.Down(append([]byte{0x24, 8, 0xa0, 0x0f}, long[:3000]...))
	if err != nil || out.Client != nil {
		t.Fatal(out, err)
	}
	if out, err = k.d.Down(append([]byte{0x30, 8}, long[3000:]...)); err != nil || len(out.Client) != 3 {
		t.Fatalf("%d PDUs, %v", len(out.Client), err)
	}
	for i, pdu := range out.Client {
		if len(pdu) > chunkLen {
			t.Errorf("PDU %d has %d bytes", i, len(pdu))
		}
		p, err := parseDynamic(pdu)
		if err != nil {
			t.Fatal(err)
		}
		msg, ok, err := whole.add(p, 4000)
		if err != nil || ok != (i == 2) || ok && !bytes.Equal(msg, long) {
			t.Errorf("fragment %d: %v, %v", i, ok, err)
		}
	}
	for name, msg := range map[string][]byte{
		"an endless message":       append([]byte{0x28, 8}, 0xff, 0xff, 0xff, 0xff),
		"one above the limit":      append([]byte{0x30, 8}, make([]byte, 4001)...),
		"more than was said":       dataFirst(8, 2, "abc"),
		"a message within another": dataFirst(8, 2, "a"),
	} {
		k := newTalk(t, func(string) Way { return Way{Open: true, Tap: capitals{}} })
		k.down(create(8, "X"), nil, some(create(8, "X")))
		k.up(created(8, 0), some(created(8, 0)), nil)
		k.down(data(8, ""), nil, some(data(8, "")))
		if name == "a message within another" {
			k.down(dataFirst(8, 2, "a"), nil, nil)
		}
		if _, err := k.d.Down(msg); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s passes: %v", name, err)
		}
	}
}

func TestOfATappedChannelThereIsOneAtATime(t *testing.T) {
	asked := 0
	k := newTalk(t, func(string) Way { asked++; return Way{Open: true, Tap: capitals{}} })
	k.down(create(1, "X"), nil, some(create(1, "X")))
	k.down(create(2, "X"), some(created(2, notFound)), nil)
	k.down(create(3, "Y"), nil, some(create(3, "Y")))
	k.down(closing(1), nil, some(closing(1)))
	k.down(create(2, "X"), nil, some(create(2, "X")))
	if asked != 3 {
		t.Errorf("asked %d times", asked)
	}
}

func TestDynamicChannelsAreBounded(t *testing.T) {
	k := newTalk(t, only("ECHO"))
	wide := func(i int) []byte {
		return append(binary.LittleEndian.AppendUint32([]byte{0x12}, uint32(i)), "ECHO\x00"...)
	}
	for i := range maxWays {
		k.down(wide(i), nil, some(wide(i)))
	}
	refused := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32([]byte{0x12}, maxWays), notFound)
	k.down(wide(maxWays), some(refused), nil)
	for range 1000 {
		k.down(closing(1), nil, some(closing(1)))
		k.down(create(1, "ECHO"), nil, some(create(1, "ECHO")))
	}
	if n := len(k.d.ways[1].echoes); n != maxEchoes {
		t.Errorf("%d echoes are waited for", n)
	}
}
