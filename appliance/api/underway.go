package api

import (
	"fmt"
	"sync"
)

// mostCallsEach bounds the calls that one token, or one admin on the pages, has
// under way: of all connections (see mostCalls) some are left for the others,
// also where one reverse proxy is everybody's address.
const mostCallsEach = 500

// underWay counts the calls that have not been answered to their end, by who
// asked.
type underWay struct {
	mu sync.Mutex
	of map[string]int
}

// begin counts a call until end, or says that there are too many.
func (u *underWay) begin(a Actor) (end func(), p *Problem) {
	if u == nil || a.Name == "" { // who knocks is nobody
		return func() {}, nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.of[a.Name] >= mostCallsEach {
		return nil, NewProblem(CodeTooMany, fmt.Sprintf("%s has %d calls under way", a.Name, mostCallsEach), "end some, or share what one stream says")
	}
	u.of[a.Name]++
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.of[a.Name]--; u.of[a.Name] == 0 {
			delete(u.of, a.Name)
		}
	}, nil
}
