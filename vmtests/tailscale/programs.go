//go:build programs

// Package tailscale keeps what the stories with Tailscale run, tailscaled and
// the tailnet it joins (tsctl), in a module of its own: its hundreds of
// requirements are nobody else's. lab.Tailscale builds it.
package tailscale

import (
	_ "tailscale.com/cmd/featuretags"
	_ "tailscale.com/cmd/tailscaled"
)
