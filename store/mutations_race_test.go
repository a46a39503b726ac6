//go:build race

package store_test

// mutations is few with the race detector on, which finds nothing more in many:
// it makes each ten times as long.
const mutations = 200
