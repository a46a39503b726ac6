package sshentry

// What counts as using a session: what the person causes.
//
//   - What is typed into a terminal. Its own answers to a program that asked it
//     something (where the cursor is, what it can do) are not typed, and what
//     it shows is nobody's doing: a shell that prints by itself (top, watch) is
//     idle.
//   - Every byte, either way, of a channel without a terminal that the client
//     opened: a command, a file transfer, a connection of ssh -L or -D. Where
//     bytes move, something the person has begun is under way.
//   - Opening a channel, and what is asked for on it: a shell, a command, a new
//     window size, a signal.
//
// Nothing else: not keepalives, in whatever form, not what SSH says to keep
// itself going (window adjustments, new keys, ignored messages, the chaff of
// OpenSSH's ObscureKeystrokeTiming), and not connections that come in at the
// server for ssh -R, which somebody else makes.

// typed reports whether there is something in a terminal's input that the
// terminal did not say by itself. Reports look like
//
//	ESC [ 24 ; 80 R      where the cursor is (DSR 6)
//	ESC [ ? 64 ; 1 c     what it is (DA), with > or = instead of ?
//	ESC [ 0 n            it is well (DSR 5)
//	ESC [ I, ESC [ O     its window is in front, or not
//	ESC ] … BEL or ESC \  colours and such (OSC), also ESC P … ESC \ (DCS)
//
// as ECMA-48 and xterm's ctlseqs have them. A key that sends the same (a
// modified F3 does) is not told apart from one, which costs nothing: the next
// one is.
func typed(p []byte) bool {
	for len(p) > 0 {
		n := report(p)
		if n == 0 {
			return true
		}
		p = p[n:]
	}
	return false
}

// report returns the length of the report p begins with, 0 if it is none.
func report(p []byte) int {
	if len(p) < 3 || p[0] != 0x1b {
		return 0
	}
	switch p[1] {
	case '[':
		for i, c := range p[2:] {
			switch {
			case c >= '0' && c <= '9', c == ';', i == 0 && c >= '<' && c <= '?':
			case c == 'c', i > 0 && (c == 'R' || c == 'n' || c == 'y'), i == 0 && (c == 'I' || c == 'O'):
				return i + 3
			case i > 0 && c == '$': // DECRPM: ESC [ ? 1 ; 2 $ y
			default:
				return 0
			}
		}
	case ']', 'P':
		for i := 2; i < len(p); i++ {
			if p[i] == 0x07 && p[1] == ']' {
				return i + 1
			}
			if p[i] == 0x1b && i+1 < len(p) && p[i+1] == '\\' {
				return i + 2
			}
		}
	}
	return 0
}

// isOver reports whether nothing may be relayed any more: the flow was cut off,
// or its end has come and nobody has said so yet.
func (f *flow) isOver() bool { return f.cut.Load() || f.visit.Over(0) }
