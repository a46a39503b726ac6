package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What Landlock calls file access, from its first version on; later versions
// know more (Documentation/userspace-api/landlock.rst).
const (
	runFile   = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_EXECUTE
	readTree  = runFile | unix.LANDLOCK_ACCESS_FS_READ_DIR
	writeFile = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE
	writeTree = writeFile | unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	firstKnown = 1<<13 - 1 // of the first version
)

// needed is what ffmpeg and its libraries read, and what it may be given
// instead of a file.
var needed = map[string]uint64{
	"/usr": readTree, "/bin": readTree, "/lib": readTree, "/lib64": readTree,
	"/etc/ld.so.cache": unix.LANDLOCK_ACCESS_FS_READ_FILE, "/etc/alternatives": readTree,
	"/proc": readTree, "/sys": readTree, "/dev/null": writeFile,
}

// noFiles leaves this thread of the file system what programs need, the
// recording, and the folder of the video: neither keys nor the database nor
// what others recorded. It may send signals to its own children only. A kernel
// without Landlock, or with an older one, leaves more.
func noFiles(recording, folder string) error {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno == unix.ENOSYS || errno == unix.EOPNOTSUPP {
		return nil
	}
	if errno != 0 {
		return fmt.Errorf("landlock: %w", errno)
	}
	var rules unix.LandlockRulesetAttr
	rules.Handled_access_fs = firstKnown
	for since, more := range map[uintptr]uint64{2: unix.LANDLOCK_ACCESS_FS_REFER, 3: unix.LANDLOCK_ACCESS_FS_TRUNCATE, 5: unix.LANDLOCK_ACCESS_FS_IOCTL_DEV} {
		if version >= since {
			rules.Handled_access_fs |= more
		}
	}
	if version >= 6 {
		rules.Scoped = unix.LANDLOCK_SCOPE_SIGNAL | unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
	}
	// What a version does not know is zero, which makes the length right.
	set, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&rules)), unsafe.Sizeof(rules), 0)
	if errno != 0 {
		return fmt.Errorf("landlock: %w", errno)
	}
	defer unix.Close(int(set))
	self, err := os.Executable()
	if err != nil {
		return err
	}
	allowed := map[string]uint64{self: runFile, recording: unix.LANDLOCK_ACCESS_FS_READ_FILE, folder: writeTree & rules.Handled_access_fs}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		allowed[dir] = readTree
	}
	for _, paths := range []map[string]uint64{needed, allowed} {
		for path, access := range paths {
			if err := allow(int(set), path, access); err != nil {
				return fmt.Errorf("landlock: %s: %w", path, err)
			}
		}
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, set, 0, 0); errno != 0 {
		return fmt.Errorf("landlock: %w", errno)
	}
	return nil
}

// allow adds a path to what is left, if it is there and this user may go there
// at all.
func allow(set int, path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	switch {
	case path == "", path == "-", errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EACCES):
		return nil
	case err != nil:
		return err
	}
	defer unix.Close(fd)
	beneath := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(set), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&beneath)), 0, 0, 0)
	runtime.KeepAlive(&beneath)
	if errno != 0 {
		return errno
	}
	return nil
}
