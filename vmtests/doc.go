// Package vmtests holds tests of the whole that need what the product must not
// depend on. It is a Go module of its own, so that nothing it requires is
// required by what is shipped: `make test` and `make lint` run it beside the
// others. There is nothing here but tests; nobody imports it.
//
// tailscale/ is a further module, of what a tailnet is made of: tailscaled and
// Tailscale's own control server for tests. Only lab.Tailscale builds it.
//
// The decoders of RDP are compared with those of github.com/tomatome/grdp, which
// is GPL-3.0: it is linked into the test binary of this module, which nobody
// distributes, and into nothing else (packaging/doc/decisions/0023).
package vmtests
