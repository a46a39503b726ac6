// Inside is the admin's command: who may be inside, when and for how long, who
// is inside right now, and what they did. It asks the daemon, insided, over a
// unix socket and keeps nothing itself.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // times of schedules must not depend on this machine's zone files
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c := &cli{out: os.Stdout, err: os.Stderr}
	return c.run(ctx, os.Args[1:])
}
