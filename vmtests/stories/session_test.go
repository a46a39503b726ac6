package stories

import (
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// session begin LOGIN@ADDRESS begins one, session goes on checks that what is
// typed comes back, session ends waits until it was ended (at once: a second),
// session is cut types until it is: what comes back meanwhile was recorded.
func sessionThatStays(ts *testscript.TestScript, neg bool, args []string) {
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
	case "is":
		ts.Check(s.session.IsCut(longest))
	case "ends":
		patience := longest
		if len(args) > 1 { // at once
			patience = time.Second
		}
		ts.Check(s.session.Ends(patience))
	}
}
