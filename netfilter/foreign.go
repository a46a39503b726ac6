package netfilter

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A foreignChain is a chain of somebody else's table, as the kernel has it.
type foreignChain struct {
	family byte
	table  string
	name   string

	base     bool
	kind     string // "filter", "nat", "route"
	hook     uint32
	priority int32
	drops    bool // its policy

	rules [][]expression
}

// An expression is one step of a rule: its name, and the attributes that only
// it understands.
type expression struct {
	name string
	data []byte
}

type chainName struct {
	family      byte
	table, name string
}

// strangers is everything in nftables that is not ours: also what iptables-nft,
// ufw, firewalld and docker put there.
type strangers struct {
	kernel *kernel
	walked int // rules so far
	chains map[chainName]*foreignChain
	sets   map[chainName]*foreignSet // as far as they were asked for; nil: cannot be read
}

// mostForeign bounds how many rules and set elements of others are looked
// through.
const mostForeign = 50_000

// strangers reads the rules of others. Sets are read when a rule asks for one.
func (k *kernel) strangers() (*strangers, error) {
	f := &strangers{kernel: k, chains: map[chainName]*foreignChain{}, sets: map[chainName]*foreignSet{}}
	chains, err := k.dumpNFT(unix.NFT_MSG_GETCHAIN, unix.NFT_MSG_NEWCHAIN, unix.NFPROTO_UNSPEC)
	if err != nil {
		return nil, err
	}
	for _, m := range chains {
		if c := readChain(m); c.table != tableName || c.family != unix.NFPROTO_INET {
			f.chains[chainName{c.family, c.table, c.name}] = c
		}
	}
	rules, err := k.dumpNFT(unix.NFT_MSG_GETRULE, unix.NFT_MSG_NEWRULE, unix.NFPROTO_UNSPEC)
	if err != nil {
		return nil, err
	}
	if len(rules) > mostForeign {
		return nil, fmt.Errorf("nftables: %d rules are more than are looked through", len(rules))
	}
	for _, m := range rules {
		name, steps := readRule(m)
		if c := f.chains[name]; c != nil {
			c.rules = append(c.rules, steps)
		}
	}
	return f, nil
}

// A dumped is one answer of nftables: the family in its header, and what
// follows.
type dumped struct {
	family byte
	attrs  []byte
}

func (k *kernel) dumpNFT(request, reply int, of byte, data ...nl.NetlinkRequestData) ([]dumped, error) {
	data = append([]nl.NetlinkRequestData{&nl.Nfgenmsg{NfgenFamily: of}}, data...)
	replies, err := k.ask(unix.NETLINK_NETFILTER, unix.NFNL_SUBSYS_NFTABLES<<8|request, unix.NLM_F_DUMP, uint16(unix.NFNL_SUBSYS_NFTABLES<<8|reply), data...)
	if err != nil {
		return nil, explain("nftables", err)
	}
	var all []dumped
	for _, b := range replies {
		if len(b) >= nl.SizeofNfgenmsg {
			all = append(all, dumped{b[0], b[nl.SizeofNfgenmsg:]})
		}
	}
	return all, nil
}

func readChain(m dumped) *foreignChain {
	c := &foreignChain{family: m.family}
	for t, v := range attributes(m.attrs) {
		switch t {
		case unix.NFTA_CHAIN_TABLE:
			c.table = text(v)
		case unix.NFTA_CHAIN_NAME:
			c.name = text(v)
		case unix.NFTA_CHAIN_TYPE:
			c.kind = text(v)
		case unix.NFTA_CHAIN_POLICY:
			c.drops = bigNumber(v) == 0 // NF_DROP
		case unix.NFTA_CHAIN_HOOK:
			c.base = true
			for t, v := range attributes(v) {
				switch t {
				case unix.NFTA_HOOK_HOOKNUM:
					c.hook = bigNumber(v)
				case unix.NFTA_HOOK_PRIORITY:
					c.priority = int32(bigNumber(v))
				}
			}
		}
	}
	return c
}

func readRule(m dumped) (of chainName, steps []expression) {
	of.family = m.family
	for t, v := range attributes(m.attrs) {
		switch t {
		case unix.NFTA_RULE_TABLE:
			of.table = text(v)
		case unix.NFTA_RULE_CHAIN:
			of.name = text(v)
		case unix.NFTA_RULE_EXPRESSIONS:
			for _, element := range attributes(v) {
				steps = append(steps, readExpression(element))
			}
		}
	}
	return of, steps
}

func readExpression(b []byte) (e expression) {
	for t, v := range attributes(b) {
		switch t {
		case unix.NFTA_EXPR_NAME:
			e.name = text(v)
		case unix.NFTA_EXPR_DATA:
			e.data = v
		}
	}
	return e
}

// A foreignSet is a set or a verdict map.
type foreignSet struct {
	interval bool
	elements []element // sorted by key when they are intervals
}

type element struct {
	key   []byte
	end   bool // the interval before it ends here
	catch bool // matches what no other does
	data  []byte
}

// set reads a set; nil is one that cannot be read or understood.
func (f *strangers) set(family byte, table, name string) *foreignSet {
	id := chainName{family, table, name}
	if s, known := f.sets[id]; known {
		return s
	}
	s, err := f.readSet(id)
	if err != nil {
		s = nil
	}
	f.sets[id] = s
	return s
}

// setConcat is NFT_SET_CONCAT, which package unix lacks.
const setConcat = 0x80

func (f *strangers) readSet(id chainName) (*foreignSet, error) {
	s := &foreignSet{}
	sets, err := f.kernel.dumpNFT(unix.NFT_MSG_GETSET, unix.NFT_MSG_NEWSET, id.family, nl.NewRtAttr(unix.NFTA_SET_TABLE, nl.ZeroTerminated(id.table)))
	if err != nil {
		return nil, err
	}
	for _, m := range sets {
		name, flags := "", uint32(0)
		for t, v := range attributes(m.attrs) {
			switch t {
			case unix.NFTA_SET_NAME:
				name = text(v)
			case unix.NFTA_SET_FLAGS:
				flags = bigNumber(v)
			}
		}
		if name == id.name {
			s.interval = flags&unix.NFT_SET_INTERVAL != 0
			if s.interval && flags&setConcat != 0 {
				return nil, errors.New("intervals of several fields are not understood")
			}
		}
	}
	elements, err := f.kernel.dumpNFT(unix.NFT_MSG_GETSETELEM, unix.NFT_MSG_NEWSETELEM, id.family,
		nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_TABLE, nl.ZeroTerminated(id.table)), nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_SET, nl.ZeroTerminated(id.name)))
	if err != nil {
		return nil, err
	}
	for _, m := range elements {
		for t, list := range attributes(m.attrs) {
			if t != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
				continue
			}
			for _, b := range attributes(list) {
				s.elements = append(s.elements, readElement(b))
			}
		}
		if len(s.elements) > mostForeign {
			return nil, errors.New("too large")
		}
	}
	slices.SortStableFunc(s.elements, func(a, b element) int { return bytes.Compare(a.key, b.key) })
	return s, nil
}

// Flags of elements (linux/netfilter/nf_tables.h).
const (
	elementIntervalEnd = 1
	elementCatchAll    = 2
)

func readElement(b []byte) (e element) {
	for t, v := range attributes(b) {
		switch t {
		case unix.NFTA_SET_ELEM_KEY:
			e.key = dataValue(v)
		case unix.NFTA_SET_ELEM_FLAGS:
			e.end, e.catch = bigNumber(v)&elementIntervalEnd != 0, bigNumber(v)&elementCatchAll != 0
		case unix.NFTA_SET_ELEM_DATA:
			e.data = v
		}
	}
	return e
}

// dataValue is the value in a nested data attribute.
func dataValue(b []byte) []byte {
	for t, v := range attributes(b) {
		if t == unix.NFTA_DATA_VALUE {
			return v
		}
	}
	return nil
}

// find returns the element that a key falls on.
func (s *foreignSet) find(key []byte) (found element, ok bool) {
	for _, e := range s.elements {
		switch {
		case e.catch:
			if !ok {
				found, ok = e, true
			}
		case !s.interval && bytes.Equal(e.key, key):
			return e, true
		case s.interval && bytes.Compare(e.key, key) <= 0:
			// The last boundary at or below the key says whether it is inside. At
			// one boundary an interval may end and the next begin.
			if !e.end {
				found, ok = e, true
			} else if !bytes.Equal(found.key, e.key) {
				found, ok = element{}, false
			}
		}
	}
	return found, ok
}
