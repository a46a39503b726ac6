package api

import (
	"context"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"
	"unsafe"
)

// adminGroup is the group whose members administrate the gate.
const adminGroup = "inside"

// An Actor is who asks. Its name goes into the audit trail.
type Actor struct {
	Name string // "root", "jon", "token:ci"
	Role Role
}

type actorKey struct{}

// WithActor returns a context in which calls are made by a.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// By returns the name of who asks.
func By(ctx context.Context) string { return actor(ctx).Name }

func actor(ctx context.Context) Actor {
	a, _ := ctx.Value(actorKey{}).(Actor)
	return a
}

// peerActor asks the kernel who is at the other end of a unix socket. An
// admin is root, who the daemon runs as, or a member of the group inside. A
// connection of another kind has nobody at its end.
func peerActor(c net.Conn) Actor {
	unix, ok := c.(*net.UnixConn)
	if !ok {
		return Actor{}
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return Actor{}
	}
	var peer *syscall.Ucred
	var groups []uint32
	err = raw.Control(func(fd uintptr) {
		if peer, _ = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); peer != nil {
			groups = append(peerGroups(fd), peer.Gid)
		}
	})
	if err != nil || peer == nil {
		return Actor{}
	}
	a := Actor{Name: userName(peer.Uid)}
	if peer.Uid == 0 || peer.Uid == uint32(os.Geteuid()) || holdsAdmin(groups) {
		a.Role = Admin
	}
	return a
}

func holdsAdmin(groups []uint32) bool {
	gid, ok := adminGID()
	return ok && slices.Contains(groups, uint32(gid))
}

// adminGID returns the id of the group inside, if the machine has it.
func adminGID() (int, bool) {
	g, err := user.LookupGroup(adminGroup)
	if err != nil {
		return 0, false
	}
	gid, err := strconv.Atoi(g.Gid)
	return gid, err == nil
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	u, err := user.LookupId(id)
	if err != nil {
		return "uid:" + id
	}
	return u.Username
}

// soPeerGroups is SO_PEERGROUPS (include/uapi/asm-generic/socket.h, Linux
// 4.13): the supplementary groups of the peer as they were when it connected.
// Unlike /proc/PID/status it cannot be answered by another process that got
// the same pid, and it works under ProtectProc=invisible.
const soPeerGroups = 59

func peerGroups(fd uintptr) []uint32 {
	groups := make([]uint32, 64)
	for {
		size := uint32(len(groups) * 4)
		_, _, errno := syscall.Syscall6(syscall.SYS_GETSOCKOPT, fd, syscall.SOL_SOCKET, soPeerGroups,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return groups[:size/4]
		case errno == syscall.ERANGE && int(size/4) > len(groups):
			groups = make([]uint32, size/4) // the kernel has said how many there are
		default:
			return nil
		}
	}
}
