package lab

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// ownCgroups makes a cgroup for a machine in each hierarchy that systemd looks
// at, and returns their folders. Without them all machines of this process
// would share one, and the systemd of one would remove the cgroup in which
// that of another is just starting a unit of the same name (219/CGROUP).
func ownCgroups(t testing.TB, name string) (folders []string) {
	t.Helper()
	present, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(present)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		hierarchy, path, _ := strings.Cut(rest, ":")
		var mounts []string
		switch hierarchy {
		case "name=systemd":
			mounts = []string{"/sys/fs/cgroup/systemd"}
		case "": // version 2, beside version 1 or alone
			mounts = []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"}
		}
		i := slices.IndexFunc(mounts, func(mount string) bool {
			_, err := os.Stat(filepath.Join(mount, path, "cgroup.procs"))
			return err == nil
		})
		if i < 0 {
			continue
		}
		folder := filepath.Join(mounts[i], path, name)
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		folders = append(folders, folder)
	}
	return folders
}

// removeCgroups removes the cgroups of a machine that has stopped, and what it
// made within.
func removeCgroups(folders []string) (err error) {
	for _, top := range folders {
		var all []string
		filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				all = append(all, path)
			}
			return nil
		})
		for _, folder := range slices.Backward(all) {
			if e := os.Remove(folder); e != nil {
				err = fmt.Errorf("a process of the machine is left: %w", e)
			}
		}
	}
	return err
}
