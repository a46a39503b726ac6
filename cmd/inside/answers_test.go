package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/appliance/api/apitest"
)

// answersFit asks everything that can be asked with GET of the gate as a story
// leaves it, and holds the answers against openapi.yaml.
func (g *standIn) answersFit(t *testing.T) {
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", g.socket)
		},
	}}
	get := func(path string) (status int, kind string, body []byte) {
		resp, err := client.Get("http://inside" + path)
		if err != nil {
			t.Error(err)
			return 0, "", nil
		}
		defer resp.Body.Close()
		if body, err = io.ReadAll(resp.Body); err != nil {
			return 0, "", nil // a stream that was cut says so by that
		}
		return resp.StatusCode, resp.Header.Get("Content-Type"), body
	}
	_, _, text := get("/api/v1/openapi.yaml")
	spec, err := apitest.Parse(text)
	if err != nil {
		t.Error(err)
		return
	}
	items := map[string][]string{} // ids and names in the list at a path
	for _, path := range slices.Sorted(maps.Keys(spec.At("paths"))) {
		answer := spec.At("paths", path, "get", "responses", "200", "content")
		if answer == nil || answer["text/event-stream"] != nil {
			continue
		}
		for _, asked := range filled(path, items) {
			status, kind, body := get(asked)
			if status == 0 {
				continue
			}
			if err := spec.Answer("GET", path, status, kind, body); err != nil {
				t.Errorf("%v\n%.2000s", err, body)
			}
			if status == http.StatusOK && !strings.Contains(path, "{") {
				items[path] = namesIn(body)
			}
		}
	}
}

// filled puts what there is into a path: "/api/v1/persons/{name}" is asked for
// some persons. Sorted, a list comes before what is in it.
func filled(path string, items map[string][]string) []string {
	list, rest, more := strings.Cut(path, "/{")
	if !more {
		return []string{path}
	}
	_, rest, _ = strings.Cut(rest, "}")
	rest = strings.ReplaceAll(rest, "{channel}", "0")
	var paths []string
	for _, name := range items[list] {
		paths = append(paths, list+"/"+url.PathEscape(name)+rest)
	}
	return paths
}

// namesIn a list are by what the things in a list are asked for, the first few.
func namesIn(body []byte) (names []string) {
	var list []map[string]any
	if json.Unmarshal(body, &list) != nil {
		return nil
	}
	for _, thing := range list[:min(len(list), 3)] {
		for _, key := range []string{"name", "id"} {
			if name, ok := thing[key]; ok {
				names = append(names, fmt.Sprint(name))
				break
			}
		}
	}
	return names
}
