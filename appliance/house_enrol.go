package appliance

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

func (h *House) Enrolments(ctx context.Context, f api.CredentialFilter) ([]api.Enrolment, error) {
	person, err := h.personFilter(f.Person)
	if err != nil {
		return nil, err
	}
	rows, err := h.Store.Enrolments(ctx, person)
	if err != nil {
		return nil, asProblem(err, "")
	}
	wire := []api.Enrolment{}
	for _, e := range rows {
		wire = append(wire, h.wireEnrolment(e))
	}
	return wire, nil
}

func (h *House) wireEnrolment(e store.Enrolment) api.Enrolment {
	n := namer{h.Book()}
	return api.Enrolment{
		Gate: e.Gate, Person: n.person(e.Person), Server: n.server(e.Server), Address: e.Dest.String(), Login: e.Login,
		State: string(e.State), Detail: e.Detail, Since: e.Since,
	}
}

func (h *House) Unenroll(ctx context.Context, u api.Unenrolment) ([]api.Enrolment, error) {
	p, err := h.personNamed(u.Person)
	if err != nil {
		return nil, err
	}
	s, err := h.serverNamed(u.Server)
	if err != nil {
		return nil, err
	}
	rows, err := h.Store.Enrolments(ctx, p.ID)
	if err != nil {
		return nil, asProblem(err, "")
	}
	left := []api.Enrolment{}
	for _, e := range rows {
		if e.Server != s.ID || u.Login != "" && e.Login != u.Login {
			continue
		}
		if err := h.unenroll(ctx, p, &e, u.Forget); err != nil {
			return nil, err
		}
		left = append(left, h.wireEnrolment(e))
	}
	if len(left) == 0 {
		return nil, api.NewProblem(api.CodeNotFound, fmt.Sprintf("%s is enrolled in no such account of %s", p.Name, s.Name), "inside credential enrolled "+p.Name)
	}
	return left, nil
}

// unenroll ends one enrolment, or has it say why that was not possible.
func (h *House) unenroll(ctx context.Context, p *policy.Person, e *store.Enrolment, forget bool) error {
	if forget {
		e.State, e.Detail = "forgotten", "a line that is still there stays there"
		return asProblem(h.Store.ForgetEnrolment(ctx, api.By(ctx), *e, e.Detail), "")
	}
	gone, err := h.takeOut(ctx, p, *e)
	if err != nil {
		e.Detail = err.Error()
		return nil
	}
	e.State, e.Detail, e.Since = store.EnrolmentEnded, gone, h.Now()
	return asProblem(h.Store.SetEnrolment(ctx, api.By(ctx), *e), "")
}

// takeOut has the gate take its key out of an account.
func (h *House) takeOut(ctx context.Context, p *policy.Person, e store.Enrolment) (gone string, err error) {
	switch {
	case e.State == store.EnrolmentEnded:
		return e.Detail, nil
	case e.Gate != h.Gate:
		return "", fmt.Errorf("%s has enrolled it, from its own address: ask there", e.Gate)
	}
	credentials, err := h.Store.Credentials(ctx, p.ID)
	if err != nil {
		return "", err
	}
	for _, c := range credentials {
		if c.ID == e.Credential {
			return h.Errands.TakeOut(ctx, e, c, nameOfClient(p, e.Dest.Addr()))
		}
	}
	return "", fmt.Errorf("credential %s is gone: take the line that ends in inside:%s out by hand", e.Credential, p.Name)
}

// nameOfClient is an address of the person's for a dial in their name; the
// server is reached in their name only with source = "client".
func nameOfClient(p *policy.Person, server netip.Addr) netip.AddrPort {
	for _, a := range p.Addresses {
		if !a.Disabled && a.Prefix.IsSingleIP() && a.Prefix.Addr().Is4() == server.Is4() {
			return netip.AddrPortFrom(a.Prefix.Addr(), 0)
		}
	}
	return netip.AddrPort{}
}
