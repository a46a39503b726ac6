package policy

import (
	"net/netip"
	"time"
)

// Waive lets a denied flow in all the same, as networks do that only warn: the
// denial becomes the verdict's Waived. No grant limits what such a session may
// do, and nothing ends it by itself; the Grant has no id. Who and what nobody
// knows has its address for a name, and no id either.
func (b *Book) Waive(v Verdict, f Flow) Verdict {
	if v.Allowed() {
		return v
	}
	v.Waived, v.Denial = v.Denial, ""
	v.Until, v.Ends = time.Time{}, ""
	v.Grant = &Grant{Forwarding: AllForwarding, Redirection: AllRedirections}
	if v.Person == nil {
		v.Person = &Person{Name: f.Client.Addr().Unmap().String()}
	}
	dest := f.Dest.Addr().Unmap()
	if v.Server == nil { // it was not looked for where the person is unknown
		v.Server = b.ServerAt(dest)
	}
	if v.Server == nil {
		v.Server = &Server{Name: dest.String(), Prefix: netip.PrefixFrom(dest, dest.BitLen())}
	}
	return v
}
