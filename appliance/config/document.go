package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// A document is a TOML file that is read key by key. It gathers mistakes
// instead of stopping at the first, so that a file is mended in one go.
//
// The strict mode of go-toml would find unknown keys too, but knows neither
// the line of a value that is wrong for a reason of ours nor of one that is
// missing; the document asks the parser for the lines of all keys.
type document struct {
	path     string
	root     map[string]any
	lines    map[string]int // by key, "intercept" for the table itself
	mistakes []mistake
}

type mistake struct {
	line int // 0: of the whole file
	text string
}

// maxSize bounds a file that somebody else may have put in place.
const maxSize = 64 << 10

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: write one, or name another with --config", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxSize {
		return nil, fmt.Errorf("%s: larger than %d KiB, so it is no inside.toml", path, maxSize>>10)
	}
	return text, nil
}

func newDocument(path string, text []byte) (*document, error) {
	d := &document{path: path, lines: map[string]int{}}
	if err := toml.Unmarshal(text, &d.root); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			line, column := at.Position()
			return nil, fmt.Errorf("%s:%d:%d: not TOML: %s", path, line, column, strings.TrimPrefix(at.Error(), "toml: "))
		}
		return nil, fmt.Errorf("%s: not TOML: %w", path, err)
	}
	d.findLines(text)
	return d, nil
}

// findLines notes where each key stands first. Keys of inline tables are left
// to the line of their table: see line.
func (d *document) findLines(text []byte) {
	var p unstable.Parser
	p.Reset(text)
	table := ""
	for p.NextExpression() {
		e := p.Expression()
		key := ""
		if e.Kind == unstable.KeyValue {
			key = table
		}
		// Keys of ours have two parts. A file may have one of thousands.
		for part := e.Key(); part.Next() && strings.Count(key, ".") < 1; {
			if key != "" {
				key += "."
			}
			key += string(part.Node().Data)
			if _, seen := d.lines[key]; !seen {
				d.lines[key] = p.Shape(part.Node().Raw).Start.Line
			}
		}
		if e.Kind != unstable.KeyValue {
			table = key
		}
	}
}

// line returns the line of a key, or of the table it would be in.
func (d *document) line(key string) int {
	for {
		if line, ok := d.lines[key]; ok {
			return line
		}
		dot := strings.LastIndexByte(key, '.')
		if dot < 0 {
			return 0
		}
		key = key[:dot]
	}
}

// fail notes what is wrong with a key, as the end of a sentence that begins
// with it.
func (d *document) fail(key, format string, args ...any) {
	d.mistakes = append(d.mistakes, mistake{d.line(key), key + fmt.Sprintf(format, args...)})
}

// err returns all mistakes, in the order of the file.
func (d *document) err() error {
	slices.SortStableFunc(d.mistakes, func(x, y mistake) int { return x.line - y.line })
	var errs []error
	for _, m := range d.mistakes {
		place := d.path
		if m.line > 0 {
			place = fmt.Sprintf("%s:%d", d.path, m.line)
		}
		errs = append(errs, fmt.Errorf("%s: %s", place, m.text))
	}
	return errors.Join(errs...)
}

// find returns what the file says for a key.
func (d *document) find(key string) (any, bool) {
	var found any = d.root
	for part := range strings.SplitSeq(key, ".") {
		table, ok := found.(map[string]any)
		if !ok {
			return nil, false
		}
		if found, ok = table[part]; !ok {
			return nil, false
		}
	}
	return found, true
}

func (d *document) has(key string) bool {
	_, ok := d.find(key)
	return ok
}

// need notes that a key is missing.
func (d *document) need(key, wayOut string) {
	if !d.has(key) {
		d.fail(key, " is missing: %s", wayOut)
	}
}

// value returns the string or the strings of a key, checked, or the fallback
// when the file does not say.
func value[T string | []string](d *document, key string, fallback T, check func(T) error) T {
	found, ok := d.find(key)
	if !ok {
		return fallback
	}
	v, ok := textOf[T](found)
	if !ok {
		want := "a text in quotes"
		if _, list := any(v).([]string); list {
			want = `a list of texts, such as ["a", "b"]`
		}
		d.fail(key, " must be %s", want)
		return fallback
	}
	if err := check(v); err != nil {
		d.fail(key, ": %v", err)
	}
	return v
}

// flag returns the yes or no of a key, no when the file does not say.
func (d *document) flag(key string) bool {
	found, ok := d.find(key)
	on, isFlag := found.(bool)
	if ok && !isFlag {
		d.fail(key, " must be true or false, without quotes")
	}
	return on
}

func textOf[T string | []string](found any) (v T, ok bool) {
	list, isList := found.([]any)
	if !isList {
		v, ok = found.(T)
		return v, ok
	}
	texts := []string{}
	for _, e := range list {
		text, ok := e.(string)
		if !ok {
			return v, false
		}
		texts = append(texts, text)
	}
	v, ok = any(texts).(T)
	return v, ok
}

// refuseUnknown notes each key and table that means nothing, with the one that
// may have been meant.
func (d *document) refuseUnknown() {
	for name, found := range d.root {
		table, isTable := found.(map[string]any)
		switch known := tableKeys(name); {
		case len(known) == 0:
			d.refuse(name)
		case !isTable:
			d.fail(name, " must be a table: write [%s] on a line of its own, and its keys under it", name)
		default:
			for key := range table {
				if key = name + "." + key; !slices.Contains(known, key) {
					d.refuse(key)
				}
			}
		}
	}
}

// tableKeys returns the keys of a table.
func tableKeys(table string) []string {
	return slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return !strings.HasPrefix(key, table+".") })
}

func (d *document) refuse(unknown string) {
	// A quoted key can hold anything, and be as long as the file.
	d.mistakes = append(d.mistakes, mistake{d.line(unknown), fmt.Sprintf("unknown key %.80q: did you mean %s?", unknown, nearest(unknown))})
}

// nearest returns the key or table that is spelled most like the unknown one.
func nearest(unknown string) string {
	table, name, inTable := strings.Cut(unknown, ".")
	best, least := "", 0
	for _, key := range keys {
		keyTable, keyName, _ := strings.Cut(key, ".")
		guess, away := "["+keyTable+"]", distance(table, keyTable)
		switch {
		case inTable:
			// A right name in a wrong table is nearer than another name.
			guess, away = key, 2*distance(name, keyName)+min(away, 1)
		case distance(unknown, keyName) < away: // a key without its table
			guess, away = key, distance(unknown, keyName)
		}
		if best == "" || away < least {
			best, least = guess, away
		}
	}
	return best
}

// distance is the number of letters to change, add or leave out to get from
// one word to the other (Levenshtein). Words are looked at as far as keys are
// long.
func distance(a, b string) int {
	const longest = 32
	a, b = a[:min(len(a), longest)], b[:min(len(b), longest)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
