package appliance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// A recordSeal is what the audit trail keeps of the files of a session, so
// that whoever changes them later must change the trail too.
type recordSeal struct {
	Session policy.SessionID `json:"session"`
	Gate    string           `json:"gate"`
	Folder  string           `json:"folder"` // below the recordings
	Files   []fileSeal       `json:"files"`
	Missing bool             `json:"missing,omitempty"` // there was no folder to seal
}

// A fileSeal is one file. A recording that has its own hash chain is sealed by
// the head of it, which its sidecar holds; every other file by its bytes.
type fileSeal struct {
	Name      string `json:"name"`
	Channel   *int   `json:"channel,omitempty"`
	Size      int64  `json:"size"`
	Head      string `json:"head,omitempty"`   // hexadecimal
	SHA256    string `json:"sha256,omitempty"` // hexadecimal
	Recovered bool   `json:"recovered,omitempty"`
}

// errStillWritten says that a recording has no end yet.
var errStillWritten = errors.New("a recording is still being written")

// sealFolder reads the files of a session that has ended. A recording that was
// given up gets its end now; with asItIs one that still has none is taken by
// its bytes.
func sealFolder(ctx context.Context, records *os.Root, se policy.Session, asItIs bool) (recordSeal, error) {
	seal := recordSeal{Session: se.ID, Gate: se.Gate, Folder: filepath.ToSlash(folder(se)), Files: []fileSeal{}}
	dir, err := records.OpenRoot(seal.Folder)
	if errors.Is(err, fs.ErrNotExist) {
		seal.Missing = true
		return seal, nil
	}
	if err != nil {
		return seal, err
	}
	defer dir.Close()
	if err := endGivenUp(dir); err != nil {
		return seal, err
	}
	names, err := sealable(dir)
	if err != nil {
		return seal, err
	}
	for _, name := range names {
		f, err := sealFile(ctx, dir, name, asItIs)
		if err != nil {
			return seal, fmt.Errorf("%s: %w", name, err)
		}
		seal.Files = append(seal.Files, f)
	}
	return seal, nil
}

// endGivenUp ends the recordings that their session had to give up, on a full
// disk perhaps. One that is still written or cannot be ended stays as it is.
func endGivenUp(dir *os.Root) error {
	names, err := fs.Glob(dir.FS(), "*.cast")
	if err != nil {
		return err
	}
	for _, name := range append(names, desktop.Name) {
		if _, ended, err := recordingEnd(dir, name); err == nil && !ended {
			_ = recovered(dir, name) // whoever seals it finds out
		}
	}
	return nil
}

// sealable are the files of a session that are evidence: sidecars are covered
// by the recordings they belong to, videos are made of recordings later on.
func sealable(dir *os.Root) ([]string, error) {
	files, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		name := f.Name()
		base, isIndex := strings.CutSuffix(name, ".idx")
		_, noCast := dir.Lstat(base + ".cast")
		if f.IsDir() || isIndex && noCast == nil || strings.HasSuffix(name, ".mp4") {
			continue
		}
		names = append(names, name)
	}
	return names, nil
}

func sealFile(ctx context.Context, dir *os.Root, name string, asItIs bool) (fileSeal, error) {
	f := fileSeal{Name: name}
	channel, isCast := castChannel(name)
	if isCast {
		f.Channel = &channel
	}
	if isCast || name == desktop.Name {
		end, ended, err := recordingEnd(dir, name)
		if ended && err == nil {
			f.Size, f.Head, f.Recovered = end.Size, hex.EncodeToString(end.Head[:]), end.Recovered
			return f, nil
		}
		if !asItIs {
			return f, errors.Join(errStillWritten, err)
		}
	}
	var err error
	f.Size, f.SHA256, err = hashFile(ctx, dir, name)
	return f, err
}

// recordingEnd reads the end of a recording of either kind.
func recordingEnd(dir *os.Root, name string) (recording.Ending, bool, error) {
	if name == desktop.Name {
		return desktop.Ended(dir, name)
	}
	return recording.End(dir, name)
}

// recovered ends a recording of either kind that nobody writes any more.
func recovered(dir *os.Root, name string) (err error) {
	if name == desktop.Name {
		_, err = desktop.Recover(dir, name)
	} else {
		_, err = recording.Recover(dir, name)
	}
	return err
}

// verified checks a recording of either kind.
func verified(dir *os.Root, name string) (recording.Summary, error) {
	if name == desktop.Name {
		return desktop.Verify(dir, name)
	}
	return recording.Verify(dir, name)
}

func hashFile(ctx context.Context, dir *os.Root, name string) (size int64, sum string, err error) {
	info, err := dir.Lstat(name)
	if err != nil {
		return 0, "", err
	}
	if !info.Mode().IsRegular() {
		return 0, "", errors.New("not a regular file")
	}
	file, err := dir.Open(name)
	if err != nil {
		return 0, "", err
	}
	defer file.Close()
	h, piece := sha256.New(), make([]byte, 256<<10)
	for {
		if err := ctx.Err(); err != nil {
			return 0, "", err
		}
		n, err := file.Read(piece)
		h.Write(piece[:n])
		size += int64(n)
		if err == io.EOF {
			return size, hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return 0, "", err
		}
	}
}

// A brokenFile is one that is not what was sealed.
type brokenFile struct {
	name string
	what string
}

func (b brokenFile) Error() string { return b.name + " " + b.what }

// check compares the files of a session with their seal and returns every one
// that is not what it was; only a failure to read is an error.
func (s recordSeal) check(ctx context.Context, records *os.Root) (broken []brokenFile, err error) {
	if s.Missing {
		return nil, nil
	}
	dir, err := records.OpenRoot(filepath.FromSlash(s.Folder))
	if errors.Is(err, fs.ErrNotExist) {
		return []brokenFile{{s.Folder, "is gone"}}, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	for _, f := range s.Files {
		what, err := f.check(ctx, dir)
		if err != nil {
			return broken, fmt.Errorf("%s: %w", s.Folder+"/"+f.Name, err)
		}
		if what != "" {
			broken = append(broken, brokenFile{s.Folder + "/" + f.Name, what})
		}
	}
	names, err := sealable(dir)
	for _, name := range names {
		if !slices.ContainsFunc(s.Files, func(f fileSeal) bool { return f.Name == name }) {
			broken = append(broken, brokenFile{s.Folder + "/" + name, "was not there when the session was sealed"})
		}
	}
	return broken, err
}

// check says what is wrong with a file, "" if nothing is.
func (f fileSeal) check(ctx context.Context, dir *os.Root) (string, error) {
	if f.Head == "" {
		size, sum, err := hashFile(ctx, dir, f.Name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return "is gone", nil
		case err != nil && ctx.Err() == nil:
			return "cannot be read: " + err.Error(), nil
		case err != nil:
			return "", err
		case size != f.Size:
			return fmt.Sprintf("has %d bytes, %d were sealed", size, f.Size), nil
		case sum != f.SHA256:
			return "differs from what was sealed", nil
		}
		return "", nil
	}
	was, err := verified(dir, f.Name)
	var damage *recording.Damage
	switch {
	case errors.As(err, &damage):
		return "is " + damage.Error(), nil
	case errors.Is(err, fs.ErrNotExist):
		return "is gone, or its sidecar is", nil
	case err != nil:
		return "cannot be read: " + err.Error(), nil
	case !was.Ended:
		return fmt.Sprintf("has lost its end: it is framed up to byte %d of %d", was.Size, f.Size), nil
	case hex.EncodeToString(was.Head[:]) != f.Head:
		return "is another recording than the one that was sealed", nil
	}
	return "", nil
}
