// Package appliance is the machine: it wires kernel, policy, proxies and
// store together and owns the life of a flow. Read flow.go first.
//
// It decides nothing itself (policy does), speaks no protocol (proxy does) and
// knows neither SQL (store) nor netlink (netfilter). cmd/insided calls it.
package appliance
