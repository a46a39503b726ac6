// Insided is the daemon of Inside: it intercepts, decides, carries, records
// and ends sessions, and serves the socket the inside command talks to.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // schedules must not depend on the router's zone files

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/pawelmojski/inside/appliance"
	"github.com/pawelmojski/inside/appliance/config"
	"github.com/pawelmojski/inside/netfilter"
)

func main() {
	file := flag.String("config", "/etc/inside/inside.toml", "the configuration `file`")
	check := flag.Bool("check-config", false, "check the configuration and exit")
	guard := flag.Bool("guard", false, "close the way as the configuration says, without serving anybody, and exit: for the boot")
	cleanup := flag.Bool("cleanup", false, "remove the rules a stopped gate left behind, which opens the way, and exit")
	restore := flag.String("restore", "", "put the backup in this `file` into place, on a gate that does not run and knows nothing, and exit")
	broken := flag.Bool("accept-broken-record", false, "with --restore: also an audit trail in which something was changed or is missing")
	flag.Parse()

	var err error
	switch {
	case *cleanup:
		err = netfilter.Cleanup()
	case *check:
		_, err = config.Load(*file)
	case *guard:
		err = closed(*file)
	case *restore != "":
		err = restored(*file, *restore, *broken)
	default:
		err = run(*file)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "insided: error:", err)
		os.Exit(1)
	}
}

// closed is the guard at boot. That the file is broken is for the daemon to
// fail over; what counts here is that the way is closed.
func closed(file string) error {
	err := appliance.Guard(file)
	var stale *appliance.Stale
	if errors.As(err, &stale) {
		fmt.Fprintln(os.Stderr, "insided: warning:", err)
		return nil
	}
	return err
}

// restored puts a backup into place. Ctrl-C leaves nothing of it.
func restored(file, from string, broken bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	said, err := (&appliance.Restore{Config: file, Broken: broken}).From(ctx, f)
	if err != nil {
		return err
	}
	fmt.Println(said)
	return nil
}

func run(file string) (err error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	before, err := appliance.Inherit(log)
	if err != nil {
		return err
	}
	defer func() { before.Failed(err) }()
	program, err := os.Executable() // before another is installed in its place
	if err != nil {
		return err
	}
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	if err := noCore(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	go tendCollector(ctx)
	a, err := appliance.New(ctx, cfg, before, log)
	if err != nil {
		return err
	}
	a.Reloads(func() (config.Config, error) { return config.Load(file) })
	a.Upgrades(program)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	return a.Run(ctx, func() {
		go heed(ctx, a, hangups)
		daemon.SdNotify(false, daemon.SdNotifyReady)
	})
}

// heed has the configuration read again at each SIGHUP.
func heed(ctx context.Context, a *appliance.Appliance, hangups <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			a.Hangup(ctx)
		}
	}
}
