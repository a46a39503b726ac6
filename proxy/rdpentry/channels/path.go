package channels

import (
	"strings"

	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// pathOf reads a path in UTF-16 as one side gives it to the other, and reports
// whether it stays below where it is put: no step upwards, no other path
// behind a NUL.
func pathOf(b []byte) (path string, sound bool) {
	for len(b) >= 2 && b[len(b)-1] == 0 && b[len(b)-2] == 0 {
		b = b[:len(b)-2]
	}
	path = wire.Text(b)
	for i := 0; i+1 < len(b); i += 2 {
		if b[i] == 0 && b[i+1] == 0 {
			return path, false
		}
	}
	for part := range strings.FieldsFuncSeq(path, isSeparator) {
		if strings.TrimRight(part, " ") == ".." {
			return path, false
		}
	}
	return path, true
}

func isSeparator(r rune) bool { return r == '\\' || r == '/' }
