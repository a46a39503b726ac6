package stories

import (
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

func init() {
	commands["wireguard"] = wireguard
	commands["openvpn"] = openvpn
}

// The addresses of the client's end of a tunnel are in the scripts' TUNNEL and
// TUNNEL6.
func tunnel(ts *testscript.TestScript, address4, address6 string) {
	ts.Setenv("TUNNEL", address4)
	ts.Setenv("TUNNEL6", address6)
}

const wireguardOfGateway = `[Interface]
Address = 10.99.0.1/24, fd99::1/64
ListenPort = 51820
PrivateKey = %s
[Peer]
PublicKey = %s
AllowedIPs = 10.99.0.2/32, fd99::2/128
`

const wireguardOfClient = `[Interface]
Address = 10.99.0.2/32, fd99::2/128
PrivateKey = %s
[Peer]
PublicKey = %s
Endpoint = %s:51820
AllowedIPs = %s, %s
`

// What a router that sends everything through a provider's VPN has: Table=auto,
// which sets a mark, routing rules and src_valid_mark.
const wireguardOfProvider = `[Interface]
Address = 10.97.0.2/32, fd97::2/128
PrivateKey = %s
[Peer]
PublicKey = %s
Endpoint = %s:51821
AllowedIPs = 0.0.0.0/0, ::/0
`

// wireguard writes /etc/wireguard/wg0.conf, which lets the client in, and
// wg1.conf, which sends everything to a provider, on the machine, and brings
// the client's end up: wg-quick on both sides.
func wireguard(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	var private, public [3]string
	for i := range private {
		key, err := ecdh.X25519().GenerateKey(rand.Reader)
		ts.Check(err)
		private[i] = base64.StdEncoding.EncodeToString(key.Bytes())
		public[i] = base64.StdEncoding.EncodeToString(key.PublicKey().Bytes())
	}
	ts.Check(s.machine.Write("/etc/wireguard/wg0.conf", fmt.Sprintf(wireguardOfGateway, private[0], public[1])))
	ts.Check(s.machine.Write("/etc/wireguard/wg1.conf", fmt.Sprintf(wireguardOfProvider, private[2], public[1], nettest.ClientIP4)))
	// Where wireguard-go stands in for the kernel's, its sockets are named for
	// the interface in a folder that all namespaces of this machine share.
	name := fmt.Sprintf("wgt%d", os.Getpid())
	file := filepath.Join(s.lab.Dir, name+".conf")
	ts.Check(os.WriteFile(file, fmt.Appendf(nil, wireguardOfClient, private[1], public[0], nettest.GatewayClient4, nettest.BackendNet4, nettest.BackendNet6), 0o600))
	ts.Defer(func() { os.Remove("/var/run/wireguard/" + name + ".sock") })
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	out, err := s.lab.Client.Run(ctx, "wg-quick", "up", file)
	ts.Logf("%s", out)
	ts.Check(err)
	tunnel(ts, "10.99.0.2", "fd99::2")
}

const openvpnOfGateway = `server 10.98.0.0 255.255.255.0
server-ipv6 fd98::/64
topology subnet
port 1194
proto udp
dev tun0
dh none
keepalive 5 20
explicit-exit-notify 1
push "route %s"
push "route-ipv6 %s"
%s`

const openvpnOfClient = `client
dev tun0
proto udp
remote %s 1194
nobind
persist-tun
connect-retry 1 2
%s`

// openvpn writes /etc/openvpn/server/people.conf on the machine; openvpn
// connect starts the client's end and waits until it is up.
func openvpn(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	file := filepath.Join(s.lab.Dir, "openvpn.conf")
	if len(args) == 0 {
		router, person := certificate(ts, "router"), certificate(ts, "alice")
		network := nettest.BackendNet4.Addr().String() + " 255.255.255.0"
		ts.Check(s.machine.Write("/etc/openvpn/server/people.conf", fmt.Sprintf(openvpnOfGateway, network, nettest.BackendNet6, router.trusts(person))))
		ts.Check(os.WriteFile(file, fmt.Appendf(nil, openvpnOfClient, nettest.GatewayClient4, person.trusts(router)), 0o600))
		return
	}
	daemon, err := s.lab.Client.Start("openvpn", "--config", file)
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	ts.Check(daemon.Await(ctx, "Initialization Sequence Completed"))
	tunnel(ts, "10.98.0.2", "fd98::1000")
}

// An identity is one end of a tunnel of OpenVPN: a certificate that nobody has
// signed, which the other end knows.
type identity struct{ key, certificate, fingerprint string }

func certificate(ts *testscript.TestScript, name string) identity {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template := x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	ts.Check(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	return identity{
		key:         string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})),
		certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		fingerprint: strings.ReplaceAll(fmt.Sprintf("% x", sha256.Sum256(der)), " ", ":"),
	}
}

// trusts is the part of a configuration that says who one is, and who the
// other must be.
func (i identity) trusts(other identity) string {
	return fmt.Sprintf("<key>\n%s</key>\n<cert>\n%s</cert>\n<peer-fingerprint>\n%s\n</peer-fingerprint>\n", i.key, i.certificate, other.fingerprint)
}
