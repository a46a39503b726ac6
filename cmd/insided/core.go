package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// noCore keeps passwords and keys in memory from being written to a core file.
// A limit of 0 stops files only; 1 stops a handler behind a pipe, too (kernel,
// fs/coredump.c).
func noCore() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1}); err != nil {
		return fmt.Errorf("turn core files off: %w", err)
	}
	return nil
}
