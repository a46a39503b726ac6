package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// What the code says.

func wantOperation(rt route) tree {
	op := tree{"x-permission": rt.need.String()}
	var params []any
	for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(rt.path, -1) {
		params = append(params, tree{"name": m[1], "in": "path", "required": true, "schema": tree{"type": "string"}})
	}
	if rt.kind != change {
		for f := range fields(rt.in) {
			params = append(params, tree{"name": f.Tag.Get("query"), "in": "query", "schema": typeSchema(f.Type)})
		}
	} else if rt.in != reflect.TypeFor[none]() {
		op["requestBody"] = tree{"required": true, "content": tree{mediaJSON: tree{"schema": typeSchema(rt.in)}}}
	}
	list := rt.kind == question && rt.out.Kind() == reflect.Slice
	if list {
		params = append(params, tree{"$ref": "#/components/parameters/Format"})
	}
	if params != nil {
		op["parameters"] = params
	}
	media, _, _ := strings.Cut(rt.media, ";")
	schema := tree{"type": "string"}
	if rt.out != nil {
		schema = typeSchema(rt.out)
	}
	content := tree{media: tree{"schema": schema}}
	if list {
		media, _, _ := strings.Cut(csvType, ";")
		content[media] = tree{"schema": tree{"type": "string"}}
	}
	op["responses"] = tree{
		"200":     tree{"content": content},
		"default": tree{"$ref": "#/components/responses/Problem"},
	}
	return op
}

// fields are the fields of a struct that travel, those of embedded ones too.
func fields(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for _, f := range reflect.VisibleFields(t) {
			if f.Anonymous || f.Tag.Get("json") == "-" || !f.IsExported() {
				continue
			}
			if !yield(f) {
				return
			}
		}
	}
}

func typeSchema(t reflect.Type) tree {
	switch t {
	case reflect.TypeFor[time.Time]():
		return tree{"type": "string", "format": "date-time"}
	case reflect.TypeFor[json.RawMessage]():
		return tree{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeSchema(t.Elem())
	case reflect.String:
		return tree{"type": "string"}
	case reflect.Bool:
		return tree{"type": "boolean"}
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Uint16, reflect.Uint64, reflect.Uint32, reflect.Uint8:
		return tree{"type": "integer"}
	case reflect.Float64:
		return tree{"type": "number"}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return tree{"type": "string", "format": "byte"} // base64
		}
		return tree{"type": "array", "items": typeSchema(t.Elem())}
	case reflect.Map:
		return tree{"type": "object", "additionalProperties": typeSchema(t.Elem())}
	case reflect.Struct:
		return tree{"$ref": "#/components/schemas/" + t.Name()}
	}
	panic("openapi_test: a wire type holds a " + t.String())
}

func wantSchema(t reflect.Type, request bool) tree {
	s := tree{"type": "object"}
	if request {
		s["additionalProperties"] = false
	}
	properties := tree{}
	var required []any
	for f := range fields(t) {
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		properties[cmp.Or(name, f.Name)] = typeSchema(f.Type)
		if !strings.Contains(opts, "omit") {
			required = append(required, name)
		}
	}
	if len(properties) > 0 {
		s["properties"] = properties
	}
	if required != nil {
		s["required"] = required
	}
	return s
}

type wireType struct {
	t       reflect.Type
	request bool
}

// newsData are the types of News.Data, which reflection does not see.
var newsData = []any{Entry{}, Session{}, StayNews{}, Alert{}, Facts{}, Lost{}}

// wireTypes are the structs that travel, by their names.
func wireTypes() map[string]wireType {
	all := map[string]wireType{}
	var add func(t reflect.Type, request bool)
	add = func(t reflect.Type, request bool) {
		switch {
		case t == nil || t == reflect.TypeFor[time.Time]() || t == reflect.TypeFor[json.RawMessage]():
			return
		case t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer || t.Kind() == reflect.Map:
			add(t.Elem(), request)
			return
		case t.Kind() != reflect.Struct || t == reflect.TypeFor[none]():
			return
		}
		all[t.Name()] = wireType{t, request || all[t.Name()].request}
		for f := range fields(t) {
			add(f.Type, request)
		}
	}
	for _, rt := range everyRoute() {
		if rt.kind == change {
			add(rt.in, true)
		}
		add(rt.out, false)
	}
	for _, data := range newsData {
		add(reflect.TypeOf(data), false)
	}
	add(reflect.TypeFor[Problem](), false)
	add(reflect.TypeFor[News](), false)
	add(reflect.TypeFor[RecordingEnd](), false)
	return all
}

// block writes a tree as YAML to paste: keys in the order people expect, small
// things on one line.
func block(v tree, indent string) string {
	var b strings.Builder
	for _, k := range ordered(v) {
		x, isTree := v[k].(tree)
		list, isList := v[k].([]any)
		switch {
		case isTree && (k == "properties" || k == "responses"):
			fmt.Fprintf(&b, "%s%s:\n", indent, k)
			for _, name := range ordered(x) {
				value := maps.Clone(x[name].(tree))
				if name == "200" {
					value["description"] = "ok"
				}
				fmt.Fprintf(&b, "%s  %s: %s\n", indent, quoted(name), flow(value))
			}
		case isList && k == "parameters":
			fmt.Fprintf(&b, "%s%s:\n", indent, k)
			for _, x := range list {
				fmt.Fprintf(&b, "%s  - %s\n", indent, flow(x))
			}
		default:
			fmt.Fprintf(&b, "%s%s: %s\n", indent, k, flow(v[k]))
		}
	}
	return b.String()
}

var order = []string{"summary", "description", "x-permission", "name", "in", "type", "format", "additionalProperties", "required", "parameters", "requestBody", "responses"}

func ordered(v tree) []string {
	place := func(k string) int {
		if i := slices.Index(order, k); i >= 0 {
			return i
		}
		return len(order)
	}
	keys := slices.Collect(maps.Keys(v))
	slices.SortFunc(keys, func(x, y string) int { return cmp.Or(cmp.Compare(place(x), place(y)), cmp.Compare(x, y)) })
	return keys
}

func flow(v any) string {
	switch v := v.(type) {
	case tree:
		var parts []string
		for _, k := range ordered(v) {
			parts = append(parts, quoted(k)+": "+flow(v[k]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []any:
		var parts []string
		for _, x := range v {
			parts = append(parts, flow(x))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case string:
		return quoted(v)
	}
	return fmt.Sprint(v)
}

func quoted(s string) string {
	if regexp.MustCompile(`^[A-Za-z$x][\w/+.$-]*$`).MatchString(s) {
		return s
	}
	return fmt.Sprintf("%q", s)
}
