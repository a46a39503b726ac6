package store

import "testing"

func TestMigrationsAreNumberedWithoutGaps(t *testing.T) {
	for _, engine := range []string{"sqlite", "postgres"} {
		ms, err := migrationsFor(engine)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range ms {
			if m.version != int64(i+1) || len(m.statements) == 0 {
				t.Errorf("%s: number %d is %s with %d statements", engine, i+1, m.name, len(m.statements))
			}
		}
	}
}

func TestOnlyTheSpellingThatWasGivenIsANumber(t *testing.T) {
	for id, want := range map[string]bool{"1": true, "907": true, "": false, "0": false, "01": false, "+1": false, "-1": false, "1 ": false, "１": false, "9223372036854775808": false} {
		if _, ok := idNumber(id); ok != want {
			t.Errorf("%q: %v", id, ok)
		}
	}
}
