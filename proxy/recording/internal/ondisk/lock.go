// Package ondisk is what the kinds of recordings have in common on disk: files
// that only one process writes, that are made durable once a second, that wake
// those who follow them, and records that chain what was written by SHA-256.
// Packages recording and desktop call it.
package ondisk

import (
	"errors"
	"io/fs"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Lock takes the lock that says that a recording is being written. It is tied
// to the open file, so that it goes when its holder does, however that ends.
func Lock(f *os.File) error {
	all := unix.Flock_t{Type: unix.F_WRLCK}
	err := Control(f, "lock", func(fd int) error {
		return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &all)
	})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return ErrLive
	}
	return err
}

// Written says whether somebody else, in any process, holds the lock of f.
func Written(f *os.File) (bool, error) {
	all := unix.Flock_t{Type: unix.F_WRLCK}
	err := Control(f, "lock", func(fd int) error {
		return unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &all)
	})
	return all.Type != unix.F_UNLCK, err
}

// Control calls a system call on f, again after a signal.
func Control(f *os.File, what string, call func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		for {
			if failed = call(int(fd)); failed != unix.EINTR {
				return
			}
		}
	})
	if err == nil && failed != nil {
		err = &os.PathError{Op: what, Path: f.Name(), Err: failed}
	}
	return err
}

// Datasync makes what was written to f survive a power cut. For a new file
// the journals of ext4 and XFS take its name along.
//
// A call that waits for the disk keeps a processor of Go's scheduler until
// sysmon takes it away, up to 10 ms later (runtime/proc.go, retake). A thousand
// recordings that are closed at once, because a grant was revoked, would keep
// all of them for seconds, and nobody would be told why the session ends. So
// one processor is always left to those who do not wait.
func Datasync(f *os.File) error {
	syncing <- struct{}{}
	defer func() { <-syncing }()
	return Control(f, "fdatasync", unix.Fdatasync)
}

var syncing = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1))

// Open opens a regular file under root: a device or a pipe planted there must
// not be read or block the reader.
func Open(root *os.Root, name string, flag int) (*os.File, error) {
	info, err := root.Lstat(name)
	if err == nil && !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
	}
	return root.OpenFile(name, flag, 0o640)
}

// ErrLive says that a file is being written by somebody else.
var ErrLive = errors.New("is still being written")
