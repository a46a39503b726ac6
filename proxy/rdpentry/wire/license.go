package wire

// Licensing PDUs (MS-RDPELE 2.2.2). A server either says at once that no
// license is needed, or asks for one and talks with the client about it.
const (
	licenseRequest = 0x01
	licenseAlert   = 0xff

	licenseNone  = 2 // ERR_NO_LICENSE, said by a client
	licenseValid = 7 // STATUS_VALID_CLIENT, said by a server that wants none
)

// ValidClient is the PDU of a server that wants no license (2.2.2.7.1), with
// its security header.
func ValidClient() []byte { return licenseError(licenseValid) }

// NoLicense is the answer of a client that has none to show (2.2.2.7.1).
func NoLicense() []byte { return licenseError(licenseNone) }

func licenseError(code byte) []byte {
	return []byte{
		SecLicense, 0, 0, 0,
		licenseAlert, 3, 16, 0, // version 3, 16 bytes
		code, 0, 0, 0,
		2, 0, 0, 0, // ST_NO_TRANSITION
		4, 0, 0, 0, // an empty blob
	}
}

// ParseLicense reads what a server says of licenses, without the security
// header: that none is needed, or that it wants to see one.
func ParseLicense(b []byte) (valid, wanted bool) {
	c := cursor{b: b}
	kind := c.u8()
	c.skip(3)
	code := c.u32()
	return !c.bad && kind == licenseAlert && code == licenseValid, !c.bad && kind == licenseRequest
}
