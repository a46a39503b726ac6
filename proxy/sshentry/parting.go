package sshentry

import (
	"sync/atomic"
	"time"
)

// Where a grant is revoked under which a thousand sessions run, all of them are
// cut off at once. What each leaves behind (two connections, recordings that
// must reach the disk) is ten times the work of its last line, so the lines of
// all go first: who has said theirs steps back while others are still to come.
var partings struct {
	saying atomic.Int64 // flows that are saying their last line
	latest atomic.Int64 // when the latest of them began, in Unix nanoseconds
}

const (
	partingLull     = 5 * time.Millisecond // nobody has begun for so long: nobody else will
	partingPatience = 100 * time.Millisecond
)

// part runs say, the last line of a flow, and returns when those of others that
// are cut off at the same time are said, too.
func part(say func()) {
	partings.latest.Store(time.Now().UnixNano())
	func() {
		partings.saying.Add(1)
		defer partings.saying.Add(-1)
		say()
	}()
	for begun := time.Now(); time.Since(begun) < partingPatience; {
		lull := time.Since(time.Unix(0, partings.latest.Load()))
		if partings.saying.Load() == 0 && lull >= partingLull {
			return
		}
		time.Sleep(max(partingLull-lull, time.Millisecond))
	}
}
