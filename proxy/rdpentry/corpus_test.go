package rdpentry

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/netfilter/nettest"
	"github.com/pawelmojski/inside/proxy/rdpentry/bulk"
	"github.com/pawelmojski/inside/proxy/rdpentry/codec"
	"github.com/pawelmojski/inside/proxy/rdpentry/credssp"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// A corpus is what fuzzing begins with, by package and target: what real peers
// have said, taken out of the conversations. The files are named real-….
type corpus struct {
	inputs map[string][]string // as testing writes them
	seen   map[string]int
}

// perKind is how many examples of one kind there are.
const perKind = 2

// add keeps an input unless there are enough of its kind.
func (c *corpus) add(target, kind string, values ...any) {
	if c.seen[target+kind]++; c.seen[target+kind] > perKind {
		return
	}
	text := "go test fuzz v1\n"
	for _, v := range values {
		switch v := v.(type) {
		case []byte:
			if len(v) > 8<<10 {
				return
			}
			text += fmt.Sprintf("[]byte(%q)\n", v)
		case byte:
			text += fmt.Sprintf("byte('\\x%02x')\n", v)
		default:
			text += fmt.Sprintf("%T(%v)\n", v, v)
		}
	}
	if !slices.Contains(c.inputs[target], text) {
		c.inputs[target] = append(c.inputs[target], text)
	}
}

// TestRecordCorpus makes the corpora anew, by INSIDE_CONVERSE=corpus.
func TestRecordCorpus(t *testing.T) {
	c := &corpus{inputs: map[string][]string{}, seen: map[string]int{}}
	for _, name := range []string{"xrdp", "shadow", "xrdp-16", "xrdp-32"} {
		c.take(loadConversation(t, name))
	}
	for target, inputs := range c.inputs {
		if len(inputs) == 0 {
			t.Errorf("there is nothing for %s", target)
		}
		dir, name, _ := strings.Cut(target, " ")
		dir = filepath.Join(dir, "testdata", "fuzz", name)
		if os.Getenv("INSIDE_CONVERSE") != "corpus" {
			if old, err := filepath.Glob(filepath.Join(dir, "real-*")); err != nil || len(old) < len(inputs) {
				t.Errorf("%s holds %d of the %d inputs of the conversations", dir, len(old), len(inputs))
			}
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, text := range inputs {
			sum := sha256.Sum256([]byte(text))
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("real-%x", sum[:6])), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// take takes the inputs out of a conversation.
func (c *corpus) take(all conversation) {
	var sides [2][]byte
	var packed bulk.Decompressor
	var before []any
	for i, s := range all {
		side := &sides[0]
		if s.server {
			side = &sides[1]
		}
		if *side = append(*side, s.frame...); i == 40 || i == 80 {
			c.add("wire FuzzReader", "", sides[0])
			c.add("wire FuzzReader", "server", sides[1])
		}
		if s.frame[0]&3 == 0 {
			c.fast(s)
			continue
		}
		p, err := wire.Payload(s.frame[4:])
		if err != nil { // not a data TPDU: the negotiation
			c.add("wire FuzzConnection", fmt.Sprint(s.server), s.frame[4:])
			continue
		}
		kind := fmt.Sprint(s.server, p[0]>>2)
		c.add("wire FuzzMCS", kind, p)
		if data, err := wire.ParseConnectInitial(p); err == nil {
			c.add("wire FuzzGCC", "client", data)
		} else if data, err := wire.ParseConnectResponse(p); err == nil {
			c.add("wire FuzzGCC", "server", data)
		}
		pdu, err := wire.ParseMCS(p)
		if err != nil || len(pdu.Data) == 0 {
			continue
		}
		flags, rest, err := wire.ParseSecurity(pdu.Data)
		if err == nil && !s.server && flags == wire.SecInfo && pdu.Channel == clientIO {
			c.add("wire FuzzClientInfo", "", rest)
			continue
		}
		if !isShare(pdu.Data) {
			continue
		}
		share, _, err := wire.ParseShare(pdu.Data)
		if err != nil {
			continue
		}
		kind = fmt.Sprint(s.server, share.Kind)
		if share.Kind != wire.ShareData {
			c.add("wire FuzzShare", kind, pdu.Data)
			c.peer(s, kind, share.Kind != wire.DemandActive)
			continue
		}
		d, err := wire.ParseData(share.Body)
		if err != nil {
			continue
		}
		kind = fmt.Sprint(s.server, "data", d.Kind)
		c.add("wire FuzzShare", kind, pdu.Data)
		c.peer(s, kind, true)
		if !s.server {
			continue
		}
		if d.Compressed&bulk.Compressed != 0 {
			if len(before) > 0 {
				c.add("bulk FuzzDecompress", fmt.Sprint(d.Compressed), append(before, d.Compressed, d.Body)...)
			}
			before = []any{d.Compressed, d.Body}
		}
		if plain, err := packed.Decompress(d.Compressed, d.Body); err == nil && d.Kind == wire.DataUpdate {
			c.update(plain)
		} else if err == nil && d.Kind == wire.DataPointer {
			if kind, rest, err := wire.ParsePointer(plain); err == nil {
				if code, ok := fastPointer(kind, rest); ok {
					c.add("screen FuzzScreen", fmt.Sprint(code), byte(code), rest)
				}
			}
		}
	}
	c.add(". FuzzGreeting", "", sides[0][all[0].length():])
}

func (s said) length() int { return len(s.frame) }

// peer adds a frame as what one of the two peers says.
func (c *corpus) peer(s said, kind string, begun bool) {
	target := ". FuzzClient"
	if s.server {
		target = ". FuzzServer"
	}
	c.add(target, kind, begun, s.frame)
}

// fast adds a fast-path PDU.
func (c *corpus) fast(s said) {
	frame, err := wire.NewReader(strings.NewReader(string(s.frame))).Next()
	if err != nil {
		return
	}
	if !s.server {
		kind := fmt.Sprint("client", frame.Body[0]>>5)
		c.add("wire FuzzFastPath", kind, append([]byte{frame.Header}, frame.Body...))
		c.peer(s, kind, true)
		return
	}
	for body := frame.Body; len(body) > 0; {
		u, rest, err := wire.NextUpdate(body)
		if err != nil {
			return
		}
		kind := fmt.Sprint("server", u.Kind, u.Part)
		c.add("wire FuzzFastPath", kind, frame.Body)
		c.peer(s, kind, true)
		switch {
		case u.Compressed&bulk.Compressed != 0:
			c.add("bulk FuzzDecompress", fmt.Sprint("fast", u.Compressed), u.Compressed, u.Data, u.Compressed, u.Data)
		case u.Kind == wire.FastBitmap:
			c.update(u.Data)
		case u.Kind >= wire.FastPointerHidden:
			c.add("screen FuzzScreen", fmt.Sprint(u.Kind), byte(u.Kind), u.Data)
		}
		body = rest
	}
}

// update adds a bitmap update and its rectangles.
func (c *corpus) update(p []byte) {
	bitmaps, err := codec.ParseBitmaps(p)
	if err != nil {
		return
	}
	if len(p) < 2<<10 {
		c.add("codec FuzzParseBitmaps", "", p)
		c.add("screen FuzzScreen", "update", byte(1), p)
	}
	for _, b := range bitmaps {
		if len(b.Data) < 1<<10 {
			c.add("codec FuzzDecode", fmt.Sprint(b.Depth, b.Compressed, len(b.Data) > 100), b.Width, b.Height, b.Depth, b.Compressed, b.Data)
		}
	}
}

// TestRecordChallenge has a real server ask for a login, by INSIDE_CONVERSE=nla.
func TestRecordChallenge(t *testing.T) {
	if os.Getenv("INSIDE_CONVERSE") != "nla" {
		return
	}
	lab := nettest.For(t, nettest.Options{})
	sam, err := exec.Command("winpr-hash", "-u", "ideo", "-p", labPassword, "-f", "sam").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, err = lab.Backend.Start("unshare", "--mount", "--uts", "--propagation", "private", "/bin/sh", "-c",
		"hostname lab\nmount -t tmpfs none /tmp\nmkdir -m 1777 /tmp/.X11-unix\nexport HOME=/tmp DISPLAY=:92\nprintf '%s' '"+string(sam)+"' >/tmp/sam\n"+
			"Xvfb :92 -screen 0 640x480x24 -nolisten tcp &\nuntil xdpyinfo >/dev/null 2>&1; do sleep 0.1; done\n"+
			"exec freerdp-shadow-cli /port:3389 /sec:nla +auth /sam-file:/tmp/sam\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, password := range []string{labPassword, "wrong"} {
		var conn net.Conn
		until(t, "the server answers", func() bool {
			conn, err = lab.Backend.Dial(t.Context(), "127.0.0.1:3389")
			return err == nil
		})
		conn.Write(wire.ConnectionRequest{Negotiation: true, Protocols: wire.ProtocolSSL | wire.ProtocolHybrid}.Frame())
		if _, err := wire.NewReader(conn).Next(); err != nil {
			t.Fatal(err)
		}
		server := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		if err := server.Handshake(); err != nil {
			t.Fatal(err)
		}
		heard := &listener{ReadWriter: server}
		err := credssp.Login(heard, server.ConnectionState().PeerCertificates[0], credssp.Credentials{User: "ideo", Password: password})
		t.Logf("%d bytes, then %v", len(heard.all), err)
		text := fmt.Sprintf("go test fuzz v1\n[]byte(%q)\n", heard.all)
		sum := sha256.Sum256([]byte(text))
		if err := os.WriteFile(fmt.Sprintf("credssp/testdata/fuzz/FuzzServer/real-%x", sum[:6]), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		// The challenge alone is what the rest depends on.
		if at := strings.Index(string(heard.all), "NTLMSSP\x00"); at > 0 {
			text = fmt.Sprintf("go test fuzz v1\n[]byte(%q)\n", heard.all[at:])
			sum = sha256.Sum256([]byte(text))
			if err := os.WriteFile(fmt.Sprintf("credssp/testdata/fuzz/FuzzServer/real-%x", sum[:6]), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		conn.Close()
	}
}

// A listener keeps what it hears.
type listener struct {
	io.ReadWriter
	all []byte
}

func (l *listener) Read(p []byte) (int, error) {
	n, err := l.ReadWriter.Read(p)
	l.all = append(l.all, p[:n]...)
	return n, err
}
