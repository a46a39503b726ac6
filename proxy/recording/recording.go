// Package recording writes what a person saw and did, and reads it back:
// terminal channels as asciicast v2 with a sidecar that frames them, sessions
// as a log of events. It is append-only and written before it is forwarded;
// the live view is the same file, followed. It does not know sessions, rights
// or databases: the appliance creates recordings and logs, the entries fill
// them, the API follows and reads them.
//
// # The recording, N.cast
//
// One file per terminal channel, each line complete JSON, so that any tool
// that knows asciicast v2 (https://docs.asciinema.org/manual/asciicast/v2/)
// plays it. The bytes of a terminal are not always UTF-8, a JSON string always
// is. Two event kinds of our own keep what the text cannot; players skip kinds
// they do not know:
//
//   - ["b", hex] stands right before an "o" event in whose text bytes that are
//     not UTF-8 were written as U+FFFD. It names, for each U+FFFD of that text
//     in order, the byte it stands for; 00 is a U+FFFD that really was sent.
//   - ["c", hex] holds the beginning of a character that was cut at the end of
//     a call. The whole character follows with the next "o" event, which makes
//     the "c" event void; only when none follows are these bytes output.
//
// So the text is clean, nothing is lost, and every byte for which
// [Writer.Output] returned was handed to the kernel in the one file.
//
// # The sidecar, N.idx
//
// Records of 64 bytes frame the recording: offset, length, CRC-32C, time and a
// SHA-256 chain over everything before. They are made from what the file
// holds, once a second and at the end, away from the data path; the same round
// makes the recordings of the process durable (fdatasync). After a power cut
// about one second may be missing, after a crash of the process nothing.
// [Verify] checks a recording against its sidecar, [Recover] ends one that a
// crash left open.
package recording

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pawelmojski/inside/proxy/recording/internal/ondisk"
)

// Longest line of a recording or an event log, with its newline.
const maxLine = 64 << 10

var (
	// ErrTorn says that a recording or a log ends in the middle of a line, as
	// a crash leaves it. What came before it was read.
	ErrTorn = errors.New("ends in the middle of a line")

	// ErrLive says that a recording is still being written.
	ErrLive = ondisk.ErrLive
)

// A Damage is a place where a recording is not what was written.
type Damage struct {
	Offset int64  // of the first bad byte's frame or line in the .cast file
	What   string // in words
}

func (d *Damage) Error() string { return fmt.Sprintf("damaged at byte %d: %s", d.Offset, d.What) }

// sidecarName returns the name of the sidecar of the recording called name.
func sidecarName(name string) (string, error) {
	base, ok := strings.CutSuffix(name, ".cast")
	if !ok || base == "" {
		return "", fmt.Errorf("recording %q: the name must end in .cast", name)
	}
	return base + ".idx", nil
}
