// Package form is the sign-in form the gate shows in the window of somebody
// whose client sent no password and whose server wants one before it shows
// anything: what stands in it, what keys and clicks do to it, and how it
// looks. It knows no connection: package rdpentry feeds it what the client
// sends, sends what it draws, and takes from it what was typed.
//
// What is typed is in the form's own memory only, and wiped when it was taken.
package form

import (
	"image"
	"strings"
)

// A Step is what a key or a click leads to.
type Step int

const (
	Stay   Step = iota // the person goes on typing
	Submit             // they want to sign in
	Cancel             // they do not
)

const (
	userField = iota
	domainField
	passwordField
	button
	places
)

// maxField is how many characters a field holds: what a Client Info PDU takes
// of each (MS-RDPBCGR 2.2.1.11.1.1), each of at most two units.
const maxField = 127

// A Form is one sign-in form. It is for one goroutine at a time.
type Form struct {
	size     image.Point // of the window it stands in
	where    string
	said     string
	busy     bool
	keyboard keyboard
	fields   [button][]rune // of a fixed capacity: nothing of them is left behind
	at       int            // where the person is
}

// New makes a form for a window: for a server, with the login the client sent
// and the keyboard layout it says it has.
func New(width, height int, where, user, domain string, layout uint32) *Form {
	f := &Form{size: image.Pt(width, height), where: where, keyboard: newKeyboard(layout)}
	for i, text := range [button]string{userField: user, domainField: domain} {
		f.fields[i] = make([]rune, 0, maxField)
		for _, c := range text {
			f.add(i, c)
		}
	}
	if user != "" {
		f.at = passwordField
	}
	return f
}

func (f *Form) add(field int, c rune) {
	if len(f.fields[field]) < maxField {
		f.fields[field] = append(f.fields[field], c)
	}
}

// Say puts a line into the form, such as why it is shown again.
func (f *Form) Say(text string) { f.said, f.busy = text, false }

// Wait shows that what was typed is being tried, and the line until then.
func (f *Form) Wait(text string) { f.said, f.busy = text, true }

// Locks takes what the client says of the locks of its keyboard.
func (f *Form) Locks(caps, num bool) { f.keyboard.caps, f.keyboard.num = caps, num }

// Key takes a key that goes down or up, by its scan code.
func (f *Form) Key(code uint16, extended, released bool) Step {
	if f.keyboard.modifier(code, extended, released) || released {
		return Stay
	}
	arrow := extended || !f.keyboard.num // else it is a digit of the keypad's
	switch {
	case code == keyEscape:
		return Cancel
	case code == keyEnter:
		return f.enter()
	case code == keyTab && f.keyboard.shifted(), code == keyUp && arrow:
		f.move(-1)
	case code == keyTab, code == keyDown && arrow:
		f.move(1)
	case code == keyBackspace:
		f.erase()
	default:
		f.put(f.keyboard.typed(code, extended))
	}
	return Stay
}

// Unicode takes a character that is typed without a key, one UTF-16 unit at a
// time.
func (f *Form) Unicode(unit uint16, released bool) Step {
	if released {
		return Stay
	}
	switch unit {
	case '\r', '\n':
		return f.enter()
	case '\t':
		f.move(1)
	case '\b', 0x7f:
		f.erase()
	case 0x1b:
		return Cancel
	default:
		f.put(f.keyboard.unicode(unit))
	}
	return Stay
}

// Click takes a press of the first button.
func (f *Form) Click(x, y int) Step {
	at := image.Pt(x, y).Sub(f.Box().Min)
	for i, r := range f.plan().places {
		if at.In(r) {
			f.at = i
			if i == button {
				return f.enter()
			}
		}
	}
	return Stay
}

func (f *Form) put(typed []rune) {
	for _, c := range typed {
		if f.at != button {
			f.add(f.at, c)
		}
	}
}

// erase takes the last character away.
func (f *Form) erase() {
	if f.keyboard.accent != 0 {
		f.keyboard.accent = 0
		return
	}
	if f.at == button || len(f.fields[f.at]) == 0 {
		return
	}
	field := f.fields[f.at]
	field[len(field)-1] = 0
	f.fields[f.at] = field[:len(field)-1]
}

func (f *Form) move(by int) { f.at = (f.at + by + places) % places }

// enter signs in with what there is, or goes where something is missing.
func (f *Form) enter() Step {
	f.keyboard.accent = 0
	for _, needed := range []int{userField, passwordField} {
		if len(f.fields[needed]) == 0 {
			f.at = needed
			return Stay
		}
	}
	return Submit
}

// Take returns what was typed and forgets the password. A domain may stand
// before the user's name, as Windows writes it.
func (f *Form) Take() (user, domain, password string) {
	user, domain, password = string(f.fields[userField]), string(f.fields[domainField]), string(f.fields[passwordField])
	if before, after, found := strings.Cut(user, `\`); found && domain == "" {
		domain, user = before, after
	}
	f.Forget()
	f.at = passwordField
	return user, domain, password
}

// Forget wipes the password.
func (f *Form) Forget() {
	password := f.fields[passwordField]
	clear(password[:cap(password)])
	f.fields[passwordField] = password[:0]
	f.keyboard.accent, f.keyboard.high = 0, 0
}
