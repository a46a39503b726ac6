package appliance

import (
	"bytes"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"github.com/pawelmojski/inside/policy"
)

// Metrics are the numbers of one gate, for Prometheus. No label names a
// person, a login or an address: what strangers choose must not make series,
// and who was where is for the record, which asks who wants to know.
//
// The zero value counts nothing; a house without a gate may do with it.
type Metrics struct {
	registry *prometheus.Registry

	allowed    map[policy.Protocol]prometheus.Counter
	denied     map[policy.Protocol]map[policy.Denial]prometheus.Counter
	otherwise  prometheus.Counter // an entry of neither; there is none
	stays      prometheus.Counter
	turnedAway prometheus.Counter
	notKept    prometheus.Counter
	repaired   prometheus.Counter
	decide     prometheus.Histogram
	dialled    prometheus.Observer
	dialFailed prometheus.Observer
	bookBuild  prometheus.Gauge
	requests   *prometheus.CounterVec
	hook       *prometheus.CounterVec
}

// A decision takes a microsecond, with the look at the disk some fifty; it
// must not take 50 ms.
var decideBuckets = []float64{1e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.5}

var dialBuckets = []float64{5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}

// NewMetrics makes the numbers of a gate that has just started.
func NewMetrics() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	entries := m.counters("inside_entries_total", "Attempts to get in, allowed or denied, by why they were denied.", "protocol", "verdict", "denial")
	m.allowed, m.denied = map[policy.Protocol]prometheus.Counter{}, map[policy.Protocol]map[policy.Denial]prometheus.Counter{}
	for _, p := range []policy.Protocol{policy.SSH, policy.RDP} {
		m.allowed[p] = entries.WithLabelValues(string(p), "allowed", "")
		m.denied[p] = map[policy.Denial]prometheus.Counter{}
		for _, d := range policy.Denials() {
			m.denied[p][d] = entries.WithLabelValues(string(p), "denied", string(d))
		}
	}
	m.otherwise = entries.WithLabelValues("other", "denied", "other")
	m.stays = m.counter("inside_stays_total", "Stays that began at this gate.")
	m.turnedAway = m.counter("inside_doors_turned_away_total", "Connections reset because too many stood at the door.")
	m.notKept = m.counter("inside_ledger_not_kept_total", "Denied entries that went to the log only, because the database was away for too long.")
	m.repaired = m.counter("inside_rules_repaired_total", "Repairs of the kernel's rules after somebody changed them.")
	m.decide = m.histogram("inside_decide_seconds", "Time to decide about a flow, with the look whether it can be recorded and written down.", decideBuckets)
	dials := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "inside_dial_seconds", Help: "Time to connect to a server, by whether that worked.", Buckets: dialBuckets,
	}, []string{"result"})
	m.registry.MustRegister(dials)
	m.dialled, m.dialFailed = dials.WithLabelValues("connected"), dials.WithLabelValues("failed")
	m.bookBuild = prometheus.NewGauge(prometheus.GaugeOpts{Name: "inside_book_build_seconds", Help: "Time the last change of the facts took from the database into force."})
	m.registry.MustRegister(m.bookBuild)
	m.requests = m.counters("inside_api_requests_total", "Calls of the API by route and status.", "route", "status")
	m.hook = m.counters("inside_webhook_alerts_total", "Alerts told to the webhook, and tries that failed.", "result")
	m.registry.MustRegister(
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(
			collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/gc/heap/live:bytes$`)})),
	)
	build := m.gauges("inside_build_info", "What runs here; always 1.", "version", "goversion")
	build.WithLabelValues(version(), runtime.Version()).Set(1)
	return m
}

func (m *Metrics) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(g)
	return g
}

func (m *Metrics) histogram(name, help string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	m.registry.MustRegister(h)
	return h
}

// read makes a gauge of what is so whenever somebody looks.
func (m *Metrics) read(name, help string, f func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
}

// The hot path calls these; each is an atomic addition or two, and a look at
// a table that does not change.

func (m *Metrics) entered(p policy.Protocol, joined bool) {
	if c, ok := m.allowed[p]; ok {
		c.Inc()
	} else {
		m.otherwise.Inc()
	}
	if !joined {
		m.stays.Inc()
	}
}

func (m *Metrics) refused(p policy.Protocol, d policy.Denial) {
	if c, ok := m.denied[p][d]; ok {
		c.Inc()
	} else {
		m.otherwise.Inc()
	}
}

func (m *Metrics) decided(took time.Duration) { m.decide.Observe(took.Seconds()) }

func (m *Metrics) dialEnded(took time.Duration, err error) {
	if err != nil {
		m.dialFailed.Observe(took.Seconds())
		return
	}
	m.dialled.Observe(took.Seconds())
}

func (m *Metrics) answered(route string, status int) {
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
}

// hookEnded counts what became of an alert at the webhook: "delivered",
// "failed" (it is tried again) or "given-up".
func (m *Metrics) hookEnded(result string) { m.hook.WithLabelValues(result).Inc() }

// text is what Prometheus reads.
func (m *Metrics) text() ([]byte, error) {
	families, err := m.registry.Gather()
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	var b bytes.Buffer
	enc := expfmt.NewEncoder(&b, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		if err := enc.Encode(f); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	return b.Bytes(), nil
}
