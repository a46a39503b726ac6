package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxPersonName = 64
	maxName       = 63 // of servers and groups: a DNS label
)

// PersonName makes the unique name of a person from what an admin typed:
// "John Doe" becomes "john.doe", "Łukasz Żak" becomes "lukasz.zak". It fails on
// what no name can be made of, rather than to guess: two names that look alike
// must not be two persons. A name it made it leaves as it is.
func PersonName(typed string) (string, error) {
	if !utf8.ValidString(typed) {
		return "", fmt.Errorf("the name %.64q is not valid UTF-8", typed)
	}
	if utf8.RuneCountInString(typed) > maxPersonName {
		return "", fmt.Errorf("the name %.20q… is longer than %d characters", typed, maxPersonName)
	}
	var name strings.Builder
	gap := false // a space or dot, written when something follows
	for _, r := range typed {
		if r == ' ' || r == '.' {
			gap = name.Len() > 0
			continue
		}
		folded, ok := foldLetter(r)
		if !ok {
			return "", fmt.Errorf("%q (%U) in the name %q cannot be used: use letters, digits, spaces, dots, dashes and underscores", r, r, typed)
		}
		if gap && folded != "" {
			name.WriteByte('.')
			gap = false
		}
		name.WriteString(folded)
	}
	made := name.String()
	switch {
	case made == "":
		return "", fmt.Errorf("%q has nothing a name can be made of", typed)
	case !isAlphanumeric(made[0]):
		return "", fmt.Errorf("the name %q must begin with a letter or a digit", typed)
	case len(made) > maxPersonName:
		return "", fmt.Errorf("the name made of %q is longer than %d characters", typed, maxPersonName)
	}
	return made, nil
}

// latin holds the letters of the Latin-1 and Latin Extended-A blocks that
// Polish and its neighbours write, lower case, and what they become.
var latin = map[rune]string{
	'à': "a", 'á': "a", 'â': "a", 'ã': "a", 'ä': "a", 'å': "a", 'ā': "a", 'ă': "a", 'ą': "a", 'æ': "ae",
	'ç': "c", 'ć': "c", 'ĉ': "c", 'ċ': "c", 'č': "c",
	'ď': "d", 'đ': "d", 'ð': "d",
	'è': "e", 'é': "e", 'ê': "e", 'ë': "e", 'ē': "e", 'ĕ': "e", 'ė': "e", 'ę': "e", 'ě': "e",
	'ĝ': "g", 'ğ': "g", 'ġ': "g", 'ģ': "g",
	'ĥ': "h", 'ħ': "h",
	'ì': "i", 'í': "i", 'î': "i", 'ï': "i", 'ĩ': "i", 'ī': "i", 'ĭ': "i", 'į': "i", 'ı': "i",
	'ĵ': "j", 'ķ': "k",
	'ĺ': "l", 'ļ': "l", 'ľ': "l", 'ŀ': "l", 'ł': "l",
	'ñ': "n", 'ń': "n", 'ņ': "n", 'ň': "n",
	'ò': "o", 'ó': "o", 'ô': "o", 'õ': "o", 'ö': "o", 'ø': "o", 'ō': "o", 'ŏ': "o", 'ő': "o", 'œ': "oe",
	'ŕ': "r", 'ŗ': "r", 'ř': "r",
	'ś': "s", 'ŝ': "s", 'ş': "s", 'š': "s", 'ș': "s", 'ß': "ss",
	'ţ': "t", 'ť': "t", 'ŧ': "t", 'ț': "t", 'þ': "th",
	'ù': "u", 'ú': "u", 'û': "u", 'ü': "u", 'ũ': "u", 'ū': "u", 'ŭ': "u", 'ů': "u", 'ű': "u", 'ų': "u",
	'ŵ': "w", 'ý': "y", 'ÿ': "y", 'ŷ': "y", 'ź': "z", 'ż': "z", 'ž': "z",
}

// foldLetter returns what a character of a typed name becomes.
func foldLetter(r rune) (folded string, ok bool) {
	switch lower := unicode.ToLower(r); {
	case r < utf8.RuneSelf && isNameByte(byte(r)):
		return string(lower), true
	case r == '\'' || r == '’': // O'Brien
		return "", true
	case r >= 0x0300 && r <= 0x036f:
		// A combining accent, as in names typed on a Mac: Z and U+0307 for Ż.
		return "", true
	default:
		// Not every relative of a plain letter: ToLower makes a k of the Kelvin
		// sign too, which is not in the table.
		folded, ok = latin[lower]
		return folded, ok
	}
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func isNameByte(c byte) bool {
	return isAlphanumeric(c) || c == '.' || c == '-' || c == '_'
}

// CheckName reports whether name can name a server or group: 1 to 63 of
// letters, digits, dot, dash and underscore, beginning with a letter or digit.
func CheckName(name string) error {
	if name == "" {
		return fmt.Errorf("the name is empty")
	}
	if len(name) > maxName {
		return fmt.Errorf("the name %.20q… is longer than %d characters", name, maxName)
	}
	for _, r := range name {
		if r >= utf8.RuneSelf || !isNameByte(byte(r)) {
			return fmt.Errorf("%q (%U) in the name %q cannot be used: use letters, digits, dots, dashes and underscores", r, r, name)
		}
	}
	if !isAlphanumeric(name[0]) {
		return fmt.Errorf("the name %q must begin with a letter or a digit", name)
	}
	return nil
}

// ParsePrefix reads "10.0.0.7", "10.0.0.0/8", "fd00::1" or "fd00::/64". Host
// bits beyond the length are an error that names the prefix that was meant.
// An IPv4 prefix in IPv6 notation (::ffff:10.0.0.7) comes back as IPv4.
func ParsePrefix(s string) (netip.Prefix, error) {
	address, length, hasLength := strings.Cut(s, "/")
	a, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%.64q is not an address or a prefix: write for example 10.0.0.7, 10.0.0.0/8 or fd00::/64", s)
	}
	if a.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%.64q names an interface: write the address without %%%.20s", s, a.Zone())
	}
	bits := a.BitLen()
	if hasLength {
		if bits, err = parseBits(length, a.BitLen()); err != nil {
			return netip.Prefix{}, fmt.Errorf("%.64q: %w", s, err)
		}
	}
	if a.Is4In6() {
		if bits < 96 {
			return netip.Prefix{}, fmt.Errorf("%.64q holds more than IPv4 addresses in IPv6 notation: write it as IPv4, such as 10.0.0.0/8", s)
		}
		a, bits = a.Unmap(), bits-96
	}
	p := netip.PrefixFrom(a, bits)
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s has bits beyond its length: write %s for the whole prefix or %s for the one address", p, p.Masked(), a)
	}
	return p, nil
}

// parseBits reads a prefix length, without a sign or leading zeros.
func parseBits(s string, most int) (int, error) {
	bits := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' || i > 2 || i > 0 && s[0] == '0' {
			bits = most + 1
			break
		}
		bits = bits*10 + int(s[i]-'0')
	}
	if s == "" || bits > most {
		return 0, fmt.Errorf("the length after the slash must be from 0 to %d", most)
	}
	return bits, nil
}
