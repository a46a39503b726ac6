package api

import (
	"context"
	"io"
	"net/http"
	"time"
)

// Videos are desktop sessions as people see them: live, and as files.
type Videos interface {
	// AskVideo puts the video of a session that has ended into the queue of
	// the gate that recorded it. Asked again it tells how far it is.
	AskVideo(ctx context.Context, session string, v NewVideo) (Video, error)
	Video(ctx context.Context, session string) (Video, error)
	// VideoFile is the video as MP4, once it is done.
	VideoFile(ctx context.Context, session string) (io.ReadCloser, error)
	// LiveDesktop is the desktop as it is, and as it changes until the session
	// ends: see package desktop for the frames.
	LiveDesktop(ctx context.Context, session string) (io.ReadCloser, error)
}

// A Video is the video of a desktop session, or will be.
type Video struct {
	Session  string    `json:"session"`
	State    string    `json:"state"`    // "queued", "running", "done", "failed"
	Progress float64   `json:"progress"` // 0 to 1
	Attempts int       `json:"attempts"`
	Asked    time.Time `json:"asked"`
	By       string    `json:"by"`
	Began    time.Time `json:"began,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`
	Size     int64     `json:"size,omitempty"`   // bytes, once it is done
	Detail   string    `json:"detail,omitempty"` // why it failed, or what it does not show
}

// NewVideo asks for a video.
type NewVideo struct {
	Anew bool `json:"anew,omitempty"` // also if there is one already
}

// The media types of a video and of the live view of a desktop.
const (
	mediaVideo   = "video/mp4"
	mediaDesktop = "application/vnd.inside.desktop"
)

var videoRoutes = []route{
	{"POST", "/sessions/{id}/video", toOperate, tell(func(h House, r *http.Request, v NewVideo) (Video, error) {
		return h.AskVideo(r.Context(), r.PathValue("id"), v)
	})},
	{"GET", "/sessions/{id}/video", toWatch, ask(func(h House, r *http.Request, _ none) (Video, error) {
		return h.Video(r.Context(), r.PathValue("id"))
	})},
	{"GET", "/sessions/{id}/video.mp4", toWatch, stream(mediaVideo, func(h House, r *http.Request, _ none) (io.ReadCloser, error) {
		return h.VideoFile(r.Context(), r.PathValue("id"))
	})},
	{"GET", "/sessions/{id}/live", toWatch, stream(mediaDesktop, func(h House, r *http.Request, _ none) (io.ReadCloser, error) {
		return h.LiveDesktop(r.Context(), r.PathValue("id"))
	})},
}

func (c *Client) AskVideo(ctx context.Context, session string, v NewVideo) (Video, error) {
	return send[Video](ctx, c, "POST", path("sessions", session, "video"), v)
}

func (c *Client) Video(ctx context.Context, session string) (Video, error) {
	return get[Video](ctx, c, path("sessions", session, "video"), none{})
}

func (c *Client) VideoFile(ctx context.Context, session string) (io.ReadCloser, error) {
	return c.do(ctx, "GET", path("sessions", session, "video.mp4"), nil)
}

func (c *Client) LiveDesktop(ctx context.Context, session string) (io.ReadCloser, error) {
	return c.do(ctx, "GET", path("sessions", session, "live"), nil)
}
