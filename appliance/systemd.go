package appliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/netfilter"
)

// inherited are the listeners that the service manager held since the process
// before this one gave them to it (sd_notify(3), FDSTORE=1).
func inherited(log *slog.Logger) netfilter.Held {
	held := netfilter.Held{}
	for _, f := range activation.Files(true) {
		held[f.Name()] = f
	}
	if len(held) > 0 {
		log.Info("the service manager held the listeners", "sockets", len(held))
	}
	return held
}

// entrust has the service manager hold the listeners, so that who comes during
// a restart waits instead of being refused. What it has already it does not
// take twice.
func entrust(gate *netfilter.Gate) error {
	address := os.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return nil
	}
	sockets, err := gate.Sockets()
	if err != nil {
		return err
	}
	for name, f := range sockets {
		err = errors.Join(err, hold(address, name, f), f.Close())
	}
	return err
}

func hold(address, name string, f *os.File) error {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	raw, err := f.SyscallConn() // and not Fd, which makes the listener block its thread
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.Sendmsg(s, []byte("FDSTORE=1\nFDNAME="+name), unix.UnixRights(int(fd)), &unix.SockaddrUnix{Name: address}, 0)
	})
	return errors.Join(err, failed)
}

// A manager is the service manager, told by one socket that stays open: when
// descriptors have run out, a new one could not be had, and the watchdog would
// end everybody's session.
type manager struct{ conn *net.UnixConn }

// dialManager finds the service manager, if there is one (sd_notify(3)).
func dialManager() (manager, error) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return manager{}, nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	return manager{conn}, err
}

func (m manager) tell(state string) {
	if m.conn != nil {
		m.conn.Write([]byte(state))
	}
}

func (m manager) close() {
	if m.conn != nil {
		m.conn.Close()
	}
}

// statusEvery is how often the service manager's line about the gate is
// renewed when nothing makes it be renewed more often.
const statusEvery = 5 * time.Second

// report tells the service manager how the gate is, until ctx ends, and feeds
// its watchdog for as long as nothing hangs that everybody depends on.
func (a *Appliance) report(ctx context.Context) {
	every := statusEvery
	patience, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		a.log.Error("the watchdog of the service manager is not fed", "error", err)
	}
	if patience > 0 {
		every = min(every, patience/4)
	}
	m, err := dialManager()
	if err != nil {
		a.log.Error("the service manager is told nothing, and its watchdog is not fed", "error", err)
	}
	defer m.close()
	for said := ""; ; {
		line, err := a.pulse()
		switch {
		case err != nil:
			a.log.Error("something hangs; the service manager's watchdog is not fed", "error", err)
		case patience > 0:
			m.tell(daemon.SdNotifyWatchdog)
		}
		if line != said {
			said = line
			m.tell("STATUS=" + line)
		}
		select {
		case <-ctx.Done():
			if a.successor.Load() == nil {
				m.tell(daemon.SdNotifyStopping)
			}
			return
		case <-time.After(every):
		}
	}
}

// longestQueue is how long a connection may wait for the goroutine that takes
// it before that goroutine is thought to hang.
const longestQueue = 10 * time.Second

// pulse goes through what must not hang: it takes the locks that every
// decision needs, so that it hangs where one of them does, and looks whether
// connections are taken. The line is for people: "3 inside, 5 sessions, rules
// ok".
func (a *Appliance) pulse() (string, error) {
	before := a.before.carried()
	parts := []string{fmt.Sprintf("%d inside", a.live.inside()), fmt.Sprintf("%d sessions", len(a.live.own())+len(before.Sessions))}
	if a.before.there() {
		parts = append(parts, fmt.Sprintf("%d of them in the version before until %s", len(before.Sessions), before.Until.Local().Format("15:04")))
	}
	if a.gate == nil {
		return strings.Join(append(parts, "not intercepting"), ", "), nil
	}
	if a.gate.Healthy() == nil {
		parts = append(parts, "rules ok")
	} else {
		parts = append(parts, "RULES NOT IN PLACE")
	}
	if absent, err := a.gate.Absent(); err == nil && len(absent) > 0 {
		parts = append(parts, strings.Join(absent, " and ")+" not there")
	}
	if c, _ := a.settings.now(); c.Intercept != nil {
		if n := len(c.Intercept.Observe); n > 0 {
			parts = append(parts, fmt.Sprintf("%d OBSERVED ONLY", n))
		}
		if n := len(c.Intercept.Warn); n > 0 {
			parts = append(parts, fmt.Sprintf("%d WARN ONLY", n))
		}
	}
	if a.ledger.problem() != nil {
		parts = append(parts, "DATABASE AWAY: nobody new gets in")
	}
	if a.records.ready() != nil {
		parts = append(parts, "NO ROOM TO RECORD: nobody new gets in")
	}
	line := strings.Join(parts, ", ")
	for _, e := range a.gate.Config().Entries {
		if waits := a.gate.Listener(e.Name).Waits(); waits > longestQueue {
			return line, fmt.Errorf("a connection to entry %s has waited %s to be taken", e.Name, waits.Round(time.Second))
		}
	}
	return line, nil
}
