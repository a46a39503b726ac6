package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// heapFloor is what the heap may grow to before the collector runs. An SSH
	// packet is an allocation of up to 32 KiB on both sides of the gate, so a
	// single bulk transfer turns a small heap over a hundred times a second;
	// with this floor it costs an eighth less processor time
	// (BenchmarkBulk). From there on the collector runs when the heap has
	// doubled, as is usual.
	heapFloor = 128 << 20

	leastPercent, mostPercent = 100, 3200
)

// tendCollector keeps the collector's percentage such that it runs at
// heapFloor at the earliest, whatever is alive.
func tendCollector(ctx context.Context) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	set := mostPercent
	debug.SetGCPercent(set)
	pulse := time.NewTicker(time.Second)
	defer pulse.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pulse.C:
		}
		metrics.Read(live)
		// Setting it stops the world for a moment, so small changes are let be.
		if want := percentFor(live[0].Value.Uint64()); want*10 < set*9 || want*9 > set*10 {
			set = want
			debug.SetGCPercent(set)
		}
	}
}

// percentFor is the percentage by which a live heap may grow.
func percentFor(live uint64) int {
	return int(max(leastPercent, min(mostPercent, 100*heapFloor/max(live, 1))))
}
