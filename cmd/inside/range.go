package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/policy"
)

// A timeRange is the flags that say when.
type timeRange struct{ from, to, since string }

func (r *timeRange) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.from, "from", "", `at any moment from then on: 2026-10-01, "2026-10-01 09:00", 09:00`)
	f.StringVar(&r.to, "to", "", "and before then: --to 2026-11-01 leaves November out")
	f.StringVar(&r.since, "since", "", "at any moment since so long ago: 7d, 12h")
}

// times reads them; a zero time limits nothing.
func (r *timeRange) times(now time.Time) (from, to time.Time, err error) {
	if r.since != "" {
		if r.from != "" {
			return from, to, errors.New("--since and --from exclude each other")
		}
		ago, err := policy.ParseDuration(r.since)
		if err != nil {
			return from, to, errors.New("--since " + err.Error())
		}
		from = now.Add(-ago)
	} else if from, err = parseWhen("--from", r.from, time.Local, now); err != nil {
		return from, to, err
	}
	if to, err = parseWhen("--to", r.to, time.Local, now); err != nil {
		return from, to, err
	}
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		return from, to, errors.New("nothing lies between " + moment(from) + " and " + moment(to) + ": --from must be before --to")
	}
	return from, to, nil
}
