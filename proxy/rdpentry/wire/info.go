package wire

import "bytes"

// What the basic security header says follows (MS-RDPBCGR 2.2.8.1.1.2.1).
const (
	SecInfo        = 0x0040
	SecLicense     = 0x0080
	SecRedirection = 0x0400
)

// ParseSecurity reads the basic security header, which under TLS only a few
// PDUs have.
func ParseSecurity(b []byte) (flags uint16, rest []byte, err error) {
	c := cursor{b: b}
	flags = c.u16()
	c.skip(2)
	return flags, c.b, c.end("a security header")
}

// Secured puts the basic security header before something.
func Secured(flags uint16, b []byte) []byte {
	return append(le.AppendUint32(make([]byte, 0, 4+len(b)), uint32(flags)), b...)
}

// The flags of a Client Info PDU that matter here (2.2.1.11.1.1).
const (
	infoAutologon   = 0x00000008
	infoUnicode     = 0x00000010
	infoNotify      = 0x00000040
	infoCompression = 0x00000080
	infoTypeMask    = 0x00001e00
	infoType64K     = 0x00000200
	infoRail        = 0x00008000
	infoPIN         = 0x00040000
	infoHidefRail   = 0x02000000
)

// ClientInfo is what a client logs in with (2.2.1.11.1.1). It holds the
// person's password: it is never logged and never recorded.
type ClientInfo struct {
	CodePage  uint32
	Flags     uint32
	Domain    string
	User      string
	Password  string
	Shell     string
	Dir       string
	Extended  bool
	Family    uint16 // of the client's address
	Address   string
	ClientDir string
	Zone      []byte // the time zone, 172 bytes
	Session   uint32
	Perf      uint32
}

const zoneLen = 172

// maxInfoText bounds each text: the longest, in RDP 5, have 512 bytes.
const maxInfoText = 1024

// ParseClientInfo reads what follows the security header of a Client Info
// PDU. The automatic reconnect cookie, with which somebody logs in without
// the name that is decided about, is left out.
func ParseClientInfo(b []byte) (ClientInfo, error) {
	c := cursor{b: b}
	i := ClientInfo{CodePage: c.u32(), Flags: c.u32()}
	var lengths [5]int
	for n := range lengths {
		lengths[n] = int(c.u16())
	}
	for n, text := range []*string{&i.Domain, &i.User, &i.Password, &i.Shell, &i.Dir} {
		*text = c.infoText(lengths[n], i.Flags&infoUnicode != 0)
	}
	if err := c.end("a Client Info PDU"); err != nil || len(c.b) == 0 {
		return i, err
	}
	i.Extended = true
	i.Family = c.u16()
	i.Address = c.extendedText()
	i.ClientDir = c.extendedText()
	if len(c.b) == 0 {
		return i, c.end("a Client Info PDU")
	}
	i.Zone = c.take(zoneLen)
	if len(c.b) >= 8 {
		i.Session, i.Perf = c.u32(), c.u32()
	}
	return i, c.end("a Client Info PDU")
}

// infoText reads a text whose length does not count the NUL that ends it.
func (c *cursor) infoText(n int, unicode bool) string {
	if n > maxInfoText {
		c.bad, c.b = true, nil
		return ""
	}
	text := c.take(n)
	if !unicode {
		c.skip(1)
		return latin1(text)
	}
	c.skip(2)
	return utf16Text(text)
}

// latin1 takes what is in a code page for Latin-1: only old clients send such,
// and a name that is misread fits no grant.
func latin1(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

// extendedText reads one whose length does.
func (c *cursor) extendedText() string {
	n := int(c.u16())
	if n > maxInfoText {
		c.bad, c.b = true, nil
		return ""
	}
	return utf16Text(c.take(n))
}

// Bytes is a Client Info PDU with its security header.
func (i ClientInfo) Bytes() []byte {
	b := le.AppendUint32(nil, SecInfo)
	b = le.AppendUint32(b, i.CodePage)
	b = le.AppendUint32(b, i.Flags|infoUnicode)
	var texts []byte
	for _, text := range []string{i.Domain, i.User, i.Password, i.Shell, i.Dir} {
		before := len(texts)
		texts = appendUTF16(texts, text)
		b = le.AppendUint16(b, uint16(len(texts)-before))
		texts = append(texts, 0, 0)
	}
	b = append(b, texts...)
	if !i.Extended {
		return b
	}
	b = le.AppendUint16(b, i.Family)
	for _, text := range []string{i.Address, i.ClientDir} {
		units := append(appendUTF16(nil, text), 0, 0)
		b = le.AppendUint16(b, uint16(len(units)))
		b = append(b, units...)
	}
	if i.Zone == nil {
		return b
	}
	b = append(b, i.Zone...)
	b = le.AppendUint32(b, i.Session)
	b = le.AppendUint32(b, i.Perf)
	return le.AppendUint16(b, 0) // no cookie
}

// Recordable restricts bulk compression to what the recorder can undo, MPPC
// of 8 or 64 KiB, and asks for a whole desktop where the client wants windows
// of single programs, which are drawn in ways it cannot.
func (i *ClientInfo) Recordable() {
	if i.Flags&infoCompression != 0 && i.Flags&infoTypeMask > infoType64K {
		i.Flags = i.Flags&^infoTypeMask | infoType64K
	}
	i.Flags &^= infoRail | infoHidefRail
}

// SmartCard reports whether what stands for a password is a PIN.
func (i *ClientInfo) SmartCard() bool { return i.Flags&infoPIN != 0 }

// Autologon reports whether the client wants the server to log in with the
// password it sent.
func (i *ClientInfo) Autologon() bool { return i.Flags&infoAutologon != 0 }

// Login makes the server log in as somebody without asking.
func (i *ClientInfo) Login(domain, user, password string) {
	i.Domain, i.User, i.Password = domain, user, password
	i.Flags = i.Flags&^infoPIN | infoAutologon
}

// Notify makes the server tell who logged in.
func (i *ClientInfo) Notify() { i.Flags |= infoNotify }
