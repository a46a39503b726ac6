// Package backup is the file that `inside backup` writes and `insided --restore`
// reads: a .tar.gz of plain files with their SHA-256 sums behind them. It knows
// what may be in one and what not; what the database's dump says, and where the
// files belong on a gate, its callers know.
//
//	inside-backup.json   whose it is and of when
//	inside.toml          the configuration
//	keys/…               of the gate: whoever has them can pass for it
//	database.jsonl       all tables
//	recordings/…         if they were asked for
//	SHA256SUMS           of all of these, as sha256sum -c reads them
package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"
)

// The names in a backup.
const (
	aboutName  = "inside-backup.json"
	configName = "inside.toml"
	Keys       = "keys"
	Database   = "database.jsonl"
	Recordings = "recordings"
	sumsName   = "SHA256SUMS"
)

const (
	format  = 1
	sumLine = "%s  %s\n"
)

// About says what a backup is.
type About struct {
	Format     int       `json:"format"`
	Gate       string    `json:"gate"`
	Made       time.Time `json:"made"`
	Version    string    `json:"version"` // of the program
	Recordings bool      `json:"recordings"`
}

// A Writer writes a backup, part by part, in the order of the package's
// comment.
type Writer struct {
	zip   *gzip.Writer
	tar   *tar.Writer
	about About
	sums  []byte
}

// NewWriter begins a backup.
func NewWriter(to io.Writer, about About, config []byte) (*Writer, error) {
	about.Format = format
	zip := gzip.NewWriter(to)
	w := &Writer{zip: zip, tar: tar.NewWriter(zip), about: about}
	text, err := json.MarshalIndent(about, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := w.text(aboutName, append(text, '\n')); err != nil {
		return nil, err
	}
	return w, w.text(configName, config)
}

func (w *Writer) text(name string, text []byte) error {
	sum := sha256.Sum256(text)
	w.sums = fmt.Appendf(w.sums, sumLine, hex.EncodeToString(sum[:]), name)
	return w.plain(name, text)
}

func (w *Writer) plain(name string, text []byte) error {
	if err := w.tar.WriteHeader(w.header(name, int64(len(text)))); err != nil {
		return err
	}
	_, err := w.tar.Write(text)
	return err
}

func (w *Writer) header(name string, size int64) *tar.Header {
	return &tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: w.about.Made.Truncate(time.Second), Format: tar.FormatPAX}
}

// File adds a file of that size; what it grows by meanwhile stays out.
func (w *Writer) File(name string, size int64, from io.Reader) error {
	if err := w.tar.WriteHeader(w.header(name, size)); err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(w.tar, sum), from, size); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	w.sums = fmt.Appendf(w.sums, sumLine, hex.EncodeToString(sum.Sum(nil)), name)
	return nil
}

// Folder adds all regular files below a folder, under a name. One that goes
// away meanwhile is not in it.
func (w *Writer) Folder(name string, folder fs.FS) error {
	return fs.WalkDir(folder, ".", func(file string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			err = w.fileOf(folder, file, path.Join(name, file))
		}
		if errors.Is(err, fs.ErrNotExist) && file != "." {
			return nil
		}
		return err
	})
}

func (w *Writer) fileOf(folder fs.FS, file, name string) error {
	f, err := folder.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return w.File(name, info.Size(), f)
}

// Close writes the end.
func (w *Writer) Close() error {
	return errors.Join(w.plain(sumsName, w.sums), w.tar.Close(), w.zip.Close())
}

// Bounds of what is held in memory.
const (
	longestAbout  = 64 << 10
	longestConfig = 1 << 20
	longestKey    = 1 << 20
	longestSums   = 256 << 20
	longestName   = 512
)

// A Sink takes the files of a backup: keys, the database and recordings.
type Sink func(name string, size int64, from io.Reader) error

// Read reads a whole backup and checks it: that it holds nothing that does not
// belong into one, that it is complete, and that every byte is what was
// written. begin is called before the first file with what is known by then;
// it returns what takes the files, which are worth something only when Read
// has returned without an error.
func Read(from io.Reader, begin func(about About, config []byte) (Sink, error)) error {
	zip, err := gzip.NewReader(from)
	if err != nil {
		return fmt.Errorf("it is no backup of Inside: %w", err)
	}
	r := &reader{tar: tar.NewReader(zip), seen: map[string]string{}}
	about, config, err := r.front()
	if err != nil {
		return err
	}
	sink, err := begin(about, config)
	if err != nil {
		return err
	}
	sums, err := r.files(sink)
	if err != nil {
		return err
	}
	if err := r.compare(sums); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, zip); err != nil { // its own check of itself
		return fmt.Errorf("the backup is damaged: %w", err)
	}
	return nil
}

type reader struct {
	tar  *tar.Reader
	seen map[string]string // names and their sums
	sum  hash.Hash
}

// next is the next member, which must be a plain file where one may be.
func (r *reader) next() (*tar.Header, error) {
	h, err := r.tar.Next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, errors.New("the backup is not complete: it breaks off")
	case err != nil:
		return nil, fmt.Errorf("the backup is damaged: %w", err)
	case h.Typeflag != tar.TypeReg:
		return nil, fmt.Errorf("%.100q in the backup is no plain file", h.Name)
	case len(h.Name) > longestName || !fs.ValidPath(h.Name):
		return nil, fmt.Errorf("%.100q in the backup is no name of a file in one", h.Name)
	}
	if _, twice := r.seen[h.Name]; twice {
		return nil, fmt.Errorf("%.100q is in the backup twice", h.Name)
	}
	r.sum = sha256.New()
	return h, nil
}

func (r *reader) done(name string) { r.seen[name] = hex.EncodeToString(r.sum.Sum(nil)) }

// small reads a member that must have this name.
func (r *reader) small(name string, longest int64) ([]byte, error) {
	h, err := r.next()
	if err != nil {
		return nil, err
	}
	if h.Name != name {
		return nil, fmt.Errorf("it is no backup of Inside: %.100q stands where %s should", h.Name, name)
	}
	return r.read(h, longest)
}

func (r *reader) read(h *tar.Header, longest int64) ([]byte, error) {
	if h.Size > longest {
		return nil, fmt.Errorf("%s in the backup has %d bytes, and at most %d are read", h.Name, h.Size, longest)
	}
	text, err := io.ReadAll(io.TeeReader(whole{r.tar}, r.sum))
	if err != nil {
		return nil, err
	}
	r.done(h.Name)
	return text, nil
}

func (r *reader) front() (about About, config []byte, err error) {
	text, err := r.small(aboutName, longestAbout)
	if err != nil {
		return about, nil, err
	}
	if err := json.Unmarshal(text, &about); err != nil {
		return about, nil, fmt.Errorf("%s in the backup: %w", aboutName, err)
	}
	if about.Format != format {
		return about, nil, fmt.Errorf("the backup has format %d, and this program reads format %d: use the version that made it, %.60q", about.Format, format, about.Version)
	}
	config, err = r.small(configName, longestConfig)
	return about, config, err
}

// files gives the files to the sink, until the sums.
func (r *reader) files(sink Sink) (sums []byte, err error) {
	for {
		h, err := r.next()
		if err != nil {
			return nil, err
		}
		switch folder, _, below := strings.Cut(h.Name, "/"); {
		case h.Name == sumsName:
			if _, there := r.seen[Database]; !there {
				return nil, errors.New("the backup is not complete: there is no database in it")
			}
			return r.read(h, longestSums)
		case below && folder == Keys && h.Size <= longestKey, below && folder == Recordings, h.Name == Database:
		default:
			return nil, fmt.Errorf("%.100q of %d bytes does not belong into a backup", h.Name, h.Size)
		}
		if err := sink(h.Name, h.Size, io.TeeReader(whole{r.tar}, r.sum)); err != nil {
			return nil, err
		}
		if n, err := io.Copy(io.Discard, whole{r.tar}); err != nil || n > 0 {
			return nil, errors.Join(fmt.Errorf("%s was not read to its end", h.Name), err)
		}
		r.done(h.Name)
	}
}

// whole says of what is read what an error of it means.
type whole struct{ io.Reader }

func (w whole) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("the backup is damaged: %w", err)
	}
	return n, err
}

// compare holds the sums of what was read against those that were written.
func (r *reader) compare(sums []byte) error {
	delete(r.seen, sumsName)
	listed := 0
	for line := range bytes.Lines(sums) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), "  ")
		if was, there := r.seen[name]; !ok || !there || was != sum {
			return fmt.Errorf("the backup is damaged: %.100q is not what was written", name)
		}
		listed++
	}
	if listed != len(r.seen) {
		return fmt.Errorf("the backup is damaged: %d files are in it, and %d belong into it", len(r.seen), listed)
	}
	return nil
}
