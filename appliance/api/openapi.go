package api

import (
	_ "embed"
	"io"
	"net/http"
	"strings"
)

// openAPI describes the routes. It is written by hand, for people; a test
// holds it against the table of routes and the wire types.
//
//go:embed openapi.yaml
var openAPI string

var specRoutes = []route{
	{"GET", "/openapi.yaml", toLook, stream("application/yaml", func(House, *http.Request, none) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(openAPI)), nil
	})},
}
