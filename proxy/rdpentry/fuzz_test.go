package rdpentry

import (
	"bytes"
	"context"
	"image"
	"net"
	"os"
	"testing"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry/codec"
	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// A fuzzed flow has two peers that take everything and say nothing.
func fuzzedFlow(f *testing.F) func(t *testing.T) *flow {
	g := &gate{t: f}
	g.verdict.Store(&policy.Verdict{Person: &policy.Person{}, Server: &policy.Server{}, Grant: &policy.Grant{Redirection: policy.AllRedirections}})
	g.decide = func(string) policy.Verdict { return g.Verdict() }
	// A recording is made for many flows: making one costs a hundred times what
	// is tried.
	var w *desktop.Writer
	var root *os.Root
	used, dir := 0, f.TempDir()
	end := func() {
		if w != nil {
			w.Close("")
			root.Close()
		}
	}
	f.Cleanup(end)
	return func(t *testing.T) *flow {
		if used++; used%1000 == 1 {
			end()
			os.RemoveAll(dir)
			os.Mkdir(dir, 0o755)
			var err error
			if root, err = os.OpenRoot(dir); err != nil {
				t.Fatal(err)
			}
			if w, err = desktop.Create(root, desktop.Name, recordingHeader); err != nil {
				t.Fatal(err)
			}
		}
		s, err := screen.New(64, 48)
		if err != nil {
			t.Fatal(err)
		}
		fl := (&Entry{}).newFlow(sink{}, g)
		fl.server = newSide(sink{})
		fl.desktop = &desktopTap{writer: w, screen: s, depth: 24}
		fl.data.Core = make(wire.Core, 216)
		fl.serverIO, fl.us, fl.user = playedIO, playedUser, 1006
		fl.channels = channelsFor([]wire.Channel{{Name: "cliprdr"}, {Name: "rdpsnd"}, {Name: "drdynvc"}, {Name: "rdpdr"}})
		fl.openChannels()
		for i, ch := range fl.channels {
			ch.server = playedFirst + uint16(i)
		}
		return fl
	}
}

// A sink is a connection that takes everything.
type sink struct{ net.Conn }

func (sink) Write(p []byte) (int, error) { return len(p), nil }
func (sink) Close() error                { return nil }

func (sink) SetReadDeadline(time.Time) error  { return nil }
func (sink) SetWriteDeadline(time.Time) error { return nil }

// FuzzServer is a server that says anything once the person is in; begun says
// whether there is a desktop already.
func FuzzServer(f *testing.F) {
	update := codec.AppendBitmaps(nil, codec.Raw(1, 1, 4, 4, make([]uint32, 16), 4, 24, maxBitmap)...)
	demand := wire.Active{Share: playedShare, Capabilities: ownCapabilities(64, 48, 24)}.Bytes()
	io := func(data []byte) []byte {
		return wire.MCS{Kind: wire.SendDataIndication, User: wire.ServerUser, Channel: playedIO, Data: data}.Frame()
	}
	f.Add(true, fastFrame(wire.FastBitmap, update))
	f.Add(true, []byte{0, 7, 0x80 | wire.FastPointerMoved, 0x21, 1, 0, 9})
	f.Add(false, io(wire.ValidClient()))
	f.Add(false, io(wire.Share{Kind: wire.DemandActive, Body: demand}.Bytes()))
	f.Add(true, io(wire.NewData(1, 1002, wire.DataUpdate, update).Bytes()))
	f.Add(true, io(wire.NewData(1, 1002, wire.DataPointer, []byte{1, 0, 0, 0, 0, 0, 0, 0}).Bytes()))
	f.Add(true, io(wire.NewData(1, 1002, wire.DataLogon, make([]byte, 580)).Bytes()))
	flow := fuzzedFlow(f)
	f.Fuzz(func(t *testing.T, begun bool, b []byte) {
		fl := flow(t)
		fl.desktop.begun.Store(begun)
		fl.share.set(1, begun)
		fl.server.frames = wire.NewReader(bytes.NewReader(b))
		for range 64 {
			frame, err := fl.server.frames.Next()
			if err != nil || fl.pass(frame) != nil {
				return
			}
		}
	})
}

// FuzzClient is a client that says anything once it is in.
func FuzzClient(f *testing.F) {
	io := func(data []byte) []byte {
		return wire.MCS{Kind: wire.SendDataRequest, User: 1006, Channel: clientIO, Data: data}.Frame()
	}
	confirm := wire.Active{Confirm: true, Share: 1, Capabilities: ownCapabilities(64, 48, 24)}.Bytes()
	f.Add(true, []byte{1 << 2, 9, 1 << 5, 0, 8, 1, 0, 2, 0})
	f.Add(true, io(wire.Share{Kind: wire.ConfirmActive, Body: confirm}.Bytes()))
	f.Add(true, io(wire.NewData(1, 1006, wire.DataInput, make([]byte, 16)).Bytes()))
	f.Add(false, io(wire.Secured(wire.SecLicense, []byte{1, 2, 3, 4})))
	flow := fuzzedFlow(f)
	f.Fuzz(func(t *testing.T, begun bool, b []byte) {
		fl := flow(t)
		fl.desktop.begun.Store(begun)
		fl.share.set(1, begun)
		fl.client.frames = wire.NewReader(bytes.NewReader(b))
		fl.up()
	})
}

// FuzzGreeting is a client that says anything from its first byte, without
// TLS in between.
func FuzzGreeting(f *testing.F) {
	w := usual()
	greeting := wire.ConnectInitial(wire.ClientData{Core: make(wire.Core, 216), Channels: w.channels}.Bytes(true))
	greeting = append(greeting, wire.MCS{Kind: wire.ErectDomainRequest}.Frame()...)
	greeting = append(greeting, wire.MCS{Kind: wire.AttachUserRequest}.Frame()...)
	greeting = append(greeting, wire.MCS{Kind: wire.ChannelJoinRequest, User: 1006, Channel: clientIO}.Frame()...)
	greeting = append(greeting, wire.MCS{Kind: wire.SendDataRequest, User: 1006, Channel: clientIO, Data: w.info.Bytes()}.Frame()...)
	f.Add(greeting)
	flow := fuzzedFlow(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		fl := flow(t)
		fl.client.frames = wire.NewReader(bytes.NewReader(b))
		if fl.meet() != nil {
			return
		}
		fl.decide()
		width, height, depth := fl.page()
		message := messagePage(fl.denialText(fl.refusal(policy.NotServed, context.Canceled)), width, height)
		(&page{f: fl, depth: depth}).frames(message, image.Rect(0, 0, message.W, message.H), image.Point{})
	})
}
