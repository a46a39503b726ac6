package rdpentry

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pawelmojski/inside/netfilter/nettest"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry/codec"
	"github.com/pawelmojski/inside/proxy/rdpentry/rdptest"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// A conversation is what a real client and a real server have said to the
// gate, frame by frame, in the order in which it came and as it is within TLS.
// Those in testdata/conversations were made by INSIDE_CONVERSE=1 go test -run
// TestRecordConversations: xfreerdp 2.11 as the client; xrdp 0.9.21 and
// freerdp-shadow 2.11 as servers of a lab, where a person of the lab logs in,
// types and leaves. There is nothing of anybody else in them.
type conversation []said

// A said is one frame of a peer.
type said struct {
	server  bool
	frame   []byte
	damaged bool // by a test: the frame, or its place
}

const conversations = "testdata/conversations"

func (c conversation) save(name string) error {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	for _, s := range c {
		head := []byte{'c', 0, 0}
		if s.server {
			head[0] = 's'
		}
		binary.LittleEndian.PutUint16(head[1:], uint16(len(s.frame)))
		z.Write(append(head, s.frame...))
	}
	z.Close()
	return os.WriteFile(filepath.Join(conversations, name+".gz"), b.Bytes(), 0o644)
}

func loadConversation(t testing.TB, name string) conversation {
	t.Helper()
	var c conversation
	for _, s := range rdptest.Conversation(t, filepath.Join(conversations, name+".gz")) {
		c = append(c, said{server: s.Server, frame: s.Frame})
	}
	return c
}

// A stenographer writes a conversation down: it stands between the gate and
// both peers and ends TLS on its own.
type stenographer struct {
	t     testing.TB
	cert  tls.Certificate
	depth int // what the server is told the client wants; 0: as the gate says

	mu   sync.Mutex
	told conversation
}

func (s *stenographer) note(server bool, frame []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, said{server: server, frame: bytes.Clone(frame)})
}

// between carries one connection. What the peer says is noted, what the gate
// says is not.
func (s *stenographer) between(client, server net.Conn, peerIsServer bool) {
	defer client.Close()
	defer server.Close()
	request, err := wire.NewReader(client).Next()
	if err != nil {
		return
	}
	if !peerIsServer {
		s.note(false, request.Raw)
	}
	server.Write(request.Raw)
	confirm, err := wire.NewReader(server).Next()
	if err != nil {
		return
	}
	if peerIsServer {
		s.note(true, confirm.Raw)
	}
	client.Write(confirm.Raw)
	up := tls.Client(server, &tls.Config{InsecureSkipVerify: true})
	down := tls.Server(client, &tls.Config{Certificates: []tls.Certificate{s.cert}})
	if err := errors.Join(up.Handshake(), down.Handshake()); err != nil {
		s.t.Log(err)
		return
	}
	var pumps sync.WaitGroup
	pump := func(from, to net.Conn, fromServer bool) {
		pumps.Go(func() {
			defer to.Close()
			r := wire.NewReader(from)
			for first := true; ; first = false {
				f, err := r.Next()
				if err != nil {
					return
				}
				if fromServer == peerIsServer {
					s.note(fromServer, f.Raw)
				} else if first && peerIsServer && s.depth != 0 {
					f.Raw = deeper(s.t, f.Body, s.depth)
				}
				if _, err := to.Write(f.Raw); err != nil {
					return
				}
			}
		})
	}
	pump(down, up, false)
	pump(up, down, true)
	pumps.Wait()
}

// deeper changes how many bits a pixel has that the gate asks the server for.
func deeper(t testing.TB, body []byte, depth int) []byte {
	p, err := wire.Payload(body)
	if err != nil {
		t.Fatal(err)
	}
	data, err := wire.ParseConnectInitial(p)
	if err != nil {
		t.Fatal(err)
	}
	d, err := wire.ParseClientData(data)
	if err != nil {
		t.Fatal(err)
	}
	le.PutUint16(d.Core[136:], uint16(min(depth, 24))) // highColorDepth
	le.PutUint16(d.Core[138:], 0x000f)                 // supportedColorDepths
	if depth == 32 {
		d.Core.SetEarly(d.Core.Early() | wire.EarlyWant32)
	}
	return wire.ConnectInitial(d.Bytes(true))
}

// everyConversation are the names of all.
var everyConversation = []string{"xrdp", "shadow", "xrdp-16", "xrdp-32", "xrdp-open", "shadow-open"}

// permit makes the house permit what it permitted in a conversation: in those
// that are open, all there is, and the server's own graphics.
func (g *gate) permit(name string) {
	v := *g.verdict.Load()
	if strings.HasSuffix(name, "-open") {
		grant, server := *v.Grant, *v.Server
		grant.Redirection, server.NativeGraphics = policy.AllRedirections, true
		v.Grant, v.Server = &grant, &server
	} else {
		v.Grant, v.Server = &policy.Grant{ID: "1"}, &policy.Server{ID: "1", Name: "desk"}
	}
	g.verdict.Store(&v)
}

// A written visit goes to its server through the stenographer.
type written struct {
	*gate
	dial func(ctx context.Context) (net.Conn, error)
}

func (w *written) Dial(ctx context.Context) (net.Conn, error) { return w.dial(ctx) }

const labPassword = "correct horse"

// TestRecordConversations makes testdata/conversations, and the bitmaps that
// vmtests decodes, anew.
func TestRecordConversations(t *testing.T) {
	if os.Getenv("INSIDE_CONVERSE") == "" {
		return
	}
	only := os.Getenv("INSIDE_CONVERSE")
	for _, c := range []struct {
		name   string
		depth  int
		shadow bool
		client string // further options of it
	}{
		{"xrdp", 0, false, ""}, {"shadow", 0, true, ""}, {"xrdp-16", 16, false, ""}, {"xrdp-32", 32, false, ""},
		{"xrdp-open", 0, false, "+clipboard /drive:tmp,/tmp"}, {"shadow-open", 0, true, "/gfx:AVC420 +clipboard /drive:tmp,/tmp"},
	} {
		if only != "1" && only != c.name {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			g, told := converse(t, c.name, c.depth, c.shadow, c.client)
			for _, event := range g.events {
				t.Logf("%+v", event)
			}
			t.Logf("%d frames, %d bytes", len(told), func() (n int) {
				for _, s := range told {
					n += len(s.frame)
				}
				return n
			}())
			if err := told.save(c.name); err != nil {
				t.Fatal(err)
			}
			if c.depth == 0 {
				return
			}
			if err := saveBitmaps("../../vmtests/testdata/"+c.name+".bitmaps.gz", g.recorded()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// converse has a client and a server of a lab talk to each other through the
// gate.
func converse(t *testing.T, name string, depth int, shadow bool, client string) (*gate, conversation) {
	lab := nettest.For(t, nettest.Options{})
	user := nettest.User{Name: "ideo", Password: labPassword}
	if shadow { // without NLA, which is bound to the certificate
		_, err := lab.Backend.Start("unshare", "--mount", "--propagation", "private", "/bin/sh", "-c",
			"mount -t tmpfs none /tmp\nmkdir -m 1777 /tmp/.X11-unix\nexport HOME=/tmp DISPLAY=:92\n"+
				"Xvfb :92 -screen 0 640x480x24 -nolisten tcp &\nuntil xdpyinfo >/dev/null 2>&1; do sleep 0.1; done\n"+
				"xterm -bg '#204060' -fg white -fn fixed -geometry 80x20+20+20 &\nexec freerdp-shadow-cli /port:3389 /sec:tls -auth\n")
		if err != nil {
			t.Fatal(err)
		}
	} else if _, err := lab.StartXRDP(nettest.XRDPOptions{Users: []nettest.User{user}}); err != nil {
		t.Fatal(err)
	}
	until(t, "the server answers", func() bool {
		c, err := lab.Backend.Dial(t.Context(), "127.0.0.1:3389")
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	s := &stenographer{t: t, cert: rdptest.Certificate(t), depth: depth}
	g := newGate(t)
	g.permit(name)
	v := &written{gate: g, dial: func(ctx context.Context) (net.Conn, error) {
		conn, err := lab.Gateway.Dial(ctx, netip.AddrPortFrom(nettest.BackendIP4, 3389).String())
		if err != nil {
			return nil, err
		}
		near, far := loop(t)
		go s.between(far, conn, true)
		return near, nil
	}}
	ln, err := lab.Gateway.Listen(nettest.GatewayClient4.String() + ":3389")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		client, err := ln.Accept()
		if err != nil {
			return
		}
		near, far := loop(t)
		go s.between(client, near, false)
		g.ended <- (&Entry{Certificates: g}).Serve(context.Background(), far, v)
	}()
	bpp := 24
	if depth != 0 {
		bpp = depth
	}
	desk, err := lab.Client.Start("unshare", "--mount", "--propagation", "private", "/bin/sh", "-c",
		"mount -t tmpfs none /tmp\nmkdir -m 1777 /tmp/.X11-unix\nexport HOME=/tmp DISPLAY=:1\n"+
			"Xvfb :1 -screen 0 660x500x24 -nolisten tcp & until xdpyinfo >/dev/null 2>&1; do sleep 0.1; done\n"+
			fmt.Sprintf("exec xfreerdp /v:%s /u:ideo '/p:%s' /cert:ignore /size:640x480 /bpp:%d /sound:sys:fake %s\n", nettest.GatewayClient4, labPassword, bpp, client))
	if err != nil {
		t.Fatal(err)
	}
	at := func(script string) {
		out, err := lab.Client.Run(t.Context(), "nsenter", "-t", strconv.Itoa(desk.PID()), "-m", "/bin/sh", "-c", "export DISPLAY=:1; "+script)
		if err != nil {
			t.Logf("%s: %v %s", script, err, out)
		}
	}
	until(t, "the desktop is there", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		n := 0
		for _, said := range s.told {
			if said.server {
				n++
			}
		}
		return n > 15
	})
	time.Sleep(4 * time.Second) // a person looks
	at("xdotool mousemove 300 200 click 1 type --delay 5 'ls -la /etc | head -60; xsetroot -cursor_name gumby'")
	at("xdotool key Return mousemove 400 300")
	time.Sleep(2 * time.Second)
	at("xdotool type --delay 5 'for i in `seq 16 231`; do printf \"\\e[48;5;${i}m%6s\" $i; done; clear'")
	at("xdotool key Return")
	time.Sleep(2 * time.Second)
	desk.Signal(syscall.SIGTERM)
	t.Logf("the session ended with %v", g.end())
	desk.Stop()
	return g, s.told
}

// saveBitmaps writes the bitmaps of a recording: for each its width, height,
// depth and length, 16 bits each, and the data. Only what is compressed is
// worth it.
func saveBitmaps(name string, events []desktop.Event) error {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	seen := map[string]bool{}
	for _, e := range events {
		if e.Kind != desktop.Update {
			continue
		}
		bitmaps, err := codec.ParseBitmaps(e.Data)
		if err != nil {
			return err
		}
		for _, m := range bitmaps {
			key := fmt.Sprint(m.Width, m.Height, m.Depth) + string(m.Data)
			if !m.Compressed || seen[key] {
				continue
			}
			seen[key] = true
			for _, v := range []uint16{m.Width, m.Height, m.Depth, uint16(len(m.Data))} {
				binary.Write(z, binary.LittleEndian, v)
			}
			z.Write(m.Data)
		}
	}
	z.Close()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, b.Bytes(), 0o644)
}

// loop is a connection to oneself.
func loop(t testing.TB) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if near, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, far
}

func until(t testing.TB, what string, ready func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ready(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func TestConversationsHoldNobodysSecrets(t *testing.T) {
	names, err := filepath.Glob(conversations + "/*.gz")
	if err != nil || len(names) == 0 {
		t.Fatalf("no conversations: %v", err)
	}
	for _, name := range names {
		for _, s := range loadConversation(t, strings.TrimSuffix(filepath.Base(name), ".gz")) {
			p, err := wire.Payload(s.frame[min(4, len(s.frame)):])
			if err != nil || s.server {
				continue
			}
			pdu, err := wire.ParseMCS(p)
			if err != nil || pdu.Kind != wire.SendDataRequest {
				continue
			}
			flags, rest, err := wire.ParseSecurity(pdu.Data)
			if err != nil || flags&wire.SecInfo == 0 || pdu.Channel != clientIO {
				continue
			}
			if info, err := wire.ParseClientInfo(rest); err == nil && info.Password != labPassword {
				t.Errorf("%s: a password that is not the lab's", name)
			}
		}
	}
}
