package appliance

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/store"
	"github.com/pawelmojski/inside/store/storetest"
)

// recorded writes the files of a session: two terminals and a log.
func recorded(tb testing.TB, root *os.Root, se policy.Session) {
	tb.Helper()
	rs := &records{root: root}
	dir, err := rs.create(se)
	if err != nil {
		tb.Fatal(err)
	}
	defer dir.Close()
	log, err := recording.CreateLog(dir)
	for channel := range 2 {
		w, e := recording.Create(dir, castName(channel), recording.Header{Width: 80, Height: 24, Session: string(se.ID)})
		err = errors.Join(err, e)
		for line := range 2500 - 2400*channel {
			err = errors.Join(err, w.Output(fmt.Appendf(nil, "line %d of %s\r\n", line, se.ID)))
		}
		err = errors.Join(err, w.Close())
	}
	for n := range 5 {
		err = errors.Join(err, log.Append(recording.Event{Kind: "exec", Command: fmt.Sprint("command ", n)}))
	}
	if err = errors.Join(err, log.Close()); err != nil {
		tb.Fatal(err)
	}
}

func TestEveryMutationOfSealedFilesIsFoundAndNamed(t *testing.T) {
	t.Parallel()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	start := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	mine, other := policy.Session{ID: "aaaaaaaaaaaaaaaa", Start: start}, policy.Session{ID: "bbbbbbbbbbbbbbbb", Start: start}
	recorded(t, root, mine)
	recorded(t, root, other)
	seal, err := sealFolder(t.Context(), root, mine, false)
	if err != nil || len(seal.Files) != 3 {
		t.Fatalf("%+v, %v", seal, err)
	}
	whole := func() {
		t.Helper()
		if broken, err := seal.check(t.Context(), root); err != nil || len(broken) > 0 {
			t.Fatalf("%v, %v", broken, err)
		}
	}
	whole()
	dice := rand.New(rand.NewPCG(3, 4))
	dir := filepath.Join(root.Name(), folder(mine))
	names := []string{"0.cast", "0.idx", "1.cast", "1.idx", "events.jsonl"}
	for i := range fileMutations {
		name := names[dice.IntN(len(names))]
		path := filepath.Join(dir, name)
		was, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		what, is := mutated(dice, was, func() []byte {
			theirs, err := os.ReadFile(filepath.Join(root.Name(), folder(other), name))
			if err != nil {
				t.Fatal(err)
			}
			return theirs
		})
		if is == nil {
			err = os.Remove(path)
		} else {
			err = os.WriteFile(path, is, 0o640)
		}
		if err != nil {
			t.Fatal(err)
		}
		broken, err := seal.check(t.Context(), root)
		named := strings.Replace(name, ".idx", ".cast", 1)
		if err != nil || len(broken) == 0 || !strings.HasSuffix(broken[0].name, named) {
			t.Fatalf("mutation %d, %s of %s: %v, %v", i, what, name, broken, err)
		}
		if err := os.WriteFile(path, was, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	whole()
}

// mutated changes a file in one of the ways there are; nil is removed.
func mutated(dice *rand.Rand, was []byte, other func() []byte) (what string, is []byte) {
	at := dice.IntN(len(was))
	switch dice.IntN(7) {
	case 0:
		return "removal", nil
	case 1:
		return "truncation", slices.Clone(was[:at])
	case 2:
		return "addition", append(slices.Clone(was), was[at:]...)
	case 3:
		return "replacement", other()
	case 4: // a piece of 64 bytes, or a frame of 64 KiB, and the next
		size := 64
		if len(was) > 1<<17 {
			size = 1 << 16
		}
		if from := at / size * size; from+2*size <= len(was) {
			a, b := was[from:from+size], was[from+size:from+2*size]
			if !bytes.Equal(a, b) {
				return "swap", slices.Concat(was[:from], b, a, was[from+2*size:])
			}
		}
	case 5:
		return "removal of bytes", slices.Concat(was[:at], was[min(at+1+dice.IntN(100), len(was)):])
	}
	is = slices.Clone(was)
	is[at] ^= 1 << dice.IntN(8)
	return "flip of a bit", is
}

func TestTheFirstBadFrameOfASealedRecordingIsNamed(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	se := policy.Session{ID: "aaaaaaaaaaaaaaaa", Start: time.Now()}
	recorded(t, root, se)
	seal, err := sealFolder(t.Context(), root, se, false)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root.Name(), folder(se), "0.cast")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[70_000] ^= 1
	if err := os.WriteFile(path, text, 0o640); err != nil {
		t.Fatal(err)
	}
	broken, err := seal.check(t.Context(), root)
	if err != nil || len(broken) != 1 || !strings.Contains(broken[0].what, "damaged at byte 65") {
		t.Errorf("%v, %v", broken, err)
	}
}

// newNotary is over a store, without anything in it.
func newNotary(t *testing.T, url string) (*Notary, *store.Store, string) {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	keys := filepath.Join(t.TempDir(), "keys")
	s := storetest.Open(t, url)
	n, err := OpenNotary(keys, "gate-1", s, root, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n, s, keys
}

func TestTheKeyIsMadeOnceAndForItsOwnerOnly(t *testing.T) {
	n, s, keys := newNotary(t, storetest.SQLite(t))
	n.Round(t.Context())
	first := n.Last()
	for _, name := range []string{"", auditKeyName, auditHeadName} {
		info, err := os.Stat(filepath.Join(keys, name))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	again, err := OpenNotary(keys, "gate-1", s, n.records, time.Now, n.log)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.Last() != first || first.Link != 1 {
		t.Errorf("%+v, then %+v", first, again.Last())
	}
	again.Round(t.Context())
	if again.Last() != first || again.Problem() != "" {
		t.Errorf("nothing was new, and %+v was signed; %s", again.Last(), again.Problem())
	}
	for name, text := range map[string]string{auditKeyName: "no key", auditHeadName: "{}"} {
		if err := os.WriteFile(filepath.Join(keys, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenNotary(keys, "gate-1", s, n.records, time.Now, n.log); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		n.write(auditKeyName, must[[]byte](t)(n.keys.ReadFile(auditKeyName)))
		os.Remove(filepath.Join(keys, name))
	}
}

func TestAGateThatCrashedBeforeItKeptItsHeadGoesOn(t *testing.T) {
	n, s, keys := newNotary(t, storetest.SQLite(t))
	n.Round(t.Context())
	old := must[[]byte](t)(os.ReadFile(filepath.Join(keys, auditHeadName)))
	if err := s.Audit(t.Context(), "root", "a", "b", "c"); err != nil {
		t.Fatal(err)
	}
	n.Round(t.Context())
	// The head is in the database and not yet in the file.
	if err := os.WriteFile(filepath.Join(keys, auditHeadName), old, 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := OpenNotary(keys, "gate-1", s, n.records, time.Now, n.log)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	again.Round(t.Context())
	if again.Problem() != "" || again.Last() != n.Last() {
		t.Errorf("%s; %+v", again.Problem(), again.Last())
	}
	if _, err := s.Verify(t.Context(), store.Verification{Heads: []store.Head{n.Last(), again.Last()}}); err != nil {
		t.Error(err)
	}
}

func TestAnOlderCopyOfTheDatabaseIsNotSigned(t *testing.T) {
	n, _, keys := newNotary(t, storetest.SQLite(t))
	if err := n.store.Audit(t.Context(), "root", "a", "b", "c"); err != nil {
		t.Fatal(err)
	}
	n.Round(t.Context())
	other := storetest.Open(t, storetest.SQLite(t)) // a database in which this never happened
	for range 5 {
		if err := other.Audit(t.Context(), "root", "x", "y", "z"); err != nil {
			t.Fatal(err)
		}
	}
	again, err := OpenNotary(keys, "gate-1", other, n.records, time.Now, n.log)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	again.Round(t.Context())
	if !strings.Contains(again.Problem(), "not the one that was signed before") || again.Last() != n.Last() {
		t.Errorf("%q, %+v", again.Problem(), again.Last())
	}
}

func TestSessionsAreSealedWhenTheyHaveEnded(t *testing.T) {
	h, _, ctx := newHouse(t)
	n := h.Notary
	se := entered(t, h, ctx, "gate-1")
	recorded(t, h.Records, se)
	dir, err := h.Records.OpenRoot(folder(se))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	seals := func() []store.AuditRow {
		t.Helper()
		n.Round(ctx)
		if n.Problem() != "" {
			t.Fatal(n.Problem())
		}
		return must[[]store.AuditRow](t)(h.Store.AuditRows(ctx, store.AuditFilter{Action: store.ActionSealed}))
	}
	if rows := seals(); len(rows) != 0 {
		t.Errorf("a live session was sealed: %+v", rows)
	}
	late, err := recording.Create(dir, "7.cast", recording.Header{Width: 80, Height: 24})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Store.Leave(ctx, se.ID, time.Now(), policy.ClientLeft, policy.Carried{}); err != nil {
		t.Fatal(err)
	}
	if rows := seals(); len(rows) != 0 {
		t.Errorf("a session was sealed while one of its recordings was written: %+v", rows)
	}
	if err := late.Close(); err != nil {
		t.Fatal(err)
	}
	rows := seals()
	if len(rows) != 1 || rows[0].By != "gate:gate-1" || rows[0].Object != "session "+string(se.ID) || !strings.Contains(rows[0].Became, `"name":"7.cast","channel":7`) {
		t.Errorf("%+v", rows)
	}
	if rows := seals(); len(rows) != 1 {
		t.Errorf("sealed %d times", len(rows))
	}
}

func TestASessionWithoutAFolderIsSealedAsThat(t *testing.T) {
	h, _, ctx := newHouse(t)
	se := entered(t, h, ctx, "gate-1")
	if err := h.Store.Leave(ctx, se.ID, time.Now(), policy.Failed, policy.Carried{}); err != nil {
		t.Fatal(err)
	}
	h.Notary.Round(ctx)
	rows := must[[]store.AuditRow](t)(h.Store.AuditRows(ctx, store.AuditFilter{Action: store.ActionSealed}))
	if len(rows) != 1 || !strings.Contains(rows[0].Detail, "missing") || !strings.Contains(rows[0].Became, `"missing":true`) {
		t.Errorf("%+v", rows)
	}
}

func TestARecordingThatNeverGetsItsEndIsSealedAsItIs(t *testing.T) {
	h, _, ctx := newHouse(t)
	se := entered(t, h, ctx, "gate-1")
	recorded(t, h.Records, se)
	dir, err := h.Records.OpenRoot(folder(se))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	open, err := recording.Create(dir, "7.cast", recording.Header{Width: 80, Height: 24})
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	seal, err := sealFolder(ctx, h.Records, se, true)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(seal.Files, func(f fileSeal) bool { return f.Name == "7.cast" })
	if i < 0 || seal.Files[i].SHA256 == "" || seal.Files[i].Head != "" {
		t.Errorf("%+v", seal.Files)
	}
}

func TestNobodyLooksWithoutBeingWrittenDown(t *testing.T) {
	h, _, ctx := newHouse(t)
	se := entered(t, h, ctx, "gate-1")
	recorded(t, h.Records, se)
	looks := map[string]func() (io.ReadCloser, error){
		"recording.play":   func() (io.ReadCloser, error) { return h.Recording(ctx, string(se.ID), 0, api.Following{}) },
		"recording.events": func() (io.ReadCloser, error) { return h.Events(ctx, string(se.ID)) },
	}
	for action, look := range looks {
		body, err := look()
		if err != nil {
			t.Fatal(err)
		}
		body.Close()
		rows := must[[]store.AuditRow](t)(h.Store.AuditRows(ctx, store.AuditFilter{Action: action}))
		if len(rows) != 1 || rows[0].By != "root" || rows[0].Object != "session "+string(se.ID) {
			t.Errorf("%s: %+v", action, rows)
		}
	}
	// The trail takes no more rows; everything else works.
	db, err := sql.Open("sqlite", h.Store.Database())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END"); err != nil {
		t.Fatal(err)
	}
	for action, look := range looks {
		if body, err := look(); err == nil {
			body.Close()
			t.Errorf("%s: shown to nobody knows whom", action)
		}
	}
}
