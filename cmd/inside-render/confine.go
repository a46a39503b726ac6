package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Bounds of one rendering, ffmpeg included, since it inherits them: a video of
// a day takes hours and gigabytes, more is a fault.
var limits = []struct {
	which int
	what  string
	most  uint64
}{
	{unix.RLIMIT_CORE, "core", 0},
	{unix.RLIMIT_CPU, "cpu", 12 * 3600},
	{unix.RLIMIT_FSIZE, "file size", 64 << 30},
	{unix.RLIMIT_NOFILE, "files", 256},
	{unix.RLIMIT_AS, "memory", 16 << 30},
}

// Everything below is given up by the thread main runs on, which must be the
// first: the signal that insided has the kernel send when it dies itself is
// that thread's (prctl(2), PR_SET_PDEATHSIG), and a program that is started by
// another thread goes on without it.
func init() { runtime.LockOSThread() }

// confinedEnv says to the program that confine ran it again.
const confinedEnv = "INSIDE_RENDER_CONFINED"

// confine gives up what rendering does not need, for this process and ffmpeg:
// capabilities, new privileges by any program, sockets, and all files but the
// recording and those in the folder of the video. Most of this is given up by
// one thread, so that the program then starts again from that thread: confine
// does not return unless it fails or has been here before.
func confine(recording, folder string) error {
	if os.Getenv(confinedEnv) != "" {
		return os.Unsetenv(confinedEnv)
	}
	for _, l := range limits {
		var now unix.Rlimit
		if err := unix.Getrlimit(l.which, &now); err != nil {
			return fmt.Errorf("limit of %s: %w", l.what, err)
		}
		most := min(l.most, now.Max)
		if err := unix.Setrlimit(l.which, &unix.Rlimit{Cur: most, Max: most}); err != nil {
			return fmt.Errorf("limit of %s: %w", l.what, err)
		}
	}
	// Whoever waits for a video gives way to whoever waits for a key press.
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, 19); err != nil {
		return fmt.Errorf("priority: %w", err)
	}
	// Where memory runs out a video can be made again, sessions cannot. It is no
	// reason not to make it that this cannot be said, as where /proc is read-only.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0)
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	// With no_new_privs even root gets none of them back from a program.
	var none [2]unix.CapUserData
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	if err := errors.Join(noFiles(recording, folder), noSockets()); err != nil {
		return err
	}
	return fmt.Errorf("starting again: %w", syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), confinedEnv+"=1")))
}

// forbidden are the system calls by which a socket could be made, and those
// that reach into other processes.
var forbidden = []uint32{
	unix.SYS_SOCKET, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_SENDTO,
	unix.SYS_IO_URING_SETUP, unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV,
}

// audit architectures by GOARCH: the filter sees numbers of one only.
var architectures = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}

// noSockets makes those calls fail with EACCES in this thread: see seccomp(2)
// and the kernel's Documentation/userspace-api/seccomp_filter.rst.
func noSockets() error {
	arch, ok := architectures[runtime.GOARCH]
	if !ok {
		return nil // nothing is known about this machine's numbers
	}
	const (
		load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		least  = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		answer = unix.BPF_RET | unix.BPF_K
		deny   = unix.SECCOMP_RET_ERRNO | uint32(unix.EACCES)
		x32    = 0x40000000
	)
	n := uint8(len(forbidden))
	program := []unix.SockFilter{
		{Code: load, K: 4}, // seccomp_data.arch
		{Code: equal, K: arch, Jf: n + 3},
		{Code: load, K: 0}, // seccomp_data.nr
		{Code: least, K: x32, Jt: n + 1},
	}
	for i, nr := range forbidden {
		program = append(program, unix.SockFilter{Code: equal, K: nr, Jt: n - uint8(i)})
	}
	program = append(program,
		unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: answer, K: deny})
	p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&p)))
	runtime.KeepAlive(program)
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}
