package appliance

import (
	"net/netip"
	"testing"
)

func TestAFloodFromOneAddressTakesItsOwnShareOfTheDoors(t *testing.T) {
	flood, neighbour := netip.MustParseAddr("10.50.0.66"), netip.MustParseAddr("10.50.0.2")
	turned := map[netip.Addr]int{}
	d := newDoors(func(a netip.Addr) { turned[a]++ })
	entered := 0
	for range 10 * doorsPerAddress {
		if d.enter(flood) {
			entered++
		}
	}
	if entered != doorsPerAddress || turned[flood] != 1 {
		t.Errorf("%d entered and %d were told, want %d and once", entered, turned[flood], doorsPerAddress)
	}
	if !d.enter(neighbour) {
		t.Error("a neighbour finds no room")
	}
	d.leave(flood)
	if !d.enter(flood) {
		t.Error("a place that was given back is not to be had")
	}
	for range doorsPerAddress {
		d.leave(flood)
	}
	d.leave(neighbour)
	if d.all != 0 || len(d.by) != 0 || len(d.turnedAt) != 0 {
		t.Errorf("when all have left, %d places, %d addresses and %d turned away remain", d.all, len(d.by), len(d.turnedAt))
	}
}

func TestTheDoorsHaveAnEnd(t *testing.T) {
	d := newDoors(func(netip.Addr) {})
	a := netip.MustParseAddr("10.0.0.0")
	entered := 0
	for range 2 * doorsInAll {
		if d.enter(a) {
			entered++
		}
		a = a.Next()
	}
	if entered != doorsInAll {
		t.Errorf("%d entered, want %d", entered, doorsInAll)
	}
}
