package appliance

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/pawelmojski/inside/appliance/backup"
)

// A staging is where the files of a backup lie until all is well: in a folder
// of the place where they belong, which may be a disk of its own.
type staging struct {
	name  string            // of these folders
	at    map[string]string // by "", keys and recordings
	roots map[string]*os.Root
	made  []string // places that were not there
}

func (s *staging) begin(state string) error {
	s.name, s.at, s.roots = ".restore-"+rand.Text(), map[string]string{}, map[string]*os.Root{}
	if err := os.MkdirAll(filepath.Dir(state), 0o755); err != nil {
		return err
	}
	for _, part := range []string{"", backup.Keys, backup.Recordings} {
		place := filepath.Join(state, part)
		if err := os.Mkdir(place, 0o700); err == nil {
			s.made = append(s.made, place)
		} else if !errors.Is(err, fs.ErrExist) {
			return err
		}
		s.at[part] = filepath.Join(place, s.name)
		if err := os.Mkdir(s.at[part], 0o700); err != nil {
			return err
		}
		var err error
		if s.roots[part], err = os.OpenRoot(s.at[part]); err != nil {
			return err
		}
	}
	return nil
}

func (s *staging) database() string { return filepath.Join(s.at[""], backup.Database) }
func (s *staging) sqlite() string   { return filepath.Join(s.at[""], "inside.db") }

// take is the sink of a backup.
func (s *staging) take(name string, _ int64, from io.Reader) error {
	part, below, _ := strings.Cut(name, "/")
	if below == "" {
		part, below = "", name
	}
	root := s.roots[part]
	if err := root.MkdirAll(path.Dir(below), 0o700); err != nil {
		return err
	}
	f, err := root.OpenFile(below, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Sync(), f.Close())
}

// A move is a file or folder on its way into place.
type move struct{ from, to string }

// moves are what goes into place, given to the owner; the database last.
func (s *staging) moves(o owner, database bool) (all []move, err error) {
	for _, part := range []string{backup.Keys, backup.Recordings} {
		entries, err := os.ReadDir(s.at[part])
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			all = append(all, move{filepath.Join(s.at[part], e.Name()), filepath.Join(filepath.Dir(s.at[part]), e.Name())})
		}
	}
	if database {
		all = append(all, move{s.sqlite(), filepath.Join(filepath.Dir(s.at[""]), "inside.db")})
	}
	for _, m := range all {
		if err := o.give(m.from); err != nil {
			return nil, err
		}
	}
	for _, place := range s.made {
		if err := o.give(place); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// remove takes the folders away, and places that were made for nothing.
func (s *staging) remove() (err error) {
	for part, folder := range s.at {
		if root := s.roots[part]; root != nil {
			root.Close()
		}
		err = errors.Join(err, os.RemoveAll(folder))
	}
	for i := range s.made {
		os.Remove(s.made[len(s.made)-1-i]) // if it is empty
	}
	return err
}

// An owner is who the daemon runs as.
type owner struct {
	uid, gid int
	known    bool
}

// ownerOf is who has the state, or who the package has made for it.
func ownerOf(state string) owner {
	if info, err := os.Stat(state); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
			return owner{int(st.Uid), int(st.Gid), true}
		}
	}
	u, err := user.Lookup("inside")
	if err != nil {
		return owner{}
	}
	uid, err := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	return owner{uid, gid, err == nil && err2 == nil}
}

// give gives a file, or a folder and all in it, to the owner.
func (o owner) give(name string) error {
	if !o.known {
		return nil
	}
	return filepath.WalkDir(name, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(name, o.uid, o.gid)
	})
}
