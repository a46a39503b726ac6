package recording

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// The tables of what passes the filter. They follow ECMA-48 and what xterm
// documents (https://invisible-island.net/xterm/ctlseqs/ctlseqs.html); what is
// not in them is dropped.

// passesControl: BS, HT, LF, VT, FF, CR, and SO and SI, which choose between
// two character sets. BEL only makes noise, ENQ asks for the answerback.
func passesControl(c byte) bool { return c >= 0x08 && c <= 0x0f }

// passesEscape: a sequence of ESC, intermediates and a final character.
func passesEscape(inter []byte, final byte) bool {
	if len(inter) == 0 {
		// Cursor (DECSC DECRC), lines (IND NEL RI), a tab stop (HTS), the
		// reset, and the choice of character sets (LS2 LS3 LS1R LS2R LS3R).
		// Not = and >, which change what the keypad sends, not Z, which asks.
		return strings.IndexByte("78DEMHcno|}~", final) >= 0
	}
	switch inter[0] {
	case '(', ')', '*', '+', '-', '.', '/':
		// A character set, such as 0 for line drawing.
		return len(inter) == 1
	case '#':
		// Double height and width, and the test picture.
		return len(inter) == 1 && strings.IndexByte("34568", final) >= 0
	}
	// Not %, which leaves UTF-8, and not space, which allows 8-bit C1.
	return false
}

// sequences holds the final characters that pass after each intermediate; 0
// is none. Parameters are checked by passesSequence.
var sequences = map[byte]string{
	// The cursor (ABCDEFGHIZ`adef su), erasing and moving (@JKLMPSTX), REP,
	// TBC, SGR, DECSTBM, modes.
	0:    "@ABCDEFGHIJKLMPSTXZ`abdefghlmrsu",
	'!':  "p",  // DECSTR, the soft reset
	' ':  "q",  // DECSCUSR, the cursor's shape
	'"':  "q",  // DECSCA, protection from being erased
	'\'': "}~", // DECIC, DECDC
	'$':  "z{", // DECERA, DECSERA
}

// splitSequence splits what stands between CSI and the final character.
func splitSequence(seq []byte) (private byte, params, inter []byte) {
	if len(seq) > 0 && seq[0] >= '<' && seq[0] <= '?' {
		private, seq = seq[0], seq[1:]
	}
	n := bytes.IndexFunc(seq, func(r rune) bool { return r < '0' || r > '?' })
	if n < 0 {
		n = len(seq)
	}
	return private, seq[:n], seq[n:]
}

// passesSequence: a control sequence that is not a private mode.
func passesSequence(private byte, params, inter []byte, final byte) bool {
	mark := byte(0)
	if len(inter) > 0 {
		mark = inter[0]
	}
	if len(inter) > 1 || strings.IndexByte(sequences[mark], final) < 0 {
		return false
	}
	if private != 0 && (private != '?' || final != 'J' && final != 'K') { // DECSED, DECSEL
		return false
	}
	colons := final == 'm' // ISO 8613-6: colours
	var room [32]int
	numbers, ok := parseParams(room[:0], params, colons)
	if !ok {
		return false
	}
	switch final {
	case 'J': // not 3, which throws away what the viewer could scroll back to
		return len(numbers) == 0 || len(numbers) == 1 && numbers[0] <= 2
	case 'T': // five parameters begin the tracking of a highlight
		return len(numbers) <= 1
	case 'h', 'l': // IRM only: others lock the keyboard or change what it sends
		return len(numbers) == 1 && numbers[0] == 4
	case 'u': // with parameters it is the keyboard's in some terminals
		return len(numbers) == 0
	}
	return true
}

// modes are the private modes that only change how is drawn: DECSCNM, DECOM,
// DECAWM, blinking cursor, DECTCEM, reverse wrap, the alternate screens and
// the saved cursor, DECLRMM.
var modes = []int{5, 6, 7, 12, 25, 45, 47, 69, 1047, 1048, 1049}

// passingModes returns those parameters of DECSET or DECRST that pass, nil if
// none does.
func passingModes(params []byte) []byte {
	var room [32]int
	numbers, ok := parseParams(room[:0], params, false)
	if !ok {
		return nil
	}
	var out []byte
	for _, n := range numbers {
		if slices.Contains(modes, n) {
			if out != nil {
				out = append(out, ';')
			}
			out = strconv.AppendInt(out, int64(n), 10)
		}
	}
	return out
}

// parseParams appends numbers between semicolons, and between colons if they
// may be there. An empty one is zero.
func parseParams(numbers []int, params []byte, colons bool) (all []int, ok bool) {
	if len(params) == 0 {
		return numbers, true
	}
	n := 0
	for _, c := range params {
		switch {
		case c >= '0' && c <= '9':
			if n = n*10 + int(c-'0'); n > maxNumber {
				return nil, false
			}
		case c == ';' || colons && c == ':':
			numbers = append(numbers, n)
			n = 0
		default:
			return nil, false
		}
	}
	return append(numbers, n), true
}
