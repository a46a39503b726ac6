package web

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"testing"
)

// What `make web` brings is what was looked at, byte for byte.
func TestTheScriptsOfOthersAreThoseThatWereChosen(t *testing.T) {
	for name, want := range map[string]string{
		"asciinema-player.css":    "f619fe17597043564f03b2c6918b3daf890ee8b912fb408542fba11afade4fdb",
		"asciinema-player.min.js": "a13c37632e1b5c49fe9128417b9319a9b5bc64cb457dd5ae52cbba8a3aceb880",
		"htmx.min.js":             "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717",
	} {
		f, here := files()["/static/vendor/"+name]
		if !here {
			if os.Getenv("CI") == "true" {
				t.Errorf("%s is missing: make web", name)
			}
			continue
		}
		if sum := sha256.Sum256(f.body); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s has the SHA-256 %x, and %s was chosen", name, sum, want)
		}
	}
}
