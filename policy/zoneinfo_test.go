package policy_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A python answers by its own zoneinfo what a schedule must answer by Go's: see
// testdata/windows.py.
type python struct {
	in  io.WriteCloser
	out *bufio.Reader
}

func startPython(t *testing.T) *python {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("python3 is missing: apt install python3")
		}
		t.Skip("needs python3")
	}
	cmd := exec.Command(path, "testdata/windows.py")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("windows.py: %v", err)
		}
	})
	return &python{in, bufio.NewReader(out)}
}

func (p *python) ask(question string) (string, error) {
	if _, err := fmt.Fprintln(p.in, question); err != nil {
		return "", err
	}
	answer, err := p.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("windows.py does not answer %q: %w", question, err)
	}
	return strings.TrimSuffix(answer, "\n"), nil
}

// inPython writes the hand-written meaning of a schedule as Python takes it.
func inPython(t *testing.T, spans []span) string {
	t.Helper()
	var windows []string
	for _, s := range spans {
		from, err := time.Parse("15:04", s.from)
		if err != nil {
			t.Fatal(err)
		}
		for d, day := range []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"} {
			if strings.Contains(s.days, day) {
				windows = append(windows, fmt.Sprintf("%d %d %d", d, from.Hour()*60+from.Minute(), int(s.last.Minutes())))
			}
		}
	}
	return strings.Join(windows, ",")
}

// transitions are the moments from 1970 to 2100 at which a zone changes its
// offset or its name.
func transitions(l *time.Location) []time.Time {
	var all []time.Time
	last := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	for t := time.Unix(0, 0); t.Before(last); {
		_, end := t.In(l).ZoneBounds()
		if end.IsZero() {
			break
		}
		if !end.After(t) { // see offsetEnd
			t = t.Truncate(24 * time.Hour).Add(24 * time.Hour)
			continue
		}
		all = append(all, end)
		t = end
	}
	return all
}

// Every zone, three days before and after each change of its clocks, by a clock
// of another make. A soak asks about every transition, a test about some.
func TestSchedulesAgreeWithPythonsZoneinfo(t *testing.T) {
	workers, share := 1, 100 // of the transitions one in so many
	if soaking() {
		workers, share = runtime.GOMAXPROCS(0), 1
	}
	all, err := startPython(t).ask("")
	zones := strings.Fields(all)
	if err != nil || len(zones) < 300 {
		t.Fatalf("Python knows %d zones, %v", len(zones), err)
	}
	meant := make([]string, len(schedules))
	for i, s := range schedules {
		meant[i] = inPython(t, s.spans)
	}
	var asked, turns, unknown atomic.Int64
	next := make(chan string)
	var working sync.WaitGroup
	for range workers {
		p := startPython(t)
		working.Go(func() {
			for zone := range next {
				l, err := time.LoadLocation(zone)
				if err != nil {
					unknown.Add(1)
					continue
				}
				for _, at := range transitions(l) {
					if share > 1 && rand.IntN(share) > 0 {
						continue
					}
					turns.Add(1)
					i := rand.IntN(len(schedules))
					asked.Add(p.compare(t, zone, schedules[i].text, meant[i], at))
				}
			}
		})
	}
	for _, zone := range zones {
		next <- zone
	}
	close(next)
	working.Wait()
	if unknown.Load() > int64(len(zones)/20) || turns.Load() < 200 {
		t.Errorf("%d of %d zones are unknown, %d transitions asked about: the test proves little", unknown.Load(), len(zones), turns.Load())
	}
	t.Logf("%d moments around %d transitions of %d zones", asked.Load(), turns.Load(), len(zones))
}

// compare asks about moments around a transition, and about both sides of each
// edge there. It returns how many that were.
func (p *python) compare(t *testing.T, zone, text, meant string, at time.Time) (asked int64) {
	s := schedule(t, text, zone)
	around := func(first, step, count int64) {
		asked += count
		answer, err := p.ask(fmt.Sprintf("%s\t%s\t%d %d %d", zone, meant, first, step, count))
		if err != nil || int64(len(answer)) != count {
			t.Errorf("%s: windows.py says %q, %v", zone, answer, err)
			return
		}
		for i := range count {
			moment := time.Unix(first+i*step, 0)
			if got, want := s.Contains(moment), answer[i] == '1'; got != want {
				t.Errorf("%s in %s contains %s (%s there): %v, Python says %v", text, zone, moment.UTC(), moment.In(location(t, zone)), got, want)
				return
			}
		}
	}
	const days, step = 3 * 24 * 3600, 1789 // a prime: seconds of every kind come up
	first := at.Unix() - days
	around(first, step, 2*days/step)
	around(at.Unix()-2, 1, 4)
	// Between two edges nothing changes, and at each of them it does.
	edge := time.Unix(first, 0)
	for range 12 {
		next := s.Edge(edge)
		if next.IsZero() || next.Unix() > at.Unix()+days {
			break
		}
		around(next.Unix()-1, 1, 2)
		if s.Contains(next) == s.Contains(next.Add(-time.Second)) {
			t.Errorf("%s in %s: nothing changes at its edge %s", text, zone, next)
		}
		edge = next
	}
	return asked
}
