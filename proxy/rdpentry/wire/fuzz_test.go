package wire

import (
	"bytes"
	"testing"
)

// Every reader is given anything at all; what it takes, it takes again after
// it was written. The corpus lies in testdata/fuzz.

func FuzzReader(f *testing.F) {
	f.Add(DataFrame([]byte("abc")))
	f.Add([]byte{0, 4, 1, 2, 3, 0, 0, 8})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b))
		for total := 0; ; {
			fr, err := r.Next()
			if err != nil {
				return
			}
			if total += len(fr.Raw); total > len(b) || len(fr.Body) > len(fr.Raw) {
				t.Fatal("more was read than there is")
			}
		}
	})
}

func FuzzConnection(f *testing.F) {
	f.Add(ConnectionRequest{Negotiation: true, Protocols: 3}.Frame()[4:])
	f.Add(ConnectionConfirm{Negotiation: true, Protocol: 1}.Frame()[4:])
	f.Add(ConnectionConfirm{Failure: 5}.Frame()[4:])
	f.Add(connectionFrame(tpduRequest, 0, []byte("Cookie: mstshash=x\r\n\x01\x00\x08\x00\x03\x00\x00\x00"))[4:])
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseConnectionRequest(b); err == nil {
			if again, err := ParseConnectionRequest(r.Frame()[4:]); err != nil || again.Protocols != r.Protocols {
				t.Fatalf("%+v became %+v, %v", r, again, err)
			}
		}
		if r, err := ParseConnectionConfirm(b); err == nil {
			if again, err := ParseConnectionConfirm(r.Frame()[4:]); err != nil || again != r && r.Failure == 0 {
				t.Fatalf("%+v became %+v, %v", r, again, err)
			}
		}
	})
}

func FuzzMCS(f *testing.F) {
	f.Add(MCS{Kind: SendDataRequest, User: 1007, Channel: 1003, Data: []byte("x")}.Frame()[7:])
	f.Add(MCS{Kind: DisconnectUltimatum, Reason: 3}.Frame()[7:])
	f.Add(MCS{Kind: ChannelJoinConfirm, User: 1007, Channel: 1003}.Frame()[7:])
	f.Add(ConnectInitial([]byte("x"))[7:])
	f.Add(ConnectResponse([]byte("x"))[7:])
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := ParseMCS(b); err == nil && len(p.Data) <= MaxData {
			again, err := ParseMCS(p.Frame()[7:])
			if err != nil || again.Kind != p.Kind || again.Channel != p.Channel || !bytes.Equal(again.Data, p.Data) {
				t.Fatalf("%+v became %+v, %v", p, again, err)
			}
		}
		ParseConnectInitial(b)
		ParseConnectResponse(b)
	})
}

func FuzzGCC(f *testing.F) {
	f.Add(ClientData{Core: make(Core, coreMax), Channels: []Channel{{"rdpsnd", 1}}, Monitors: monitors(1)}.Bytes(true))
	f.Add(ServerData{IO: 1003, Channels: []uint16{1004}, Message: 1005}.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := ParseClientData(b); err == nil {
			d.Core.SetDepth24()
			d.Core.SetSelected(1)
			if data := d.Bytes(true); len(data) <= maxPER {
				if again, err := ParseClientData(data); err != nil || len(again.Channels) != len(d.Channels) {
					t.Fatalf("%+v became %+v, %v", d, again, err)
				}
			}
		}
		if d, err := ParseServerData(b); err == nil {
			if again, err := ParseServerData(d.Bytes()); err != nil || again.IO != d.IO || len(again.Channels) != len(d.Channels) {
				t.Fatalf("%+v became %+v, %v", d, again, err)
			}
		}
	})
}

func FuzzClientInfo(f *testing.F) {
	f.Add(ClientInfo{Flags: infoUnicode, User: "ideo", Password: "x", Extended: true, Zone: make([]byte, zoneLen)}.Bytes()[4:])
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := ParseClientInfo(b)
		if err != nil {
			return
		}
		i.Recordable()
		if again, err := ParseClientInfo(i.Bytes()[4:]); err != nil || again.User != i.User {
			t.Fatalf("user %q became %q, %v", i.User, again.User, err)
		}
	})
}

func FuzzShare(f *testing.F) {
	f.Add(ErrorInfo(1, 2).Bytes())
	f.Add(Share{Kind: DemandActive, Body: Active{Source: []byte("RDP\x00"), Capabilities: []Capability{{2, make([]byte, 24)}}}.Bytes()}.Bytes())
	f.Add(Secured(SecLicense, ValidClient()))
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			s, rest, err := ParseShare(b)
			if err != nil {
				return
			}
			if len(rest) >= len(b) {
				t.Fatal("nothing was read")
			}
			for _, confirm := range []bool{false, true} {
				if a, err := ParseActive(s.Body, confirm); err == nil {
					a.Desktop()
					if again, err := ParseActive(a.Bytes(), confirm); err != nil || len(again.Capabilities) != len(a.Capabilities) {
						t.Fatalf("%+v became %+v, %v", a, again, err)
					}
				}
			}
			if d, err := ParseData(s.Body); err == nil {
				LogonName(d.Body)
				UpdateKind(d.Body)
				ParsePointer(d.Body)
			}
			ParseSecurity(b)
			b = rest
		}
	})
}

func FuzzFastPath(f *testing.F) {
	f.Add([]byte{FastBitmap, 2, 0, 1, 0, 0x80 | FastBitmap, 0x21, 1, 0, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 0 {
			LastMove(b[0], b[1:])
		}
		LastSlowMove(b)
		for len(b) > 0 {
			u, rest, err := NextUpdate(b)
			if err != nil {
				return
			}
			if len(u.Data)+len(rest) >= len(b) {
				t.Fatal("nothing was read")
			}
			b = rest
		}
	})
}
