package api

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"
)

// A CSV writes lists for a spreadsheet (RFC 4180): the columns are the fields
// of their JSON, under the same names, so that a list has one set of columns
// wherever it is asked for. Times are RFC 3339 in UTC; what is made of several
// parts is a cell of JSON, a list of words has commas.
//
// Text comes from strangers: it is escaped, and what a spreadsheet would take
// for a formula stands behind an apostrophe (OWASP ASVS 1.2.10).
type CSV struct {
	out    *csv.Writer
	headed bool
}

func NewCSV(w io.Writer) *CSV {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	return &CSV{out: out}
}

// Write writes a slice of structs, a line each. The first call writes the head
// before it, even for an empty slice.
func (c *CSV) Write(list any) error {
	rows := reflect.ValueOf(list)
	columns := columnsOf(rows.Type().Elem())
	if !c.headed {
		c.headed = true
		head := make([]string, len(columns))
		for i, col := range columns {
			head[i] = col.name
		}
		if err := c.out.Write(head); err != nil {
			return err
		}
	}
	cells := make([]string, len(columns))
	for i := range rows.Len() {
		for j, col := range columns {
			text, err := cell(rows.Index(i).FieldByIndex(col.index))
			if err != nil {
				return fmt.Errorf("column %s: %w", col.name, err)
			}
			cells[j] = text
		}
		if err := c.out.Write(cells); err != nil {
			return err
		}
	}
	c.out.Flush()
	return c.out.Error()
}

// formOf tells whether a list is asked for as CSV, by format=csv, which a link
// can say, or by the Accept header; the rest of the query is the filter.
func formOf[Out any](r *http.Request) (filter url.Values, asCSV bool, err error) {
	filter = r.URL.Query()
	format := filter["format"]
	delete(filter, "format")
	asCSV = wantsCSV(r)
	switch {
	case asCSV, format == nil:
	case len(format) > 1 || format[0] != "json":
		return nil, false, NewProblem(CodeBadRequest, fmt.Sprintf("query parameter \"format\": %.40q is neither csv nor json", strings.Join(format, "&")), "")
	}
	if asCSV && reflect.TypeFor[Out]().Kind() != reflect.Slice {
		return nil, false, NewProblem(CodeBadRequest, "only lists are answered as csv", "")
	}
	return filter, asCSV, nil
}

func wantsCSV(r *http.Request) bool {
	format := r.URL.Query()["format"]
	return len(format) == 1 && format[0] == "csv" || format == nil && r.Header.Get("Accept") == csvType
}

const csvType = "text/csv"

func newCSVAnswer(w http.ResponseWriter) *CSV {
	w.Header().Set("Content-Type", csvType+"; charset=utf-8; header=present")
	return NewCSV(w)
}

type column struct {
	name  string
	index []int
}

func columnsOf(row reflect.Type) []column {
	var columns []column
	for _, f := range reflect.VisibleFields(row) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || name == "" || name == "-" {
			continue
		}
		columns = append(columns, column{name, f.Index})
	}
	return columns
}

func cell(v reflect.Value) (string, error) {
	switch value := v.Interface().(type) {
	case time.Time:
		if value.IsZero() {
			return "", nil
		}
		return value.UTC().Format(time.RFC3339Nano), nil
	case []string:
		return inert(Escape(strings.Join(value, ", "))), nil
	}
	switch v.Kind() {
	case reflect.String:
		return inert(Escape(v.String())), nil
	case reflect.Bool, reflect.Int, reflect.Int64, reflect.Uint16, reflect.Float64:
		return fmt.Sprint(v.Interface()), nil
	}
	if v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0 {
		return "", nil
	}
	text, err := json.Marshal(v.Interface())
	return inert(EscapeJSON(string(text))), err
}

// inert keeps a spreadsheet from taking a cell for a formula (ASVS 1.2.10).
func inert(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r\x00", rune(s[0])) {
		return "'" + s
	}
	return s
}
