package store

import "testing"

func TestEveryMigrationHasANumberOfItsOwn(t *testing.T) {
	for _, engine := range []string{"sqlite", "postgres"} {
		ms, err := migrationsFor(engine)
		if err != nil {
			t.Fatal(err)
		}
		last := int64(0)
		for _, m := range ms {
			if m.version <= last || len(m.statements) == 0 {
				t.Errorf("%s: %s has %d statements and comes behind number %d", engine, m.name, len(m.statements), last)
			}
			last = m.version
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
