package form

import (
	"image"

	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
)

// The form's colours: those of the gate's other pages.
const (
	paper  = 0x1f2933
	ink    = 0xf5f7fa
	faint  = 0x9aa5b1
	well   = 0x111820 // where something is typed
	active = 0xffd75f // where the person is, and what they must not miss
)

// A plan is where everything stands within the form's box. Nothing moves while
// the form is shown.
type plan struct {
	scale  int
	size   image.Point
	title  []string
	said   image.Point
	across int // characters in a line
	places [places]image.Rectangle
	locks  image.Point
	hints  image.Point
}

// The measures of the form, in dots of its text.
const (
	fullWidth = 360
	edge      = 12
	step      = screen.TextHeight + 2
	row       = 20
	labels    = 9 * screen.TextWidth // the widest is "Password"
	fullTall  = 210                  // of all of it, about
)

func (f *Form) plan() plan {
	p := plan{scale: 1}
	if f.size.X >= fullWidth*2 && f.size.Y >= fullTall*2 {
		p.scale = 2
	}
	u := p.scale
	wide := min(fullWidth*u, f.size.X)
	p.across = max((wide-2*edge*u)/(screen.TextWidth*u), 1)
	p.title = lines("Inside: sign in to "+f.where, p.across)
	y := edge*u + len(p.title)*step*u + step*u/2
	p.said = image.Pt(edge*u, y)
	y += mostLines*step*u + step*u/2
	for i := range button {
		p.places[i] = image.Rect((edge+labels)*u, y, wide-edge*u, y+(row-4)*u)
		y += row * u
	}
	p.places[button] = image.Rect((edge+labels)*u, y+4*u, (edge+labels)*u+11*screen.TextWidth*u, y+row*u)
	y += row*u + step*u/2
	p.locks = image.Pt((edge+labels)*u, y)
	p.hints = image.Pt(edge*u, y+step*u+step*u/4)
	p.size = image.Pt(wide, min(p.hints.Y+2*step+edge*u/2, f.size.Y))
	return p
}

// Box is where in its window the form stands.
func (f *Form) Box() image.Rectangle {
	size := f.plan().size
	return image.Rectangle{Max: size}.Add(f.size.Sub(size).Div(2))
}

// mostLines is how long a text may become.
const mostLines = 2

func lines(text string, across int) []string {
	all := screen.Wrap(text, across)
	return all[:min(len(all), mostLines)]
}

// Draw draws the form into a picture of its box's size.
func (f *Form) Draw(to screen.Picture) {
	p := f.plan()
	u := p.scale
	whole := image.Rect(0, 0, to.W, to.H)
	to.Fill(whole, paper)
	for i, line := range p.title {
		to.Text(image.Pt(edge*u, edge*u+i*step*u), line, ink, u)
	}
	for i, line := range lines(f.said, p.across) {
		to.Text(p.said.Add(image.Pt(0, i*step*u)), line, active, u)
	}
	for i, label := range [button]string{"User", "Domain", "Password"} {
		f.drawField(to, p, i, label)
	}
	b := p.places[button]
	colour := uint32(faint)
	if f.at == button {
		colour = active
	}
	if f.busy {
		colour = well
	}
	to.Fill(b, colour)
	to.Text(b.Min.Add(image.Pt(2*screen.TextWidth*u, 3*u)), "Sign in", paper, u)
	if f.keyboard.caps {
		to.Text(p.locks, "Caps Lock is on", active, u)
	}
	to.Text(p.hints, "Tab: next field   Enter: sign in   Esc: leave", faint, 1)
	hint, colour := f.keyboardHint()
	to.Text(p.hints.Add(image.Pt(0, step)), hint, colour, 1)
}

func (f *Form) drawField(to screen.Picture, p plan, i int, label string) {
	u, r := p.scale, p.places[i]
	to.Text(image.Pt(edge*u, r.Min.Y+3*u), label, ink, u)
	here := f.at == i && !f.busy
	if here {
		to.Fill(r.Inset(-u), active)
	}
	to.Fill(r, well)
	text := f.fields[i]
	fits := max(r.Dx()/(screen.TextWidth*u)-2, 0)
	text = text[max(len(text)-fits, 0):]
	at := r.Min.Add(image.Pt(screen.TextWidth*u/2, 3*u))
	if i == passwordField {
		for n := range text {
			dot := image.Rect(u, 3*u, 5*u, 7*u).Add(at).Add(image.Pt(n*screen.TextWidth*u, 0))
			to.Fill(dot, ink)
		}
	} else {
		to.Text(at, string(text), ink, u)
	}
	if here {
		to.Fill(image.Rect(0, 0, u, screen.TextHeight*u).Add(at).Add(image.Pt(len(text)*screen.TextWidth*u, 0)), active)
	}
}

// keyboardHint names the layout, so that nobody wonders about a password that
// is right and refused.
func (f *Form) keyboardHint() (text string, colour uint32) {
	if f.keyboard.known {
		return "Keyboard: " + f.keyboard.name, faint
	}
	return "Keyboard: " + f.keyboard.name + ", since this gate does not know yours: see in User what your keys type", active
}
