package main

import "testing"

func TestTheCollectorRunsAtTheFloorAtTheEarliest(t *testing.T) {
	for live, want := range map[uint64]int{0: 3200, 1 << 20: 3200, 4 << 20: 3200, 32 << 20: 400, 128 << 20: 100, 1 << 30: 100} {
		if got := percentFor(live); got != want {
			t.Errorf("with %d MiB alive the heap may grow by %d%%, want %d%%", live>>20, got, want)
		}
	}
}
