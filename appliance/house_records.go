package appliance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
	"github.com/pawelmojski/inside/store"
)

func (h *House) Entries(ctx context.Context, f api.EntryFilter) ([]api.Entry, error) {
	filter, err := h.entryFilter(f)
	if err != nil {
		return nil, err
	}
	entries, err := h.Store.Entries(ctx, filter)
	if err != nil {
		return nil, asProblem(err, "")
	}
	names := namer{h.Book()}
	wire := make([]api.Entry, 0, len(entries))
	for _, e := range entries {
		wire = append(wire, wireEntry(names, e))
	}
	return wire, nil
}

func wireEntry(names namer, e store.Entry) api.Entry {
	return api.Entry{
		ID: e.ID, Time: e.Time, Gate: e.Gate, Client: e.Client.String(), Dest: e.Dest.String(),
		Protocol: string(e.Protocol), Login: e.Login,
		Person: names.person(e.Person), PersonID: string(e.Person),
		Server: names.server(e.Server), ServerID: string(e.Server),
		Grant: string(e.Grant), Session: string(e.Session),
		Allowed: e.Denial == "", Denial: string(e.Denial), Sentence: e.Denial.Sentence(), Detail: e.Detail,
		Account: e.Identity.Account, Node: e.Identity.Node, Waived: string(e.Waived),
	}
}

func (h *House) entryFilter(f api.EntryFilter) (found store.EntryFilter, err error) {
	found = store.EntryFilter{Limit: limitOf(f.Limit), Allowed: f.Answer == "allowed", Denied: f.Answer == "denied", Waived: f.Answer == "warned"}
	if f.Answer != "" && !found.Allowed && !found.Denied && !found.Waived {
		return found, invalid("", "%.40q is no answer to an entry: they are allowed, denied or warned", f.Answer)
	}
	if f.Person != "" {
		p, err := h.personNamed(f.Person)
		if err != nil {
			return found, err
		}
		found.Person = p.ID
	}
	if f.Server != "" {
		s, err := h.serverNamed(f.Server)
		if err != nil {
			return found, err
		}
		found.Server = s.ID
	}
	if f.After != "" {
		if found.After, err = strconv.ParseInt(f.After, 10, 64); err != nil || found.After < 1 {
			return found, invalid("inside entries", "%.40q is no entry: after takes the number of the last one seen", f.After)
		}
	}
	return found, nil
}

// folder opens the folder a session's records lie in.
func (h *House) folder(ctx context.Context, se policy.Session) (*os.Root, error) {
	if !se.Removed.IsZero() {
		return nil, h.removed(ctx, se)
	}
	dir, err := h.Records.OpenRoot(folder(se))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, api.NewProblem(api.CodeNotFound, fmt.Sprintf("the records of session %.8s are not on this gate (%s)", se.ID, h.Gate),
			"they were written by "+se.Gate+" and may have been removed")
	}
	if err != nil {
		return nil, api.NewProblem(api.CodeUnavailable, fmt.Sprintf("records of session %.8s: %v", se.ID, err), "inside status")
	}
	return dir, nil
}

// removed says when and why the recording of a session was.
func (h *House) removed(ctx context.Context, se policy.Session) error {
	why, err := h.Store.WhyRemoved(ctx, se.ID)
	if err != nil {
		return asProblem(err, "")
	}
	return api.NewProblem(api.CodeNotFound, fmt.Sprintf("the recording of session %.8s was removed on %s %s", se.ID, se.Removed.Format(time.DateOnly), why),
		fmt.Sprintf("its seal stays: inside audit list --object 'session %s'", se.ID))
}

func (h *House) Events(ctx context.Context, session string) (io.ReadCloser, error) {
	se, err := h.session(ctx, session)
	if err != nil {
		return nil, err
	}
	dir, err := h.folder(ctx, se)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	f, err := openRecord(se, dir, "events.jsonl")
	if err != nil {
		return nil, err
	}
	if err := h.looked(ctx, "recording.events", se, "commands, files and forwards"); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func openRecord(se policy.Session, dir *os.Root, name string) (*os.File, error) {
	f, err := dir.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, api.NewProblem(api.CodeNotFound, fmt.Sprintf("session %.8s has no record %s", se.ID, name), fmt.Sprintf("inside session show %.8s", se.ID))
	}
	if err != nil {
		return nil, api.NewProblem(api.CodeUnavailable, fmt.Sprintf("records of session %.8s: %v", se.ID, err), "inside status")
	}
	return f, nil
}

func (h *House) Recordings(ctx context.Context, session string) ([]api.Recording, error) {
	se, err := h.session(ctx, session)
	if err != nil {
		return nil, err
	}
	dir, err := h.folder(ctx, se)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	files, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return nil, err
	}
	_, live := h.Live.Sessions()[se.ID]
	recordings := []api.Recording{}
	for _, f := range files {
		channel, isCast := castChannel(f.Name())
		isDesktop := f.Name() == desktop.Name
		if !isCast && !isDesktop {
			continue
		}
		info, err := f.Info()
		if err != nil {
			return nil, err
		}
		recordings = append(recordings, api.Recording{Channel: channel, Desktop: isDesktop, Size: info.Size(), Live: live})
	}
	slices.SortFunc(recordings, func(x, y api.Recording) int { return x.Channel - y.Channel })
	return recordings, nil
}

func (h *House) Recording(ctx context.Context, session string, channel int, f api.Following) (io.ReadCloser, error) {
	se, err := h.session(ctx, session)
	if err != nil {
		return nil, err
	}
	dir, err := h.folder(ctx, se)
	if err != nil {
		return nil, err
	}
	name := castName(channel)
	file, err := openRecord(se, dir, name)
	if err != nil {
		dir.Close()
		return nil, err
	}
	_, live := h.Live.Sessions()[se.ID]
	action := "recording.play"
	if f.Follow && live {
		action = "recording.watch"
	}
	err = h.looked(ctx, action, se, fmt.Sprintf("channel %d", channel))
	switch {
	case err != nil:
		dir.Close()
		file.Close()
		return nil, err
	case action == "recording.watch":
		return followFile(ctx, dir, name, file), nil
	}
	dir.Close()
	return file, nil
}

// looked writes down that somebody looks at what a person did, which is an act
// of its own: who is not written down sees nothing.
func (h *House) looked(ctx context.Context, action string, se policy.Session, what string) error {
	names := namer{h.Book()}
	detail := fmt.Sprintf("%s of %s on %s", what, names.person(se.Person), names.server(se.Server))
	return asProblem(h.Store.Audit(ctx, api.By(ctx), action, "session "+string(se.ID), detail), "inside status")
}

// followFile reads the bytes of a recording from its beginning and goes on
// with what is appended. The recording's own follower says when there is more
// and when there will be no more; the bytes come from the file as they are.
// It owns dir and file.
func followFile(ctx context.Context, dir *os.Root, name string, file *os.File) io.ReadCloser {
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	go func() {
		defer dir.Close()
		defer file.Close()
		w.CloseWithError(copyFollowed(ctx, w, dir, name, file))
	}()
	return &followed{r, cancel}
}

func copyFollowed(ctx context.Context, w io.Writer, dir *os.Root, name string, file *os.File) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: %v", name, r)
		}
	}()
	_, frames, err := recording.Follow(ctx, dir, name)
	if err != nil {
		return err
	}
	lines := lineCopier{w: w, from: file, piece: make([]byte, 256<<10)}
	for _, err := range frames {
		if errors.Is(err, recording.ErrTorn) {
			break // the writer is gone, and with it the rest of its last line
		}
		if err != nil {
			return err
		}
		if err := lines.copy(); err != nil {
			return err
		}
	}
	return lines.copy()
}

// A lineCopier copies what is new in a file, whole lines only: a line that is
// not finished may be taken back.
type lineCopier struct {
	w     io.Writer
	from  io.ReaderAt
	off   int64
	piece []byte // longer than any line of a recording
}

func (c *lineCopier) copy() error {
	for {
		n, err := c.from.ReadAt(c.piece, c.off)
		if err != nil && err != io.EOF {
			return err
		}
		whole := bytes.LastIndexByte(c.piece[:n], '\n') + 1
		if whole == 0 {
			return nil
		}
		if _, err := c.w.Write(c.piece[:whole]); err != nil {
			return err
		}
		c.off += int64(whole)
	}
}

type followed struct {
	*io.PipeReader
	stop context.CancelFunc
}

func (f *followed) Close() error {
	f.stop()
	return f.PipeReader.Close()
}

// castName names the recording of a channel in its session's folder.
func castName(channel int) string { return strconv.Itoa(channel) + ".cast" }

// castChannel is the channel whose recording has this name.
func castChannel(name string) (channel int, ok bool) {
	number, ok := strings.CutSuffix(name, ".cast")
	channel, err := strconv.Atoi(number)
	return channel, ok && err == nil
}
