package appliance

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// longestEvent is longer than any line of an event log.
const longestEvent = 1 << 20

// carriedIn finds out from its folder what a session carried whose gate
// crashed. Of the bytes only those of channels that had ended were written
// down: it is at least as much.
func carriedIn(dir *os.Root) (Traffic, error) {
	var t Traffic
	casts, err := fs.Glob(dir.FS(), "*.cast")
	if err != nil {
		return t, err
	}
	t.Recordings = len(casts)
	if _, err := dir.Lstat(desktop.Name); err == nil {
		t.Recordings++
	}
	log, err := dir.Open("events.jsonl")
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return t, err
	}
	defer log.Close()
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, longestEvent)
	for lines.Scan() {
		var e recording.Event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue // cut by the crash
		}
		see(&t, e)
		if e.Kind == "exit" || e.Kind == "forward" {
			t.In, t.Out = t.In+e.In, t.Out+e.Out
		}
	}
	return t, lines.Err()
}
