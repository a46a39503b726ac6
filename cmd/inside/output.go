package main

// The voice of this command:
//
//   - Results go to standard output, everything else to standard error.
//   - Errors are one line, "inside: error: …", and where there is a way out
//     another, "inside: hint: …", mostly a command to type. What a change
//     brings with it and was not asked for is "inside: note: …".
//   - Lower case, no full stop; names stand as they are, not in capitals.
//   - A change answers with a sentence that says what is so now.
//   - Whatever came from elsewhere (names, logins, reasons, errors) is escaped
//     on its way out: no byte of it may move a cursor, break a table or turn
//     the direction of the text.
//   - --json prints what the API answered; --csv, for lists, the same fields.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
)

// A list is a table. Cells are strings, lists of strings, numbers, and times.
type list struct {
	head []string
	rows [][]any
	wide bool // the last column may be of any length
}

func (l *list) add(cells ...any) { l.rows = append(l.rows, cells) }

// list prints what the API answered: as JSON or CSV, or as the table made of it.
func (c *cli) list(answer any, l list) error {
	switch {
	case c.json:
		return c.printJSON(answer)
	case c.csv:
		return api.NewCSV(c.out).Write(answer)
	case len(l.rows) == 0:
		c.note("none")
		return nil
	}
	return l.table(c.out)
}

// printPages prints a list as CSV, page by page: it may be longer than memory.
func printPages[Row any](c *cli, pages iter.Seq2[[]Row, error]) error {
	out := api.NewCSV(c.out)
	for page, err := range pages {
		if err != nil {
			return err
		}
		if err := out.Write(page); err != nil {
			return err
		}
	}
	return nil
}

// cut notes that a list was cut at its limit, and how to go on.
func (c *cli) cut(got, limit int, last func() string) {
	if limit == 0 {
		limit = usualLimit
	}
	if got == limit {
		c.note(fmt.Sprintf("the newest %d: --after %s goes on, --limit N gives more", got, last()))
	}
}

// say prints a sentence, or with --json what the API answered, and notes.
func (c *cli) say(answer any, notes []string, format string, args ...any) error {
	if c.json {
		return c.printJSON(answer)
	}
	_, err := fmt.Fprintln(c.out, api.Escape(fmt.Sprintf(format, args...)))
	for _, n := range notes {
		c.note(n)
	}
	return err
}

func (c *cli) note(text string) { fmt.Fprintf(c.err, "inside: note: %s\n", api.Escape(text)) }

// printJSON prints JSON that is safe on a terminal: encoding/json escapes
// control characters below U+0020 only.
func (c *cli) printJSON(answer any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(answer); err != nil {
		return err
	}
	_, err := io.WriteString(c.out, api.EscapeJSON(b.String()))
	return err
}

func (l list) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(cells []string) {
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	row(l.head)
	for _, cells := range l.rows {
		texts := make([]string, len(cells))
		for i, cell := range cells {
			texts[i] = l.shown(i, cell)
		}
		row(texts)
	}
	return t.Flush()
}

// A whole cell is shown as long as it is: its end says who it is.
type whole string

// shown is a cell as the table shows it.
func (l list) shown(column int, cell any) string {
	if text, ok := cell.(whole); ok {
		return firstOf(api.Escape(string(text)), "-")
	}
	if id, ok := cell.(sessionID); ok {
		cell = short(string(id))
	}
	text := api.Escape(cellText(cell))
	if !l.wide || column < len(l.head)-1 {
		text = shorten(text)
	}
	return firstOf(text, "-")
}

func cellText(cell any) string {
	switch v := cell.(type) {
	case string:
		return v
	case []string:
		return strings.Join(v, ", ")
	case time.Time:
		return clock(v)
	}
	return fmt.Sprint(cell)
}

// shorten keeps a cell from making a table that no terminal can show.
func shorten(s string) string {
	const widest = 60
	if runes := []rune(s); len(runes) > widest {
		return string(runes[:widest-1]) + "…"
	}
	return s
}

// clock is a time for people, in the zone of this machine.
func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// moment is a time in a sentence.
func moment(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

// fields prints one thing, a line for each of its fields that is set.
type fields struct {
	names []string
	cells []any
}

func (f *fields) add(name string, cell any) {
	f.names, f.cells = append(f.names, name), append(f.cells, cell)
}

func (f *fields) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, name := range f.names {
		if text := api.Escape(cellText(f.cells[i])); text != "" {
			fmt.Fprintf(t, "%s\t%s\n", name, text)
		}
	}
	return t.Flush()
}

func yes(is bool, word string) string {
	if is {
		return word
	}
	return ""
}
