package credssp

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/rc4"
	"encoding/binary"
	"strings"
	"time"
	"unicode/utf16"

	"golang.org/x/crypto/md4" //lint:ignore SA1019 the hash of a password in NTLM is MD4 (MS-NLMP 3.3.2)
)

// NTLM version 2 as MS-NLMP has it, from the client's side. MD4, MD5 and RC4 are what the protocol is
// made of; what protects it here is TLS around it and the binding to its
// certificate.

// Negotiate flags (MS-NLMP 2.2.2.5).
const (
	ntlmUnicode      = 0x00000001
	ntlmTarget       = 0x00000004
	ntlmSign         = 0x00000010
	ntlmSeal         = 0x00000020
	ntlmNTLM         = 0x00000200
	ntlmAlwaysSign   = 0x00008000
	ntlmTargetServer = 0x00020000
	ntlmExtended     = 0x00080000
	ntlmTargetInfo   = 0x00800000
	ntlmVersion      = 0x02000000
	ntlm128          = 0x20000000
	ntlmKeyExch      = 0x40000000

	ntlmFlags = ntlmUnicode | ntlmTarget | ntlmSign | ntlmSeal | ntlmNTLM | ntlmAlwaysSign | ntlmExtended | ntlmVersion | ntlm128 | ntlmKeyExch
	ntlmMust  = ntlmUnicode | ntlmSeal | ntlmExtended | ntlm128 | ntlmKeyExch
)

// Attributes of a target (2.2.2.1).
const (
	avEnd      = 0
	avComputer = 1
	avDomain   = 2
	avFlags    = 6
	avTime     = 7
	avBinding  = 10

	avHasMIC = 2
)

var (
	le        = binary.LittleEndian
	signature = []byte("NTLMSSP\x00")
	ownKind   = []byte{10, 0, 0, 0, 0, 0, 0, 15} // a version, for those who look: Windows 10, NTLMSSP revision 15
)

// negotiateMessage says what the client can do (2.2.1.1).
func negotiateMessage() []byte {
	b := append([]byte(nil), signature...)
	b = le.AppendUint32(b, 1)
	b = le.AppendUint32(b, ntlmFlags)
	b = append(b, make([]byte, 16)...) // neither domain nor workstation
	return append(b, ownKind...)
}

// A challenge is what a server answers (2.2.1.2).
type challenge struct {
	flags  uint32
	random []byte
	target []byte // attributes
}

func parseChallenge(b []byte) (challenge, error) {
	if len(b) < 48 || !bytes.Equal(b[:8], signature) || le.Uint32(b[8:]) != 2 {
		return challenge{}, malformed("the NTLM challenge")
	}
	c := challenge{flags: le.Uint32(b[20:]), random: b[24:32]}
	if c.flags&ntlmMust != ntlmMust {
		return c, malformed("the server wants NTLM without what protects it (flags %#x)", c.flags)
	}
	n, at := int(le.Uint16(b[40:])), int(le.Uint32(b[44:]))
	if at > len(b) || n > len(b)-at {
		return c, malformed("the target of an NTLM challenge")
	}
	c.target = b[at : at+n]
	return c, nil
}

// proofTarget is the server's attributes as the client proves them back: with
// flags that announce the code over all messages, and an empty channel
// binding. It also returns the server's time, or nil.
func proofTarget(target []byte) (b, stamp []byte, err error) {
	err = eachAttribute(target, func(kind uint16, value []byte) {
		if kind == avTime && len(value) == 8 {
			stamp = value
		}
		if kind != avFlags && kind != avBinding {
			b = appendAttribute(b, kind, value)
		}
	})
	if err != nil {
		return nil, nil, err
	}
	b = appendAttribute(b, avFlags, []byte{avHasMIC, 0, 0, 0})
	b = appendAttribute(b, avBinding, make([]byte, 16))
	return appendAttribute(b, avEnd, nil), stamp, nil
}

// eachAttribute goes through attributes (2.2.2.1) up to their end.
func eachAttribute(b []byte, see func(kind uint16, value []byte)) error {
	for {
		if len(b) < 4 {
			return malformed("the attributes of an NTLM target")
		}
		kind, n := le.Uint16(b), int(le.Uint16(b[2:]))
		if kind == avEnd {
			return nil
		}
		if n > len(b)-4 {
			return malformed("an attribute of an NTLM target")
		}
		see(kind, b[4:4+n])
		b = b[4+n:]
	}
}

func appendAttribute(b []byte, kind uint16, value []byte) []byte {
	b = le.AppendUint16(b, kind)
	b = le.AppendUint16(b, uint16(len(value)))
	return append(b, value...)
}

// Hash is all of a password that NTLM needs (NTOWFv1, 3.3.1): whoever has it
// can log in with it.
func Hash(password string) []byte {
	h := md4.New()
	h.Write(utf16le(password))
	return h.Sum(nil)
}

// owner binds the hash of a password to whose it is (NTOWFv2, 3.3.2).
func owner(hash []byte, domain, user string) []byte {
	return mac(hash, utf16le(strings.ToUpper(user)+domain))
}

// response computes the proof of a password and the key of the session
// (3.3.2).
func response(c Credentials, serverRandom, clientRandom, stamp, target []byte) (proof, key []byte) {
	owf := owner(Hash(c.Password), c.Domain, c.User)
	temp := append([]byte{1, 1, 0, 0, 0, 0, 0, 0}, stamp...)
	temp = append(temp, clientRandom...)
	temp = append(temp, 0, 0, 0, 0)
	temp = append(temp, target...)
	temp = append(temp, 0, 0, 0, 0)
	short := mac(owf, serverRandom, temp)
	return append(short, temp...), mac(owf, short)
}

// authenticate answers a challenge (2.2.1.3) and returns the keys of what
// follows.
func authenticate(hello, challenged []byte, c Credentials) ([]byte, *session, error) {
	ch, err := parseChallenge(challenged)
	if err != nil {
		return nil, nil, err
	}
	target, stamp, err := proofTarget(ch.target)
	if err != nil {
		return nil, nil, err
	}
	if stamp == nil {
		stamp = fileTime(time.Now())
	}
	random := make([]byte, 8+16)
	rand.Read(random)
	proof, base := response(c, ch.random, random[:8], stamp, target)
	exported := random[8:]
	wrapped := make([]byte, len(exported))
	stream(base).XORKeyStream(wrapped, exported)

	const fixed = 88
	payload := []byte(nil)
	b := append([]byte(nil), signature...)
	b = le.AppendUint32(b, 3)
	for _, field := range [][]byte{make([]byte, 24), proof, utf16le(c.Domain), utf16le(c.User), nil, wrapped} {
		b = le.AppendUint16(b, uint16(len(field)))
		b = le.AppendUint16(b, uint16(len(field)))
		b = le.AppendUint32(b, uint32(fixed+len(payload)))
		payload = append(payload, field...)
	}
	b = le.AppendUint32(b, ntlmFlags|ntlmTargetInfo)
	b = append(b, ownKind...)
	b = append(b, make([]byte, 16)...) // the code, zero while it is computed
	b = append(b, payload...)
	copy(b[fixed-16:], mac(exported, hello, challenged, b))
	return b, newSession(exported), nil
}

// fileTime is a moment in units of 100 ns since 1601 (MS-DTYP 2.3.3).
func fileTime(t time.Time) []byte {
	return le.AppendUint64(nil, uint64(t.UnixNano()/100+116444736000000000))
}

// A session seals what is said after the login, each direction by its own keys
// (3.4).
type session struct{ in, out sealer }

// flipped is the same session, seen from the other side.
func (s *session) flipped() *session { return &session{in: s.out, out: s.in} }

type sealer struct {
	sign   []byte
	key    []byte
	cipher *rc4.Cipher
	count  uint32
}

func newSession(exported []byte) *session {
	direction := func(name string) sealer {
		key := func(purpose string) []byte {
			sum := md5.Sum(append(append([]byte(nil), exported...), "session key to "+name+" "+purpose+" key magic constant\x00"...))
			return sum[:]
		}
		s := sealer{sign: key("signing"), key: key("sealing")}
		s.rewind()
		return s
	}
	return &session{in: direction("server-to-client"), out: direction("client-to-server")}
}

func stream(key []byte) *rc4.Cipher {
	c, err := rc4.NewCipher(key)
	if err != nil {
		panic(err) // the length of a key is not the peer's to choose
	}
	return c
}

const sealHead = 16

// seal encrypts a message and puts its signature in front (3.4.4.2).
func (s *sealer) seal(message []byte) []byte {
	b := make([]byte, sealHead+len(message))
	s.cipher.XORKeyStream(b[sealHead:], message)
	s.head(b, message)
	return b
}

func (s *sealer) head(b, message []byte) {
	count := le.AppendUint32(nil, s.count)
	s.count++
	le.PutUint32(b, 1)
	s.cipher.XORKeyStream(b[4:12], mac(s.sign, count, message)[:8])
	copy(b[12:sealHead], count)
}

// rewind begins the key stream anew; messages are counted on.
func (s *sealer) rewind() { s.cipher = stream(s.key) }

// signature signs a message that is not encrypted. It is only used on the list
// of mechanisms of SPNEGO, after which the key stream begins anew (MS-SPNG
// 3.3.5.1).
func (s *sealer) signature(message []byte) []byte {
	b := make([]byte, sealHead)
	s.head(b, message)
	s.rewind()
	return b
}

// open undoes seal.
func (s *sealer) open(b []byte) ([]byte, error) {
	if len(b) < sealHead {
		return nil, malformed("a sealed message of %d bytes", len(b))
	}
	message := make([]byte, len(b)-sealHead)
	s.cipher.XORKeyStream(message, b[sealHead:])
	want := make([]byte, sealHead)
	s.head(want, message)
	if !hmac.Equal(want, b[:sealHead]) {
		return nil, malformed("a sealed message whose signature is wrong")
	}
	return message, nil
}

func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(md5.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func utf16le(s string) []byte {
	b := []byte{}
	for _, u := range utf16.Encode([]rune(s)) {
		b = le.AppendUint16(b, u)
	}
	return b
}
