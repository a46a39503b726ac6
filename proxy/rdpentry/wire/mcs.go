package wire

// The kinds of MCS PDUs (T.125 section 7, the choice of DomainMCSPDU) that
// RDP uses.
const (
	ErectDomainRequest  = 1
	DisconnectUltimatum = 8
	AttachUserRequest   = 10
	AttachUserConfirm   = 11
	ChannelJoinRequest  = 14
	ChannelJoinConfirm  = 15
	SendDataRequest     = 25
	SendDataIndication  = 26
)

// Why somebody hangs up (T.125, Reason).
const (
	ProviderInitiated = 1
	UserRequested     = 3
)

const (
	mcsInitial  = 0x7f65
	mcsResponse = 0x7f66

	userBase = 1001 // MCS user ids are told as the difference to it
)

// ServerUser is the user a server sends as.
const ServerUser = 1002

// An MCS is one PDU of the domain (MS-RDPBCGR 2.2.1.5 to 2.2.1.9).
type MCS struct {
	Kind    int
	User    uint16 // the initiator, or who is to join
	Channel uint16
	Result  byte // of a confirm: zero is success
	Reason  byte // of an ultimatum
	Data    []byte
}

// ParseMCS reads a PDU of the domain: what a data TPDU carries after the
// connection is made.
func ParseMCS(b []byte) (MCS, error) {
	c := cursor{b: b}
	head := c.u8()
	p := MCS{Kind: int(head >> 2)}
	switch p.Kind {
	case ErectDomainRequest, AttachUserRequest:
	case DisconnectUltimatum:
		p.Reason = head&3<<1 | c.u8()>>7
	case AttachUserConfirm:
		p.Result = c.u8()
		if head&2 != 0 {
			p.User = c.user()
		}
	case ChannelJoinRequest:
		p.User, p.Channel = c.user(), c.be16()
	case ChannelJoinConfirm:
		p.Result, p.User = c.u8(), c.user()
		p.Channel = c.be16() // as asked
		if head&2 != 0 {
			p.Channel = c.be16()
		}
	case SendDataRequest, SendDataIndication:
		p.User, p.Channel = c.user(), c.be16()
		c.skip(1) // priority and segmentation: always whole
		p.Data = c.take(c.per())
	default:
		return p, malformed("MCS PDU %d", p.Kind)
	}
	return p, c.end("an MCS PDU")
}

func (c *cursor) user() uint16 {
	n := int(c.be16()) + userBase
	if n > 0xffff {
		c.bad = true
	}
	return uint16(n)
}

// Frame is the PDU as it is sent. Data must not be longer than MaxData.
func (p MCS) Frame() []byte {
	b := make([]byte, 0, 16+len(p.Data))
	b = append(b, 3, 0, 0, 0, 2, tpduData, 0x80, byte(p.Kind<<2))
	switch p.Kind {
	case ErectDomainRequest:
		b = append(b, 1, 0, 1, 0) // subHeight and subInterval are zero
	case DisconnectUltimatum:
		b[7] |= p.Reason >> 1
		b = append(b, p.Reason<<7)
	case AttachUserConfirm:
		b = append(b, p.Result)
		if p.User != 0 {
			b[7] |= 2
			b = appendBE16(b, int(p.User)-userBase)
		}
	case ChannelJoinRequest:
		b = appendBE16(b, int(p.User)-userBase)
		b = appendBE16(b, int(p.Channel))
	case ChannelJoinConfirm:
		b[7] |= 2
		b = append(b, p.Result)
		b = appendBE16(b, int(p.User)-userBase)
		b = appendBE16(b, int(p.Channel))
		b = appendBE16(b, int(p.Channel))
	case SendDataRequest, SendDataIndication:
		b = appendBE16(b, int(p.User)-userBase)
		b = appendBE16(b, int(p.Channel))
		b = append(b, 0x70)
		b = appendPER(b, len(p.Data))
		b = append(b, p.Data...)
	}
	b[2], b[3] = byte(len(b)>>8), byte(len(b))
	return b
}

// MaxData is the most that one MCS PDU carries.
const MaxData = maxPER

// ParseConnectInitial reads the client's MCS Connect Initial (T.125 section
// 7) and returns the user data: the GCC conference create request.
func ParseConnectInitial(b []byte) ([]byte, error) {
	outer := cursor{b: b}
	c := cursor{b: outer.ber(mcsInitial)}
	c.ber(berOctetString) // calling domain
	c.ber(berOctetString) // called domain
	c.ber(berBoolean)
	for range 3 {
		c.ber(berSequence) // target, minimum and maximum parameters
	}
	data := c.ber(berOctetString)
	if outer.bad || c.bad {
		return nil, malformed("MCS Connect Initial")
	}
	return data, nil
}

// ConnectInitial is the frame that carries the user data to a server. The
// domain parameters are those every client of RDP sends.
func ConnectInitial(data []byte) []byte {
	var b []byte
	b = appendBER(b, berOctetString, []byte{1})
	b = appendBER(b, berOctetString, []byte{1})
	b = appendBER(b, berBoolean, []byte{0xff})
	b = appendParameters(b, 34, 2, 0, 0xffff)
	b = appendParameters(b, 1, 1, 1, 0x420)
	b = appendParameters(b, 0xffff, 0xfc17, 0xffff, 0xffff)
	b = appendBER(b, berOctetString, data)
	return DataFrame(appendBER(nil, mcsInitial, b))
}

// ParseConnectResponse reads the server's answer and returns its user data.
func ParseConnectResponse(b []byte) ([]byte, error) {
	outer := cursor{b: b}
	c := cursor{b: outer.ber(mcsResponse)}
	result := c.berInt(berEnumerated)
	c.berInt(berInteger) // called connect id
	c.ber(berSequence)
	data := c.ber(berOctetString)
	if outer.bad || c.bad {
		return nil, malformed("MCS Connect Response")
	}
	if result != 0 {
		return nil, malformed("the server refuses the MCS connection with result %d", result)
	}
	return data, nil
}

// ConnectResponse is the frame that answers a client.
func ConnectResponse(data []byte) []byte {
	b := appendBERInt(nil, berEnumerated, 0)
	b = appendBERInt(b, berInteger, 0)
	b = appendParameters(b, 34, 3, 0, 0xfff8)
	b = appendBER(b, berOctetString, data)
	return DataFrame(appendBER(nil, mcsResponse, b))
}

// appendParameters appends DomainParameters: how many channels, users and
// tokens, one priority, no throughput enforced, a height of one, how long a
// PDU may be, version 2.
func appendParameters(b []byte, channels, users, tokens, pdu int) []byte {
	var p []byte
	for _, n := range []int{channels, users, tokens, 1, 0, 1, pdu, 2} {
		p = appendBERInt(p, berInteger, n)
	}
	return appendBER(b, berSequence, p)
}
