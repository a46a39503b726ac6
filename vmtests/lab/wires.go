package lab

import (
	"context"
	"net"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

// The interfaces of a virtual machine, by the addresses that lab/image.sh names
// them by.
var (
	clientMAC  = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1} // nettest.ClientSide
	backendMAC = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 2} // nettest.BackendSide
)

// newWires lays out a lab whose gateway is a virtual machine: the namespace in
// its place is two switches without an address, with a tap each for the
// machine's interface of that name.
func newWires(ctx context.Context) (*nettest.Lab, error) {
	l, err := nettest.New(nettest.Options{})
	if err != nil {
		return nil, err
	}
	if err := switches(ctx, l); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func switches(ctx context.Context, l *nettest.Lab) error {
	for key, value := range map[string]string{
		"net/ipv4/ip_forward": "0", "net/ipv6/conf/all/forwarding": "0",
		"net/ipv6/conf/all/disable_ipv6": "1", "net/ipv6/conf/default/disable_ipv6": "1",
	} {
		if err := l.Gateway.Sysctl(key, value); err != nil {
			return err
		}
	}
	_, err := l.Gateway.Run(ctx, "sh", "-ec", `for leg; do
		ip addr flush dev $leg
		ip link add switch-$leg type bridge mcast_snooping 0
		ip tuntap add tap-$leg mode tap
		for port in $leg tap-$leg; do ip link set $port master switch-$leg up; done
		ip link set switch-$leg up
	done`, "-", nettest.ClientSide, nettest.BackendSide)
	return err
}
