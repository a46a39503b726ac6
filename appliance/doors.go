package appliance

import (
	"net/netip"
	"sync"
)

// How many flows may stand in the doors at once, not yet admitted. A flood
// from one address takes its own share and no more; what is beyond is reset.
const (
	doorsInAll      = 1024
	doorsPerAddress = 128
)

// doors counts the flows that have been accepted and not yet admitted.
type doors struct {
	mu       sync.Mutex
	all      int
	by       map[netip.Addr]int
	turnedAt map[netip.Addr]struct{} // addresses turned away since they last had room
	turned   func(netip.Addr)        // told once for each such address
}

func newDoors(turned func(netip.Addr)) *doors {
	return &doors{by: map[netip.Addr]int{}, turnedAt: map[netip.Addr]struct{}{}, turned: turned}
}

// enter takes a place for the address; leave gives it back.
func (d *doors) enter(from netip.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all >= doorsInAll || d.by[from] >= doorsPerAddress {
		if _, told := d.turnedAt[from]; !told && len(d.turnedAt) < doorsInAll {
			d.turnedAt[from] = struct{}{}
			d.turned(from)
		}
		return false
	}
	d.all++
	d.by[from]++
	return true
}

// standing is how many flows are in the doors.
func (d *doors) standing() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all
}

func (d *doors) leave(from netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all--
	if d.by[from]--; d.by[from] <= 0 {
		delete(d.by, from)
		delete(d.turnedAt, from)
	}
}
