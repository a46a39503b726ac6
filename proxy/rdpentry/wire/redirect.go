package wire

// What a redirection says of itself (MS-RDPBCGR 2.2.13.1); each but the last
// two announces a field.
const (
	redirectAddress     = 0x0001
	redirectBalance     = 0x0002
	redirectUser        = 0x0004
	redirectDomain      = 0x0008
	redirectPassword    = 0x0010
	redirectFQDN        = 0x0100
	redirectNetBIOS     = 0x0200
	redirectAddresses   = 0x0800
	redirectURL         = 0x1000
	redirectGUID        = 0x8000
	redirectCertificate = 0x10000

	redirectNot = 0x0080
)

// A Redirect sends a client to another server. What it may also hold, a
// password or what stands for one, is left out.
type Redirect struct {
	Session uint32 // to be joined there
	Targets []string
	Not     bool // the client is only told of it
}

// ParseRedirection reads a Server Redirection Packet.
func ParseRedirection(b []byte) (Redirect, error) {
	c := cursor{b: b}
	flags, length := c.u16(), int(c.u16())
	if flags != SecRedirection || length > len(b) || length < 12 {
		return Redirect{}, malformed("a redirection of %d bytes with flags %#x in %d", length, flags, len(b))
	}
	c.b = b[4:length]
	r := Redirect{Session: c.u32()}
	fields := c.u32()
	r.Not = fields&redirectNot != 0
	for _, field := range []uint32{
		redirectAddress, redirectBalance, redirectUser, redirectDomain, redirectPassword,
		redirectFQDN, redirectNetBIOS, redirectURL, redirectGUID, redirectCertificate, redirectAddresses,
	} {
		if fields&field == 0 {
			continue
		}
		data := c.take(int(c.u32()))
		switch field {
		case redirectAddress, redirectFQDN, redirectNetBIOS:
			r.add(data)
		case redirectAddresses:
			if err := r.parseAddresses(data); err != nil {
				return r, err
			}
		}
	}
	return r, c.end("a redirection")
}

// parseAddresses reads TARGET_NET_ADDRESSES (2.2.13.1.1).
func (r *Redirect) parseAddresses(b []byte) error {
	c := cursor{b: b}
	for range min(c.u32(), uint32(len(b)/4)) {
		r.add(c.take(int(c.u32())))
	}
	return c.end("the addresses of a redirection")
}

func (r *Redirect) add(text []byte) {
	if target := utf16Text(text[:min(len(text), maxInfoText)]); target != "" {
		r.Targets = append(r.Targets, target)
	}
}
