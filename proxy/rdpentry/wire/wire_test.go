package wire

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// body reads the one frame there is.
func body(t interface{ Fatalf(string, ...any) }, frame []byte) []byte {
	f, err := NewReader(bytes.NewReader(frame)).Next()
	if err != nil {
		t.Fatalf("the frame % x: %v", frame, err)
	}
	return f.Body
}

func payload(t interface{ Fatalf(string, ...any) }, frame []byte) []byte {
	p, err := Payload(body(t, frame))
	if err != nil {
		t.Fatalf("the frame % x: %v", frame, err)
	}
	return p
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	t.Run("connection request", rapid.MakeCheck(func(t *rapid.T) {
		want := ConnectionRequest{Negotiation: true, Flags: rapid.Byte().Draw(t, "flags"), Protocols: rapid.Uint32().Draw(t, "protocols")}
		got, err := ParseConnectionRequest(body(t, want.Frame()))
		same(t, got, want, err)
	}))
	t.Run("connection confirm", rapid.MakeCheck(func(t *rapid.T) {
		want := ConnectionConfirm{Negotiation: true}
		if rapid.Bool().Draw(t, "failed") {
			want.Failure = rapid.Uint32Range(1, 99).Draw(t, "failure")
		} else {
			want.Flags, want.Protocol = rapid.Byte().Draw(t, "flags"), rapid.Uint32().Draw(t, "protocol")
		}
		got, err := ParseConnectionConfirm(body(t, want.Frame()))
		same(t, got, want, err)
	}))
	t.Run("MCS", rapid.MakeCheck(func(t *rapid.T) {
		want := MCS{Kind: rapid.SampledFrom([]int{ErectDomainRequest, DisconnectUltimatum, AttachUserRequest,
			AttachUserConfirm, ChannelJoinRequest, ChannelJoinConfirm, SendDataRequest, SendDataIndication}).Draw(t, "kind")}
		switch want.Kind {
		case DisconnectUltimatum:
			want.Reason = rapid.ByteRange(0, 4).Draw(t, "reason")
		case AttachUserConfirm, ChannelJoinRequest, ChannelJoinConfirm, SendDataRequest, SendDataIndication:
			want.User = rapid.Uint16Min(userBase).Draw(t, "user")
		}
		switch want.Kind {
		case AttachUserConfirm, ChannelJoinConfirm:
			want.Result = rapid.ByteRange(0, 15).Draw(t, "result")
		case SendDataRequest, SendDataIndication:
			want.Data = rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "data")
		}
		if want.Kind > AttachUserConfirm {
			want.Channel = rapid.Uint16().Draw(t, "channel")
		}
		got, err := ParseMCS(payload(t, want.Frame()))
		same(t, got, want, err)
	}))
	t.Run("client data", rapid.MakeCheck(func(t *rapid.T) {
		want := ClientData{Core: rapid.SliceOfN(rapid.Byte(), coreLen, coreMax).Draw(t, "core")}
		for range rapid.IntRange(0, MaxChannels).Draw(t, "channels") {
			want.Channels = append(want.Channels, Channel{rapid.StringMatching(`[a-z]{1,7}`).Draw(t, "name"), rapid.Uint32().Draw(t, "options")})
		}
		if want.Console = rapid.Bool().Draw(t, "console"); want.Console {
			want.Session = rapid.Uint32().Draw(t, "session")
		}
		want.Monitors = monitors(rapid.IntRange(1, maxMonitors).Draw(t, "monitors"))
		data, err := ParseConnectInitial(payload(t, ConnectInitial(want.Bytes(true))))
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseClientData(data)
		same(t, got, want, err)
	}))
	t.Run("server data", rapid.MakeCheck(func(t *rapid.T) {
		ids := rapid.SliceOfNDistinct(rapid.Uint16Min(1), 2, 2+MaxChannels, rapid.ID[uint16]).Draw(t, "ids")
		want := ServerData{
			Version: rapid.Uint32().Draw(t, "version"), Requested: rapid.Uint32().Draw(t, "requested"),
			IO: ids[0], Message: ids[1], Channels: ids[2:],
		}
		data, err := ParseConnectResponse(payload(t, ConnectResponse(want.Bytes())))
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseServerData(data)
		same(t, got, want, err)
	}))
	t.Run("client info", rapid.MakeCheck(func(t *rapid.T) {
		text := rapid.StringMatching(`[a-zA-Zżółć\\@. -]{0,30}`)
		want := ClientInfo{
			CodePage: rapid.Uint32().Draw(t, "code page"), Flags: rapid.Uint32().Draw(t, "flags") | infoUnicode,
			Domain: text.Draw(t, "domain"), User: text.Draw(t, "user"), Password: text.Draw(t, "password"),
			Shell: text.Draw(t, "shell"), Dir: text.Draw(t, "dir"),
		}
		if want.Extended = rapid.Bool().Draw(t, "extended"); want.Extended {
			want.Family, want.Address, want.ClientDir = 2, text.Draw(t, "address"), text.Draw(t, "client dir")
			want.Zone = rapid.SliceOfN(rapid.Byte(), zoneLen, zoneLen).Draw(t, "zone")
			want.Perf = rapid.Uint32().Draw(t, "perf")
		}
		flags, rest, err := ParseSecurity(want.Bytes())
		if err != nil || flags != SecInfo {
			t.Fatalf("flags %#x, %v", flags, err)
		}
		got, err := ParseClientInfo(rest)
		same(t, got, want, err)
	}))
	t.Run("capabilities", rapid.MakeCheck(func(t *rapid.T) {
		want := Active{
			Confirm: rapid.Bool().Draw(t, "confirm"), Share: rapid.Uint32().Draw(t, "share"),
			Source: rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "source"),
		}
		for range rapid.IntRange(0, maxCapabilities).Draw(t, "sets") {
			want.Capabilities = append(want.Capabilities, Capability{rapid.Uint16().Draw(t, "kind"), rapid.SliceOfN(rapid.Byte(), 0, 30).Draw(t, "set")})
		}
		got, err := ParseActive(want.Bytes(), want.Confirm)
		same(t, got, want, err)
	}))
	t.Run("share data", rapid.MakeCheck(func(t *rapid.T) {
		want := Data{Share: rapid.Uint32().Draw(t, "share"), Stream: 1, Kind: rapid.Byte().Draw(t, "kind"), Body: rapid.SliceOfN(rapid.Byte(), 0, 99).Draw(t, "body")}
		want.Length = uint16(len(want.Body) + 4)
		s, rest, err := ParseShare(NewData(want.Share, ServerUser, want.Kind, want.Body).Bytes())
		if err != nil || len(rest) != 0 || s.Kind != ShareData || s.Source != ServerUser {
			t.Fatalf("%+v, %d bytes left, %v", s, len(rest), err)
		}
		got, err := ParseData(s.Body)
		same(t, got, want, err)
	}))
}

func same[T any](t *rapid.T, got, want T, err error) {
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("read back differs (-want +got):\n%s", diff)
	}
}

func TestFramesAreReadWhole(t *testing.T) {
	long := append([]byte{0, 0x80 | 300>>8, 300 & 0xff}, make([]byte, 297)...)
	stream := append(DataFrame([]byte("abc")), 0, 4, 'x', 'y')
	stream = append(stream, long...)
	r := NewReader(bytes.NewReader(stream))
	for i, want := range []struct {
		fast bool
		body int
	}{{false, 6}, {true, 2}, {true, 297}} {
		f, err := r.Next()
		if err != nil || f.Fast != want.fast || len(f.Body) != want.body {
			t.Fatalf("frame %d: fast %v, %d bytes, %v", i, f.Fast, len(f.Body), err)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("after the last frame: %v", err)
	}
	for _, bad := range []struct {
		bytes string
		want  error
	}{
		{"GET / HTTP/1.1\r\n", ErrMalformed}, {"\x03\x00\x00\x06", ErrMalformed}, {"\x00\x00", ErrMalformed}, {"\x00\x80\x01", ErrMalformed},
		{"\x03", io.ErrUnexpectedEOF}, {"\x03\x00\x00", io.ErrUnexpectedEOF}, {"\x03\x00\x00\x10abc", io.ErrUnexpectedEOF},
		{"\x00\x81", io.ErrUnexpectedEOF}, {"\x00\x10abc", io.ErrUnexpectedEOF},
	} {
		if _, err := NewReader(bytes.NewReader([]byte(bad.bytes))).Next(); !errors.Is(err, bad.want) {
			t.Errorf("%q: %v, want %v", bad.bytes, err, bad.want)
		}
	}
}

func TestACookieIsAHintAndMayBeThere(t *testing.T) {
	neg := []byte{1, 0, 8, 0, 3, 0, 0, 0}
	for _, c := range []struct {
		before, cookie string
		fails          bool
	}{
		{"", "", false},
		{"Cookie: mstshash=ideo\r\n", "ideo", false},
		{"Cookie: msts=3640205228.15629.0000\r\n", "", false},
		{"Cookie: mstshash=ideo", "", true},
	} {
		got, err := ParseConnectionRequest(body(t, connectionFrame(tpduRequest, 0, append([]byte(c.before), neg...))))
		if c.fails != (err != nil) || got.Cookie != c.cookie || !c.fails && got.Protocols != 3 {
			t.Errorf("%q: %+v, %v", c.before, got, err)
		}
	}
}

func TestTheReconnectCookieIsLeftOut(t *testing.T) {
	i := ClientInfo{Flags: infoUnicode, User: "ideo", Extended: true, Zone: make([]byte, zoneLen)}
	b := i.Bytes()
	b = append(b[:len(b)-2], 28, 0)
	b = append(b, make([]byte, 28)...)
	got, err := ParseClientInfo(b[4:])
	if err != nil {
		t.Fatal(err)
	}
	if again := got.Bytes(); len(again) != len(b)-28 || again[len(again)-2] != 0 || again[len(again)-1] != 0 {
		t.Errorf("%d bytes of %d, the cookie's length % x", len(again), len(b), again[len(again)-2:])
	}
}

func TestTheServerTellsWhoLoggedIn(t *testing.T) {
	long := le.AppendUint32(nil, 1)
	long = append(long, 1, 0, 0x40, 2, 0, 0, 7, 0, 0, 0)
	long = le.AppendUint32(long, 6)
	long = le.AppendUint32(long, 10)
	long = append(long, make([]byte, 558)...)
	long = appendUTF16(long, "LA\x00ideo\x00")
	short := append(make([]byte, 8), appendUTF16(nil, "LAB")...)
	short = append(short, make([]byte, 8+52-len(short)+4)...)
	short = append(short, appendUTF16(nil, "ideo")...)
	short = append(short, make([]byte, 576-len(short))...)
	for _, c := range []struct {
		body         []byte
		domain, user string
	}{{long, "LA", "ideo"}, {short, "LAB", "ideo"}} {
		domain, user, ok := LogonName(c.body)
		if !ok || domain != c.domain || user != c.user {
			t.Errorf("%q %q %v, want %q %q", domain, user, ok, c.domain, c.user)
		}
	}
	if _, _, ok := LogonName([]byte{2, 0, 0, 0}); ok {
		t.Error("a plain notification told a name")
	}
}

// monitors is the layout of some monitors beside each other.
func monitors(n int) []byte {
	b := le.AppendUint32(le.AppendUint32(nil, 0), uint32(n))
	for i := range n {
		for _, v := range []int{i * 1920, 0, i*1920 + 1919, 1079, min(1, 1-i)} {
			b = le.AppendUint32(b, uint32(int32(v)))
		}
	}
	return b
}

func TestMonitorsAreALayoutOrNothing(t *testing.T) {
	edit := func(n, at int, v uint32) []byte {
		b := monitors(n)
		le.PutUint32(b[at:], v)
		return b
	}
	for name, c := range map[string]struct {
		body []byte
		ok   bool
		kept int
	}{
		"two":                {monitors(2), true, 48},
		"sixteen":            {monitors(16), true, 328},
		"seventeen":          {monitors(17), false, 0},
		"none":               {edit(1, 4, 0), true, 0},
		"65535 in one":       {edit(1, 4, 65535), false, 0},
		"2^32-1 in one":      {edit(1, 4, 0xffffffff), false, 0},
		"half a header":      {[]byte{0, 0, 0, 0, 1}, false, 0},
		"one cut short":      {monitors(1)[:27], false, 0},
		"more than is said":  {edit(2, 4, 1), true, 28},
		"turned inside out":  {edit(1, 8, 1920), false, 0},
		"65536 wide":         {edit(1, 16, 65535), false, 0},
		"wider than numbers": {edit(1, 8, 0x80000000), false, 0},
	} {
		data := ClientData{Core: make(Core, coreMax), Monitors: c.body}.Bytes(true)
		d, err := ParseClientData(data)
		if (err == nil) != c.ok || len(d.Monitors) != c.kept {
			t.Errorf("%s: %d bytes kept, %v", name, len(d.Monitors), err)
		}
	}
}

func TestEachChannelOfAServerHasANumberOfItsOwn(t *testing.T) {
	for name, c := range map[string]struct {
		d  ServerData
		ok bool
	}{
		"as it should be":   {ServerData{IO: 1003, Channels: []uint16{1004, 1005}, Message: 1006}, true},
		"closed ones":       {ServerData{IO: 1003, Channels: []uint16{0, 0}}, true},
		"twice the same":    {ServerData{IO: 1003, Channels: []uint16{1004, 1004}}, false},
		"the I/O channel":   {ServerData{IO: 1003, Channels: []uint16{1003}}, false},
		"the message one":   {ServerData{IO: 1003, Channels: []uint16{1004}, Message: 1004}, false},
		"no I/O channel":    {ServerData{Channels: []uint16{1004}}, false},
		"message as I/O's":  {ServerData{IO: 1003, Message: 1003}, false},
		"65535 as a number": {ServerData{IO: 65535, Channels: []uint16{65534}}, true},
	} {
		if _, err := ParseServerData(c.d.Bytes()); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A client that could go on by UDP (MS-RDPBCGR 2.2.1.3.8), for which it needs a
// message channel (2.2.1.3.7), is made one that could not.
func TestTheServerIsToldOfNoUDP(t *testing.T) {
	blocks := appendBlock(nil, clientCore, make(Core, 216))
	blocks = appendBlock(blocks, 0xc006, make([]byte, 4))
	blocks = appendBlock(blocks, 0xc00a, []byte{5, 3, 0, 0})
	tail := append([]byte{0, 8, 0, 0x10, 0, 1, 0xc0, 0, 'D', 'u', 'c', 'a'}, appendPER(nil, len(blocks))...)
	tail = append(tail, blocks...)
	d, err := ParseClientData(append(appendPER(slices.Clone(gccObject), len(tail)), tail...))
	if err != nil {
		t.Fatal(err)
	}
	for _, extended := range []bool{true, false} {
		_, rest, _ := bytes.Cut(d.Bytes(extended), []byte("Duca"))
		c := cursor{b: rest}
		c.per()
		if err := c.blocks(func(kind uint16, _ []byte) error {
			if kind == 0xc006 || kind == 0xc00a {
				t.Errorf("the server is told %#x", kind)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
}
