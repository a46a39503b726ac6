// Package rdptest has what tests of several packages need to play a peer of
// RDP: what real ones have said, and a certificate. It is not for the daemon.
package rdptest

import (
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"math/big"
	"os"
	"testing"
	"time"
)

// A Said is one frame of a peer, as it is within TLS.
type Said struct {
	Server bool
	Frame  []byte
}

// Conversation reads what TestRecordConversations of package rdpentry wrote:
// 'c' or 's', two bytes of length, the frame, and so on, compressed.
func Conversation(tb testing.TB, file string) (all []Said) {
	tb.Helper()
	f, err := os.Open(file)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		tb.Fatal(err)
	}
	for len(b) > 0 {
		n := 3 + int(binary.LittleEndian.Uint16(b[1:]))
		all = append(all, Said{Server: b[0] == 's', Frame: b[3:n:n]})
		b = b[n:]
	}
	return all
}

// Certificate is what a server signs for itself.
func Certificate(tb testing.TB) tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
