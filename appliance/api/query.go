package api

import (
	"fmt"
	"net/url"
	"reflect"
	"strconv"
	"time"
)

// Filters travel as query parameters: flat structs of strings, bools, ints
// and times whose fields are tagged `query:"name"`. Zero values are left out.

func encodeQuery(filter any) url.Values {
	values := url.Values{}
	v := reflect.ValueOf(filter)
	for i := range v.NumField() {
		name, field := v.Type().Field(i).Tag.Get("query"), v.Field(i)
		if field.IsZero() {
			continue
		}
		if t, isTime := field.Interface().(time.Time); isTime {
			values.Set(name, t.Format(time.RFC3339Nano))
			continue
		}
		values.Set(name, fmt.Sprint(field.Interface()))
	}
	return values
}

// decodeQuery fills the struct filter points to. A parameter the struct does
// not have, or one given twice, is an error.
func decodeQuery(values url.Values, filter any) error {
	v := reflect.ValueOf(filter).Elem()
	known := map[string]reflect.Value{}
	for i := range v.NumField() {
		known[v.Type().Field(i).Tag.Get("query")] = v.Field(i)
	}
	for name, given := range values {
		field, ok := known[name]
		if !ok || name == "" {
			return fmt.Errorf("unknown query parameter %q", name)
		}
		if len(given) != 1 {
			return fmt.Errorf("query parameter %q is given %d times", name, len(given))
		}
		if err := setField(field, given[0]); err != nil {
			return fmt.Errorf("query parameter %q: %w", name, err)
		}
	}
	return nil
}

func setField(field reflect.Value, text string) error {
	switch target := field.Addr().Interface().(type) {
	case *string:
		*target = text
	case *bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		*target = b
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return fmt.Errorf("%q is not a number", text)
		}
		*target = n
	case *time.Time:
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return fmt.Errorf("%q is not a time like 2026-01-31T09:00:00Z", text)
		}
		*target = t
	default:
		panic(fmt.Sprintf("api: query field of type %s", field.Type()))
	}
	return nil
}
