package recording

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lock takes the lock that says that a recording is being written. It is tied
// to the open file, so that it goes when its holder does, however that ends.
func lock(f *os.File) error {
	all := unix.Flock_t{Type: unix.F_WRLCK}
	err := control(f, "lock", func(fd int) error {
		return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &all)
	})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return ErrLive
	}
	return err
}

// written says whether somebody else, in any process, holds the lock of f.
func written(f *os.File) (bool, error) {
	all := unix.Flock_t{Type: unix.F_WRLCK}
	err := control(f, "lock", func(fd int) error {
		return unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &all)
	})
	return all.Type != unix.F_UNLCK, err
}

// control calls a system call on f, again after a signal.
func control(f *os.File, what string, call func(fd int) error) error {
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
