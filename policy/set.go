package policy

import "strings"

// A set of things that have names, one for each bit: what a grant allows
// beside the entry itself.
type set interface{ ~uint8 | ~uint16 }

// namesIn are the names of what is in a set, "none" of the empty one.
func namesIn[S set](s S, names []string) string {
	var in []string
	for bit, name := range names {
		if s&(1<<bit) != 0 {
			in = append(in, name)
		}
	}
	if in == nil {
		return "none"
	}
	return strings.Join(in, ",")
}

// setOf reads what namesIn writes. Where it fails it returns the part that is
// no name.
func setOf[S set](text string, names []string) (s S, bad string, ok bool) {
	if text == "none" {
		return 0, "", true
	}
next:
	for part := range strings.SplitSeq(text, ",") {
		for bit, name := range names {
			if part == name {
				s |= 1 << bit
				continue next
			}
		}
		return 0, part, false
	}
	return s, "", true
}
