package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Listen makes the socket at path: its folder 0750, the socket 0660, both of
// root and group inside where the machine has that group. It takes the place
// of a socket that a dead daemon left, and refuses while a living one is there.
// At no moment is the socket open to more than its owner and that group.
func Listen(path string) (net.Listener, error) {
	gid, hasGroup := adminGID()
	if !hasGroup {
		gid = -1
	}
	if err := makeFolder(filepath.Dir(path), gid); err != nil {
		return nil, fmt.Errorf("api socket: %w", err)
	}
	lock, err := lockSocket(path)
	if err != nil {
		return nil, fmt.Errorf("api socket: %w", err)
	}
	l, err := bind(path, gid)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("api socket: %w", err)
	}
	return &listener{UnixListener: l, lock: lock}, nil
}

// makeFolder makes the socket's folder where it is missing. One that is there
// belongs to the admin or to systemd (RuntimeDirectory=) and stays as it is.
func makeFolder(dir string, gid int) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o750)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(giveTo(gid, dir), os.Chmod(dir, 0o750))
}

// giveTo makes a file the group's. A daemon that runs as the group has nothing
// to do, and its unit does not let it change owners.
func giveTo(gid int, path string) error {
	if gid == os.Getegid() {
		return nil
	}
	return os.Chown(path, -1, gid)
}

// lockSocket takes the lock beside the socket. Only its holder may remove a
// socket: without it two daemons that start together could each take the
// other's for a dead one. The kernel lets go of it when the holder dies.
func lockSocket(path string) (*os.File, error) {
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("another insided serves %s: stop it first, or choose another [paths] run", path)
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

func bind(path string, gid int) (*net.UnixListener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: private}
	ln, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	l := ln.(*net.UnixListener)
	if err := errors.Join(giveTo(gid, path), os.Chmod(path, 0o660)); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// private has the kernel bind a socket for its owner alone (net/unix/af_unix.c,
// unix_bind_bsd: the name gets the mode of the socket). The umask would do it
// too, but it belongs to the whole process: a folder that another goroutine
// made meanwhile could not be entered ever after.
func private(_, _ string, c syscall.RawConn) (err error) {
	e := c.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), 0o600) })
	return errors.Join(e, err)
}

// removeStale removes a socket nobody answers on, and nothing else.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there and is not a socket: remove it or choose another [paths] run", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
		return fmt.Errorf("a living daemon answers on %s: stop it first, or choose another [paths] run", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%s: cannot tell whether its daemon lives: %w", path, err)
	}
	return os.Remove(path)
}

// A listener holds the lock as long as the socket.
type listener struct {
	*net.UnixListener
	lock *os.File
}

// Inherit is Listen for the successor of a daemon that gave it its socket and
// its lock, see HandOn. The files are closed in any case.
func Inherit(socket, lock *os.File) (net.Listener, error) {
	defer socket.Close()
	l, err := net.FileListener(socket)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("api socket: %w", err)
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		lock.Close()
		return nil, errors.Join(fmt.Errorf("api socket: %s is not one", l.Addr()), l.Close())
	}
	u.SetUnlinkOnClose(true)
	return &listener{UnixListener: u, lock: lock}, nil
}

// HandOn are the socket and the lock of a listener that Listen or Inherit made.
func HandOn(l net.Listener) (socket, lock syscall.Conn) {
	own := l.(*listener)
	return own.UnixListener, own.lock
}

// LeaveIt has a listener leave its socket in the file system when it is closed:
// somebody else listens on it.
func LeaveIt(l net.Listener) { l.(*listener).SetUnlinkOnClose(false) }

func (l *listener) Close() error {
	return errors.Join(l.UnixListener.Close(), l.lock.Close())
}

// Serve answers on a listener made by Listen until ctx ends. Calls under way
// are let finish for a moment, streams end at once.
func Serve(ctx context.Context, l net.Listener, h House) error {
	return serveDoor(ctx, l, h, socketDoor, peerActor)
}

func serveDoor(ctx context.Context, l net.Listener, h House, d door, peer func(net.Conn) Actor) error {
	closing, endStreams := context.WithCancel(context.WithoutCancel(ctx))
	defer endStreams()
	server := newServer(closing, h, d, peer)
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		endStreams()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		stopped <- errors.Join(server.Shutdown(last), server.Close())
	})
	err := server.Serve(l)
	if stop() { // it was not ctx that ended it
		return fmt.Errorf("api: %w", err)
	}
	if err := <-stopped; err != nil {
		return fmt.Errorf("api: %w", err)
	}
	return nil
}

func newServer(closing context.Context, h House, d door, peer func(net.Conn) Actor) *http.Server {
	return &http.Server{
		Handler:           newHandler(closing, h, d),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       patience,
		WriteTimeout:      2 * patience,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return WithActor(ctx, peer(c))
		},
	}
}
