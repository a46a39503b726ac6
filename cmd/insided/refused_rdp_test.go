package main

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

// Clients that xfreerdp cannot be made to be, up to where they are refused.
func TestClientsThatCannotBeCarriedAreRefusedByName(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant("--protocol", "rdp", "--duration", "1h")
	const nla, rdsTLS, entra = 2, 4, 0x10
	h.insideInput(password+"\n", "credential", "add", "p.mojski", "--server", "test-ssh-server", "--login", "ideo", "--password")
	at := netip.AddrPortFrom(nettest.BackendIP4, 3389).String()
	for i, c := range []struct {
		what      string
		flags     byte
		protocols uint32
		old       bool // it says a CredSSP message of version 4
		confirm   byte // 2: the server chose, 3: it chose nothing
		reason    string
	}{
		{"standard RDP security", 0, 0, false, 3, "standard RDP security"},
		{"a token of Entra ID", 0, entra, false, 3, "RDSAAD"},
		{"RDSTLS", 0, rdsTLS, false, 3, "RDSTLS"},
		{"restricted admin", 1, nla, false, 3, "restricted admin"},
		{"remote credential guard", 2, nla, false, 3, "remote credential guard"},
		{"CredSSP version 4", 0, nla, true, 2, "CredSSP is older than version 5"},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		conn, err := h.Client.Dial(ctx, at)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(patience))
		kind := askRDP(t, conn, c.flags, c.protocols)
		if kind != c.confirm {
			t.Errorf("%s: confirm of kind %d, want %d", c.what, kind, c.confirm)
		}
		if c.old {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
			// TSRequest{version 4, no token yet} (MS-CSSP 2.2.1).
			conn.Write([]byte{0x30, 5, 0xa0, 3, 2, 1, 4})
			answer, _ := io.ReadAll(conn)
			if status := []byte{0xa4, 6, 2, 4, 0xc0, 0, 0, 0xbb}; !strings.Contains(string(answer), string(status)) {
				t.Errorf("%s: answered % x, want STATUS_NOT_SUPPORTED", c.what, answer)
			}
		}
		conn.Close()
		if e := h.entries(i + 1)[0]; e.Denial != "not-served" || !strings.Contains(e.Detail, c.reason) {
			t.Errorf("%s: entry %+v", c.what, e)
		}
	}
	if n := len(h.live(0)); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

// askRDP sends a connection request (MS-RDPBCGR 2.2.1.1) and returns the kind
// of the answer.
func askRDP(t testing.TB, conn net.Conn, flags byte, protocols uint32) byte {
	t.Helper()
	request := []byte{3, 0, 0, 19, 14, 0xe0, 0, 0, 0, 0, 0, 1, flags, 8, 0}
	if _, err := conn.Write(binary.LittleEndian.AppendUint32(request, protocols)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 19)
	if _, err := io.ReadFull(conn, answer); err != nil {
		t.Fatal(err)
	}
	return answer[11]
}
