package appliance

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
	"github.com/pawelmojski/inside/store/storetest"
)

func aLine(n int64) line {
	e := store.Entry{Time: noon, Gate: "gate-1", Client: netip.AddrPortFrom(netip.MustParseAddr("10.50.0.2"), uint16(n)), Login: "ż\\x00", Denial: policy.NoGrant}
	return line{N: n, Kind: lineDenied, Entry: &e}
}

func sameLines(t *testing.T, got, want []line) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(line{}), cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// reopen opens a spool again, as after a crash.
func reopen(t *testing.T, path string) (*spool, []line, int64) {
	t.Helper()
	s, lines, torn, err := openSpool(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.file.Close() })
	return s, lines, torn
}

func TestASpoolCutAnywhereHasEveryWholeLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool")
	s, lines, _ := reopen(t, path)
	if len(lines) != 0 || s.id == "" {
		t.Fatalf("a new spool has %v", lines)
	}
	id, want := s.id, []line{}
	ends := []int64{s.size}
	for n := range int64(4) {
		want = append(want, aLine(n+1))
		if err := s.append(want[n]); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, s.size)
	}
	s.file.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) + 1 {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s, lines, _ := reopen(t, path)
		n := 0
		for n < 4 && int64(cut) >= ends[n+1] {
			n++
		}
		if int64(cut) >= ends[0] {
			sameLines(t, lines, want[:n])
		}
		if fresh := s.id != id; fresh != (int64(cut) < ends[0]) {
			t.Errorf("cut at %d: the id is another: %v", cut, fresh)
		}
		if err := s.append(aLine(9)); err != nil {
			t.Fatal(err)
		}
		s.file.Close()
		s, lines, torn := reopen(t, path)
		if torn != 0 || len(lines) != n+1 || lines[n].N != 9 {
			t.Fatalf("cut at %d: goes on with %d lines, %d bytes torn", cut, len(lines), torn)
		}
		s.file.Close()
	}
}

func TestASpoolIsOneDaemons(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool")
	reopen(t, path)
	if _, _, _, err := openSpool(path); err == nil || !strings.Contains(err.Error(), "another insided") || !strings.Contains(err.Error(), path) {
		t.Errorf("a second daemon: %v", err)
	}
}

func FuzzSpool(f *testing.F) {
	path := filepath.Join(f.TempDir(), "seed")
	s, _, _, err := openSpool(path)
	if err != nil {
		f.Fatal(err)
	}
	s.append(aLine(1))
	text, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)-1])
	f.Add([]byte("\xff\xff\xff\xff\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := &spool{}
		lines := s.parse(text)
		if s.size > int64(len(text)) || len(lines) > len(text)/frameHead {
			t.Errorf("%d lines and %d bytes of %d", len(lines), s.size, len(text))
		}
		again := &spool{}
		sameLines(t, again.parse(text[:s.size]), lines)
	})
}

// crashing is a ledger over a store whose daemon can be killed: nothing of it is
// closed in order.
func crashing(t *testing.T, s *store.Store, path string) *ledger {
	t.Helper()
	l := newLedger(s, NewMetrics(), slog.New(slog.DiscardHandler))
	if err := l.open(t.Context(), path, "gate-1"); err != nil {
		t.Fatal(err)
	}
	return l
}

func entriesOf(t *testing.T, s *store.Store) []uint16 {
	t.Helper()
	entries, err := s.Entries(t.Context(), store.EntryFilter{Limit: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	var ports []uint16
	for _, e := range entries {
		ports = append([]uint16{e.Client.Port()}, ports...)
	}
	return ports
}

func deny(l *ledger, port uint16) {
	l.deny(store.Entry{Time: noon, Gate: "gate-1", Client: netip.AddrPortFrom(netip.MustParseAddr("10.50.0.2"), port), Denial: policy.NoGrant})
}

func TestWhatWaitsOutlivesACrashAndIsWrittenOnce(t *testing.T) {
	for engine, url := range map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "PostgreSQL": storetest.Schema} {
		t.Run(engine, func(t *testing.T) {
			s := storetest.Open(t, url(t))
			path := filepath.Join(t.TempDir(), "spool")
			l := crashing(t, s, path)
			for port := range uint16(5) {
				deny(l, port+1)
			}
			// Two are written, and the daemon crashes before it knows of the
			// second.
			for range 2 {
				ln := l.waiting[0]
				if err := l.writeDown(t.Context(), ln); err != nil {
					t.Fatal(err)
				}
				if ln.N == 1 {
					l.waiting = l.waiting[1:]
				}
			}
			l.spool.file.Close()

			l = crashing(t, s, path)
			if diff := cmp.Diff([]uint16{1, 2, 3, 4, 5}, entriesOf(t, s)); diff != "" {
				t.Fatalf("entries (-want +got):\n%s", diff)
			}
			deny(l, 6)
			l.drain(t.Context())
			l.spool.file.Close()
			l = crashing(t, s, path) // everything is still in the file
			l.drain(t.Context())
			if diff := cmp.Diff([]uint16{1, 2, 3, 4, 5, 6}, entriesOf(t, s)); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
		})
	}
}

func TestALineWhoseAnswerWasLostIsNotWrittenTwice(t *testing.T) {
	s := storetest.Open(t, storetest.SQLite(t))
	l := crashing(t, s, filepath.Join(t.TempDir(), "spool"))
	deny(l, 1)
	l.audit("gate:gate-1", "rules.repaired", "table inet inside", "")
	for range 3 {
		for _, ln := range l.waiting {
			if err := l.writeDown(t.Context(), ln); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := len(entriesOf(t, s)); n != 1 {
		t.Errorf("%d entries, want 1", n)
	}
	rows, err := s.AuditRows(t.Context(), store.AuditFilter{Limit: 10})
	if err != nil || len(rows) != 1 {
		t.Errorf("%d audit rows, want 1: %v", len(rows), err)
	}
}

func TestALineThatCanNeverBeWrittenHoldsUpNobody(t *testing.T) {
	s := storetest.Open(t, storetest.SQLite(t))
	l := crashing(t, s, filepath.Join(t.TempDir(), "spool"))
	l.endStay("12345", noon, policy.GrantExpired) // there is no such stay
	l.deny(store.Entry{Gate: "gate-1"})           // no denial
	deny(l, 7)
	l.drain(t.Context())
	if got := entriesOf(t, s); len(got) != 1 || got[0] != 7 || l.lines() != 0 || l.problem() != nil {
		t.Errorf("entries %v, %d lines wait: %v", got, l.lines(), l.problem())
	}
}

func TestASpoolThatTakesNothingLetsNobodyInAndHeals(t *testing.T) {
	s := storetest.Open(t, storetest.SQLite(t))
	path := filepath.Join(t.TempDir(), "spool")
	l := crashing(t, s, path)
	deny(l, 1)
	whole := l.spool.file
	broken, err := os.Open(path) // for reading only
	if err != nil {
		t.Fatal(err)
	}
	defer broken.Close()
	l.spool.file = broken
	deny(l, 2)
	deny(l, 3)
	if l.writable() {
		t.Error("people are let in although nothing can be spooled")
	}
	l.spool.file = whole
	l.secure()
	if !l.writable() {
		t.Errorf("it does not heal: %v", l.problem())
	}
	l.spool.file.Close()
	crashing(t, s, path)
	if diff := cmp.Diff([]uint16{1, 2, 3}, entriesOf(t, s)); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func TestTheSpoolDoesNotGrowWhileTheDatabaseWrites(t *testing.T) {
	s := storetest.Open(t, storetest.SQLite(t))
	l := crashing(t, s, filepath.Join(t.TempDir(), "spool"))
	for i := range 20 {
		e := store.Entry{Time: noon, Gate: "gate-1", Denial: policy.NoGrant, Detail: strings.Repeat("x", 60_000)}
		for range 20 {
			l.deny(e)
		}
		l.drain(t.Context())
		if l.spool.size > spoolSlack+20*5000 {
			t.Fatalf("after %d lines the spool has %d KiB", 20*(i+1), l.spool.size>>10)
		}
	}
}

func TestManyWritersKeepTheOrderOfTheirNumbers(t *testing.T) {
	s := storetest.Open(t, storetest.SQLite(t))
	path := filepath.Join(t.TempDir(), "spool")
	l := crashing(t, s, path)
	ctx, cancel := context.WithCancel(t.Context())
	var running, writing sync.WaitGroup
	running.Go(func() { l.run(ctx) })
	for w := range 8 {
		writing.Go(func() {
			for i := range 50 {
				deny(l, uint16(1+w*50+i))
				if i%10 == 0 {
					l.settle(ctx)
				}
			}
		})
	}
	writing.Wait()
	for deadline := time.Now().Add(20 * time.Second); l.lines() > 0 && time.Now().Before(deadline); {
		l.settle(ctx)
	}
	cancel()
	running.Wait()
	seen := map[uint16]int{}
	for _, port := range entriesOf(t, s) {
		seen[port]++
	}
	if len(seen) != 400 {
		t.Errorf("%d different entries, want 400", len(seen))
	}
	for port, n := range seen {
		if n != 1 {
			t.Errorf("entry %d is written %d times", port, n)
		}
	}
	if fmt.Sprint(l.last) != "400" {
		t.Errorf("%d lines", l.last)
	}
}
