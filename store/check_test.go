package store

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// FuzzReadable: whatever a stranger sends becomes text that both engines keep
// and a terminal can show, of bounded length; text that is so already stays.
func FuzzReadable(f *testing.F) {
	f.Add("root", 10)
	f.Add("ro\x00ot\xff\x1b[2J", 100)
	f.Add("żółw", 3)
	f.Fuzz(func(t *testing.T, s string, longest int) {
		if longest < 0 || longest > 1<<16 {
			return
		}
		got := readable(s, longest)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) {
			t.Errorf("%q became %q", s, got)
		}
		if len(got) > longest+len(`\xff`)*utf8.UTFMax {
			t.Errorf("%q became %d bytes long, %d are allowed", s, len(got), longest)
		}
		if clean := utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl); clean && len(s) <= longest && got != s {
			t.Errorf("%q became %q without need", s, got)
		}
	})
}
