//go:build !race

package store_test

// mutations is how often something is changed by hand, over both engines where
// there are two; their files take the rest of the ten thousand in package appliance.
const mutations = 8000
