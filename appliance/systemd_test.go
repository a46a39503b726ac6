package appliance

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A watchdog that is not fed ends everybody's session.
func TestTheServiceManagerIsToldWhenNoDescriptorIsLeft(t *testing.T) {
	address := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"}
	hears, err := net.ListenUnixgram("unixgram", address)
	if err != nil {
		t.Fatal(err)
	}
	defer hears.Close()
	t.Setenv("NOTIFY_SOCKET", address.Name)
	m, err := dialManager()
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()

	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &before) })
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	m.tell("WATCHDOG=1")
	hears.SetReadDeadline(time.Now().Add(5 * time.Second))
	said := make([]byte, 64)
	n, err := hears.Read(said)
	if err != nil || string(said[:n]) != "WATCHDOG=1" {
		t.Fatalf("%q, %v", said[:n], err)
	}
}
