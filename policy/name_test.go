package policy_test

import (
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pawelmojski/inside/policy"
)

func TestPersonNameIsMadeOfWhatWasTyped(t *testing.T) {
	for _, c := range []struct{ typed, want string }{
		{"John Doe", "john.doe"},
		{"john.doe", "john.doe"},
		{"p.mojski", "p.mojski"},
		{"  John   Q.  Doe ", "john.q.doe"},
		{"Łukasz Żak", "lukasz.zak"},
		{"ZAŻÓŁĆ GĘŚLĄ JAŹŃ", "zazolc.gesla.jazn"},
		{"Z\u0307ak", "zak"}, // Ż as a Mac types it
		{"Jürgen Groß", "jurgen.gross"},
		{"Seán O'Brien", "sean.obrien"},
		{"Anna-Maria Nowak_2", "anna-maria.nowak_2"},
		{"Đorđe Čolić", "dorde.colic"},
		{"42", "42"},
		{strings.Repeat("a", 64), strings.Repeat("a", 64)},
	} {
		if got, err := policy.PersonName(c.typed); err != nil || got != c.want {
			t.Errorf("PersonName(%q) = %q, %v, want %q", c.typed, got, err, c.want)
		}
	}
}

func TestPersonNameRefusesWhatNoNameCanBeMadeOf(t *testing.T) {
	for _, c := range []struct{ typed, want string }{
		{"", `"" has nothing a name can be made of`},
		{" . ", `" . " has nothing a name can be made of`},
		{"''", `"''" has nothing a name can be made of`},
		{"-rf", `the name "-rf" must begin with a letter or a digit`},
		{"_x", `the name "_x" must begin with a letter or a digit`},
		{"john@corp.com", `'@' (U+0040) in the name "john@corp.com" cannot be used: use letters, digits, spaces, dots, dashes and underscores`},
		{"Иван", "(U+0418) in the name"},
		{"аnna", "(U+0430) in the name"},          // a Cyrillic a
		{"john\u212A", "(U+212A) in the name"},    // the Kelvin sign, which looks like K
		{"john\u202Eeod", `'\u202e' (U+202E) in`}, // right-to-left override
		{"john\u200Fdoe", `'\u200f' (U+200F) in`}, // right-to-left mark
		{"john\u200Bdoe", `'\u200b' (U+200B) in`}, // a space without width
		{"john\u00A0doe", `'\u00a0' (U+00A0) in`}, // a space that does not break
		{"john\x1b[31mdoe", `'\x1b' (U+001B) in`}, // a terminal escape
		{"john\ndoe", `'\n' (U+000A) in`},
		{"john\x00", `'\x00' (U+0000) in`},
		{"john/../root", `'/' (U+002F) in`},
		{"john\xff", `is not valid UTF-8`}, //
		{strings.Repeat("a", 65), "is longer than 64 characters"},
		{strings.Repeat("ß", 33), "is longer than 64 characters"},
		{strings.Repeat("x", 1<<20), "is longer than 64 characters"},
	} {
		_, err := policy.PersonName(c.typed)
		if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 400 {
			t.Errorf("PersonName(%.40q): error %.400v, want %s", c.typed, err, c.want)
		}
	}
}

func FuzzPersonName(f *testing.F) {
	for _, s := range []string{"John Doe", "Łukasz Żak", "Seán O'Brien", "john\u202Eeod", "Z\u0307ak", "..a..b..", "-x", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		name, err := policy.PersonName(typed)
		if err != nil {
			if name != "" || !utf8.ValidString(err.Error()) || strings.ContainsAny(err.Error(), "\x00\x1b\n\u202e\u200f") {
				t.Fatalf("PersonName(%q) = %q, %q", typed, name, err)
			}
			return
		}
		if len(name) == 0 || len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" ||
			strings.ContainsAny(name[:1], "._-") || strings.Contains(name, "..") || strings.HasSuffix(name, ".") {
			t.Fatalf("PersonName(%q) = %q", typed, name)
		}
		if again, err := policy.PersonName(name); again != name || err != nil {
			t.Fatalf("PersonName(%q) = %q, of which comes %q, %v", typed, name, again, err)
		}
	})
}

func TestCheckNameOfServersAndGroups(t *testing.T) {
	for _, good := range []string{"a", "prod-db-01", "Web_1.example", "0x", strings.Repeat("a", 63)} {
		if err := policy.CheckName(good); err != nil {
			t.Errorf("CheckName(%q): %v", good, err)
		}
	}
	for _, c := range []struct{ name, want string }{
		{"", "the name is empty"},
		{"-x", `the name "-x" must begin with a letter or a digit`},
		{".x", `the name ".x" must begin with a letter or a digit`},
		{"a b", `' ' (U+0020) in the name "a b" cannot be used: use letters, digits, dots, dashes and underscores`},
		{"a/b", `'/' (U+002F) in the name`},
		{"ż", `'ż' (U+017C) in the name`},
		{"a\n", `'\n' (U+000A) in the name`},
		{"a\xff", `in the name "a\xff" cannot be used`},
		{strings.Repeat("a", 64), "is longer than 63 characters"},
	} {
		if err := policy.CheckName(c.name); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("CheckName(%q): %v, want %s", c.name, err, c.want)
		}
	}
}

func TestParsePrefixReadsAddressesAndPrefixes(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"10.0.0.7", "10.0.0.7/32"},
		{"10.0.0.0/8", "10.0.0.0/8"},
		{"0.0.0.0/0", "0.0.0.0/0"},
		{"fd00::1", "fd00::1/128"},
		{"FD00::/64", "fd00::/64"},
		{"::ffff:10.0.0.7", "10.0.0.7/32"},
		{"::ffff:10.0.0.0/104", "10.0.0.0/8"},
	} {
		if got, err := policy.ParsePrefix(c.text); err != nil || got != netip.MustParsePrefix(c.want) {
			t.Errorf("ParsePrefix(%q) = %s, %v, want %s", c.text, got, err, c.want)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"", `"" is not an address or a prefix: write for example 10.0.0.7, 10.0.0.0/8 or fd00::/64`},
		{"10.0.0", `"10.0.0" is not an address or a prefix`},
		{"010.0.0.1", `"010.0.0.1" is not an address or a prefix`},
		{" 10.0.0.1", `" 10.0.0.1" is not an address or a prefix`},
		{"server", `"server" is not an address or a prefix`},
		{"10.0.0.0/33", `"10.0.0.0/33": the length after the slash must be from 0 to 32`},
		{"10.0.0.0/", "the length after the slash must be from 0 to 32"},
		{"10.0.0.0/08", "the length after the slash must be from 0 to 32"},
		{"10.0.0.0/+8", "the length after the slash must be from 0 to 32"},
		{"10.0.0.0/8/8", "the length after the slash must be from 0 to 32"},
		{"fd00::/129", "the length after the slash must be from 0 to 128"},
		{"10.0.0.7/8", "10.0.0.7/8 has bits beyond its length: write 10.0.0.0/8 for the whole prefix or 10.0.0.7 for the one address"},
		{"fd00::1/64", "fd00::1/64 has bits beyond its length: write fd00::/64 for the whole prefix or fd00::1 for the one address"},
		{"::ffff:10.0.0.7/104", "10.0.0.7/8 has bits beyond its length: write 10.0.0.0/8"},
		{"::ffff:0.0.0.0/95", "holds more than IPv4 addresses"},
		{"fe80::1%eth0", `"fe80::1%eth0" names an interface: write the address without %eth0`},
		{strings.Repeat("1", 1<<20), "is not an address or a prefix"},
	} {
		if _, err := policy.ParsePrefix(c.text); err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 300 {
			t.Errorf("ParsePrefix(%.40q): error %.300v, want %s", c.text, err, c.want)
		}
	}
}

func FuzzParsePrefix(f *testing.F) {
	for _, s := range []string{"10.0.0.7", "10.0.0.0/8", "fd00::/64", "::ffff:10.0.0.0/104", "fe80::1%eth0", "10.0.0.7/8", "0.0.0.0/0", "/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := policy.ParsePrefix(text)
		if err != nil {
			return
		}
		if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
			t.Fatalf("ParsePrefix(%q) = %s", text, p)
		}
		if again, err := policy.ParsePrefix(p.String()); again != p || err != nil {
			t.Fatalf("ParsePrefix(%q) = %s, of which comes %s, %v", text, p, again, err)
		}
	})
}
