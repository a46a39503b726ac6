package web

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
)

const (
	mostEvents  = 2000    // that a page shows; an export has all
	longestLine = 1 << 20 // of an event
)

// A sessionPage is one connection: what it was, what was seen, and what was
// done in it.
type sessionPage struct {
	api.Session
	Recordings []api.Recording
	Desktop    bool
	Events     []api.Event
	More       bool // events than are shown
	Video      *api.Video
	Role       api.Role
	Problem    *api.Problem
}

func (s sessionPage) Operates() bool { return operates(s.Role) }

// Path is where the API has the session.
func (s sessionPage) Path() string { return "/api/v1/sessions/" + url.PathEscape(s.ID) }

func (p *Pages) showSession(v *visit) error {
	id := v.r.PathValue("id")
	se, err := v.house().Session(v.ctx(), id)
	if err != nil {
		return err
	}
	shown := sessionPage{Session: se, Role: v.actor.Role}
	if shown.Recordings, err = v.house().Recordings(v.ctx(), se.ID); err != nil && !isProblem(err, &shown.Problem) {
		return err
	}
	for _, r := range shown.Recordings {
		shown.Desktop = shown.Desktop || r.Desktop
	}
	if shown.Operates() && shown.Removed.IsZero() {
		if shown.Events, shown.More, err = p.events(v, se.ID); err != nil && !isProblem(err, &shown.Problem) {
			return err
		}
		if shown.Desktop {
			video, err := v.house().Video(v.ctx(), se.ID)
			if err == nil {
				shown.Video = &video
			} else if !isProblem(err, new(*api.Problem)) { // there is none yet
				return err
			}
		}
	}
	v.show(http.StatusOK, "session", page{Title: "Session " + se.ID[:min(8, len(se.ID))], Nav: "search", Done: sessionDone[v.r.URL.Query().Get("done")], Main: shown})
	return nil
}

var sessionDone = map[string]string{"killed": "The session is cut off.", "video": "The video is being made. It is here as soon as it is done."}

func isProblem(err error, into **api.Problem) bool { return errors.As(err, into) }

// events are what happened in a session. To look at them is a look at what
// somebody did, and is written down as one.
func (p *Pages) events(v *visit, id string) (events []api.Event, more bool, err error) {
	body, err := v.house().Events(v.ctx(), id)
	if err != nil {
		return nil, false, err
	}
	defer body.Close()
	scan := bufio.NewScanner(body)
	scan.Buffer(nil, longestLine)
	for scan.Scan() {
		var e api.Event
		if json.Unmarshal(scan.Bytes(), &e) != nil {
			continue // one that is damaged spoils no other
		}
		if len(events) == mostEvents {
			return events, true, nil
		}
		events = append(events, e)
	}
	if err := scan.Err(); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, false, err
	}
	return events, false, nil
}

func (p *Pages) killSession(v *visit) error {
	id := v.r.PathValue("id")
	if _, err := v.house().KillSession(v.ctx(), id); err != nil {
		return err
	}
	v.redirect("/sessions/" + url.PathEscape(id) + "?done=killed")
	return nil
}

func (p *Pages) askVideo(v *visit) error {
	id := v.r.PathValue("id")
	if _, err := v.house().AskVideo(v.ctx(), id, api.NewVideo{}); err != nil {
		return err
	}
	v.redirect("/sessions/" + url.PathEscape(id) + "?done=video")
	return nil
}

// at is a moment as scripts count.
func at(t time.Time) int64 { return t.UnixMilli() }
