package web

import (
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
)

// A week is the hours of a grant as a picture: a row for each day, a column for
// each quarter of an hour, 96 in all.
type week struct {
	Zone string
	Days []weekDay
}

type weekDay struct{ Name, Path string }

// weekOf draws schedules that are all in one zone; others are said in words
// only.
func weekOf(schedules []api.Schedule, now time.Time) *week {
	if len(schedules) == 0 {
		return nil
	}
	zone, err := time.LoadLocation(schedules[0].Zone)
	if err != nil {
		return nil
	}
	var parsed []policy.Schedule
	for _, s := range schedules {
		p, err := policy.ParseSchedule(s.Windows, s.Zone)
		if err != nil || s.Zone != schedules[0].Zone {
			return nil
		}
		parsed = append(parsed, p)
	}
	w := &week{Zone: schedules[0].Zone}
	now = now.In(zone)
	monday := now.AddDate(0, 0, -(int(now.Weekday())+6)%7)
	for i := range 7 {
		d := monday.AddDate(0, 0, i)
		var path []byte
		for q := 0; q < 96; q++ {
			at := time.Date(d.Year(), d.Month(), d.Day(), 0, 15*q+7, 0, 0, zone)
			for _, p := range parsed {
				if p.Contains(at) {
					path = appendRect(path, q, 0, 1, 10)
					break
				}
			}
		}
		w.Days = append(w.Days, weekDay{d.Weekday().String()[:3], string(path)})
	}
	return w
}
