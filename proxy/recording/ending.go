package recording

import (
	"crypto/sha256"
	"fmt"
	"os"

	"github.com/pawelmojski/inside/proxy/recording/internal/ondisk"
)

// An Ending is what the last record of a sidecar says of a recording.
type Ending struct {
	Size      int64
	Head      [sha256.Size]byte // of the hash chain, over the whole recording
	Recovered bool              // it was ended by Recover
}

// End reads how a recording ended, without reading the recording; ended is
// false for one that has no end yet. Verify says whether it is true.
func End(root *os.Root, name string) (e Ending, ended bool, err error) {
	side, err := sidecarName(name)
	if err != nil {
		return e, false, err
	}
	idx, err := ondisk.Open(root, side, os.O_RDONLY)
	if err != nil {
		return e, false, fmt.Errorf("recording %s: %w", name, err)
	}
	defer idx.Close()
	if ended, err = hasEnd(idx); err != nil || !ended {
		return e, false, err
	}
	info, err := idx.Stat()
	if err != nil {
		return e, false, fmt.Errorf("recording %s: %w", name, err)
	}
	var b [ondisk.RecordSize]byte
	if _, err := idx.ReadAt(b[:], info.Size()-ondisk.RecordSize); err != nil {
		return e, false, fmt.Errorf("recording %s: %w", name, err)
	}
	r, chain, _ := ondisk.ParseRecord(b[:])
	return Ending{Size: r.Offset, Head: chain, Recovered: r.Kind == recordRecovered}, true, nil
}
