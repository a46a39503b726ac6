package appliance

import (
	"bytes"
	"context"
	"io"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/recording"
)

// Metrics implements api.Vitals.
func (h *House) Metrics(context.Context) (io.ReadCloser, error) {
	text, err := h.Numbers.text()
	return io.NopCloser(bytes.NewReader(text)), err
}

// Ready implements api.Vitals.
func (h *House) Ready(ctx context.Context) error {
	if broken := h.Live.Status(ctx).Broken(); len(broken) > 0 {
		return api.NewProblem(api.CodeUnavailable, "not ready: "+strings.Join(broken, ", "), "inside status")
	}
	return nil
}

// Alerts implements api.Vitals.
func (h *House) Alerts(_ context.Context, f api.AlertFilter) ([]api.Alert, error) {
	return h.Lookout.Alerts(f.All), nil
}

// Stats implements api.Vitals.
func (h *House) Stats(ctx context.Context) (api.Stats, error) {
	now := h.Now()
	local := now.Local()
	midnight := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, time.Local)
	counted, err := h.Store.Statistics(ctx, now, midnight)
	if err != nil {
		return api.Stats{}, asProblem(err, "")
	}
	stats := api.Stats{
		Hours: []api.HourCount{}, Busiest: []api.BusyServer{}, StaysToday: counted.Stays, StaysEnded: counted.Ended,
		StaySeconds: counted.Average.Seconds(), Recorded: counted.Recorded,
	}
	for _, c := range counted.Hours {
		stats.Hours = append(stats.Hours, api.HourCount(c))
	}
	names := namer{h.Book()}
	for _, b := range counted.Busiest {
		stats.Busiest = append(stats.Busiest, api.BusyServer{Server: names.server(b.Server), Entries: b.Entries})
	}
	return stats, nil
}

// Answered counts a call of the API.
func (h *House) Answered(route string, status int) { h.Numbers.answered(route, status) }

// measure makes numbers of what the gate can be looked at for at any time.
func (a *Appliance) measure() {
	m := a.metrics
	for _, p := range []policy.Protocol{policy.SSH, policy.RDP} {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "inside_sessions", Help: "Sessions this gate carries.", ConstLabels: prometheus.Labels{"protocol": string(p)},
		}, func() float64 { return float64(a.live.carried(p)) }))
	}
	m.read("inside_stays", "Stays that have not ended.", func() float64 { return float64(a.live.openStays()) })
	m.read("inside_doors_standing", "Connections accepted and not yet let in.", func() float64 { return float64(a.doors.standing()) })
	m.read("inside_ledger_waiting", "Lines that wait for the database.", func() float64 { return float64(a.ledger.lines()) })
	m.read("inside_videos_waiting", "Videos that wait to be made, and the one that is being made.", a.renders.waiting)
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "inside_recording_bytes_total", Help: "Bytes of recordings written.",
	}, func() float64 { return float64(recording.Written()) }))
	m.read("inside_recording_free_bytes", "Bytes left on the disk of the recordings.", func() float64 { free, _ := a.records.free(); return free })
	m.read("inside_recording_free_ratio", "The same as a share of the disk.", func() float64 { _, share := a.records.free(); return share })
	m.read("inside_book_revision", "Revision of the facts in force.", func() float64 { return float64(a.book.Load().Facts().Revision) })
	for _, kind := range api.AlertKinds {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "inside_alerts", Help: "Alerts there are right now.", ConstLabels: prometheus.Labels{"kind": kind},
		}, func() float64 { return float64(a.lookout.count(kind)) }))
	}
	for part, works := range map[string]func() error{
		"rules": a.rulesRight, "database": a.ledger.problem, "recordings": a.records.ready, "doors": a.doorsOpen,
	} {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "inside_up", Help: "Whether a part of the gate works; people are kept out unless all do.", ConstLabels: prometheus.Labels{"part": part},
		}, func() float64 {
			if works() != nil {
				return 0
			}
			return 1
		}))
	}
}
