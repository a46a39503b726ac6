// Insided is the daemon of Inside: it intercepts, decides, carries, records
// and ends sessions, and serves the socket the inside command talks to.
package main

import (
	"context"
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
	cleanup := flag.Bool("cleanup", false, "remove the rules a stopped gate left behind, which opens the way, and exit")
	flag.Parse()

	err := run(*file, *check, *cleanup)
	if err != nil {
		fmt.Fprintln(os.Stderr, "insided: error:", err)
		os.Exit(1)
	}
}

func run(file string, check, cleanup bool) error {
	if cleanup {
		return netfilter.Cleanup()
	}
	cfg, err := config.Load(file)
	if err != nil || check {
		return err
	}
	if err := noCore(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	go tendCollector(ctx)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	a, err := appliance.New(ctx, cfg, log)
	if err != nil {
		return err
	}
	return a.Run(ctx, func() { daemon.SdNotify(false, daemon.SdNotifyReady) })
}
