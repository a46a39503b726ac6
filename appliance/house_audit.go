package appliance

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/store"
)

func (h *House) AuditRows(ctx context.Context, f api.AuditFilter) ([]api.Change, error) {
	rows, err := h.Store.AuditRows(ctx, store.AuditFilter{
		By: f.By, Action: f.Action, Object: f.Object, From: f.From, Until: f.To, Before: int64(f.Before), Limit: limitOf(f.Limit),
	})
	if err != nil {
		return nil, asProblem(err, "")
	}
	return wireChanges(rows), nil
}

func wireChanges(rows []store.AuditRow) []api.Change {
	changes := make([]api.Change, 0, len(rows))
	for _, r := range rows {
		changes = append(changes, api.Change{
			ID: r.ID, Time: r.Time, By: r.By, Action: r.Action, Object: r.Object, Detail: r.Detail,
			Before: json.RawMessage(r.Was), After: json.RawMessage(r.Became), Link: r.Link, Hash: r.Hash,
		})
	}
	return changes
}

func (h *House) AuditHead(ctx context.Context) (api.AuditHead, error) {
	head, err := h.Notary.Head(ctx)
	if err != nil {
		return api.AuditHead{}, api.NewProblem(api.CodeUnavailable, err.Error(), "inside audit verify")
	}
	return api.AuditHead(head), nil
}

func (h *House) VerifyAudit(ctx context.Context, q api.AuditQuestion) (io.ReadCloser, error) {
	v := verification{house: h, files: q.Recordings}
	if q.Head != "" {
		var head api.AuditHead
		if err := json.Unmarshal([]byte(q.Head), &head); err != nil || !store.Head(head).Check() {
			return nil, invalid("give what inside audit head printed, unchanged", "this is not a signed head of an audit trail")
		}
		v.heads = append(v.heads, store.Head(head))
	}
	if last := h.Notary.Last(); last.Link > 0 {
		v.heads = append(v.heads, last)
	}
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	v.out = json.NewEncoder(w)
	go func() { w.CloseWithError(v.run(ctx)) }()
	return &followed{r, cancel}, nil
}

// A verification tells how far it has come, an api.AuditReport a line.
type verification struct {
	house  *House
	heads  []store.Head
	files  bool // read them
	out    *json.Encoder
	report api.AuditReport
}

func (v *verification) run(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("verification: %v", r)
		}
	}()
	good, err := v.house.Store.Verify(ctx, store.Verification{
		Heads:    v.heads,
		Row:      func(r store.AuditRow) error { return v.row(ctx, r) },
		Progress: func(good store.Verified) { v.count(good) },
	})
	v.count(good)
	if broken, ok := store.AsBroken(err); ok {
		return v.end(&api.BrokenRecord{Link: broken.Link, Record: broken.Record, What: broken.What, Text: broken.Error()})
	}
	if err != nil {
		return err
	}
	return v.end(nil)
}

func (v *verification) count(good store.Verified) {
	told := v.report.Links
	r := &v.report
	r.Links, r.Audits, r.Entries, r.Heads, r.Signed = good.Links, good.Audits, good.Entries, good.Heads, good.Signed
	r.Hash, r.Time = good.Hash, good.Time
	const often = 50_000
	if told/often != good.Links/often {
		_ = v.out.Encode(v.report) // a reader that went away is noticed by the context
	}
}

func (v *verification) end(broken *api.BrokenRecord) error {
	v.report.Broken, v.report.Done = broken, true
	return v.out.Encode(v.report)
}

// row compares the files of a session with the row that seals them.
func (v *verification) row(ctx context.Context, r store.AuditRow) error {
	if r.Action != store.ActionSealed {
		return ctx.Err()
	}
	v.report.Sealed++
	if !v.files {
		return nil
	}
	var seal recordSeal
	if err := json.Unmarshal([]byte(r.Became), &seal); err != nil {
		return fmt.Errorf("audit row %d: %w", r.ID, err)
	}
	if seal.Gate != v.house.Gate {
		return nil // its files lie on another gate
	}
	broken, err := seal.check(ctx, v.house.Records)
	if err != nil {
		return err
	}
	if len(broken) > 0 {
		// The row that says so stands later in the same record.
		if why, err := v.house.Store.WhyRemoved(ctx, seal.Session); err != nil || why != "" {
			v.report.Removed++
			return err
		}
	}
	v.report.Recordings++
	for _, b := range broken {
		report := v.report
		report.Broken = &api.BrokenRecord{
			Link: r.Link, Record: b.name, What: b.what,
			Text: fmt.Sprintf("%s %s (session %.8s, sealed by audit row %d)", b.name, b.what, seal.Session, r.ID),
		}
		if err := v.out.Encode(report); err != nil {
			return err
		}
	}
	return nil
}
