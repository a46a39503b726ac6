package recording

import (
	"fmt"
	"os"

	"github.com/pawelmojski/inside/proxy/recording/internal/ondisk"
	"golang.org/x/sys/unix"
)

// Free returns how much room the file system under root has for recordings:
// in bytes, and as a share (0 to 1) of what it could hold.
func Free(root *os.Root) (bytes uint64, share float64, err error) {
	dir, err := root.Open(".")
	if err != nil {
		return 0, 0, fmt.Errorf("free space of %s: %w", root.Name(), err)
	}
	defer dir.Close()
	var st unix.Statfs_t
	if err := ondisk.Control(dir, "statfs", func(fd int) error { return unix.Fstatfs(fd, &st) }); err != nil {
		return 0, 0, fmt.Errorf("free space of %s: %w", root.Name(), err)
	}
	unit := st.Frsize
	if unit <= 0 {
		unit = st.Bsize
	}
	bytes = st.Bavail * uint64(unit)
	// As df(1) does: blocks kept for root are neither free nor used.
	if total := st.Blocks - st.Bfree + st.Bavail; total > 0 {
		share = float64(st.Bavail) / float64(total)
	}
	return bytes, share, nil
}
