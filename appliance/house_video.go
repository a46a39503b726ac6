package appliance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
	"github.com/pawelmojski/inside/store"
)

// desktopOf opens the folder of a session that recorded a desktop.
func (h *House) desktopOf(ctx context.Context, session string) (policy.Session, *os.Root, error) {
	se, err := h.session(ctx, session)
	if err != nil {
		return se, nil, err
	}
	dir, err := h.folder(ctx, se)
	if err != nil {
		return se, nil, err
	}
	if _, err := dir.Lstat(desktop.Name); err != nil {
		dir.Close()
		if errors.Is(err, fs.ErrNotExist) {
			return se, nil, api.NewProblem(api.CodeNotFound, fmt.Sprintf("session %.8s recorded no desktop", se.ID), fmt.Sprintf("inside session show %.8s", se.ID))
		}
		return se, nil, api.NewProblem(api.CodeUnavailable, fmt.Sprintf("records of session %.8s: %v", se.ID, err), "inside status")
	}
	return se, dir, nil
}

func (h *House) AskVideo(ctx context.Context, session string, v api.NewVideo) (api.Video, error) {
	se, dir, err := h.desktopOf(ctx, session)
	if err != nil {
		return api.Video{}, err
	}
	defer dir.Close()
	if _, live := h.Live.Sessions()[se.ID]; live {
		return api.Video{}, conflict(fmt.Sprintf("inside session kill %.8s, or wait until it ends", se.ID), "session %.8s still runs: a video is made of a recording that has ended", se.ID)
	}
	if _, missing := dir.Lstat(videoName); h.Renders != nil && (v.Anew || missing != nil) {
		if err := h.Renders.Room(); err != nil { // it would wait, perhaps for ever
			return api.Video{}, api.NewProblem(api.CodeUnavailable, fmt.Sprintf("no video is made: %v", err), "inside status")
		}
	}
	r, err := h.Store.AskRender(ctx, api.By(ctx), se, h.Now(), v.Anew)
	if err != nil {
		return api.Video{}, asProblem(err, "")
	}
	if _, gone := dir.Lstat(videoName); r.State == store.RenderDone && gone != nil {
		if r, err = h.Store.AskRender(ctx, api.By(ctx), se, h.Now(), true); err != nil {
			return api.Video{}, asProblem(err, "")
		}
	}
	if h.Renders != nil {
		h.Renders.Wake()
	}
	return wireVideo(r, dir), nil
}

func (h *House) Video(ctx context.Context, session string) (api.Video, error) {
	se, dir, err := h.desktopOf(ctx, session)
	if err != nil {
		return api.Video{}, err
	}
	defer dir.Close()
	r, err := h.Store.Render(ctx, se.ID)
	if err != nil {
		return api.Video{}, asProblem(err, fmt.Sprintf("inside export %.8s --mp4", se.ID))
	}
	return wireVideo(r, dir), nil
}

func wireVideo(r store.Render, dir *os.Root) api.Video {
	v := api.Video{
		Session: string(r.Session), State: string(r.State), Progress: r.Progress, Attempts: r.Attempts,
		Asked: r.Asked, By: r.By, Began: r.Began, Ended: r.Ended, Detail: r.Detail,
	}
	if info, err := dir.Lstat(videoName); err == nil && r.State == store.RenderDone {
		v.Size = info.Size()
	}
	return v
}

func (h *House) VideoFile(ctx context.Context, session string) (io.ReadCloser, error) {
	se, dir, err := h.desktopOf(ctx, session)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	r, err := h.Store.Render(ctx, se.ID)
	if err != nil {
		return nil, asProblem(err, fmt.Sprintf("inside export %.8s --mp4", se.ID))
	}
	if r.State != store.RenderDone {
		return nil, conflict(fmt.Sprintf("inside export %.8s --mp4 waits for it", se.ID), "the video of session %.8s is %s", se.ID, r.State)
	}
	file, err := openRecord(se, dir, videoName)
	if err != nil {
		return nil, err
	}
	// Who takes away what somebody did is written down.
	if err := h.looked(ctx, "recording.export", se, "video"); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func (h *House) LiveDesktop(ctx context.Context, session string) (io.ReadCloser, error) {
	se, dir, err := h.desktopOf(ctx, session)
	if err != nil {
		return nil, err
	}
	action := "recording.play" // of one that is over: its last picture, and why it ended
	if _, live := h.Live.Sessions()[se.ID]; live {
		action = "recording.watch"
	}
	if err := h.looked(ctx, action, se, "desktop"); err != nil {
		dir.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	go func() {
		defer dir.Close()
		w.CloseWithError(viewDesktop(ctx, dir, w))
	}()
	return &followed{r, cancel}, nil
}

func viewDesktop(ctx context.Context, dir *os.Root, w io.Writer) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: %v", desktop.Name, r)
		}
	}()
	return desktop.View(ctx, dir, desktop.Name, w)
}
