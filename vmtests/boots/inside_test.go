package boots

import (
	"context"
	"net"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func init() {
	commands["session"] = session
	commands["crowd"] = crowd
}

// session begin LOGIN@ADDRESS begins one, session goes on checks that what is
// typed comes back, session ends waits until it was ended.
func session(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	switch args[0] {
	case "begin":
		var err error
		s.session, err = s.person.Begin(args[1])
		ts.Check(err)
		ts.Defer(s.session.Leave)
		fallthrough
	case "goes":
		ts.Check(s.session.GoesOn(longest))
	case "ends":
		ts.Check(s.session.Ends(longest))
	}
}

// crowd N are as many connections that say nothing and stay, until crowd
// leaves. Not all of them need get one.
func crowd(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	if args[0] == "leaves" {
		s.disperse()
		return
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	for range n {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		c, err := s.lab.Client.Dial(ctx, net.JoinHostPort(ts.Getenv("SERVER"), "22"))
		cancel()
		if err == nil {
			s.crowd = append(s.crowd, c)
		}
	}
	ts.Defer(s.disperse)
	if len(s.crowd) < n/2 {
		ts.Fatalf("%d of %d connections only, the last: %v", len(s.crowd), n, err)
	}
}

func (s *story) disperse() {
	for _, c := range s.crowd {
		c.Close()
	}
	s.crowd = nil
}
