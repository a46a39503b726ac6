package form

import "unicode"

// A layout says which characters the keys of a keyboard stand for. A client
// sends where a key is (its scan code, as IBM numbered them for the AT), not
// what stands on it; which layout it means is in its core data.
type layout struct {
	name string
	keys map[uint16]key
}

// A key is what it types: by itself, with Shift, with AltGr and with both;
// zero is nothing. A combining character waits for a letter.
type key [4]rune

const (
	withShift = 1
	withAltGr = 2
)

// layouts are those that are known, by the number a client says: the language
// in the low word, in the high one which of its layouts.
var layouts = map[uint32]*layout{0x0409: english, 0x0809: british, 0x0407: german, 0x0415: polish}

// layoutOf returns the layout of a number, and whether it is that one: people
// are told when it is another.
func layoutOf(number uint32) (l *layout, known bool) {
	if l, ok := layouts[number]; ok {
		return l, true
	}
	return english, number == 0 // which a client says that does not know
}

// rows are the first scan codes of the four rows of keys with characters; the
// fifth key of its own is the one beside the left Shift, which US keyboards
// do not have.
var rows = [...]uint16{0x29, 0x02, 0x10, 0x1e, 0x2b, 0x2c, 0x56}

// build makes a layout of what the rows type plain, shifted and with AltGr. A
// blank types nothing; letters beside AltGr have their capitals with Shift.
func build(name string, plain, shifted, altGr [len(rows)]string) *layout {
	l := &layout{name: name, keys: map[uint16]key{0x39: {' ', ' ', ' ', ' '}}}
	put := func(row int, text string, level int) {
		code := rows[row]
		for _, c := range text {
			k := l.keys[code]
			if c != ' ' {
				k[level] = c
				if level == withAltGr {
					k[withShift|withAltGr] = capital(c)
				}
			}
			l.keys[code] = k
			code++
		}
	}
	for row := range rows {
		put(row, plain[row], 0)
		put(row, shifted[row], withShift)
		put(row, altGr[row], withAltGr)
	}
	return l
}

// A capital is a letter's; what has none types nothing with Shift.
func capital(c rune) rune {
	if upper := unicode.ToUpper(c); upper != c && unicode.Is(unicode.Latin, upper) {
		return upper
	}
	return 0
}

// Accents that wait for their letter, as combining characters.
const (
	grave      = '\u0300'
	acute      = '\u0301'
	circumflex = '\u0302'
)

// accents pairs letters, and the space, with what an accent makes of them.
var accents = map[rune]string{
	grave:      "aàeèiìoòuùAÀEÈIÌOÒUÙ `",
	acute:      "aáeéiíoóuúyýAÁEÉIÍOÓUÚYÝ ´",
	circumflex: "aâeêiîoôuûAÂEÊIÎOÔUÛ ^",
}

// join puts an accent on a letter; where there is no such letter, both stand
// beside each other.
func join(accent, letter rune) []rune {
	pairs := []rune(accents[accent])
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] == letter {
			return pairs[i+1 : i+2]
		}
	}
	return []rune{pairs[len(pairs)-1], letter}
}

var (
	english = build("US",
		[len(rows)]string{"`", "1234567890-=", "qwertyuiop[]", "asdfghjkl;'", `\`, "zxcvbnm,./", `\`},
		[len(rows)]string{"~", "!@#$%^&*()_+", "QWERTYUIOP{}", `ASDFGHJKL:"`, "|", "ZXCVBNM<>?", "|"},
		[len(rows)]string{})
	british = build("UK",
		[len(rows)]string{"`", "1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "#", "zxcvbnm,./", `\`},
		[len(rows)]string{"¬", `!"£$%^&*()_+`, "QWERTYUIOP{}", "ASDFGHJKL:@", "~", "ZXCVBNM<>?", "|"},
		[len(rows)]string{"¦", "   €", "  é   úíó", "á"})
	german = build("German",
		[len(rows)]string{"\u0302", "1234567890ß\u0301", "qwertzuiopü+", "asdfghjklöä", "#", "yxcvbnm,.-", "<"},
		[len(rows)]string{"°", "!\"§$%&/()=?\u0300", "QWERTZUIOPÜ*", "ASDFGHJKLÖÄ", "'", "YXCVBNM;:_", ">"},
		[len(rows)]string{"", ` ²³   {[]}\`, "@ €        ~", "", "", "      µ", "|"})
	polish = build("Polish (programmers)",
		[len(rows)]string{"`", "1234567890-=", "qwertyuiop[]", "asdfghjkl;'", `\`, "zxcvbnm,./", `\`},
		[len(rows)]string{"~", "!@#$%^&*()_+", "QWERTYUIOP{}", `ASDFGHJKL:"`, "|", "ZXCVBNM<>?", "|"},
		[len(rows)]string{"", "", "  ę   € ó", "ąś      ł", "", "żźć  ń"})
)
