package store

import (
	"strconv"
	"strings"
)

// mostPlaces bounds the placeholders made of one list: SQLite takes 32766 in a
// query, PostgreSQL 65535.
const mostPlaces = 1000

// A where is the condition of a query as it is put together, with its
// arguments. Copies may go on differently.
type where struct {
	conditions []string
	args       []any
}

// place adds an argument and names its place.
func (w *where) place(arg any) string {
	w.args = append(w.args, arg)
	return "$" + strconv.Itoa(len(w.args))
}

// and adds a condition.
func (w *where) and(condition string) {
	w.conditions = append(w.conditions[:len(w.conditions):len(w.conditions)], condition)
}

// clause is what stands behind the table.
func (w *where) clause() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conditions, " AND ")
}

// isOneOf is the condition that a column has one of the values. None of none is
// false.
func isOneOf[T any](w *where, column string, values []T) string {
	if len(values) == 0 {
		return "1 = 0"
	}
	places := make([]string, len(values))
	for i, v := range values {
		places[i] = w.place(v)
	}
	if len(places) == 1 {
		return column + " = " + places[0]
	}
	return column + " IN (" + strings.Join(places, ", ") + ")"
}
