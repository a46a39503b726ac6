package credssp

import (
	"bytes"
	"crypto/hmac"
	"encoding/asn1"
	"errors"
	"slices"
)

// Windows wraps NTLM in SPNEGO (RFC 4178, MS-SPNG) where it would rather speak
// Kerberos, and sends it bare where it knows that there is none; FreeRDP 2
// always sends it bare.

var (
	oidSPNEGO = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 2}
	oidNTLM   = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 2, 10}

	// ErrNoNTLM says that a client speaks Kerberos or something else only.
	ErrNoNTLM = errors.New("the client offers no NTLM, only Kerberos or the like, which cannot pass the gate")
)

// States of a negotiation (RFC 4178 section 4.2.2).
const (
	negCompleted  = 0
	negIncomplete = 1
	negRequestMIC = 3
)

// negTokenInit is a client's first token; its list of mechanisms is kept as it
// came, because it is signed.
type negTokenInit struct {
	Mechanisms asn1.RawValue  `asn1:"explicit,tag:0"`
	Flags      asn1.BitString `asn1:"explicit,optional,tag:1"`
	Token      []byte         `asn1:"explicit,optional,tag:2"`
	MIC        asn1.RawValue  `asn1:"optional,tag:3"` // of no use before there is a key
}

// negTokenResp is every token after that.
type negTokenResp struct {
	State     asn1.Enumerated       `asn1:"explicit,optional,tag:0"`
	Mechanism asn1.ObjectIdentifier `asn1:"explicit,optional,tag:1"`
	Token     []byte                `asn1:"explicit,optional,tag:2"`
	MIC       []byte                `asn1:"explicit,optional,tag:3"`
}

// negAnswer is the same as a server says it: with its state, also if that is
// zero.
type negAnswer struct {
	State     asn1.Enumerated       `asn1:"explicit,tag:0"`
	Mechanism asn1.ObjectIdentifier `asn1:"explicit,optional,tag:1"`
	Token     []byte                `asn1:"explicit,optional,omitempty,tag:2"`
	MIC       []byte                `asn1:"explicit,optional,omitempty,tag:3"`
}

// A wrapping is how a client wraps NTLM.
type wrapping struct {
	begun      bool
	spnego     bool
	named      bool   // the client was told which mechanism it is
	second     bool   // NTLM is not what the client would like best
	mechanisms []byte // the list, in DER
}

// unwrap returns the NTLM message of a token, nil if it has none, and a
// signature of the list of mechanisms.
func (w *wrapping) unwrap(token []byte) (ntlm, mic []byte, err error) {
	first := !w.begun
	w.begun = true
	switch {
	case bytes.HasPrefix(token, signature):
		if !first && w.spnego {
			return nil, nil, malformed("NTLM without the SPNEGO it began with")
		}
		return token, nil, nil
	case first:
		w.spnego = true
		ntlm, err = w.unwrapInit(token)
		return ntlm, nil, err
	case !w.spnego:
		return nil, nil, malformed("SPNEGO around an NTLM that began without")
	}
	var r negTokenResp
	if err := unmarshalInner(token, asn1.ClassContextSpecific, 1, &r); err != nil {
		return nil, nil, err
	}
	if r.State == 2 { // reject
		return nil, nil, malformed("the client rejects the negotiation")
	}
	return r.Token, r.MIC, nil
}

func (w *wrapping) unwrapInit(token []byte) ([]byte, error) {
	var outer asn1.RawValue
	if rest, err := asn1.Unmarshal(token, &outer); err != nil || len(rest) > 0 || outer.Class != asn1.ClassApplication || outer.Tag != 0 || !outer.IsCompound {
		return nil, malformed("a token that is neither NTLM nor SPNEGO")
	}
	var kind asn1.ObjectIdentifier
	inner, err := asn1.Unmarshal(outer.Bytes, &kind)
	if err != nil {
		return nil, malformed("a token that is neither NTLM nor SPNEGO")
	}
	if !kind.Equal(oidSPNEGO) {
		return nil, ErrNoNTLM // Kerberos without SPNEGO, for one
	}
	var t negTokenInit
	if err := unmarshalInner(inner, asn1.ClassContextSpecific, 0, &t); err != nil {
		return nil, err
	}
	var offered []asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(t.Mechanisms.Bytes, &offered); err != nil || len(rest) > 0 {
		return nil, malformed("the mechanisms of SPNEGO")
	}
	at := slices.IndexFunc(offered, oidNTLM.Equal)
	if at < 0 {
		return nil, ErrNoNTLM
	}
	w.mechanisms = t.Mechanisms.Bytes
	if w.second = at > 0; w.second {
		return nil, nil // what it holds is the other mechanism's
	}
	return t.Token, nil
}

// unmarshalInner reads what is in an explicit tag and nothing else.
func unmarshalInner(b []byte, class, tag int, to any) error {
	var outer asn1.RawValue
	if rest, err := asn1.Unmarshal(b, &outer); err != nil || len(rest) > 0 || outer.Class != class || outer.Tag != tag || !outer.IsCompound {
		return malformed("a token of SPNEGO")
	}
	if rest, err := asn1.Unmarshal(outer.Bytes, to); err != nil || len(rest) > 0 {
		return malformed("a token of SPNEGO")
	}
	return nil
}

// wrap is the token of a server that holds an NTLM message, nil for none.
func (w *wrapping) wrap(ntlm []byte) ([]byte, error) {
	if !w.spnego {
		return ntlm, nil
	}
	a := negAnswer{State: negIncomplete, Token: ntlm}
	if !w.named {
		w.named, a.Mechanism = true, oidNTLM
		if w.second {
			a.State = negRequestMIC
		}
	}
	return wrapped(a)
}

// completed ends the negotiation. The client's signature of its mechanisms is
// checked and answered in kind, so that nobody in between has taken the better
// ones off the list.
func (w *wrapping) completed(mic []byte, keys *session) ([]byte, error) {
	switch {
	case !w.spnego:
		return nil, nil
	case mic == nil && w.second:
		return nil, malformed("the client did not sign what it negotiated")
	case mic == nil:
		return wrapped(negAnswer{State: negCompleted})
	case !hmac.Equal(keys.in.signature(w.mechanisms), mic):
		return nil, malformed("what the client negotiated was changed on the way")
	}
	return wrapped(negAnswer{State: negCompleted, MIC: keys.out.signature(w.mechanisms)})
}

func wrapped(a negAnswer) ([]byte, error) {
	b, err := asn1.Marshal(a)
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 1, IsCompound: true, Bytes: b})
}
