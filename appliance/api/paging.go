package api

import (
	"context"
	"iter"
	"net/http"
	"reflect"
	"strconv"
	"time"
)

// longPage is how many lines a page has where all of a list is wanted.
const longPage = 1000

// everyPage walks a list page by page until limit lines were given, 0 is all
// of them. ask gets one page of at most so many lines, and says whether there
// may be another.
func everyPage[Row any](limit int, ask func(most int) (page []Row, more bool, err error)) iter.Seq2[[]Row, error] {
	return func(yield func([]Row, error) bool) {
		for given := 0; limit == 0 || given < limit; {
			most := longPage
			if limit > 0 {
				most = min(most, limit-given)
			}
			page, more, err := ask(most)
			if !yield(page, err) || err != nil || !more {
				return
			}
			given += len(page)
		}
	}
}

// EveryStay goes through the stays a filter leaves, page by page. A limit is
// one of all of them.
func EveryStay(ctx context.Context, h House, f StayFilter) iter.Seq2[[]Stay, error] {
	return everyPage(f.Limit, func(most int) ([]Stay, bool, error) {
		f.Limit = most
		page, err := h.Stays(ctx, f)
		if len(page) > 0 {
			f.After = page[len(page)-1].ID
		}
		return page, len(page) > 0, err
	})
}

// EverySession does the same for sessions.
func EverySession(ctx context.Context, h House, f SessionFilter) iter.Seq2[[]Session, error] {
	return everyPage(f.Limit, func(most int) ([]Session, bool, error) {
		f.Limit = most
		page, err := h.Sessions(ctx, f)
		if len(page) > 0 {
			f.After = page[len(page)-1].ID
		}
		return page, len(page) > 0, err
	})
}

// EveryEntry does the same for entries.
func EveryEntry(ctx context.Context, h House, f EntryFilter) iter.Seq2[[]Entry, error] {
	return everyPage(f.Limit, func(most int) ([]Entry, bool, error) {
		f.Limit = most
		page, err := h.Entries(ctx, f)
		if len(page) > 0 {
			f.After = strconv.FormatInt(page[len(page)-1].ID, 10)
		}
		return page, len(page) > 0, err
	})
}

// EveryFound does the same for what a search finds.
func EveryFound(ctx context.Context, h House, s Search) iter.Seq2[[]Found, error] {
	return everyPage(s.Limit, func(most int) ([]Found, bool, error) {
		s.Limit = most
		page, err := h.Search(ctx, s)
		s.After = page.Next
		return page.Results, page.Next != "", err
	})
}

// paged adapts a question whose answer is a list in pages: asked for as JSON
// it is one page, as CSV all of them, unless there is a limit.
func paged[In, Out, Row any](one func(House, context.Context, In) (Out, error), every func(context.Context, House, In) iter.Seq2[[]Row, error]) call {
	return call{question, reflect.TypeFor[In](), reflect.TypeFor[Out](), mediaJSON, func(h House, w http.ResponseWriter, r *http.Request) error {
		var in In
		query, asCSV, err := formOf[[]Row](r)
		if err != nil {
			return err
		}
		if err := decodeQuery(query, &in); err != nil {
			return NewProblem(CodeBadRequest, err.Error(), "")
		}
		if asCSV {
			return writePages(w, every(r.Context(), h, in))
		}
		out, err := one(h, r.Context(), in)
		if err != nil {
			return err
		}
		return answer(w, out)
	}}
}

// writePages sends page after page. What goes wrong before the first is a
// problem, what goes wrong later ends the connection: the client must not
// mistake a part for the whole.
func writePages[Row any](w http.ResponseWriter, pages iter.Seq2[[]Row, error]) error {
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(time.Time{})
	var out *CSV
	for page, err := range pages {
		if err != nil && out == nil {
			return err
		}
		if out == nil {
			out = newCSVAnswer(w)
		}
		rc.SetWriteDeadline(time.Now().Add(patience))
		if err != nil || out.Write(page) != nil {
			panic(http.ErrAbortHandler)
		}
	}
	return nil
}
