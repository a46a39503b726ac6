package appliance

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
)

// Export sends everything that is kept of a session as one tar: its folder,
// and session.json with what the database says of it. Nothing is collected
// first, a session may be larger than memory. Of one that still runs it is
// what there is so far.
func (h *House) Export(ctx context.Context, session string) (io.ReadCloser, error) {
	se, err := h.session(ctx, session)
	if err != nil {
		return nil, err
	}
	about, err := h.about(ctx, se)
	if err != nil {
		return nil, err
	}
	dir, err := h.folder(ctx, se)
	if err != nil {
		return nil, err
	}
	if err := h.looked(ctx, "recording.export", se, "everything"); err != nil {
		dir.Close()
		return nil, err
	}
	r, w := io.Pipe()
	go func() {
		defer dir.Close()
		w.CloseWithError(packed(w, dir, se, about, h.Now()))
	}()
	return r, nil
}

// about is what the database says of a session.
func (h *House) about(ctx context.Context, se policy.Session) ([]byte, error) {
	var all api.Exported
	var err error
	if all.Session, err = h.Session(ctx, string(se.ID)); err != nil {
		return nil, err
	}
	if se.Grant != "" { // and not let in without
		if all.Stay, err = h.Stay(ctx, string(se.Stay)); err != nil {
			return nil, err
		}
		if all.Grant, err = h.Grant(ctx, string(se.Grant)); err != nil {
			return nil, err
		}
	}
	all.Gate, all.Time, all.By = h.Gate, h.Now().UTC(), api.By(ctx)
	return json.MarshalIndent(all, "", "  ")
}

// packed writes the tar.
func packed(w io.Writer, dir *os.Root, se policy.Session, about []byte, now time.Time) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("export of session %s: %v", se.ID, r)
		}
	}()
	out := tar.NewWriter(w)
	head := tar.Header{Name: path.Join(string(se.ID), "session.json"), Mode: 0o640, Size: int64(len(about)), ModTime: now.Truncate(time.Second), Format: tar.FormatPAX}
	if err := out.WriteHeader(&head); err != nil {
		return err
	}
	if _, err := out.Write(about); err != nil {
		return err
	}
	err = fs.WalkDir(dir.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() { // what is no file was not written by a gate
			return err
		}
		return pack(out, dir, name, path.Join(string(se.ID), name))
	})
	return errors.Join(err, out.Close())
}

// pack writes one file, as long as it is when its turn comes: it may grow
// meanwhile.
func pack(out *tar.Writer, dir *os.Root, name, as string) error {
	f, err := dir.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	head := tar.Header{Name: as, Mode: 0o640, Size: info.Size(), ModTime: info.ModTime().Truncate(time.Second), Format: tar.FormatPAX}
	if err := out.WriteHeader(&head); err != nil {
		return err
	}
	_, err = io.CopyN(out, f, info.Size())
	return err
}
