//go:build !race

package appliance

// fileMutations is how often a file is changed by hand; the record itself takes the rest of the ten thousand in package store.
const fileMutations = 2000
