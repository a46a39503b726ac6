package credssp

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"time"
	"unicode/utf16"
)

// NTLM version 2 from the server's side: a challenge, and whether what comes
// back was made with a password of which the hash is known.

// A challenger is the server's half of one NTLM login.
type challenger struct {
	name       string // how the server calls itself
	hello      []byte // what the client said
	challenge  []byte // what it was answered
	randomness []byte
}

// challenged answers a client's first message (2.2.1.1) with a challenge
// (2.2.1.2). It tells the time, so that a client must protect all three
// messages by a code (3.1.5.1.2).
func (c *challenger) challenged(hello []byte) ([]byte, error) {
	if len(hello) < 16 || !bytes.Equal(hello[:8], signature) || le.Uint32(hello[8:]) != 1 {
		return nil, malformed("the first NTLM message")
	}
	flags := le.Uint32(hello[12:])
	if flags&ntlmMust != ntlmMust {
		return nil, malformed("the client wants NTLM without what protects it (flags %#x)", flags)
	}
	const fixed = 56
	name := utf16le(c.name)
	target := appendAttribute(nil, avDomain, name)
	target = appendAttribute(target, avComputer, name)
	target = appendAttribute(target, avTime, fileTime(time.Now()))
	target = appendAttribute(target, avEnd, nil)
	c.randomness = make([]byte, 8)
	rand.Read(c.randomness)

	b := append([]byte(nil), signature...)
	b = le.AppendUint32(b, 2)
	b = appendField(b, len(name), fixed)
	b = le.AppendUint32(b, flags&ntlmFlags|ntlmTarget|ntlmTargetServer|ntlmTargetInfo)
	b = append(b, c.randomness...)
	b = append(b, make([]byte, 8)...) // reserved
	b = appendField(b, len(target), fixed+len(name))
	b = append(b, ownKind...)
	b = append(b, name...)
	b = append(b, target...)
	c.hello, c.challenge = hello, b
	return b, nil
}

// appendField says where something lies in a message (2.2.2: lengths, offset).
func appendField(b []byte, n, at int) []byte {
	b = le.AppendUint16(b, uint16(n))
	b = le.AppendUint16(b, uint16(n))
	return le.AppendUint32(b, uint32(at))
}

// A claim is a client's third message (2.2.1.3), not believed yet.
type claim struct {
	domain, user string

	message []byte
	proof   []byte // 16 bytes, then what they prove
	wrapped []byte // the session's key
}

// The parts of the third message, by where their lengths stand.
const (
	claimProof  = 20
	claimDomain = 28
	claimUser   = 36
	claimKey    = 52
	claimFlags  = 60
	claimCode   = 72
	claimFixed  = claimCode + codeLen
	codeLen     = 16

	maxClaimName = 2 * 256 // a name of Windows has 256 characters (UNLEN)
	minProof     = 16 + 28 // the proof, and what it proves up to the attributes
)

func parseClaim(b []byte) (claim, error) {
	if len(b) < claimFixed || !bytes.Equal(b[:8], signature) || le.Uint32(b[8:]) != 3 {
		return claim{}, malformed("the third NTLM message")
	}
	if flags := le.Uint32(b[claimFlags:]); flags&ntlmMust != ntlmMust {
		return claim{}, malformed("the client gave up what protects NTLM (flags %#x)", flags)
	}
	c := claim{message: b}
	var domain, user []byte
	for _, part := range []struct {
		at    int
		limit int
		field *[]byte
	}{{claimProof, maxRequest, &c.proof}, {claimDomain, maxClaimName, &domain}, {claimUser, maxClaimName, &user}, {claimKey, codeLen, &c.wrapped}} {
		n, at := int(le.Uint16(b[part.at:])), int(le.Uint32(b[part.at+4:]))
		if n > part.limit || at > len(b) || n > len(b)-at {
			return claim{}, malformed("a part of the third NTLM message")
		}
		*part.field = b[at : at+n]
	}
	if len(c.proof) < minProof || len(c.wrapped) != codeLen {
		return claim{}, malformed("an NTLM proof of %d bytes with a key of %d: only version 2 is taken", len(c.proof), len(c.wrapped))
	}
	var err error
	if c.domain, err = utf16Text(domain); err != nil {
		return claim{}, err
	}
	if c.user, err = utf16Text(user); err != nil {
		return claim{}, err
	}
	return c, nil
}

// utf16Text reads a text strictly: the name that is decided about must be the
// one that another reader of the same bytes sees.
func utf16Text(b []byte) (string, error) {
	if len(b)%2 != 0 {
		return "", malformed("half a character in a name")
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		if units[i] = le.Uint16(b[2*i:]); units[i] == 0 {
			return "", malformed("a NUL in a name")
		}
	}
	text := string(utf16.Decode(units))
	if !bytes.Equal(utf16le(text), b) {
		return "", malformed("a name that is not UTF-16")
	}
	return text, nil
}

// provenBy checks a claim against the hash of a password and returns the keys
// of what follows, or nil.
func (c *challenger) provenBy(a claim, hash []byte) *session {
	owf := owner(hash, a.domain, a.user)
	if !hmac.Equal(mac(owf, c.randomness, a.proof[16:]), a.proof[:16]) {
		return nil
	}
	protected := false
	err := eachAttribute(a.proof[minProof:], func(kind uint16, value []byte) {
		protected = protected || kind == avFlags && len(value) == 4 && le.Uint32(value)&avHasMIC != 0
	})
	if err != nil || !protected {
		return nil
	}
	exported := make([]byte, codeLen)
	stream(mac(owf, a.proof[:16])).XORKeyStream(exported, a.wrapped)
	message := bytes.Clone(a.message)
	code := bytes.Clone(message[claimCode:claimFixed])
	clear(message[claimCode:claimFixed])
	if !hmac.Equal(mac(exported, c.hello, c.challenge, message), code) {
		return nil
	}
	return newSession(exported).flipped()
}
