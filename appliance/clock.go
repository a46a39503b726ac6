package appliance

import (
	"context"
	"errors"
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// looksAgain is how often everything that is open is decided again though
	// nothing is known to have changed.
	looksAgain = 30 * time.Second

	// aStep is how far a clock must be set back to be told of: less than that
	// is what time servers correct by themselves.
	aStep = time.Second
)

// keepTime decides everything that is open again at every step of the clock
// and every half minute. A timer counts on the monotonic clock: a wall clock
// that is set forward, or a machine that slept, would let it fire too late.
func (a *Appliance) keepTime(ctx context.Context) {
	steps := make(chan struct{}, 1)
	if err := watchClock(ctx, steps); err != nil {
		a.log.Error("steps of the clock are not seen, it is looked at every half minute", "error", err)
	}
	again := time.NewTicker(looksAgain)
	defer again.Stop()
	told := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-steps:
			a.log.Info("the clock was set", "now", time.Now())
		case <-again.C:
		}
		if behind := a.clock.behind(); behind > aStep && behind-told > aStep && a.successor.Load() == nil {
			told = behind
			a.log.Error("the clock was set back: for decisions time goes on as if it had not been; restart insided when the clock is right", "by", behind)
			a.ledger.audit("gate:"+a.cfg.Gate.Name, "clock.set-back", "gate "+a.cfg.Gate.Name, "by "+behind.Round(time.Millisecond).String())
		}
		a.live.reconsider()
	}
}

// watchClock tells every step of the wall clock. A timer on CLOCK_REALTIME with
// TFD_TIMER_CANCEL_ON_SET is cancelled by one (timerfd_create(2)), and by a
// machine that wakes up.
func watchClock(ctx context.Context, steps chan<- struct{}) error {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return os.NewSyscallError("timerfd_create", err)
	}
	never := unix.ItimerSpec{Value: unix.Timespec{Sec: math.MaxInt32}}
	if err := unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &never, nil); err != nil {
		unix.Close(fd)
		return os.NewSyscallError("timerfd_settime", err)
	}
	timer := os.NewFile(uintptr(fd), "timerfd") // non-blocking: reads wait in the poller
	context.AfterFunc(ctx, func() { timer.Close() })
	go func() {
		expirations := make([]byte, 8)
		for ctx.Err() == nil {
			// The timer stays armed after it was cancelled (fs/timerfd.c).
			if _, err := timer.Read(expirations); err != nil && !errors.Is(err, unix.ECANCELED) {
				return
			}
			select {
			case steps <- struct{}{}:
			default: // one is told already
			}
		}
	}()
	return nil
}
