// Package lab boots whole machines for tests, as the gateway between a client
// and a server that stay outside of it, as they do in life
// (github.com/pawelmojski/inside/netfilter/nettest): a Debian with systemd as
// PID 1, either in systemd-nspawn ([Boot]) or, where it takes a kernel of its
// own, in an emulated computer ([Prepare]). Only the stories of this module use
// it.
package lab
