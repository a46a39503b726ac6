// Package netfilter is the kernel side of a gate: the nftables rules, routing
// rules and routes that bring a person's connection to a local socket, the
// listeners that accept it, and the watch that puts everything back when
// somebody removes it.
//
// It knows packets, not people: whether a connection may go on is decided by
// its caller, the appliance.
//
// The way of a packet that is to be intercepted:
//
//	prerouting  mark it, tproxy it to the listener      (nobody listens: RST)
//	ip rule 900 marked and from a person's interface → table 2600
//	table 2600  everything is local: deliver it here
//	input       the listener accepts; its local address is what was dialled
//
// The package fails closed three times over. tproxy lets a packet pass when
// nobody listens (net/netfilter/nft_tproxy.c: NFT_BREAK), so each tproxy rule
// is followed by a reset of the same match. The forward chain drops what the
// routing did not deliver here. And ip rules at 910, outside nftables, prohibit
// the way around the gate even after `nft flush ruleset`; both kinds of ip rules
// move further ahead when somebody else's come before them. With Other Forward
// these guards name ports, and a SYN cut into fragments gets past them in the
// moment until the gate has repaired its table, for as long as nobody repairs
// it if the gate is away; with Other Drop it does not.
package netfilter
