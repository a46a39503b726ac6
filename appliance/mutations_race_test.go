//go:build race

package appliance

// fileMutations is few with the race detector on, which finds nothing more in many:
// it makes each ten times as long.
const fileMutations = 100
