// Package apitest holds answers of the API against openapi.yaml. Tests of the
// API, of the house behind it and of the command line call it; nothing that is
// shipped does.
package apitest

import (
	"encoding/json"
	"fmt"
	"mime"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// A Tree is a piece of YAML or JSON.
type Tree = map[string]any

// A Spec is a description of an API (OpenAPI 3.1), as far as ours goes.
type Spec struct{ doc Tree }

// Parse reads a specification.
func Parse(text []byte) (Spec, error) {
	var s Spec
	err := yaml.Unmarshal(text, &s.doc)
	return s, err
}

// At is a part of the specification, by its keys; nil where there is none.
func (s Spec) At(keys ...string) Tree { return at(s.doc, keys...) }

func at(tree Tree, keys ...string) Tree {
	for _, k := range keys {
		tree, _ = tree[k].(Tree)
	}
	return tree
}

// Answer checks the answer to a method at a path of the specification, such as
// "/api/v1/persons/{name}".
func (s Spec) Answer(method, path string, status int, contentType string, body []byte) error {
	op := s.At("paths", path, strings.ToLower(method))
	if op == nil {
		return fmt.Errorf("%s %s is not in the specification", method, path)
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return fmt.Errorf("%s %s: content type %q: %w", method, path, contentType, err)
	}
	answer := at(op, "responses", fmt.Sprint(status))
	if answer == nil {
		answer = s.follow(at(op, "responses", "default"))
	}
	content := at(answer, "content", media)
	if content == nil {
		return fmt.Errorf("%s %s: %d of type %s is not in the specification", method, path, status, media)
	}
	var value any = string(body)
	if strings.HasSuffix(media, "json") {
		if err := json.Unmarshal(body, &value); err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
	}
	return s.Fits(at(content, "schema"), value, method+" "+path)
}

// follow resolves a reference.
func (s Spec) follow(tree Tree) Tree {
	if ref, ok := tree["$ref"].(string); ok {
		return s.follow(s.At(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...))
	}
	return tree
}

// Fits says why a JSON value does not fit a schema. A field that the schema
// does not have does not fit: a reader could not know of it.
func (s Spec) Fits(schema Tree, v any, where string) error {
	schema = s.follow(schema)
	wrong := fmt.Errorf("%s is %.200v, which is no %v", where, v, schema["type"])
	switch schema["type"] {
	case "object":
		object, ok := v.(Tree)
		if !ok {
			return wrong
		}
		return s.objectFits(schema, object, where)
	case "array":
		list, ok := v.([]any)
		if !ok {
			return wrong
		}
		for i, x := range list {
			if err := s.Fits(at(schema, "items"), x, fmt.Sprintf("%s[%d]", where, i)); err != nil {
				return err
			}
		}
	case "string":
		text, ok := v.(string)
		if !ok {
			return wrong
		}
		if _, err := time.Parse(time.RFC3339Nano, text); schema["format"] == "date-time" && err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		if allowed, ok := schema["enum"].([]any); ok && !contains(allowed, text) {
			return fmt.Errorf("%s is %.80q, which is none of %v", where, text, allowed)
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			return wrong
		}
	case "integer", "number":
		n, ok := v.(float64)
		if !ok || schema["type"] == "integer" && n != float64(int64(n)) {
			return wrong
		}
	}
	return nil
}

func (s Spec) objectFits(schema, object Tree, where string) error {
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, ok := object[name.(string)]; !ok {
			return fmt.Errorf("%s has no %s", where, name)
		}
	}
	for name, x := range object {
		property, ok := at(schema, "properties")[name].(Tree)
		if !ok {
			property, ok = schema["additionalProperties"].(Tree)
		}
		if !ok {
			return fmt.Errorf("%s has a field %s that is not in its schema", where, name)
		}
		if err := s.Fits(property, x, where+"."+name); err != nil {
			return err
		}
	}
	return nil
}

func contains(list []any, text string) bool {
	for _, x := range list {
		if x == text {
			return true
		}
	}
	return false
}
