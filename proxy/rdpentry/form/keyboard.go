package form

import (
	"unicode"
	"unicode/utf16"
)

// Keys that do something else than type, by their scan codes.
const (
	keyEscape    = 0x01
	keyBackspace = 0x0e
	keyTab       = 0x0f
	keyEnter     = 0x1c // the keypad's, too
	keyControl   = 0x1d
	keyLeftShift = 0x2a
	keySlash     = 0x35 // the keypad's where it is extended
	keyShift     = 0x36
	keyAlt       = 0x38 // AltGr where it is extended
	keyCaps      = 0x3a
	keyNum       = 0x45
	keyUp        = 0x48
	keyDown      = 0x50
)

// A keyboard makes characters of the keys that go down and up.
type keyboard struct {
	*layout
	known bool // it is the layout the client has

	shifts     [2]bool // left and right
	control    [2]bool
	alt, altGr bool
	caps, num  bool
	capsIsDown bool // a key that is held repeats itself
	numIsDown  bool
	accent     rune // that waits for its letter
	high       rune // the first half of a character beyond 16 bits
}

func newKeyboard(number uint32) keyboard {
	l, known := layoutOf(number)
	return keyboard{layout: l, known: known}
}

// modifier takes a key that changes what others type, and reports whether it
// is one.
func (k *keyboard) modifier(code uint16, extended, released bool) bool {
	side := 0
	if extended {
		side = 1
	}
	switch code {
	case keyLeftShift:
		if !extended { // else it is sent by itself around some keys, and means nothing
			k.shifts[0] = !released
		}
	case keyShift:
		k.shifts[1] = !released
	case keyControl:
		k.control[side] = !released
	case keyAlt:
		if extended {
			k.altGr = !released
		} else {
			k.alt = !released
		}
	case keyCaps:
		k.caps = k.caps != (!released && !k.capsIsDown)
		k.capsIsDown = !released
	case keyNum:
		k.num = k.num != (!released && !k.numIsDown)
		k.numIsDown = !released
	default:
		return false
	}
	return true
}

// shifted reports whether a Shift is held.
func (k *keyboard) shifted() bool { return k.shifts[0] || k.shifts[1] }

// keypad are the digits under the number lock, from 0x47 on.
const keypad = "789-456+1230."

// typed returns what a key that goes down types; nothing for many of them.
func (k *keyboard) typed(code uint16, extended bool) []rune {
	switch {
	case extended && code == keySlash:
		return k.put('/')
	case extended:
		return nil
	case code == 0x37:
		return k.put('*')
	case code == 0x4a || code == 0x4e:
		return k.put(rune(keypad[code-0x47]))
	case code >= 0x47 && code < 0x47+uint16(len(keypad)):
		if !k.num {
			return nil
		}
		return k.put(rune(keypad[code-0x47]))
	}
	control := k.control[0] || k.control[1]
	level := 0
	if k.altGr || control && k.alt { // Windows has a Control go down with AltGr
		level = withAltGr
	} else if control || k.alt {
		return nil // a shortcut of some program's
	}
	keys := k.keys[code]
	if k.shifted() {
		level |= withShift
	}
	if k.caps && capital(keys[level&^withShift]) != 0 && capital(keys[level&^withShift]) == keys[level|withShift] {
		level ^= withShift
	}
	return k.put(keys[level])
}

// put is typed for one character: an accent waits, a letter takes it.
func (k *keyboard) put(c rune) []rune {
	accent := k.accent
	switch {
	case c == 0:
		return nil
	case accents[c] != "" && accent == 0:
		k.accent = c
		return nil
	case accent != 0:
		k.accent = 0
		if accents[c] != "" { // the same again, or another: both as they are
			return append(join(accent, ' '), join(c, ' ')...)
		}
		return join(accent, c)
	}
	return []rune{c}
}

// unicode returns the character a UTF-16 unit completes. Keyboards on a screen
// send those, and clients whose layout is their own business.
func (k *keyboard) unicode(unit uint16) []rune {
	c, high := rune(unit), k.high
	k.high = 0
	switch {
	case c >= 0xd800 && c < 0xdc00:
		k.high = c
		return nil
	case utf16.IsSurrogate(c):
		c = utf16.DecodeRune(high, c)
	}
	if c == unicode.ReplacementChar || !unicode.IsPrint(c) {
		return nil
	}
	return []rune{c}
}
