package appliance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/appliance/backup"
	"github.com/pawelmojski/inside/appliance/config"
	"github.com/pawelmojski/inside/packaging/conf"
	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/store"
)

// A Restore puts a backup in the place of a gate that knows nothing yet. It is
// all there at the end, or nothing of it.
type Restore struct {
	Config string // the file of the configuration
	Broken bool   // an audit trail in which something is wrong is restored all the same

	cfg    config.Config
	about  backup.About
	text   []byte // of the configuration, where the backup's goes into place; else nil
	staged staging
}

// From reads the backup twice: once to see that it is one, whole and
// undamaged, when nothing has been written yet; then to write it.
func (r *Restore) From(ctx context.Context, file *os.File) (said string, err error) {
	if err := backup.Read(until{ctx, file}, func(about backup.About, text []byte) (backup.Sink, error) {
		room, err := r.mayBegin(about, text)
		return (&measure{room: room}).take, err
	}); err != nil {
		return "", err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, r.staged.remove()) }()
	if err := backup.Read(until{ctx, file}, func(backup.About, []byte) (backup.Sink, error) {
		return r.staged.take, r.staged.begin(r.cfg.Paths.State)
	}); err != nil {
		return "", err
	}
	good, err := r.fill(ctx)
	if err != nil {
		return "", err
	}
	if err := r.commit(ctx); err != nil {
		return "", err
	}
	said = fmt.Sprintf("the backup of %s, made %s, is restored to %s; the audit trail has %d records", r.about.Gate, r.about.Made.UTC().Format(time.RFC3339), r.cfg.Paths.State, good.Links)
	if r.text == nil {
		said += "; " + r.Config + " was changed by somebody and stays as it is"
	}
	if !r.about.Recordings {
		said += "; recordings are not in the backup"
	}
	said += "; what was revoked or taken away since then is valid again, look before you start the gate for people: inside token list, inside grant list --active, inside person list, inside admin list"
	return said, nil
}

// until is a reader that ends with a context.
type until struct {
	ctx context.Context
	io.Reader
}

func (u until) Read(b []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.Reader.Read(b)
}

// mayBegin looks at what is there already, and returns how many bytes there is
// room for.
func (r *Restore) mayBegin(about backup.About, text []byte) (room uint64, err error) {
	r.about = about
	present, err := os.ReadFile(r.Config)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && bytes.Equal(present, conf.Shipped):
		r.text, present = text, text
	case err != nil:
		return 0, err
	}
	if r.cfg, err = config.Parse(r.Config, present); err != nil {
		return 0, err
	}
	if r.cfg.Gate.Name != about.Gate {
		return 0, fmt.Errorf("the backup is of the gate %.100q, and this one is %q: write [gate] name = %.100q into %s first", about.Gate, r.cfg.Gate.Name, about.Gate, r.Config)
	}
	if c, err := net.Dial("unix", filepath.Join(r.cfg.Paths.Run, "inside.sock")); err == nil {
		c.Close()
		return 0, errors.New("the gate runs: systemctl stop inside, and move what it knows away")
	}
	for _, name := range []string{"inside.db", "spool", backup.Keys, backup.Recordings} {
		if err := absent(filepath.Join(r.cfg.Paths.State, name)); err != nil {
			return 0, fmt.Errorf("%w: this gate knows something already; keep it apart: mv %s %[2]s.before", err, r.cfg.Paths.State)
		}
	}
	there := r.cfg.Paths.State
	root, err := os.OpenRoot(there)
	for errors.Is(err, fs.ErrNotExist) && there != "/" {
		there = filepath.Dir(there)
		root, err = os.OpenRoot(there)
	}
	if err != nil {
		return 0, err
	}
	defer root.Close()
	room, _, err = recording.Free(root)
	return room, err
}

// absent says that something is there, unless it is an empty folder.
func absent(name string) error {
	entries, err := os.ReadDir(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	return fmt.Errorf("%s is there", name)
}

// A measure takes files and keeps none.
type measure struct{ room, needed uint64 }

func (m *measure) take(name string, size int64, from io.Reader) error {
	m.needed += uint64(size)
	if name == backup.Database {
		m.needed += uint64(size) // the dump, and what is made of it
	}
	if m.needed > m.room {
		return fmt.Errorf("%s of the backup does not fit: %d MiB are needed, and %d are free", name, m.needed>>20, m.room>>20)
	}
	_, err := io.Copy(io.Discard, from)
	return err
}

// fill makes the database of the dump, beside the place where it belongs, and
// verifies the audit trail.
func (r *Restore) fill(ctx context.Context) (good store.Verified, err error) {
	dump, err := os.Open(r.staged.database())
	if err != nil {
		return good, err
	}
	defer dump.Close()
	s, err := store.Load(ctx, r.staged.sqlite(), dump)
	if err != nil {
		return good, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	v := store.Verification{}
	text, err := os.ReadFile(filepath.Join(r.staged.at[backup.Keys], auditHeadName))
	if err == nil {
		var head store.Head
		if err := json.Unmarshal(text, &head); err != nil || !head.Check() {
			return good, fmt.Errorf("%s in the backup is not a signed head", auditHeadName)
		}
		v.Heads = append(v.Heads, head)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return good, err
	}
	good, err = s.Verify(ctx, v)
	detail := fmt.Sprintf("made %s, %d records verified", r.about.Made.UTC().Format(time.RFC3339), good.Links)
	if broken := new(store.Broken); errors.As(err, &broken) && r.Broken {
		detail += ", then: " + broken.Error()
	} else if err != nil {
		return good, fmt.Errorf("the audit trail in the backup is not as it was written: %w; to restore it all the same: --accept-broken-record", err)
	}
	return good, s.Audit(ctx, "root", "backup.restore", "database of "+r.about.Gate, detail)
}

// commit moves everything to where it belongs; what fails is undone.
func (r *Restore) commit(ctx context.Context) (err error) {
	var undo []func() error
	defer func() {
		for _, back := range slices.Backward(undo) {
			if err != nil {
				err = errors.Join(err, back())
			}
		}
	}()
	owner := ownerOf(r.cfg.Paths.State)
	moves, err := r.staged.moves(owner, r.cfg.Store.URL == "")
	if err != nil {
		return err
	}
	if r.text != nil {
		fresh, old, err := r.configBeside(owner)
		if err != nil {
			return err
		}
		defer os.Remove(fresh)
		defer os.Remove(old)
		if err := os.Link(r.Config, old); err == nil {
			undo = append(undo, func() error { return os.Rename(old, r.Config) })
		} else if errors.Is(err, fs.ErrNotExist) {
			undo = append(undo, func() error { return os.Remove(r.Config) })
		} else {
			return err
		}
		if err := os.Rename(fresh, r.Config); err != nil {
			return err
		}
	}
	for _, m := range moves {
		if err := unix.Renameat2(unix.AT_FDCWD, m.from, unix.AT_FDCWD, m.to, unix.RENAME_NOREPLACE); err != nil {
			return fmt.Errorf("move %s into place: %w", m.to, err)
		}
		undo = append(undo, func() error { return os.Rename(m.to, m.from) })
	}
	if r.cfg.Store.URL == "" {
		return nil
	}
	return r.fillServer(ctx) // last: it is all or nothing by itself
}

// fillServer copies what was verified to the database of the configuration.
func (r *Restore) fillServer(ctx context.Context) error {
	verified, err := store.Open(ctx, r.staged.sqlite())
	if err != nil {
		return err
	}
	defer verified.Close()
	out, in := io.Pipe()
	go func() { in.CloseWithError(verified.Dump(ctx, in)) }()
	defer out.Close()
	s, err := store.Load(ctx, r.cfg.Store.URL, out)
	if errors.Is(err, store.ErrNotEmpty) {
		return fmt.Errorf("%w: name an empty one in [store] url of %s", err, r.Config)
	}
	if err != nil {
		return err
	}
	return s.Close()
}

// configBeside writes the configuration beside the one that is there, and
// names where that one is kept meanwhile.
func (r *Restore) configBeside(o owner) (fresh, old string, err error) {
	if err := os.MkdirAll(filepath.Dir(r.Config), 0o755); err != nil {
		return "", "", err
	}
	fresh, old = r.Config+r.staged.name, r.Config+r.staged.name+".old"
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return "", "", err
	}
	_, err = f.Write(r.text)
	if o.known {
		err = errors.Join(err, f.Chown(-1, o.gid))
	}
	return fresh, old, errors.Join(err, f.Chmod(0o640), f.Sync(), f.Close())
}
