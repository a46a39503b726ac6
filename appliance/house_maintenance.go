package appliance

import (
	"context"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
)

// usualGrace is how long sessions have on a server that is put under
// maintenance, where nothing else was said: enough for both warnings.
const usualGrace = 15 * time.Minute

// Maintain keeps everybody new out of a server at once and ends the sessions
// there at the time asked for.
func (h *House) Maintain(ctx context.Context, name string, asked api.NewMaintenance) (api.Server, error) {
	v, err := h.serverNamed(name)
	if err != nil {
		return api.Server{}, err
	}
	if err := versionGiven(asked.Version, "inside server show "+v.Name); err != nil {
		return api.Server{}, err
	}
	m, err := h.maintenance(v, asked, h.Now())
	if err != nil {
		return api.Server{}, err
	}
	if err := h.Store.Maintain(ctx, api.By(ctx), v.ID, asked.Version, m); err != nil {
		return api.Server{}, asProblem(err, "inside server show "+v.Name)
	}
	if err := h.acted(ctx); err != nil {
		return api.Server{}, err
	}
	return h.Server(ctx, v.Name)
}

// maintenance makes what was asked for; nil ends it.
func (h *House) maintenance(v *policy.Server, asked api.NewMaintenance, now time.Time) (*policy.Maintenance, error) {
	if asked.Off {
		if asked.In != "" || !asked.At.IsZero() || !asked.Until.IsZero() || len(asked.Exempt) > 0 || asked.Reason != "" {
			return nil, invalid("inside server maintenance "+v.Name+" --off", "the end of the maintenance takes nothing else")
		}
		if v.Maintenance == nil {
			return nil, conflict("inside server show "+v.Name, "server %s is not under maintenance", v.Name)
		}
		return nil, nil
	}
	m := &policy.Maintenance{From: now, Until: asked.Until, Reason: asked.Reason}
	switch {
	case asked.In != "" && !asked.At.IsZero():
		return nil, invalid("choose one; without either sessions have 15 minutes", "when do the sessions end? --in and --at exclude each other")
	case asked.In == "0s" || asked.In == "0":
		m.Clear = now
	case asked.In != "":
		d, err := policy.ParseDuration(asked.In)
		if err != nil {
			return nil, invalid("", "%v", err)
		}
		m.Clear = now.Add(d)
	case asked.At.IsZero():
		m.Clear = now.Add(usualGrace)
	case asked.At.Before(now):
		return nil, invalid("to end the sessions at once: --in 0s", "the sessions would end at %s, which is over", asked.At.Format(time.RFC3339))
	default:
		m.Clear = asked.At
	}
	if v.Maintenance != nil && !v.Maintenance.Over(now) {
		m.From = v.Maintenance.From // it has begun; this changes how it goes on
	}
	for _, name := range asked.Exempt {
		p, err := h.personNamed(name)
		if err != nil {
			return nil, err
		}
		m.Exempt = append(m.Exempt, p.ID)
	}
	return m, nil
}

func wireMaintenance(b *policy.Book, m *policy.Maintenance, now time.Time) *api.Maintenance {
	if m == nil {
		return nil
	}
	wire := &api.Maintenance{From: m.From, Clear: m.Clear, Until: m.Until, Reason: m.Reason, Exempt: []string{}}
	for _, id := range m.Exempt {
		wire.Exempt = append(wire.Exempt, namer{b}.person(id))
	}
	switch {
	case m.Over(now):
		wire.State = "over"
	case now.Before(m.From):
		wire.State = "announced"
	case now.Before(m.Clear):
		wire.State = "clearing"
	default:
		wire.State = "clear"
	}
	return wire
}

// versionGiven refuses a change that does not say what it is based on.
func versionGiven(version int64, look string) error {
	if version > 0 {
		return nil
	}
	return invalid(look, "version is missing: send the one that came with what the change is based on")
}
