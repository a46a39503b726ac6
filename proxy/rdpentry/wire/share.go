package wire

// The kinds of share control PDUs (MS-RDPBCGR 2.2.8.1.1.1.1).
const (
	DemandActive  = 1
	ConfirmActive = 3
	DeactivateAll = 6
	ShareData     = 7
	Redirection   = 10
)

// The kinds of share data PDUs that matter here (2.2.8.1.1.1.2).
const (
	DataUpdate      = 2
	DataControl     = 20
	DataPointer     = 27
	DataInput       = 28
	DataSynchronize = 31
	DataRefresh     = 33
	DataSuppress    = 35
	DataShutdown    = 36
	DataLogon       = 38 // save session info
	DataFontList    = 39
	DataFontMap     = 40
	DataBitmapKeys  = 43
	DataErrorInfo   = 47
)

// A Share is one share control PDU.
type Share struct {
	Kind   int
	Source uint16
	Body   []byte // what follows the header
}

const (
	shareHeader = 6
	dataHeader  = 12
	version1    = 0x10
)

// ParseShare reads the share control PDU at the front of b and returns what
// follows it: a packet may hold several.
func ParseShare(b []byte) (s Share, rest []byte, err error) {
	c := cursor{b: b}
	total := int(c.u16())
	if total == 0x8000 { // a flow PDU (T.128 section 8.5), which nobody heeds
		c.skip(6)
		return Share{Kind: -1}, c.b, c.end("a flow PDU")
	}
	s.Kind, s.Source = int(c.u16()&0xf), c.u16()
	if c.bad && total == 4 { // xrdp's and old Windows' deactivate-all ends before the source
		return s, nil, nil
	}
	s.Body = c.take(total - shareHeader)
	return s, c.b, c.end("a share control PDU")
}

// Bytes is the PDU with its header. Body must fit.
func (s Share) Bytes() []byte {
	b := make([]byte, 0, shareHeader+len(s.Body))
	b = le.AppendUint16(b, uint16(shareHeader+len(s.Body)))
	b = le.AppendUint16(b, uint16(s.Kind)|version1)
	b = le.AppendUint16(b, s.Source)
	return append(b, s.Body...)
}

// Data is the body of a share data PDU.
type Data struct {
	Share      uint32
	Stream     byte
	Length     uint16 // as the header says it, of what is compressed
	Kind       byte
	Compressed byte // flags and type of bulk compression
	Body       []byte
}

// ParseData reads the body of a share data PDU.
func ParseData(b []byte) (Data, error) {
	c := cursor{b: b}
	d := Data{Share: c.u32()}
	c.skip(1)
	d.Stream, d.Length, d.Kind, d.Compressed = c.u8(), c.u16(), c.u8(), c.u8()
	c.skip(2) // the compressed length counts headers in some programs and not in others
	d.Body = c.b
	return d, c.end("a share data PDU")
}

// NewData is a share control PDU of kind data with something uncompressed in
// it.
func NewData(share uint32, source uint16, kind byte, body []byte) Share {
	b := le.AppendUint32(make([]byte, 0, dataHeader+len(body)), share)
	b = append(b, 0, 1) // the low priority stream
	b = le.AppendUint16(b, uint16(len(body)+4))
	b = append(b, kind, 0, 0, 0)
	return Share{Kind: ShareData, Source: source, Body: append(b, body...)}
}

// Why a server ends a session (2.2.5.1.1).
const (
	ErrorAdminDisconnect = 1
	ErrorIdle            = 3
	ErrorSessionLimit    = 4 // the time a session may last has passed
	ErrorDenied          = 7
)

// ErrorInfo is the PDU that tells a client why it is about to be hung up on.
func ErrorInfo(share uint32, code uint32) Share {
	return NewData(share, ServerUser, DataErrorInfo, le.AppendUint32(nil, code))
}

// LogonName returns the user a save session info PDU tells of, if it does
// (2.2.10.1.1).
func LogonName(body []byte) (domain, user string, ok bool) {
	c := cursor{b: body}
	switch c.u32() {
	case 0: // INFOTYPE_LOGON: fields of fixed size
		c.skip(4)
		d := c.take(52)
		c.skip(4)
		u := c.take(512)
		return utf16Text(d), utf16Text(u), !c.bad
	case 1: // INFOTYPE_LOGON_LONG: lengths in front, 558 bytes of padding
		c.skip(2 + 4 + 4)
		nd, nu := c.u32(), c.u32()
		c.skip(558)
		if nd > maxInfoText || nu > maxInfoText {
			return "", "", false
		}
		d, u := c.take(int(nd)), c.take(int(nu))
		return utf16Text(d), utf16Text(u), !c.bad
	}
	return "", "", false
}
