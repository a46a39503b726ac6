package wire

import (
	"bytes"
)

// The security protocols of a negotiation (MS-RDPBCGR 2.2.1.1.1).
const (
	ProtocolRDP      = 0x00 // standard RDP security
	ProtocolSSL      = 0x01
	ProtocolHybrid   = 0x02 // CredSSP, "network level authentication"
	ProtocolRDSTLS   = 0x04
	ProtocolHybridEx = 0x08
	ProtocolRDSAAD   = 0x10
)

// What a client may demand of a negotiation (2.2.1.1.1).
const (
	RestrictedAdmin       = 0x01
	RemoteCredentialGuard = 0x02
)

// What a server says of itself (2.2.1.2.1).
const ExtendedClientData = 0x01

// GraphicsPipeline, there too, says that a server knows MS-RDPEGFX.
const GraphicsPipeline = 0x02

// Why a server does not negotiate (2.2.1.2.2).
const (
	FailSSLRequired        = 1
	FailSSLNotAllowed      = 2
	FailNoCertificate      = 3
	FailInconsistentFlags  = 4
	FailHybridRequired     = 5
	FailSSLWithUserAuthReq = 6
)

const (
	tpduRequest = 0xe0
	tpduConfirm = 0xd0
	tpduData    = 0xf0

	negotiationRequest  = 1
	negotiationResponse = 2
	negotiationFailure  = 3
)

// A ConnectionRequest is the first thing a client says (2.2.1.1).
type ConnectionRequest struct {
	Cookie      string // what follows "mstshash=", or ""; a hint and no login
	Negotiation bool   // it asks for more than standard RDP security
	Flags       byte
	Protocols   uint32
}

// ParseConnectionRequest reads the body of a client's first frame.
func ParseConnectionRequest(body []byte) (ConnectionRequest, error) {
	rest, err := tpdu(body, tpduRequest)
	if err != nil {
		return ConnectionRequest{}, err
	}
	var r ConnectionRequest
	// A cookie or a routing token is a line of text before the negotiation.
	if bytes.HasPrefix(rest, []byte("Cookie:")) {
		line, after, found := bytes.Cut(rest, []byte("\r\n"))
		if !found {
			return r, malformed("the cookie of the connection request has no end")
		}
		if name, ok := bytes.CutPrefix(line, []byte("Cookie: mstshash=")); ok {
			r.Cookie = string(name)
		}
		rest = after
	}
	if len(rest) == 0 {
		return r, nil
	}
	c := cursor{b: rest}
	kind, flags, length, protocols := c.u8(), c.u8(), c.u16(), c.u32()
	if c.bad || kind != negotiationRequest || length != 8 {
		return r, malformed("the negotiation request of a connection request")
	}
	r.Negotiation, r.Flags, r.Protocols = true, flags, protocols
	return r, nil // correlation info may follow, and is of no use
}

// Frame is the request as a client sends it, without a cookie.
func (r ConnectionRequest) Frame() []byte {
	var neg []byte
	if r.Negotiation {
		neg = append(neg, negotiationRequest, r.Flags, 8, 0)
		neg = le.AppendUint32(neg, r.Protocols)
	}
	return connectionFrame(tpduRequest, 0, neg)
}

// A ConnectionConfirm is a server's answer (2.2.1.2).
type ConnectionConfirm struct {
	Negotiation bool   // false: an old server, which knows standard RDP security only
	Flags       byte   // what the server says of itself
	Protocol    uint32 // what it chose
	Failure     uint32 // why it chose nothing; zero: it did
}

// ParseConnectionConfirm reads the body of a server's first frame.
func ParseConnectionConfirm(body []byte) (ConnectionConfirm, error) {
	rest, err := tpdu(body, tpduConfirm)
	if err != nil {
		return ConnectionConfirm{}, err
	}
	if len(rest) == 0 {
		return ConnectionConfirm{}, nil
	}
	c := cursor{b: rest}
	kind, flags, length, value := c.u8(), c.u8(), c.u16(), c.u32()
	switch {
	case c.bad || length != 8:
	case kind == negotiationResponse:
		return ConnectionConfirm{Negotiation: true, Flags: flags, Protocol: value}, nil
	case kind == negotiationFailure && value != 0:
		return ConnectionConfirm{Negotiation: true, Failure: value}, nil
	}
	return ConnectionConfirm{}, malformed("the negotiation of a connection confirm")
}

// Frame is the answer as a server sends it.
func (r ConnectionConfirm) Frame() []byte {
	var neg []byte
	switch {
	case r.Failure != 0:
		neg = le.AppendUint32([]byte{negotiationFailure, 0, 8, 0}, r.Failure)
	case r.Negotiation:
		neg = le.AppendUint32([]byte{negotiationResponse, r.Flags, 8, 0}, r.Protocol)
	}
	return connectionFrame(tpduConfirm, 0x1234, neg)
}

// tpdu checks the header of a connection TPDU (X.224 sections 13.3 and 13.4)
// and returns what follows its fixed part.
func tpdu(body []byte, code byte) ([]byte, error) {
	c := cursor{b: body}
	length := int(c.u8())
	if length != len(body)-1 {
		return nil, malformed("an X.224 header of %d bytes in %d", length, len(body))
	}
	got := c.u8() & 0xf0
	c.skip(5) // DST-REF, SRC-REF, class
	if c.bad || got != code {
		return nil, malformed("X.224 TPDU %#x, not %#x", got, code)
	}
	return c.b, nil
}

func connectionFrame(code byte, source int, rest []byte) []byte {
	b := []byte{byte(6 + len(rest)), code, 0, 0}
	b = appendBE16(b, source)
	b = append(b, 0)
	return Wrap(append(b, rest...))
}

// Payload returns what a data TPDU (X.224 section 13.7) carries: an MCS PDU.
func Payload(body []byte) ([]byte, error) {
	if len(body) < 3 || body[0] != 2 || body[1] != tpduData || body[2] != 0x80 {
		return nil, malformed("an X.224 data header is missing")
	}
	return body[3:], nil
}

// DataFrame puts an MCS PDU into a data TPDU and a TPKT.
func DataFrame(mcs []byte) []byte {
	b := make([]byte, 0, 7+len(mcs))
	b = append(b, 3, 0)
	b = appendBE16(b, 7+len(mcs))
	b = append(b, 2, tpduData, 0x80)
	return append(b, mcs...)
}
