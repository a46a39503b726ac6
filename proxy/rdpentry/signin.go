package rdpentry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/rdpentry/credssp"
	"github.com/pawelmojski/inside/proxy/rdpentry/form"
	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording"
)

const (
	// maxTries is how many logins somebody may try in the sign-in form.
	maxTries = 3

	// drawEvery is the least time between two pictures of the form: a client
	// that types like a machine is not drawn for like one.
	drawEvery = 25 * time.Millisecond
)

var (
	errGivenUp = errors.New("nothing was entered in the sign-in form")
	errLeft    = errors.New("the client left while the sign-in form was shown")
	errDawdled = errors.New("nothing was entered in the sign-in form for too long")
)

// wanting says, in words for the form, what the client has not sent and must
// be typed; "" where that is not what is wrong.
func wanting(err error) string {
	switch {
	case errors.Is(err, errNLA):
		return "This server wants a password before it shows anything."
	case errors.Is(err, errNameless):
		return "Please say as whom you want to sign in."
	}
	return ""
}

// signIn asks the person for what their client did not send and goes to the
// server with it. Nothing is held open there while somebody types, and what
// was typed is nowhere but in the form and in what is sent.
func (f *flow) signIn(ctx context.Context, why string) error {
	var result error
	err := f.guarded(ctx, f.client, func() error {
		f.client.raw.SetReadDeadline(time.Now().Add(f.grace() / 4))
		p, err := f.openPage()
		if err != nil {
			result = f.formEnded(err)
			return result
		}
		f.client.raw.SetReadDeadline(time.Time{})
		f.typed = true
		s := signIn{f: f, page: p, form: form.New(p.width, p.height, f.where(), f.info.User, f.info.Domain, f.data.Core.Keyboard())}
		defer s.form.Forget()
		s.form.Say(why)
		result = s.run(ctx)
		return result
	})
	if result != nil {
		return result
	}
	return err
}

type signIn struct {
	f     *flow
	page  *page
	form  *form.Form
	next  screen.Picture // what is drawn on, kept for the next time
	drawn time.Time
}

// run asks until the server lets somebody in, or they have tried enough.
func (s *signIn) run(ctx context.Context) error {
	for left := maxTries - 1; ; left-- {
		if s.f.server != nil {
			s.f.server.close()
		}
		if err := s.ask(); err != nil {
			return s.f.formEnded(err)
		}
		err := s.try(ctx)
		if err == nil {
			return nil
		}
		s.f.info.Password = ""
		said, again := s.refused(err)
		if !again || ctx.Err() != nil {
			return err
		}
		s.f.tries = append(s.f.tries, recording.Event{Time: time.Now(), Kind: "login-refused", Detail: said})
		s.f.log.Info("sign-in refused", "login", s.f.login, "why", said)
		switch left {
		case 0:
			return s.tooMany(err)
		case 1:
			said += ". You may try once more."
		default:
			said += fmt.Sprintf(". You may try %d times more.", left)
		}
		s.form.Say(said)
	}
}

// refused says what was wrong with a login, and whether another may be right.
func (s *signIn) refused(err error) (said string, again bool) {
	var r *proxy.Refusal
	switch {
	case errors.Is(err, credssp.ErrRefused):
		return "The server did not accept this password for " + s.f.login, true
	case errors.As(err, &r) && r.Verdict.Denial == policy.WrongLogin:
		return "Your grant for this server does not cover the login " + s.f.login, true
	}
	return "", false
}

// tooMany is the last refusal, which tells of those before.
func (s *signIn) tooMany(last error) error {
	err := fmt.Errorf("%d logins were tried in the sign-in form", maxTries)
	var r *proxy.Refusal
	if errors.As(last, &r) && r.Err != nil {
		err = fmt.Errorf("%w, the last: %w", err, r.Err)
	}
	refusal := s.f.refusal(policy.NotAuthenticated, err)
	if r != nil {
		refusal.Verdict = r.Verdict
	}
	return refusal
}

// formEnded is the refusal of somebody who entered nothing.
func (f *flow) formEnded(err error) error {
	switch {
	case errors.Is(err, wire.ErrMalformed), errors.Is(err, errEndless), errors.Is(err, errTooEarly):
		return f.refusal(policy.ProtocolError, err)
	case errors.Is(err, errGivenUp), errors.Is(err, errDawdled):
		return f.refusal(policy.NotAuthenticated, err)
	}
	return f.refusal(policy.NotAuthenticated, errLeft)
}

// ask shows the form until it is to be sent.
func (s *signIn) ask() error {
	dawdled := make(chan struct{})
	late := time.AfterFunc(s.f.grace(), func() {
		close(dawdled)
		s.f.client.raw.SetReadDeadline(time.Now())
	})
	err := s.typing()
	if !late.Stop() {
		<-dawdled
		err = errDawdled
	}
	s.f.client.raw.SetReadDeadline(time.Time{})
	return err
}

func (s *signIn) typing() error {
	for changed := true; ; {
		if changed {
			if err := s.draw(); err != nil {
				return err
			}
		}
		inputs, err := s.page.input()
		if err != nil {
			return err
		}
		changed = false
		for _, in := range inputs {
			changed = changed || in.Kind != wire.InputMouse && !in.Released || in.Pressed
			switch s.step(in) {
			case form.Submit:
				return nil
			case form.Cancel:
				return errGivenUp
			}
		}
	}
}

func (s *signIn) step(in wire.Input) form.Step {
	switch in.Kind {
	case wire.InputKey:
		return s.form.Key(in.Code, in.Extended, in.Released)
	case wire.InputUnicode:
		return s.form.Unicode(in.Code, in.Released)
	case wire.InputLocks:
		s.form.Locks(in.Caps, in.Num)
	case wire.InputMouse:
		if in.Pressed {
			return s.form.Click(int(in.X), int(in.Y))
		}
	}
	return form.Stay
}

func (s *signIn) draw() error {
	time.Sleep(time.Until(s.drawn.Add(drawEvery)))
	box := s.form.Box()
	if s.next.Pix == nil {
		s.next = screen.NewPicture(box.Dx(), box.Dy())
	}
	s.form.Draw(s.next)
	s.drawn = time.Now()
	return s.page.show(s.next, box.Min)
}

// try goes to the server with what was typed, once that login was decided
// about.
func (s *signIn) try(ctx context.Context) error {
	f := s.f
	user, domain, password := s.form.Take()
	f.info.Login(domain, user, password)
	f.login = user
	if domain != "" {
		f.login = domain + `\` + user
	}
	if err := f.decideLogin(); err != nil {
		return err
	}
	s.form.Wait("Asking the server...")
	if err := s.draw(); err != nil {
		return s.f.formEnded(err)
	}
	return f.reach(ctx)
}
