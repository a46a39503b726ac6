package netfilter

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// What may become of a packet in a chain. Rules that the gate cannot read may
// match or not, so that more than one is possible.
type fate uint8

const (
	goesOn fate = 1 << iota
	accepted
	dropped
)

// A firstPacket is a packet that is walked through the rules of others, in
// thought: the first of a connection.
type firstPacket struct {
	iif      string
	iifIndex uint32
	from, to netip.Addr
	proto    byte
	dport    uint16

	mark uint32
	lost bool // somebody takes our bit out of the mark, or may
}

// mostWalked bounds how many rules are looked at, all packets together: chains
// that are jumped to from many places are walked again from each.
const mostWalked = 5_000_000

// deepest bounds how far jumps are followed; the kernel refuses more than 16.
const deepest = 16

// walk says what becomes of a packet in a chain.
func (f *strangers) walk(c *foreignChain, p *firstPacket, depth int) fate {
	var result fate
	if depth > deepest {
		return goesOn
	}
	for _, rule := range c.rules {
		if f.walked++; f.walked > mostWalked {
			return accepted | dropped // nobody waits for the end of it
		}
		r := f.rule(c, rule, p)
		if r.matches == no || r.verdict == nil {
			continue
		}
		var here fate
		stays := false // whether the chain goes on after it
		switch v := *r.verdict; v.code {
		case verdictAccept:
			here = accepted
		case verdictDrop:
			here = dropped
		case verdictReturn:
			here = goesOn
		case verdictContinue:
			continue
		case verdictJump, verdictGoto:
			target := f.chains[chainName{c.family, c.table, v.chain}]
			if target == nil {
				continue
			}
			here = f.walk(target, p, depth+1)
			if stays = v.code == verdictJump && here&goesOn != 0; stays {
				here &^= goesOn
			}
		default: // queue, stolen: somebody's program decides
			here = accepted | dropped
		}
		result |= here
		if r.matches == yes && !stays {
			return result
		}
	}
	return result | goesOn
}

// through walks a packet through all base chains at a hook behind a priority.
// It returns what may become of it, and in which chain it is dropped.
func (f *strangers) through(hook uint32, after int32, p *firstPacket) (outcome fate, where []*foreignChain) {
	outcome = accepted
	for _, c := range f.baseChains(hook, p.to) {
		if c.priority < after {
			continue
		}
		got := f.walk(c, p, 0)
		if got&goesOn != 0 {
			got &^= goesOn
			got |= map[bool]fate{true: dropped, false: accepted}[c.drops]
		}
		if got&dropped == 0 {
			continue
		}
		where = append(where, c)
		outcome |= dropped
		if got == dropped {
			return dropped, []*foreignChain{c}
		}
	}
	return outcome, where
}

type answer int8

const (
	no answer = iota
	maybe
	yes
)

// The verdicts of nftables (linux/netfilter/nf_tables.h).
const (
	verdictDrop     int32 = 0
	verdictAccept   int32 = 1
	verdictQueue    int32 = 3
	verdictContinue int32 = -1
	verdictJump     int32 = -3
	verdictGoto     int32 = -4
	verdictReturn   int32 = -5
)

type verdict struct {
	code  int32
	chain string
}

func readVerdict(b []byte) *verdict {
	for t, v := range attributes(b) {
		if t != unix.NFTA_DATA_VERDICT {
			continue
		}
		out := &verdict{}
		for t, v := range attributes(v) {
			switch t {
			case unix.NFTA_VERDICT_CODE:
				out.code = int32(bigNumber(v))
			case unix.NFTA_VERDICT_CHAIN:
				out.chain = text(v)
			}
		}
		return out
	}
	return nil
}

type ruling struct {
	matches answer
	verdict *verdict
}

// A machine runs the expressions of one rule over its registers. Of each byte
// it knows whether it knows it.
type machine struct {
	f       *strangers
	chain   *foreignChain
	packet  *firstPacket
	bytes   [80]byte
	known   [80]bool
	matches answer
	verdict *verdict
}

func (f *strangers) rule(c *foreignChain, steps []expression, p *firstPacket) ruling {
	m := &machine{f: f, chain: c, packet: p, matches: yes}
	for _, e := range steps {
		m.step(e)
		if m.matches == no || m.verdict != nil {
			break
		}
	}
	return ruling{m.matches, m.verdict}
}

// place is where a register begins: the four old ones are 16 bytes, the
// sixteen new ones 4 bytes of the same room.
func place(register uint32) int {
	if register >= unix.NFT_REG32_00 {
		return int(min(register-unix.NFT_REG32_00, 15)) * 4
	}
	return int(min(max(register, 1)-1, 3)) * 16
}

// load puts a value into a register; nil is one that is not known.
func (m *machine) load(register uint32, value []byte, size int) {
	at := place(register)
	for i := range min(max(size, 4), len(m.bytes)-at) {
		m.known[at+i] = value != nil
		m.bytes[at+i] = 0
		if i < len(value) {
			m.bytes[at+i] = value[i]
		}
	}
}

func (m *machine) read(register uint32, size int) ([]byte, bool) {
	at := place(register)
	size = min(size, len(m.bytes)-at)
	for i := range size {
		if !m.known[at+i] {
			return nil, false
		}
	}
	return bytes.Clone(m.bytes[at : at+size]), true
}

func (m *machine) hold(a answer) { m.matches = min(m.matches, a) }

func (m *machine) test(is bool) {
	if is {
		return
	}
	m.hold(no)
}

// fieldsOf are the attributes of an expression, by their numbers.
func fieldsOf(e expression) map[uint16][]byte {
	fields := map[uint16][]byte{}
	for t, v := range attributes(e.data) {
		fields[t] = v
	}
	return fields
}

func (m *machine) step(e expression) {
	a := fieldsOf(e)
	switch e.name {
	case "counter", "log", "notrack", "comment", "last":
	case "meta":
		m.meta(a)
	case "payload":
		m.payload(a)
	case "ct":
		m.conntrack(a)
	case "fib":
		m.fib(a)
	case "bitwise":
		m.bitwise(a)
	case "cmp":
		m.compare(a)
	case "range":
		m.between(a)
	case "lookup":
		m.lookup(a)
	case "immediate":
		m.immediate(a)
	case "objref":
		const kind, ofCounter = 1, 1 // NFTA_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER
		if bigNumber(a[kind]) != ofCounter {
			m.hold(maybe)
		}
	case "queue":
		m.verdict = &verdict{code: verdictQueue}
	case "reject":
		m.verdict = &verdict{code: verdictDrop}
	case "match":
		m.hold(matchOfXtables(text(a[unix.NFTA_MATCH_NAME]), a[unix.NFTA_MATCH_INFO], m.packet))
	case "target":
		if name := text(a[unix.NFTA_TARGET_NAME]); name == "REJECT" || name == "DROP" {
			m.verdict = &verdict{code: verdictDrop}
		}
	default: // something that this does not know; what it loads is unknown, too
		m.hold(maybe)
		m.known = [80]bool{}
	}
}

func (m *machine) meta(a map[uint16][]byte) {
	key := bigNumber(a[unix.NFTA_META_KEY])
	if source, sets := a[unix.NFTA_META_SREG]; sets {
		if key != unix.NFT_META_MARK {
			return
		}
		v, ok := m.read(bigNumber(source), 4)
		if ok && m.matches == yes {
			m.packet.mark = binary.NativeEndian.Uint32(v)
		}
		if !ok || binary.NativeEndian.Uint32(v)&markBit == 0 {
			m.packet.lost = true
		}
		return
	}
	p, dst := m.packet, bigNumber(a[unix.NFTA_META_DREG])
	switch key {
	case unix.NFT_META_IIFNAME:
		m.load(dst, append([]byte(p.iif), make([]byte, unix.IFNAMSIZ-len(p.iif))...), unix.IFNAMSIZ)
	case unix.NFT_META_IIF:
		m.load(dst, native(p.iifIndex), 4)
	case unix.NFT_META_OIFNAME, unix.NFT_META_OIF:
		m.load(dst, nil, unix.IFNAMSIZ)
	case unix.NFT_META_MARK:
		m.load(dst, native(p.mark), 4)
	case unix.NFT_META_L4PROTO:
		m.load(dst, []byte{p.proto}, 1)
	case unix.NFT_META_NFPROTO:
		m.load(dst, []byte{byte(familyOf(p.to))}, 1)
	case unix.NFT_META_PKTTYPE:
		m.load(dst, []byte{0}, 1) // PACKET_HOST
	default:
		m.load(dst, nil, unix.IFNAMSIZ)
	}
}

func (m *machine) payload(a map[uint16][]byte) {
	dst, sets := a[unix.NFTA_PAYLOAD_DREG]
	if !sets {
		return // it writes into the packet
	}
	at, size := bigNumber(a[unix.NFTA_PAYLOAD_OFFSET]), bigNumber(a[unix.NFTA_PAYLOAD_LEN])
	var header []byte
	know := make([]bool, 64)
	set := func(offset int, value []byte) {
		header = append(header, make([]byte, max(0, offset+len(value)-len(header)))...)
		for i := range value {
			header[offset+i], know[offset+i] = value[i], true
		}
	}
	switch bigNumber(a[unix.NFTA_PAYLOAD_BASE]) {
	case unix.NFT_PAYLOAD_NETWORK_HEADER:
		if m.packet.to.Is4() {
			set(9, []byte{m.packet.proto})
			set(12, m.packet.from.AsSlice())
			set(16, m.packet.to.AsSlice())
		} else {
			set(6, []byte{m.packet.proto})
			set(8, m.packet.from.AsSlice())
			set(24, m.packet.to.AsSlice())
		}
	case unix.NFT_PAYLOAD_TRANSPORT_HEADER:
		set(2, binary.BigEndian.AppendUint16(nil, m.packet.dport))
		if m.packet.proto == unix.IPPROTO_TCP {
			set(13, []byte{2}) // SYN
		}
	}
	if size == 0 || uint64(at)+uint64(size) > uint64(len(header)) {
		m.load(bigNumber(dst), nil, int(min(size, 64)))
		return
	}
	for i := at; i < at+size; i++ {
		if !know[i] {
			m.load(bigNumber(dst), nil, int(size))
			return
		}
	}
	m.load(bigNumber(dst), header[at:at+size], int(size))
}

// ctNew is the state of a connection's first packet.
const ctNew = 8

func (m *machine) conntrack(a map[uint16][]byte) {
	dst, reads := a[unix.NFTA_CT_DREG]
	if !reads {
		return
	}
	switch bigNumber(a[unix.NFTA_CT_KEY]) {
	case unix.NFT_CT_STATE:
		m.load(bigNumber(dst), native(ctNew), 4)
	case unix.NFT_CT_STATUS: // nothing has translated it
		m.load(bigNumber(dst), native(0), 4)
	default:
		m.load(bigNumber(dst), nil, 16)
	}
}

// Flags and results of fib (linux/netfilter/nf_tables.h).
const (
	fibSaddr   = 1
	fibDaddr   = 2
	fibPresent = 32

	fibOif      = 1
	fibOifname  = 2
	fibAddrtype = 3
)

func (m *machine) fib(a map[uint16][]byte) {
	dst, result, flags := bigNumber(a[unix.NFTA_FIB_DREG]), bigNumber(a[unix.NFTA_FIB_RESULT]), bigNumber(a[unix.NFTA_FIB_FLAGS])
	// "fib saddr . mark . iif oif missing drop" is how firewalld looks for
	// forged senders. Ours stands for somebody who is behind that interface.
	behind := flags&fibSaddr != 0 && (result == fibOif || result == fibOifname)
	switch {
	case result == fibAddrtype && flags == fibDaddr:
		m.load(dst, native(unix.RTN_UNICAST), 4)
	case behind && flags&fibPresent != 0:
		m.load(dst, []byte{1}, 1)
	case behind && result == fibOif:
		m.load(dst, native(m.packet.iifIndex), 4)
	case behind:
		m.load(dst, append([]byte(m.packet.iif), make([]byte, unix.IFNAMSIZ-len(m.packet.iif))...), unix.IFNAMSIZ)
	default:
		m.load(dst, nil, 16)
	}
}

func (m *machine) bitwise(a map[uint16][]byte) {
	size := int(min(bigNumber(a[unix.NFTA_BITWISE_LEN]), 64))
	v, ok := m.read(bigNumber(a[unix.NFTA_BITWISE_SREG]), size)
	mask, xor := dataValue(a[unix.NFTA_BITWISE_MASK]), dataValue(a[unix.NFTA_BITWISE_XOR])
	const shifts = 6 // NFTA_BITWISE_OP; 0 is mask and xor
	if !ok || bigNumber(a[shifts]) != 0 || len(mask) < len(v) || len(xor) < len(v) {
		m.load(bigNumber(a[unix.NFTA_BITWISE_DREG]), nil, size)
		return
	}
	for i := range v {
		v[i] = v[i]&mask[i] ^ xor[i]
	}
	m.load(bigNumber(a[unix.NFTA_BITWISE_DREG]), v, size)
}

func (m *machine) compare(a map[uint16][]byte) {
	want := dataValue(a[unix.NFTA_CMP_DATA])
	v, ok := m.read(bigNumber(a[unix.NFTA_CMP_SREG]), len(want))
	if !ok {
		m.hold(maybe)
		return
	}
	c := bytes.Compare(v, want)
	switch bigNumber(a[unix.NFTA_CMP_OP]) {
	case unix.NFT_CMP_EQ:
		m.test(c == 0)
	case unix.NFT_CMP_NEQ:
		m.test(c != 0)
	case unix.NFT_CMP_LT:
		m.test(c < 0)
	case unix.NFT_CMP_LTE:
		m.test(c <= 0)
	case unix.NFT_CMP_GT:
		m.test(c > 0)
	case unix.NFT_CMP_GTE:
		m.test(c >= 0)
	}
}

func (m *machine) between(a map[uint16][]byte) {
	from, to := dataValue(a[unix.NFTA_RANGE_FROM_DATA]), dataValue(a[unix.NFTA_RANGE_TO_DATA])
	v, ok := m.read(bigNumber(a[unix.NFTA_RANGE_SREG]), len(from))
	if !ok {
		m.hold(maybe)
		return
	}
	in := bytes.Compare(v, from) >= 0 && bytes.Compare(v, to) <= 0
	m.test(in == (bigNumber(a[unix.NFTA_RANGE_OP]) == unix.NFT_RANGE_EQ))
}

func (m *machine) lookup(a map[uint16][]byte) {
	s := m.f.set(m.chain.family, m.chain.table, text(a[unix.NFTA_LOOKUP_SET]))
	target, maps := a[unix.NFTA_LOOKUP_DREG]
	size := 0
	if s != nil {
		for _, e := range s.elements {
			size = max(size, len(e.key))
		}
	}
	key, ok := m.read(bigNumber(a[unix.NFTA_LOOKUP_SREG]), size)
	if s == nil || !ok && size > 0 {
		m.hold(maybe)
		if maps {
			m.load(bigNumber(target), nil, 64)
		}
		return
	}
	found, is := s.find(key)
	m.test(is == (bigNumber(a[unix.NFTA_LOOKUP_FLAGS])&unix.NFT_LOOKUP_F_INV == 0))
	if !maps || !is {
		return
	}
	if register := bigNumber(target); register == unix.NFT_REG_VERDICT {
		m.verdict = readVerdict(found.data)
	} else {
		value := dataValue(found.data)
		m.load(register, value, len(value))
	}
}

func (m *machine) immediate(a map[uint16][]byte) {
	if register := bigNumber(a[unix.NFTA_IMMEDIATE_DREG]); register != unix.NFT_REG_VERDICT {
		value := dataValue(a[unix.NFTA_IMMEDIATE_DATA])
		m.load(register, value, len(value))
		return
	}
	m.verdict = readVerdict(a[unix.NFTA_IMMEDIATE_DATA])
}
