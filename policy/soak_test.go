package policy_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/pawelmojski/inside/policy"
)

// soaking reports whether `make soak` runs the tests: what takes minutes is
// left to it.
func soaking() bool { return os.Getenv("INSIDE_SOAK") != "" }

// soakDecisions are how many random decisions a soak compares with the oracle.
const (
	soakDecisions = 10_000_000
	soakFlows     = 400 // of the same facts
)

func TestSoakDecisionsAgainstTheOracle(t *testing.T) {
	if !soaking() {
		return
	}
	workers := runtime.GOMAXPROCS(0)
	defer flag.Set("rapid.checks", flag.Lookup("rapid.checks").Value.String())
	flag.Set("rapid.checks", strconv.Itoa(soakDecisions/soakFlows/workers+1))
	var mu sync.Mutex
	said := map[policy.Denial]int{}
	t.Run("at once", func(t *testing.T) {
		for i := range workers {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				rapid.Check(t, func(t *rapid.T) {
					answers := likeTheOracle(t, soakFlows)
					mu.Lock()
					defer mu.Unlock()
					for d, n := range answers {
						said[d] += n
					}
				})
			})
		}
	})
	provesMuch(t, said)
}
