package netfilter

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

func TestAConnectionIsInterceptedInBothFamiliesAndSourceModesWhateverTheReversePathFilter(t *testing.T) {
	for _, source := range []Source{Gateway, Client} {
		for _, validMark := range []string{"0", "1"} {
			for _, rpFilter := range []string{"0", "1", "2"} {
				t.Run(fmt.Sprintf("source=%s/src_valid_mark=%s/rp_filter=%s", source, validMark, rpFilter), func(t *testing.T) {
					t.Parallel()
					lab := nettest.For(t, nettest.Options{})
					for _, dev := range []string{"all", nettest.ClientSide, nettest.BackendSide, "lo"} {
						lab.Gateway.Sysctl("net/ipv4/conf/"+dev+"/rp_filter", rpFilter)
						lab.Gateway.Sysctl("net/ipv4/conf/"+dev+"/src_valid_mark", validMark)
					}
					serveNames(t, lab.Backend, ":22")
					c := config()
					c.Source = source
					openGate(t, lab, c)
					seen4, seen6 := nettest.GatewayServer4, nettest.GatewayServer6
					if source == Client {
						seen4, seen6 = nettest.ClientIP4, nettest.ClientIP6
					}
					expect(t, "IPv4", exchange(t, lab.Client, "10.30.0.140:22"),
						fmt.Sprintf("gate: 10.50.0.2 to 10.30.0.140:22 | server: %s", seen4))
					expect(t, "IPv6", exchange(t, lab.Client, "[fd30::140]:22"),
						fmt.Sprintf("gate: fd50::2 to [fd30::140]:22 | server: %s", seen6))
				})
			}
		}
	}
}

// The office of the persons may lie inside the prefix that is protected.
func TestAClientInsideAProtectedPrefixIsInterceptedToo(t *testing.T) {
	for _, source := range []Source{Gateway, Client} {
		for _, other := range []Other{Forward, Drop} {
			t.Run(fmt.Sprintf("source=%s/other=%s", source, other), func(t *testing.T) {
				t.Parallel()
				office := []netip.Addr{netip.MustParseAddr("10.30.14.3"), netip.MustParseAddr("fd30:0:0:14::3")}
				lab := nettest.For(t, nettest.Options{ClientAddrs: office})
				for _, dev := range []string{"all", nettest.ClientSide, nettest.BackendSide} {
					lab.Gateway.Sysctl("net/ipv4/conf/"+dev+"/rp_filter", "1")
				}
				serveNames(t, lab.Backend, ":22")
				c := config()
				c.Source, c.Other = source, other
				c.Protect = []netip.Prefix{netip.MustParsePrefix("10.30.0.0/16"), netip.MustParsePrefix("fd30::/32")}
				openGate(t, lab, c)
				seen4, seen6 := nettest.GatewayServer4, nettest.GatewayServer6
				if source == Client {
					seen4, seen6 = office[0], office[1]
				}
				expect(t, "IPv4", exchangeFrom(t, lab.Client, office[0], "10.30.0.140:22"),
					fmt.Sprintf("gate: 10.30.14.3 to 10.30.0.140:22 | server: %s", seen4))
				expect(t, "IPv6", exchangeFrom(t, lab.Client, office[1], "[fd30::140]:22"),
					fmt.Sprintf("gate: fd30:0:0:14::3 to [fd30::140]:22 | server: %s", seen6))
			})
		}
	}
}

func TestAGateWithOneArmIntercepts(t *testing.T) {
	for _, source := range []Source{Gateway, Client} {
		t.Run(string(source), func(t *testing.T) {
			t.Parallel()
			lab := nettest.For(t, nettest.Options{})
			serveNames(t, lab.Backend, ":22")
			c := config()
			c.Source, c.Other = source, Drop
			c.Interfaces = []string{nettest.BackendSide, nettest.ClientSide} // servers' side is people's side
			openGate(t, lab, c)
			seen := map[Source]string{Gateway: "10.30.0.1", Client: "10.50.0.2"}[source]
			expect(t, "IPv4", exchange(t, lab.Client, "10.30.0.140:22"), "gate: 10.50.0.2 to 10.30.0.140:22 | server: "+seen)
			seen = map[Source]string{Gateway: "fd30::1", Client: "fd50::2"}[source]
			expect(t, "IPv6", exchange(t, lab.Client, "[fd30::140]:22"), "gate: fd50::2 to [fd30::140]:22 | server: "+seen)
		})
	}
}
