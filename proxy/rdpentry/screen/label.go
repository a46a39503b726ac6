package screen

import (
	"image"
	"strings"
)

// A notice is dark on yellow: it must be seen on any desktop.
const (
	labelPaper = 0xffd75f
	labelInk   = 0x1c1c1c
	labelScale = 2
	labelEdge  = 10
)

// Label draws a notice that is at most width wide, with lines broken between
// words.
func Label(text string, width int) Picture {
	across := max((width-2*labelEdge)/(TextWidth*labelScale), 1)
	lines := Wrap(text, across)
	longest := 0
	for _, l := range lines {
		longest = max(longest, len([]rune(l)))
	}
	p := NewPicture(min(longest*TextWidth*labelScale+2*labelEdge, max(width, 1)), len(lines)*TextHeight*labelScale+2*labelEdge)
	p.Fill(p.bounds(), labelInk)
	p.Fill(p.bounds().Inset(2), labelPaper)
	for i, l := range lines {
		p.Text(image.Pt(labelEdge, labelEdge+i*TextHeight*labelScale), l, labelInk, labelScale)
	}
	return p
}

// LabelAt is where a label belongs on a screen of a width.
func LabelAt(label Picture, width int) image.Rectangle { return labelAt(label, width) }

// Wrap breaks text into lines of at most width characters, between words
// where it can.
func Wrap(text string, width int) []string {
	var lines []string
	line := []rune(nil)
	for _, word := range strings.Fields(text) {
		w := []rune(word)
		if len(line) > 0 && len(line)+1+len(w) > width {
			lines, line = append(lines, string(line)), nil
		}
		if len(line) > 0 {
			line = append(line, ' ')
		}
		for len(w) > width {
			lines, w = append(lines, string(w[:width])), w[width:]
		}
		line = append(line, w...)
	}
	if len(line) > 0 || len(lines) == 0 {
		lines = append(lines, string(line))
	}
	return lines
}

// Text writes one line with its upper left corner at at. A character is
// TextWidth by TextHeight, times scale; what is not ASCII is written as the
// letter it is made of, or as a question mark.
func (p Picture) Text(at image.Point, line string, colour uint32, scale int) {
	for _, c := range line {
		glyph := font[plain(c)-' ']
		for y, bits := range glyph {
			for x := range 5 {
				if bits>>(4-x)&1 != 0 {
					corner := at.Add(image.Pt(x*scale, (y+1)*scale))
					p.Fill(image.Rectangle{Min: corner, Max: corner.Add(image.Pt(scale, scale))}, colour)
				}
			}
		}
		at.X += TextWidth * scale
	}
}

// plain finds the ASCII character to write for c.
func plain(c rune) rune {
	if c >= ' ' && c <= '~' {
		return c
	}
	if i := strings.IndexRune(accented, c); i >= 0 {
		return rune(unaccented[len([]rune(accented[:i]))])
	}
	return '?'
}

const (
	accented   = "ąćęłńóśźżĄĆĘŁŃÓŚŹŻàáâãäåèéêëìíîïòôõöùúûüçñßÄÖÜ–—’·×"
	unaccented = "acelnoszzACELNOSZZaaaaaaeeeeiiiioooouuuucnsAOU--'.x"
)

// TextWidth and TextHeight are the size of a character's place.
const (
	TextWidth  = 6
	TextHeight = 10
)

// font holds the characters from space to tilde, seven rows of five dots.
var font = [...][7]byte{
	{}, {4, 4, 4, 4, 4, 0, 4}, {10, 10}, {10, 10, 31, 10, 31, 10, 10}, // space ! " #
	{4, 15, 20, 14, 5, 30, 4}, {24, 25, 2, 4, 8, 19, 3}, {12, 18, 20, 8, 21, 18, 13}, {4, 4}, // $ % & '
	{2, 4, 8, 8, 8, 4, 2}, {8, 4, 2, 2, 2, 4, 8}, {0, 4, 21, 14, 21, 4, 0}, {0, 4, 4, 31, 4, 4, 0}, // ( ) * +
	{0, 0, 0, 0, 4, 4, 8}, {0, 0, 0, 31}, {0, 0, 0, 0, 0, 12, 12}, {0, 1, 2, 4, 8, 16}, // , - . /
	{14, 17, 19, 21, 25, 17, 14}, {4, 12, 4, 4, 4, 4, 14}, {14, 17, 1, 2, 4, 8, 31}, {31, 2, 4, 2, 1, 17, 14}, // 0 1 2 3
	{2, 6, 10, 18, 31, 2, 2}, {31, 16, 30, 1, 1, 17, 14}, {6, 8, 16, 30, 17, 17, 14}, {31, 1, 2, 4, 8, 8, 8}, // 4 5 6 7
	{14, 17, 17, 14, 17, 17, 14}, {14, 17, 17, 15, 1, 2, 12}, {0, 12, 12, 0, 12, 12}, {0, 12, 12, 0, 12, 4, 8}, // 8 9 : ;
	{2, 4, 8, 16, 8, 4, 2}, {0, 0, 31, 0, 31}, {8, 4, 2, 1, 2, 4, 8}, {14, 17, 1, 2, 4, 0, 4}, // < = > ?
	{14, 17, 1, 13, 21, 21, 14}, {14, 17, 17, 31, 17, 17, 17}, {30, 17, 17, 30, 17, 17, 30}, {14, 17, 16, 16, 16, 17, 14}, // @ A B C
	{28, 18, 17, 17, 17, 18, 28}, {31, 16, 16, 30, 16, 16, 31}, {31, 16, 16, 30, 16, 16, 16}, {14, 17, 16, 23, 17, 17, 15}, // D E F G
	{17, 17, 17, 31, 17, 17, 17}, {14, 4, 4, 4, 4, 4, 14}, {7, 2, 2, 2, 2, 18, 12}, {17, 18, 20, 24, 20, 18, 17}, // H I J K
	{16, 16, 16, 16, 16, 16, 31}, {17, 27, 21, 21, 17, 17, 17}, {17, 17, 25, 21, 19, 17, 17}, {14, 17, 17, 17, 17, 17, 14}, // L M N O
	{30, 17, 17, 30, 16, 16, 16}, {14, 17, 17, 17, 21, 18, 13}, {30, 17, 17, 30, 20, 18, 17}, {15, 16, 16, 14, 1, 1, 30}, // P Q R S
	{31, 4, 4, 4, 4, 4, 4}, {17, 17, 17, 17, 17, 17, 14}, {17, 17, 17, 17, 17, 10, 4}, {17, 17, 17, 21, 21, 21, 10}, // T U V W
	{17, 17, 10, 4, 10, 17, 17}, {17, 17, 17, 10, 4, 4, 4}, {31, 1, 2, 4, 8, 16, 31}, {14, 8, 8, 8, 8, 8, 14}, // X Y Z [
	{0, 16, 8, 4, 2, 1}, {14, 2, 2, 2, 2, 2, 14}, {4, 10, 17}, {0, 0, 0, 0, 0, 0, 31}, // \ ] ^ _
	{8, 4, 2}, {0, 0, 14, 1, 15, 17, 15}, {16, 16, 22, 25, 17, 17, 30}, {0, 0, 14, 16, 16, 17, 14}, // ` a b c
	{1, 1, 13, 19, 17, 17, 15}, {0, 0, 14, 17, 31, 16, 14}, {6, 9, 8, 28, 8, 8, 8}, {0, 15, 17, 17, 15, 1, 14}, // d e f g
	{16, 16, 22, 25, 17, 17, 17}, {4, 0, 12, 4, 4, 4, 14}, {2, 0, 6, 2, 2, 18, 12}, {16, 16, 18, 20, 24, 20, 18}, // h i j k
	{12, 4, 4, 4, 4, 4, 14}, {0, 0, 26, 21, 21, 17, 17}, {0, 0, 22, 25, 17, 17, 17}, {0, 0, 14, 17, 17, 17, 14}, // l m n o
	{0, 0, 30, 17, 30, 16, 16}, {0, 0, 13, 19, 15, 1, 1}, {0, 0, 22, 25, 16, 16, 16}, {0, 0, 14, 16, 14, 1, 30}, // p q r s
	{8, 8, 28, 8, 8, 9, 6}, {0, 0, 17, 17, 17, 19, 13}, {0, 0, 17, 17, 17, 10, 4}, {0, 0, 17, 17, 21, 21, 10}, // t u v w
	{0, 0, 17, 10, 4, 10, 17}, {0, 0, 17, 17, 15, 1, 14}, {0, 0, 31, 2, 4, 8, 31}, {2, 4, 4, 8, 4, 4, 2}, // x y z {
	{4, 4, 4, 4, 4, 4, 4}, {8, 4, 4, 2, 4, 4, 8}, {0, 0, 8, 21, 2}, // | } ~
}
