package netfilter

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// generation is a number that grows with every change of nftables, whoever
// makes it.
func (k *kernel) generation() (uint32, error) {
	replies, err := k.askNFT(unix.NFT_MSG_GETGEN, 0, unix.NFT_MSG_NEWGEN)
	if err != nil {
		return 0, fmt.Errorf("nftables generation: %w", err)
	}
	for _, b := range replies {
		for typ, v := range attributes(b) {
			if typ == unix.NFTA_GEN_ID {
				return bigNumber(v), nil
			}
		}
	}
	return 0, errors.New("nftables generation: the kernel gave no answer")
}

// askNFT sends a request of nftables and returns the attributes of the
// replies.
func (k *kernel) askNFT(request, flags, reply int, data ...nl.NetlinkRequestData) ([][]byte, error) {
	data = append([]nl.NetlinkRequestData{&nl.Nfgenmsg{NfgenFamily: unix.NFPROTO_INET}}, data...)
	replies, err := k.ask(unix.NETLINK_NETFILTER, unix.NFNL_SUBSYS_NFTABLES<<8|request, flags, uint16(unix.NFNL_SUBSYS_NFTABLES<<8|reply), data...)
	if err != nil {
		return nil, explain("nftables", err)
	}
	var bodies [][]byte
	for _, b := range replies {
		if len(b) >= nl.SizeofNfgenmsg {
			bodies = append(bodies, b[nl.SizeofNfgenmsg:])
		}
	}
	return bodies, nil
}

// compareTable reads our table back and tells, in words, how it differs from
// what it should be.
//
// The library writes rules but cannot read all of them (it knows no tproxy
// and no socket expression), so this compares the kernel's own bytes.
func (k *kernel) compareTable(r Rules) (differences []string, err error) {
	tables, err := k.askNFT(unix.NFT_MSG_GETTABLE, 0, unix.NFT_MSG_NEWTABLE, nl.NewRtAttr(unix.NFTA_TABLE_NAME, nl.ZeroTerminated(tableName)))
	if errors.Is(err, unix.ENOENT) {
		return []string{"the nftables table inet " + tableName + " was deleted"}, nil
	}
	if err != nil {
		return nil, err
	}
	for _, b := range tables {
		for typ, v := range attributes(b) {
			if typ == unix.NFTA_TABLE_FLAGS && bigNumber(v) != 0 {
				differences = append(differences, fmt.Sprintf("the nftables table inet %s got flags (dormant?)", tableName))
			}
		}
	}
	for _, part := range []func(Rules) ([]string, error){k.compareChains, k.compareRules} {
		d, err := part(r)
		if err != nil {
			return nil, err
		}
		differences = append(differences, d...)
	}
	return differences, nil
}

func (k *kernel) compareChains(r Rules) (differences []string, err error) {
	replies, err := k.askNFT(unix.NFT_MSG_GETCHAIN, unix.NLM_F_DUMP, unix.NFT_MSG_NEWCHAIN)
	if err != nil {
		return nil, err
	}
	have := map[string]string{}
	for _, b := range replies {
		var table, name, typ string
		var hook, priority, policy uint32
		for t, v := range attributes(b) {
			switch t {
			case unix.NFTA_CHAIN_TABLE:
				table = text(v)
			case unix.NFTA_CHAIN_NAME:
				name = text(v)
			case unix.NFTA_CHAIN_TYPE:
				typ = text(v)
			case unix.NFTA_CHAIN_POLICY:
				policy = bigNumber(v)
			case unix.NFTA_CHAIN_HOOK:
				for t, v := range attributes(v) {
					switch t {
					case unix.NFTA_HOOK_HOOKNUM:
						hook = bigNumber(v)
					case unix.NFTA_HOOK_PRIORITY:
						priority = bigNumber(v)
					}
				}
			}
		}
		if table == tableName {
			have[name] = fmt.Sprint(typ, hook, int32(priority), policy)
		}
	}
	for _, c := range r.chains {
		want := fmt.Sprint("", uint32(0), int32(0), uint32(0))
		if c.hook != nil {
			want = fmt.Sprint("filter", uint32(*c.hook), int32(c.priority), uint32(nftables.ChainPolicyAccept))
		}
		switch got, ok := have[c.name]; {
		case !ok:
			differences = append(differences, "the nftables chain "+c.name+" was deleted")
		case got != want:
			differences = append(differences, "the nftables chain "+c.name+" was changed")
		}
		delete(have, c.name)
	}
	for name := range have {
		differences = append(differences, "a nftables chain "+name+" was added to our table")
	}
	return differences, nil
}

// A dumpedRule is a rule as the kernel has it.
type dumpedRule struct{ exprs, userData []byte }

func (k *kernel) compareRules(r Rules) (differences []string, err error) {
	replies, err := k.askNFT(unix.NFT_MSG_GETRULE, unix.NLM_F_DUMP, unix.NFT_MSG_NEWRULE, nl.NewRtAttr(unix.NFTA_RULE_TABLE, nl.ZeroTerminated(tableName)))
	if err != nil {
		return nil, err
	}
	have := map[string][]dumpedRule{}
	for _, b := range replies {
		var table, chain string
		var d dumpedRule
		for typ, v := range attributes(b) {
			switch typ {
			case unix.NFTA_RULE_TABLE:
				table = text(v)
			case unix.NFTA_RULE_CHAIN:
				chain = text(v)
			case unix.NFTA_RULE_EXPRESSIONS:
				d.exprs = v
			case unix.NFTA_RULE_USERDATA:
				d.userData = v
			}
		}
		if table == tableName {
			have[chain] = append(have[chain], d)
		}
	}
	for _, c := range r.chains {
		differences = append(differences, c.differences(have[c.name])...)
	}
	return differences, nil
}

// differences compares the rules of a chain, in their order, with those read.
func (c chain) differences(got []dumpedRule) (differences []string) {
	var lost []string
	foreign := 0
	for _, want := range c.rules {
		at := slices.IndexFunc(got, want.equal)
		switch {
		case at >= 0: // whatever stands before it is not ours
			foreign += at
			got = got[at+1:]
			continue
		case len(got) > 0 && bytes.Equal(want.userData(), got[0].userData):
			got = got[1:] // the same rule, changed
		}
		lost = append(lost, fmt.Sprintf("%q", want.comment))
	}
	if len(lost) > 0 {
		differences = append(differences, fmt.Sprintf("nftables rules of chain %s were deleted or changed: %s", c.name, strings.Join(lost, ", ")))
	}
	if foreign += len(got); foreign > 0 {
		differences = append(differences, fmt.Sprintf("%d nftables rules were added to our chain %s", foreign, c.name))
	}
	return differences
}

// equal compares a rule as it was sent with one as it was read.
func (r rule) equal(d dumpedRule) bool {
	var got [][]byte
	for _, e := range attributes(d.exprs) {
		got = append(got, e)
	}
	want := r.exprs()
	if len(want) != len(got) || !bytes.Equal(r.userData(), d.userData) {
		return false
	}
	for i, e := range want {
		sent, err := expr.Marshal(unix.NFPROTO_INET, e)
		if err != nil {
			return false
		}
		if _, counts := e.(*expr.Counter); counts {
			sent, got[i] = nameOnly(sent), nameOnly(got[i])
		}
		if !sameAttributes(sent, got[i]) {
			return false
		}
	}
	return true
}

// nameOnly cuts an expression down to its name: the state of a counter does
// not matter.
func nameOnly(e []byte) []byte {
	for typ, v := range attributes(e) {
		if typ == unix.NFTA_EXPR_NAME {
			return nl.NewRtAttr(unix.NFTA_EXPR_NAME, v).Serialize()
		}
	}
	return nil
}

// sameAttributes compares trees of attributes. The kernel adds attributes
// that were not sent, with their default of zero, and leaves out zeros that
// were: absent and zero are the same. Which attributes are nested is known by
// what was sent; older kernels do not say it in a dump.
func sameAttributes(sent, got []byte) bool {
	want, have, nested := map[uint16][]byte{}, map[uint16][]byte{}, map[uint16]bool{}
	for flagged, v := range flaggedAttributes(sent) {
		typ := flagged &^ attributeFlags
		want[typ], nested[typ] = v, flagged&unix.NLA_F_NESTED != 0
	}
	for typ, v := range attributes(got) {
		if _, known := want[typ]; !known && len(bytes.Trim(v, "\x00")) > 0 {
			return false
		}
		have[typ] = v
	}
	for typ, w := range want {
		h := have[typ]
		switch {
		case nested[typ]:
			if !sameAttributes(w, h) {
				return false
			}
		case h == nil:
			if len(bytes.Trim(w, "\x00")) > 0 {
				return false
			}
		case !bytes.Equal(w, h):
			return false
		}
	}
	return true
}
