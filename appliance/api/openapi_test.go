package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/pawelmojski/inside/appliance/api/apitest"
)

// openapi.yaml is compared with what the code says: the table of routes, and
// by reflection the types that go in and come out. What only people read
// (summary, description, enum, example and the like) is the file's own.

type tree = apitest.Tree

func spec(t *testing.T) apitest.Spec {
	t.Helper()
	s, err := apitest.Parse([]byte(openAPI))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// everyRoute is all routes with their whole paths.
func everyRoute() []route {
	var all []route
	for _, rt := range routes {
		rt.path = prefix + rt.path
		all = append(all, rt)
	}
	return append(all, vitalRoutes...)
}

func TestTheSpecificationHasEveryRouteAndNoOther(t *testing.T) {
	paths := spec(t).At("paths")
	told := map[string]bool{}
	for _, rt := range everyRoute() {
		method := strings.ToLower(rt.method)
		told[method+" "+rt.path] = true
		want := wantOperation(rt)
		ops, _ := paths[rt.path].(tree)
		got, _ := ops[method].(tree)
		if got == nil {
			t.Errorf("openapi.yaml has no %s %s; add under paths, with a summary:\n\n  %s:\n    %s:\n      summary: …\n%s",
				rt.method, rt.path, rt.path, method, block(want, "      "))
			continue
		}
		if s, _ := got["summary"].(string); s == "" {
			t.Errorf("openapi.yaml: %s %s has no summary", rt.method, rt.path)
		}
		if diff := gocmp.Diff(any(want), bare(got)); diff != "" {
			t.Errorf("openapi.yaml: %s %s differs from its route (-route +openapi.yaml):\n%s\nit should be:\n\n    %s:\n      summary: …\n%s",
				rt.method, rt.path, diff, method, block(want, "      "))
		}
	}
	for path, ops := range paths {
		for method := range ops.(tree) {
			if !told[method+" "+path] {
				t.Errorf("openapi.yaml has %s %s, and there is no such route: remove it", method, path)
			}
		}
	}
}

func TestTheSpecificationHasEveryTypeAsItIs(t *testing.T) {
	schemas := spec(t).At("components", "schemas")
	wanted := wireTypes()
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		want := wantSchema(wanted[name].t, wanted[name].request)
		got, ok := schemas[name]
		if !ok {
			t.Errorf("openapi.yaml has no schema %s; add under components, schemas:\n\n    %s:\n%s", name, name, block(want, "      "))
			continue
		}
		if diff := gocmp.Diff(any(want), bare(got)); diff != "" {
			t.Errorf("openapi.yaml: schema %s differs from the Go type (-type +openapi.yaml):\n%s\nit should be:\n\n    %s:\n%s", name, diff, name, block(want, "      "))
		}
	}
	for name := range schemas {
		if _, ok := wanted[name]; !ok {
			t.Errorf("openapi.yaml has a schema %s that no route uses: remove it", name)
		}
	}
}

func TestTheSpecificationListsEveryCode(t *testing.T) {
	code := spec(t).At("components", "schemas", "Problem", "properties", "code")
	var listed []string
	list, _ := code["enum"].([]any)
	for _, c := range list {
		listed = append(listed, fmt.Sprint(c))
	}
	slices.Sort(listed)
	if diff := gocmp.Diff(slices.Sorted(maps.Keys(statusOf)), listed); diff != "" {
		t.Errorf("the enum of Problem.code in openapi.yaml (-problem.go +openapi.yaml):\n%s", diff)
	}
}

// Every answer there can be fits the schema that the specification gives for
// it: one with every field filled, and one with those left out that may be.
func TestAnswersFitTheSpecification(t *testing.T) {
	doc := spec(t)
	for name, wire := range wireTypes() {
		for _, full := range []bool{true, false} {
			v := reflect.New(wire.t).Elem()
			fill(v, full)
			if p, ok := v.Addr().Interface().(*Problem); ok {
				p.Code = CodeConflict
			}
			text, err := json.Marshal(v.Interface())
			if err != nil {
				t.Fatal(err)
			}
			var back any
			if err := json.Unmarshal(text, &back); err != nil {
				t.Fatal(err)
			}
			if err := doc.Fits(tree{"$ref": "#/components/schemas/" + name}, back, name); err != nil {
				t.Errorf("%v\n%s", err, text)
			}
		}
	}
	for _, misfit := range []tree{{"disabled": "yes"}, {}, {"disabled": true, "x": 1.0}, {"disabled": nil}} {
		if doc.Fits(tree{"$ref": "#/components/schemas/Switch"}, misfit, "Switch") == nil {
			t.Errorf("%v fits", misfit)
		}
	}
}

// What the file says.

// bare is a part of the file without what only people read.
func bare(v any) any {
	switch v := v.(type) {
	case tree:
		b := tree{}
		for k, x := range v {
			switch k {
			case "properties", "responses":
				p := tree{}
				for name, schema := range x.(tree) {
					p[name] = bare(schema)
				}
				b[k] = p
			case "description", "summary", "example", "examples", "enum", "default", "pattern", "minimum", "maximum", "maxLength", "operationId", "tags", "security":
			default:
				b[k] = bare(x)
			}
		}
		return b
	case []any:
		var b []any
		for _, x := range v {
			b = append(b, bare(x))
		}
		return b
	}
	return v
}

// fill gives every field a value, or only those that may not be left out. A
// list that stands there is never null.
func fill(v reflect.Value, full bool) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2026, 12, 24, 10, 0, 0, 123000, time.UTC)))
		return
	case json.RawMessage:
		v.Set(reflect.ValueOf(json.RawMessage(`{"revision":1}`)))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), full)
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt(7)
	case reflect.Uint16, reflect.Uint64, reflect.Uint32, reflect.Uint8:
		v.SetUint(7)
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), full)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		x := reflect.New(v.Type().Elem()).Elem()
		fill(x, full)
		v.SetMapIndex(reflect.ValueOf("x").Convert(v.Type().Key()), x)
	case reflect.Struct:
		for f := range fields(v.Type()) {
			if full || !strings.Contains(f.Tag.Get("json"), ",omit") {
				fill(v.FieldByIndex(f.Index), full)
			}
		}
	}
}
