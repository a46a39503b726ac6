package appliance

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// A Notary makes the record evidence: it seals the recordings of sessions that
// have ended into the audit trail, and each second signs the head of the trail
// with the gate's own key. The last head it signed it also keeps in a file
// beside the key, away from the database: who takes records out of the
// database, or puts an older copy in its place, is found out by it.
type Notary struct {
	gate    string
	store   *store.Store
	records *os.Root
	log     *slog.Logger
	now     func() time.Time

	keys *os.Root
	key  ed25519.PrivateKey

	mu         sync.Mutex // one signature at a time
	registered bool
	last       store.Head // zero: none

	said     sync.Mutex
	problems map[string]string // what sealing and signing could not do, last
}

const (
	auditKeyName  = "audit.key"
	auditHeadName = "audit.head"

	notaryPace = time.Second

	// sealAtOnce bounds how many sessions one round seals.
	sealAtOnce = 100

	// sealPatience is how long after its session a recording may lack its end
	// before it is sealed as it is.
	sealPatience = time.Minute
)

// OpenNotary reads the gate's key and the last head from a folder, or makes
// the key.
func OpenNotary(dir, gate string, s *store.Store, records *os.Root, now func() time.Time, log *slog.Logger) (*Notary, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("audit key: %w", err)
	}
	keys, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("audit key: %w", err)
	}
	n := &Notary{gate: gate, store: s, records: records, log: log, now: now, keys: keys, problems: map[string]string{}}
	if n.key, err = n.readKey(); errors.Is(err, fs.ErrNotExist) {
		n.key, err = n.makeKey()
	}
	if err == nil {
		n.last, err = n.readHead()
	}
	if err != nil {
		keys.Close()
		return nil, fmt.Errorf("audit key in %s: %w", dir, err)
	}
	return n, nil
}

func (n *Notary) readKey() (ed25519.PrivateKey, error) {
	text, err := n.keys.ReadFile(auditKeyName)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s is not PEM: put the right one back; without it, move it and %s away and the gate makes a new one", auditKeyName, auditHeadName)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", auditKeyName, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s holds a %T, not an ed25519 key", auditKeyName, parsed)
	}
	return key, nil
}

func (n *Notary) makeKey() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, n.write(auditKeyName, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// write replaces a file whole, also across a power cut.
func (n *Notary) write(name string, text []byte) error {
	f, err := n.keys.OpenFile(name+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return n.keys.Rename(name+".new", name)
}

func (n *Notary) readHead() (h store.Head, err error) {
	text, err := n.keys.ReadFile(auditHeadName)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return h, err
	}
	if err := json.Unmarshal(text, &h); err != nil || !h.Check() {
		return h, fmt.Errorf("%s is not a signed head: inside audit verify --head with a copy that was exported tells whether the record is whole; then move the file away", auditHeadName)
	}
	return h, nil
}

// signed is when the newest head was signed that was there at the start; zero
// where there was none. Ask before Run.
func (n *Notary) signed() time.Time { return n.last.Time }

// Close gives the folder back.
func (n *Notary) Close() error { return n.keys.Close() }

// Run seals and signs until ctx ends. Sealing reads files, which may be large:
// nothing is signed later for that.
func (n *Notary) Run(ctx context.Context) {
	var sealing sync.WaitGroup
	sealing.Go(func() { n.each(ctx, n.trySealing) })
	n.each(ctx, n.trySigning)
	sealing.Wait()
}

func (n *Notary) each(ctx context.Context, do func(context.Context)) {
	pace := time.NewTicker(notaryPace)
	defer pace.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
			do(ctx)
		}
	}
}

// Round seals what has ended and then signs what is new.
func (n *Notary) Round(ctx context.Context) {
	n.trySealing(ctx)
	n.trySigning(ctx)
}

func (n *Notary) trySealing(ctx context.Context) { n.say(ctx, "sealed", n.seal(ctx)) }

func (n *Notary) trySigning(ctx context.Context) {
	_, err := n.Head(ctx)
	n.say(ctx, "signed", err)
}

// say logs what could not be done, once; it is tried again in the next round.
func (n *Notary) say(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	n.said.Lock()
	defer n.said.Unlock()
	was, is := n.problems[what], ""
	if err != nil {
		is = err.Error()
	}
	n.problems[what] = is
	switch {
	case is == was:
	case is != "":
		n.log.Error("the record is not "+what, "error", err)
	default:
		n.log.Info("the record is " + what + " again")
	}
}

// Problem says what could not be done the last time, "" if nothing.
func (n *Notary) Problem() string {
	n.said.Lock()
	defer n.said.Unlock()
	for _, what := range []string{"signed", "sealed"} {
		if p := n.problems[what]; p != "" {
			return "not " + what + ": " + p
		}
	}
	return ""
}

// sign signs what is new; n.mu is held.
func (n *Notary) sign(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeDown)
	defer cancel()
	if !n.registered {
		if err := n.register(ctx); err != nil {
			return err
		}
	}
	h, signed, err := n.store.SignHead(ctx, n.last, n.gate, n.key, n.now())
	if errors.Is(err, store.ErrRewritten) {
		return fmt.Errorf("%w: link %d is not what it was at %s; inside audit verify says where it begins, and nothing is signed until %s is moved away from the keys and insided restarted",
			err, n.last.Link, n.last.Time.UTC().Format(time.RFC3339), auditHeadName)
	}
	if err != nil || !signed {
		return err
	}
	n.last = h
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return n.write(auditHeadName, append(text, '\n'))
}

// register makes the key known, and looks whether the gate has signed
// something that its file does not know: it may have crashed in between.
func (n *Notary) register(ctx context.Context) error {
	public := n.key.Public().(ed25519.PublicKey)
	if err := n.store.RegisterKey(ctx, n.gate, public); err != nil {
		return err
	}
	kept, err := n.store.LastHead(ctx, n.gate)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	own := store.Head{Gate: kept.Gate, Link: kept.Link, Hash: kept.Hash, Time: kept.Time}
	own.Sign(n.key)
	if err == nil && kept.Link > n.last.Link && own == kept {
		n.last = kept
	}
	n.registered = true
	return nil
}

// Head signs what is new and returns the newest signed head.
func (n *Notary) Head(ctx context.Context) (store.Head, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := n.sign(ctx)
	return n.last, err
}

// Last is the head that was signed last; its Link is 0 if there is none.
func (n *Notary) Last() store.Head {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last
}

func (n *Notary) seal(ctx context.Context) error {
	asked, cancel := context.WithTimeout(ctx, writeDown)
	defer cancel()
	sessions, err := n.store.Unsealed(asked, n.gate, sealAtOnce)
	if err != nil {
		return err
	}
	var failed []error
	for _, se := range sessions {
		if err := n.sealSession(ctx, se); err != nil {
			failed = append(failed, fmt.Errorf("session %.8s: %w", se.ID, err))
		}
	}
	return errors.Join(failed...)
}

func (n *Notary) sealSession(ctx context.Context, se policy.Session) error {
	seal, err := sealFolder(ctx, n.records, se, n.now().Sub(se.End) > sealPatience)
	if errors.Is(err, errStillWritten) {
		return nil // in a later round
	}
	if err != nil {
		return err
	}
	detail := fmt.Sprintf("%d files", len(seal.Files))
	if seal.Missing {
		detail = "no files: the folder is missing"
		n.log.Error("session had nothing to seal", "session", se.ID, "folder", filepath.Join(n.records.Name(), seal.Folder))
	}
	ctx, cancel := context.WithTimeout(ctx, writeDown)
	defer cancel()
	return n.store.Seal(ctx, se, detail, seal)
}

// lastRound seals and signs what the last sessions and the ledger left behind;
// what is not done then is done when the gate starts again.
func (a *Appliance) lastRound() {
	ctx, cancel := context.WithTimeout(context.Background(), writeDown)
	defer cancel()
	a.notary.Round(ctx)
	a.notary.Close()
}
