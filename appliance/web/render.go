package web

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
)

//go:embed templates/*.html
var templateFiles embed.FS

// templates are the pages by their names: each a file of its own, in the frame
// and with the parts that begin with an underscore.
var templates = sync.OnceValue(func() map[string]*template.Template {
	files, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		panic(err)
	}
	common := template.New("").Funcs(functions)
	pages := map[string]*template.Template{}
	for _, file := range files {
		if strings.HasPrefix(file, "templates/_") {
			template.Must(common.ParseFS(templateFiles, file))
		}
	}
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(file, "templates/"), ".html")
		if !strings.HasPrefix(name, "_") {
			pages[name] = template.Must(template.Must(common.Clone()).ParseFS(templateFiles, file))
		}
	}
	return pages
})

// A page is what the frame shows around the main part.
type page struct {
	Title string
	Nav   string // which of the links at the top is this page's
	Who   string // who is signed in
	Role  api.Role
	Live  string // where what changes is pushed from, "" for a page that stands still
	Done  string // what was just done, in a sentence
	Main  any
}

// Operates and Changes say which actions are worth showing. Whether they are
// possible the API says.
func (p page) Operates() bool { return operates(p.Role) }
func (p page) Changes() bool  { return p.Role == api.Admin }

func operates(r api.Role) bool { return r == api.Operator || r == api.Admin }

// show answers with a page.
func (v *visit) show(status int, name string, p page) {
	p.Who, p.Role = strings.TrimPrefix(v.actor.Name, "admin:"), v.actor.Role
	var b bytes.Buffer
	if err := templates()[name].ExecuteTemplate(&b, "frame", p); err != nil {
		panic(fmt.Errorf("page %s: %w", name, err))
	}
	v.send(status, "text/html; charset=utf-8", b.Bytes())
}

func (v *visit) send(status int, kind string, body []byte) {
	h := v.w.Header()
	h.Set("Content-Type", kind)
	h.Add("Vary", "Accept-Encoding")
	if strings.Contains(v.r.Header.Get("Accept-Encoding"), "gzip") && len(body) > 1400 {
		h.Set("Content-Encoding", "gzip")
		body = squeeze(body, gzip.BestSpeed)
	}
	h.Set("Content-Length", fmt.Sprint(len(body)))
	v.w.WriteHeader(status)
	if v.r.Method != http.MethodHead {
		v.w.Write(body)
	}
}

func squeeze(body []byte, level int) []byte {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, level)
	if err != nil {
		panic(err) // the levels are constants
	}
	z.Write(body)
	z.Close()
	return b.Bytes()
}

// problem answers with a page that says what was wrong and the way out.
func (v *visit) problem(p *api.Problem) {
	v.show(p.Status, "problem", page{Title: p.Title, Main: p})
}

// part renders one part of a page.
func part(name, which string, data any) (string, error) {
	var b bytes.Buffer
	err := templates()[name].ExecuteTemplate(&b, which, data)
	return b.String(), err
}

var functions = template.FuncMap{
	"clock":    func(t time.Time) template.HTML { return timeTag(t, "15:04", "clock") },
	"moment":   func(t time.Time) template.HTML { return timeTag(t, "2006-01-02 15:04", "moment") },
	"seconds":  func(t time.Time) template.HTML { return timeTag(t, "2006-01-02 15:04:05", "seconds") },
	"lasting":  api.Lasting,
	"count":    api.Count,
	"plural":   func(n int, noun string) string { return strings.TrimLeft(api.Count(n, noun), "0123456789 ") },
	"bytes":    inBytes,
	"percent":  func(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) },
	"static":   staticURL,
	"players":  hasPlayers,
	"nav":      nav,
	"at":       at,
	"works":    works,
	"auditOf":  func(field, is string) string { return "/audit?" + url.Values{field: {is}}.Encode() },
	"indented": indented,
	"count64":  func(n int64, noun string) string { return api.Count(int(n), noun) },
	"list":     func(items ...string) []string { return items },
}

// timeTag is a moment as the gate's own clock has it. A script shows it as the
// viewer's clock does, and keeps the gate's for who asks.
func timeTag(t time.Time, layout, kind string) template.HTML {
	if t.IsZero() {
		return "–"
	}
	t = t.Local()
	return template.HTML(fmt.Sprintf(`<time datetime="%s" data-as="%s" title="%s on the gate">%s</time>`,
		t.Format(time.RFC3339), kind, template.HTMLEscapeString(t.Format("2006-01-02 15:04:05 MST")), t.Format(layout)))
}

// inBytes says how many bytes there are: "1.2 GB".
func inBytes(n int64) string {
	size, unit := float64(n), 0
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	for size >= 1000 && unit < len(units)-1 {
		size, unit = size/1000, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", size, units[unit])
}
