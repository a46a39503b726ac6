package appliance

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/appliance/config"
	"github.com/pawelmojski/inside/policy"
)

// A past is sessions of one person, at times of the test's choosing.
type past struct {
	t   *testing.T
	h   *House
	ctx context.Context
	as  policy.Session
	now time.Time
}

func newPast(t *testing.T, now time.Time) *past {
	h, _, ctx := newHouse(t)
	se, w := desktopSession(t, h, ctx)
	if err := errors.Join(w.Close("client-left"), h.Store.Leave(ctx, se.ID, time.Now(), policy.ClientLeft, policy.Carried{}), h.Records.RemoveAll(folder(se)), h.Refresh(ctx)); err != nil {
		t.Fatal(err)
	}
	p := &past{t, h, ctx, se, now}
	h.Now = func() time.Time { return p.now }
	return p
}

// session is one that began and, unless it lasts, ended then, with its files.
func (p *past) session(id policy.SessionID, start, end time.Time) policy.Session {
	p.t.Helper()
	se := p.as
	se.ID, se.Start = id, start
	se, _, err := p.h.Store.Enter(p.ctx, se)
	if err != nil {
		p.t.Fatal(err)
	}
	recorded(p.t, p.h.Records, se)
	if !end.IsZero() {
		if err := p.h.Store.Leave(p.ctx, se.ID, end, policy.ClientLeft, policy.Carried{}); err != nil {
			p.t.Fatal(err)
		}
	}
	return se
}

// removed runs one round and returns the folders that are left.
func (p *past) removed(keep string) []string {
	p.t.Helper()
	r := must[*Removals](p.t)(NewRemovals(p.h.Gate, keep, p.h.Store, p.h.Records, time.Time{}, p.h.Now, slog.New(slog.DiscardHandler)))
	if err := r.Round(p.ctx); err != nil {
		p.t.Fatal(err)
	}
	return p.folders()
}

func (p *past) folders() []string {
	return must[[]string](p.t)(fs.Glob(p.h.Records.FS(), "*/*/*/*"))
}

func TestOnlyRecordingsOfSessionsThatEndedLongAgoAreRemoved(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	p := newPast(t, now)
	old := p.session("aaaaaaaaaaaaaaaa", now.Add(-91*day), now.Add(-90*day-1*time.Second))
	p.session("bbbbbbbbbbbbbbbb", now.Add(-91*day), now.Add(-90*day)) // it is 90 days old in a moment
	p.session("cccccccccccccccc", now.Add(-200*day), time.Time{})     // it lasts
	p.h.Notary.Round(p.ctx)
	p.session("dddddddddddddddd", now.Add(-200*day), now.Add(-199*day)) // not sealed yet
	for _, other := range []string{"2025/01/01/somebody-elses", "2025/01/01/aaaa", "2025/01/02/aaaaaaaaaaaaaaaa", "lost+found/x"} {
		if err := p.h.Records.MkdirAll(other, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	all := p.folders()
	if left := p.removed(config.Forever); !cmp.Equal(left, all) {
		t.Errorf("forever: %s", cmp.Diff(all, left))
	}
	want := []string{
		"2025/01/01/aaaa", "2025/01/01/somebody-elses", "2025/01/02/aaaaaaaaaaaaaaaa",
		"2025/11/13/cccccccccccccccc", "2025/11/13/dddddddddddddddd", "2026/03/02/bbbbbbbbbbbbbbbb",
	}
	for range 2 {
		if diff := cmp.Diff(want, p.removed("90d")); diff != "" {
			t.Error(diff)
		}
	}
	se := must[api.Session](t)(p.h.Session(p.ctx, string(old.ID)))
	if !se.Removed.Equal(now) {
		t.Errorf("it was removed at %s", se.Removed)
	}
	_, err := p.h.Export(p.ctx, string(old.ID))
	if codeOf(err) != api.CodeNotFound || !strings.Contains(err.Error(), "the recording of session aaaaaaaa was removed on 2026-06-01 because recordings.keep = 90d") {
		t.Errorf("its export: %v", err)
	}

	// All of them go in the end, and what they lay in.
	p.h.Notary.Round(p.ctx)
	if err := errors.Join(p.h.Store.Leave(p.ctx, "cccccccccccccccc", now, policy.ClientLeft, policy.Carried{}), p.h.Records.RemoveAll("2025/01")); err != nil {
		t.Fatal(err)
	}
	p.h.Notary.Round(p.ctx)
	p.now = now.AddDate(1, 0, 0)
	if left := p.removed("90d"); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
	if left := must[[]string](t)(fs.Glob(p.h.Records.FS(), "20*")); len(left) > 0 {
		t.Errorf("empty folders are left: %q", left)
	}
}

// Between the row and the last file the gate may die, and before the row the
// database.
func TestARemovalThatWasCutShortIsFinished(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	p := newPast(t, now)
	se := p.session("aaaaaaaaaaaaaaaa", now.AddDate(-1, 0, 0), now.AddDate(-1, 0, 0))
	p.h.Notary.Round(p.ctx)
	if err := p.h.Store.RemoveRecording(p.ctx, p.h.Gate, se.ID, "because recordings.keep = 90d", now); err != nil {
		t.Fatal(err)
	}
	if err := p.h.Records.Remove(filepath.Join(folder(se), "0.cast")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.h.Recordings(p.ctx, string(se.ID)); codeOf(err) != api.CodeNotFound {
		t.Errorf("half of it is shown: %v", err)
	}
	out := must[io.ReadCloser](t)(p.h.VerifyAudit(p.ctx, api.AuditQuestion{Recordings: true}))
	defer out.Close()
	err := api.Reports(out, func(r api.AuditReport) error {
		if r.Broken != nil {
			t.Errorf("verification cries: %s", r.Broken.Text)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if left := p.removed("90d"); len(left) > 0 {
		t.Errorf("left are %q", left)
	}

	p.session("bbbbbbbbbbbbbbbb", now.AddDate(-1, 0, 0), now.AddDate(-1, 0, 0))
	p.h.Notary.Round(p.ctx)
	p.h.Store.Close()
	r := must[*Removals](t)(NewRemovals(p.h.Gate, "90d", p.h.Store, p.h.Records, time.Time{}, p.h.Now, slog.New(slog.DiscardHandler)))
	if err := r.Round(p.ctx); err == nil {
		t.Error("it is removed though it cannot be written down")
	}
	if _, err := p.h.Records.Stat("2025/06/01/bbbbbbbbbbbbbbbb/0.cast"); errors.Is(err, os.ErrNotExist) {
		t.Error("it is gone, and no row says so")
	}
}

// Before the gate was started it signed on the first of June at noon.
func TestAClockThatWentAstrayRemovesNoMoreThanADayMore(t *testing.T) {
	const day = 24 * time.Hour
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	p := newPast(t, noon)
	p.session("aaaaaaaaaaaaaaaa", noon.Add(-91*day), noon.Add(-90*day))
	p.session("bbbbbbbbbbbbbbbb", noon.Add(-90*day), noon.Add(-89*day-time.Minute))
	p.session("cccccccccccccccc", noon.Add(-89*day), noon.Add(-88*day))
	p.session("dddddddddddddddd", noon.Add(-2*day), noon.Add(-day))
	p.h.Notary.Round(p.ctx)
	astray := noon.AddDate(14, 0, 0)
	p.now = astray
	r := must[*Removals](t)(NewRemovals(p.h.Gate, "90d", p.h.Store, p.h.Records, noon, p.h.Now, slog.New(slog.DiscardHandler)))
	left := func() []string {
		if err := r.Round(p.ctx); err != nil {
			t.Fatal(err)
		}
		return p.folders()
	}
	if diff := cmp.Diff([]string{"2026/03/04/cccccccccccccccc", "2026/05/30/dddddddddddddddd"}, left()); diff != "" {
		t.Error(diff)
	}
	r.at = r.at.Add(-12 * time.Hour)
	if diff := cmp.Diff([]string{"2026/05/30/dddddddddddddddd"}, left()); diff != "" {
		t.Errorf("half a day later: %s", diff)
	}

	r.known = noon
	for _, c := range []struct {
		what     string
		now      time.Time
		passed   time.Duration
		believed time.Time
	}{
		{"the clock goes right", noon.Add(200 * day), 200 * day, noon.Add(200 * day)},
		{"it is set forward by an hour", noon.Add(200*day + 2*time.Hour), time.Hour, noon.Add(200*day + 2*time.Hour)},
		{"it is set forward by fourteen years", astray, time.Hour, noon.Add(200*day + 4*time.Hour)},
		{"and stays there", astray, day, noon.Add(202*day + 4*time.Hour)},
		{"it is set back to 1970", time.Unix(0, 0), time.Hour, time.Unix(0, 0)},
		{"it is right again", noon.Add(203 * day), time.Hour, noon.Add(202*day + 6*time.Hour)},
		{"and is caught up with", noon.Add(204 * day), day, noon.Add(204 * day)},
	} {
		if got := r.believed(c.now, c.passed); !got.Equal(c.believed) {
			t.Errorf("%s: believed is %s, want %s", c.what, got, c.believed)
		}
	}
}
