// Package lab boots whole machines for tests: a Debian with systemd as PID 1,
// in systemd-nspawn, that is the gateway of a lab of network namespaces
// (github.com/pawelmojski/inside/netfilter/nettest). Client and server stay
// outside of it, as they do in life. Only the stories of this module use it.
package lab
