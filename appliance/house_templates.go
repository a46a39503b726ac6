package appliance

import (
	"context"
	"slices"
	"strings"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

func (h *House) Templates(ctx context.Context) ([]api.Template, error) {
	templates, err := h.Store.Templates(ctx)
	if err != nil {
		return nil, asProblem(err, "")
	}
	wire := make([]api.Template, 0, len(templates))
	for _, t := range templates {
		wire = append(wire, wireTemplate(t))
	}
	return wire, nil
}

func (h *House) Template(ctx context.Context, name string) (api.Template, error) {
	templates, err := h.Templates(ctx)
	if err != nil {
		return api.Template{}, err
	}
	i := slices.IndexFunc(templates, func(t api.Template) bool { return t.Name == name })
	if i < 0 {
		return api.Template{}, unknown("template", name, nameOf(templates, func(t api.Template) string { return t.Name }))
	}
	return templates[i], nil
}

func (h *House) CreateTemplate(ctx context.Context, asked api.NewTemplate) (api.Template, error) {
	t := store.Template{Name: asked.Name, Permanent: asked.Permanent}
	g := &t.Options
	like := api.NewGrant{
		Protocols: asked.Protocols, Logins: asked.Logins, Forwarding: asked.Forwarding, Redirection: asked.Redirection, Duration: asked.Duration, Permanent: asked.Permanent,
		Schedules: asked.Schedules, Idle: asked.Idle, MaxSessions: asked.MaxSessions, MaxEntries: asked.MaxEntries, Renew: asked.Renew,
	}
	now := h.Now()
	if err := how(like, g); err != nil {
		return api.Template{}, err
	}
	if err := howLong(like, g, now); err != nil {
		return api.Template{}, err
	}
	if asked.Duration != "" {
		t.Length = g.End.Sub(now)
	}
	if err := when(like, g); err != nil {
		return api.Template{}, err
	}
	if err := howMuch(like, g); err != nil {
		return api.Template{}, err
	}
	if err := renewing(like, g); err != nil {
		return api.Template{}, err
	}
	g.Reason = asked.Reason
	t, err := h.Store.CreateTemplate(ctx, api.By(ctx), t)
	if err != nil {
		return api.Template{}, asProblem(err, "inside template list")
	}
	return wireTemplate(t), h.acted(ctx)
}

func (h *House) RemoveTemplate(ctx context.Context, name string) (api.Template, error) {
	if _, err := h.Template(ctx, name); err != nil {
		return api.Template{}, err // with the name that was perhaps meant
	}
	t, err := h.Store.RemoveTemplate(ctx, api.By(ctx), name)
	if err != nil {
		return api.Template{}, asProblem(err, "inside template list")
	}
	return wireTemplate(t), h.acted(ctx)
}

// byTemplate gives what was asked for what it leaves to its template.
func (h *House) byTemplate(ctx context.Context, asked api.NewGrant) (api.NewGrant, error) {
	if asked.Template == "" {
		return asked, nil
	}
	t, err := h.Template(ctx, asked.Template)
	if err != nil {
		return asked, err
	}
	if len(asked.Protocols) == 0 {
		asked.Protocols = t.Protocols
	}
	if len(asked.Logins) == 0 {
		asked.Logins = t.Logins
	}
	if len(asked.Forwarding) == 0 {
		asked.Forwarding = t.Forwarding
	}
	if len(asked.Redirection) == 0 {
		asked.Redirection = t.Redirection
	}
	if len(asked.Schedules) == 0 {
		asked.Schedules = t.Schedules
	}
	if asked.Duration == "" && !asked.Permanent && asked.Start.IsZero() && asked.End.IsZero() {
		asked.Duration, asked.Permanent = t.Duration, t.Permanent
		asked.Renew = asked.Renew || t.Renew // which goes with the length
	}
	if asked.Idle == "" {
		asked.Idle = t.Idle
	}
	if asked.MaxSessions == 0 {
		asked.MaxSessions = t.MaxSessions
	}
	if asked.MaxEntries == "" {
		asked.MaxEntries = t.MaxEntries
	}
	if asked.Reason == "" {
		asked.Reason = t.Reason
	}
	return asked, nil
}

func wireTemplate(t store.Template) api.Template {
	g := t.Options
	wire := api.Template{Created: g.Created, CreatedBy: g.CreatedBy, NewTemplate: api.NewTemplate{
		Name: t.Name, Logins: g.Logins, Duration: policy.ExactDuration(t.Length), Permanent: t.Permanent,
		Idle: policy.ExactDuration(g.Idle), MaxSessions: g.MaxSessions, MaxEntries: g.MaxEntries.String(), Renew: g.Renew != 0, Reason: g.Reason,
	}}
	for _, p := range g.Protocols {
		wire.Protocols = append(wire.Protocols, string(p))
	}
	if g.Forwarding != 0 {
		wire.Forwarding = strings.Split(g.Forwarding.String(), ",")
	}
	if g.Redirection != 0 {
		wire.Redirection = strings.Split(g.Redirection.String(), ",")
	}
	for _, s := range g.Schedules {
		wire.Schedules = append(wire.Schedules, api.Schedule{Windows: s.String(), Zone: s.Zone()})
	}
	return wire
}
