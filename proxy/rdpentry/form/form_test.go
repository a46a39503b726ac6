package form

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
)

const (
	us, uk, de, pl = 0x0409, 0x0809, 0x0407, 0x0415
	altGr          = 1 << 8 // beside a scan code: the key is extended
)

// press has keys go down and up in this order: those in held first, all of
// them up after the last.
func press(f *Form, held []uint16, codes ...uint16) (last Step) {
	for _, c := range held {
		f.Key(c&0xff, c&altGr != 0, false)
	}
	for _, c := range codes {
		last = f.Key(c&0xff, c&altGr != 0, false)
		f.Key(c&0xff, c&altGr != 0, true)
	}
	for _, c := range held {
		f.Key(c&0xff, c&altGr != 0, true)
	}
	return last
}

func TestKeysTypeWhatStandsOnThem(t *testing.T) {
	shift, ctrl, alt, right := []uint16{keyLeftShift}, uint16(keyControl), uint16(keyAlt), uint16(altGr|keyAlt)
	for _, c := range []struct {
		name   string
		layout uint32
		held   []uint16
		codes  []uint16
		want   string
	}{
		{"US", us, nil, []uint16{0x29, 2, 11, 12, 13, 0x10, 0x1a, 0x1e, 0x27, 0x28, 0x2b, 0x2c, 0x35, 0x39}, "`10-=q[a;'\\z/ "},
		{"US with Shift", us, shift, []uint16{0x29, 3, 8, 0x15, 0x28, 0x2b, 0x33}, "~@&Y\"|<"},
		{"US with the right Alt is a shortcut", us, []uint16{right}, []uint16{0x1e}, ""},
		{"UK", uk, nil, []uint16{0x28, 0x2b, 0x56}, "'#\\"},
		{"UK with Shift", uk, shift, []uint16{3, 4, 0x28, 0x29, 0x2b, 0x56}, "\"£@¬~|"},
		{"UK with AltGr", uk, []uint16{right}, []uint16{5, 0x12, 0x16, 0x17, 0x18, 0x1e, 0x29}, "€éúíóá¦"},
		{"German", de, nil, []uint16{0x15, 0x2c, 12, 0x1a, 0x1b, 0x27, 0x28, 0x2b, 0x35, 0x56}, "zyßü+öä#-<"},
		{"German with Shift", de, shift, []uint16{2, 4, 8, 11, 12, 0x15, 0x1a, 0x29, 0x2b, 0x33, 0x35, 0x56}, "!§/=?ZÜ°';_>"},
		{"German with AltGr", de, []uint16{right}, []uint16{3, 4, 8, 9, 10, 11, 12, 0x10, 0x12, 0x1b, 0x32, 0x56}, "²³{[]}\\@€~µ|"},
		{"AltGr as Windows sends it", de, []uint16{ctrl, right}, []uint16{0x10}, "@"},
		{"Control and Alt are AltGr", de, []uint16{ctrl, alt}, []uint16{0x10}, "@"},
		{"German accents", de, nil, []uint16{0x29, 0x12, 13, 0x1e, 13, 0x2f, 0x29, 0x39}, "êá´v^"},
		{"two accents", de, nil, []uint16{0x29, 0x29, 0x1e}, "^^a"},
		{"a German grave", de, shift, []uint16{13, 0x1e}, "À"},
		{"Polish", pl, nil, []uint16{0x15, 0x2c, 0x27}, "yz;"},
		{"Polish with AltGr", pl, []uint16{right}, []uint16{0x1e, 0x2e, 0x12, 0x26, 0x31, 0x18, 0x1f, 0x2d, 0x2c, 0x16}, "ąćęłńóśźż€"},
		{"Polish with AltGr and Shift", pl, []uint16{right, keyShift}, []uint16{0x1e, 0x2e, 0x12, 0x26, 0x31, 0x18, 0x1f, 0x2d, 0x2c, 0x16}, "ĄĆĘŁŃÓŚŹŻ"},
		{"Control is a shortcut", pl, []uint16{ctrl}, []uint16{0x1e}, ""},
		{"an unknown layout is the US one", 0x040c, nil, []uint16{0x10}, "q"},
		{"the keypad", us, nil, []uint16{keyNum, 0x47, 0x50, 0x52, 0x53, 0x4a, 0x4e, 0x37, altGr | 0x35}, "720.-+*/"},
		{"the keypad without its lock", us, nil, []uint16{0x4a, 0x4e}, "-+"},
		{"Shift that only goes around an arrow", us, []uint16{altGr | keyLeftShift}, []uint16{0x1e}, "a"},
		{"keys nobody has", us, nil, []uint16{0, 0x54, 0x5b, 0x7f, 0xff}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := New(800, 600, "desk", "", "", c.layout)
			press(f, c.held, c.codes...)
			if got := string(f.fields[userField]); got != c.want {
				t.Errorf("typed %q, want %q", got, c.want)
			}
		})
	}
}

func TestCapsLockIsHeeded(t *testing.T) {
	for _, c := range []struct {
		name   string
		layout uint32
		do     func(*Form)
		want   string
	}{
		{"letters", us, func(f *Form) { press(f, nil, keyCaps, 0x1e, 2, 0x28) }, "A1'"},
		{"with Shift", us, func(f *Form) { press(f, nil, keyCaps); press(f, []uint16{keyShift}, 0x1e, 2) }, "a!"},
		{"twice", us, func(f *Form) { press(f, nil, keyCaps, keyCaps, 0x1e) }, "a"},
		{"held", us, func(f *Form) { f.Key(keyCaps, false, false); press(f, nil, keyCaps, 0x1e) }, "A"},
		{"umlauts", de, func(f *Form) { press(f, nil, keyCaps, 0x1a, 12) }, "Üß"},
		{"with AltGr", pl, func(f *Form) { press(f, nil, keyCaps); press(f, []uint16{altGr | keyAlt}, 0x1e) }, "Ą"},
		{"the client says so", us, func(f *Form) { f.Locks(true, true); press(f, nil, 0x1e, 0x4f) }, "A1"},
		{"the client says no more", us, func(f *Form) { f.Locks(true, false); f.Locks(false, false); press(f, nil, 0x1e) }, "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := New(800, 600, "desk", "", "", c.layout)
			c.do(f)
			if got := string(f.fields[userField]); got != c.want {
				t.Errorf("typed %q, want %q", got, c.want)
			}
		})
	}
	f := New(800, 600, "desk", "", "", us)
	off := drawn(f)
	press(f, nil, keyCaps)
	if on := drawn(f); slices.Equal(on.Pix, off.Pix) {
		t.Error("nobody sees that Caps Lock is on")
	}
}

func TestCharactersNeedNoKeys(t *testing.T) {
	f := New(800, 600, "desk", "", "", us)
	for _, unit := range []uint16{'ż', 0xd83d, 0xde00, 'b', '\b', 0xdc00, 0xd800, 'x', 0, 7, 'y'} {
		f.Unicode(unit, false)
		f.Unicode(unit, true)
	}
	if got := string(f.fields[userField]); got != "ż😀xy" {
		t.Errorf("typed %q", got)
	}
	f.Unicode('\t', false)
	if f.at != domainField {
		t.Error("a tab does not lead on")
	}
	if f.Unicode(0x1b, false) != Cancel {
		t.Error("Escape does not leave")
	}
}

func TestThePersonFindsTheirWay(t *testing.T) {
	f := New(800, 600, "desk", "ideo", "LAB", us)
	if f.at != passwordField {
		t.Error("who sent a login is not asked for the password first")
	}
	if press(f, nil, keyEnter) != Stay {
		t.Error("the form is sent without a password")
	}
	press(f, nil, 0x19, 0x1e)                        // pa
	press(f, nil, keyTab, 0x1e, keyTab, keyDown)     // the button, where nothing is typed; the user; the domain
	press(f, nil, keyBackspace, keyBackspace, keyUp) // the user again
	press(f, nil, keyBackspace, 0x1e)
	if diff := cmp.Diff([]string{"idea", "L", "pa"}, texts(f)); diff != "" {
		t.Error(diff)
	}
	press(f, []uint16{keyLeftShift}, keyTab)
	if f.at != button || press(f, nil, keyBackspace, keyEnter) != Submit {
		t.Error("Shift and Tab do not lead back to the button, or it does nothing")
	}
	if press(f, nil, altGr|keyEnter) != Submit {
		t.Error("the keypad's Enter does nothing")
	}
	if press(f, nil, keyEscape) != Cancel {
		t.Error("Escape does not leave")
	}
	user, domain, password := f.Take()
	if user != "idea" || domain != "L" || password != "pa" {
		t.Errorf("taken %q, %q, %q", user, domain, password)
	}
	if f.at != passwordField || press(f, nil, keyEnter) != Stay {
		t.Error("the password is not asked for again")
	}
}

func texts(f *Form) (all []string) {
	for _, field := range f.fields {
		all = append(all, string(field))
	}
	return all
}

func TestClicksLandWhereTheyAre(t *testing.T) {
	for _, size := range [][2]int{{200, 200}, {640, 480}, {800, 600}, {1920, 1080}, {8192, 4096}} {
		f := New(size[0], size[1], "desk (10.30.0.140)", "ideo", "", us)
		press(f, nil, 0x1e)
		for i, r := range f.plan().places {
			r = r.Add(f.Box().Min)
			if f.Click(r.Min.X, r.Min.Y); f.at != i {
				t.Errorf("%v: a click on %d leads to %d", size, i, f.at)
			}
			if f.Click(r.Max.X-1, r.Max.Y-1); f.at != i {
				t.Errorf("%v: a click at the end of %d leads to %d", size, i, f.at)
			}
		}
		at := f.at
		for _, p := range [][2]int{{0, 0}, {size[0] - 1, size[1] - 1}, {65535, 65535}} {
			if f.Click(p[0], p[1]) != Stay || f.at != at && size[0] > 200 {
				t.Errorf("%v: a click outside does something", size)
			}
		}
	}
	f := New(800, 600, "desk", "ideo", "", us)
	press(f, nil, 0x1e)
	b := f.plan().places[button].Add(f.Box().Min)
	if f.Click(b.Min.X, b.Min.Y) != Submit {
		t.Error("a click on the button does not sign in")
	}
}

func TestAPasswordIsShownAsDotsAndForgotten(t *testing.T) {
	type_ := func(text string) *Form {
		f := New(800, 600, "desk", "ideo", "", us)
		for _, c := range text {
			f.Unicode(uint16(c), false)
		}
		return f
	}
	f := type_("secret!")
	if !slices.Equal(drawn(f).Pix, drawn(type_("another")).Pix) {
		t.Error("the password can be read off the screen")
	}
	if slices.Equal(drawn(f).Pix, drawn(type_("short")).Pix) {
		t.Error("nobody sees that something is typed")
	}
	memory := f.fields[passwordField]
	if _, _, password := f.Take(); password != "secret!" {
		t.Errorf("taken %q", password)
	}
	if !slices.Equal(memory, make([]rune, len(memory))) {
		t.Error("the form still holds the password")
	}
	f = type_(strings.Repeat("x", 10_000))
	first := &f.fields[passwordField][0]
	f.Unicode('y', false)
	if len(f.fields[passwordField]) != maxField || first != &f.fields[passwordField][0] {
		t.Errorf("%d characters are held, or the password was copied about", len(f.fields[passwordField]))
	}
	f.Key(keyBackspace, false, false)
	if f.fields[passwordField][:maxField][maxField-1] != 0 {
		t.Error("what was taken back is still held")
	}
}

func TestADomainMayStandBeforeTheUser(t *testing.T) {
	for _, c := range []struct{ user, domain, wantUser, wantDomain string }{
		{`LAB\ideo`, "", "ideo", "LAB"},
		{`LAB\ideo`, "OTHER", `LAB\ideo`, "OTHER"},
		{"ideo@lab.example", "", "ideo@lab.example", ""},
		{"ideo", "LAB", "ideo", "LAB"},
	} {
		if user, domain, _ := New(800, 600, "desk", c.user, c.domain, us).Take(); user != c.wantUser || domain != c.wantDomain {
			t.Errorf("%q, %q: taken %q, %q", c.user, c.domain, user, domain)
		}
	}
}

func drawn(f *Form) screen.Picture {
	size := f.Box().Size()
	p := screen.NewPicture(size.X, size.Y)
	f.Draw(p)
	return p
}

func TestTheFormFitsAnyWindow(t *testing.T) {
	for _, size := range [][2]int{{200, 200}, {201, 4096}, {640, 480}, {720, 420}, {4096, 200}, {4096, 4096}} {
		for _, text := range []string{"", strings.Repeat("long ", 90), strings.Repeat("w", 300)} {
			f := New(size[0], size[1], text, text, text, 0x040c)
			f.Say(text)
			box := f.Box()
			if box.Min.X < 0 || box.Min.Y < 0 || box.Max.X > size[0] || box.Max.Y > size[1] || box.Empty() {
				t.Errorf("%v: the form stands at %v", size, box)
			}
			drawn(f)
			f.Wait(text)
			drawn(f)
		}
	}
}

func FuzzForm(f *testing.F) {
	f.Add(uint32(us), []byte{0, 0x1e, 0, 1, 0x41, 0, 2, 100, 3})
	f.Add(uint32(de), []byte{0, 0x29, 0, 0, 0x12, 0, 3, 3, 0})
	f.Fuzz(func(t *testing.T, layout uint32, events []byte) {
		form := New(640, 480, "desk", "", "", layout)
		for ; len(events) >= 3; events = events[3:] {
			a, b := events[1], events[2]
			switch events[0] % 5 {
			case 0:
				form.Key(uint16(a), b&1 != 0, b&2 != 0)
			case 1:
				form.Unicode(uint16(a)|uint16(b)<<8, false)
			case 2:
				form.Click(int(a)*4, int(b)*4)
			case 3:
				form.Locks(a != 0, b != 0)
			case 4:
				form.Take()
			}
		}
		for i, field := range form.fields {
			if len(field) > maxField || cap(field) != maxField {
				t.Errorf("field %d holds %d characters of %d", i, len(field), cap(field))
			}
		}
		drawn(form)
	})
}

func ExampleForm() {
	f := New(800, 600, "desk (10.30.0.140)", "ideo", "", 0x0415)
	press(f, nil, 0x1f, 0x12, 0x2e, 0x13, 0x12, 0x14)
	fmt.Println(press(f, nil, keyEnter) == Submit)
	fmt.Println(f.Take())
	// Output:
	// true
	// ideo  secret
}
