package policy

import (
	"fmt"
	"strings"
)

// Redirection is a set of what an RDP session may reach of the person's own
// machine, beside its screen, keyboard, mouse, touch and loudspeakers.
type Redirection uint16

// What can be reached, each by virtual channels of its own; see rdpentry.
const (
	Clipboard  Redirection = 1 << iota // texts, pictures and files, both ways
	Drive                              // the person's drives, to read and to write
	Printer                            //
	Port                               // serial and parallel ports
	SmartCard                          //
	AudioInput                         // the microphone
	Camera                             //
	USB                                // USB and plug and play devices
	Location                           // where the person is
	WebAuthn                           // security keys
)

// AllRedirections is everything there is.
const AllRedirections = WebAuthn<<1 - 1

var redirectionNames = []string{ // by bit
	"clipboard", "drive", "printer", "port", "smartcard", "audio-input", "camera", "usb", "location", "webauthn",
}

// String returns the set as ParseRedirection reads it, "none" for the empty
// one.
func (r Redirection) String() string { return namesIn(r, redirectionNames) }

// ParseRedirection reads "clipboard,drive", any that there are, or "none".
func ParseRedirection(s string) (Redirection, error) {
	r, bad, ok := setOf[Redirection](s, redirectionNames)
	if !ok {
		return 0, fmt.Errorf("%.40q is nothing that can be allowed over RDP: use %s or none", bad, strings.Join(redirectionNames, ", "))
	}
	return r, nil
}

// RedirectionNames are the words that ParseRedirection reads.
func RedirectionNames() []string { return append([]string(nil), redirectionNames...) }
