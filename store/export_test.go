package store

import "testing"

// Setting asks the database how a connection of the store is set.
func Setting(tb testing.TB, s *Store, name string) (value string) {
	tb.Helper()
	if err := s.write.QueryRowContext(tb.Context(), "SELECT current_setting($1)", name).Scan(&value); err != nil {
		tb.Fatal(err)
	}
	return value
}
