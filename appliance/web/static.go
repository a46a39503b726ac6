package web

import (
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
)

// What browsers load beside the pages. Scripts of others come into
// static/vendor by `make web` and are in no repository; a build without them
// works, but for the players.
//
//go:embed static
var staticFiles embed.FS

// A file is one of them, as it is sent.
type file struct {
	body, squeezed []byte
	kind           string
	hash           string
}

var kinds = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8",
}

var files = sync.OnceValue(func() map[string]file {
	all := map[string]file{}
	err := fs.WalkDir(staticFiles, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := staticFiles.ReadFile(name)
		kind, known := kinds[filepath.Ext(name)]
		if err != nil || !known {
			return err
		}
		sum := sha256.Sum256(body)
		all["/"+name] = file{body, squeeze(body, gzip.BestCompression), kind, hex.EncodeToString(sum[:8])}
		return nil
	})
	if err != nil {
		panic(err)
	}
	return all
})

// staticURL is where a file is, for this version of it.
func staticURL(name string) string { return "/static/" + name + "?v=" + files()["/static/"+name].hash }

// hasPlayers reports whether this build has the scripts of others.
func hasPlayers() bool {
	_, has := files()["/static/vendor/asciinema-player.min.js"]
	return has
}

func serveStatic(w http.ResponseWriter, r *http.Request) {
	f, known := files()[r.URL.Path]
	if !known {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Vary", "Accept-Encoding")
	h.Set("ETag", `"`+f.hash+`"`)
	h.Set("Cache-Control", "private, no-cache")
	if r.URL.Query().Get("v") == f.hash {
		h.Set("Cache-Control", "private, max-age=31536000, immutable")
	}
	if r.Header.Get("If-None-Match") == `"`+f.hash+`"` {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := f.body
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = f.squeezed
	}
	w.Write(body)
}
