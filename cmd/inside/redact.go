package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/pawelmojski/inside/appliance/api"
)

// A redactor makes texts fit to be shown to strangers. Secrets go in any case;
// names and addresses become stand-ins, the same one wherever they are.
type redactor struct {
	standIns map[string]string // of names, lower case
	names    *regexp.Regexp    // nil: names stay
	address  bool
	known    map[netip.Addr]string
}

// Secrets, wherever they stand: URLs lose all behind their scheme, because
// many webhooks have theirs in the path.
var (
	secretURL   = regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.-]*)://[^\s"'<>]+`)
	secretToken = regexp.MustCompile(`ins_[a-z2-7]{8,}`)
	secretField = regexp.MustCompile(`(?i)\b(password|passwd|passphrase|secret|token|sslpassword|authorization|bearer)("?\s*[:=]\s*"?|\s+)[^\s",;]+`)
	secretBlock = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`)
	loginField  = regexp.MustCompile(`\b(login|by|email|account|client_name)("?\s*[:=]\s*)("[^"\n]*"|[^\s",]+)`)
	anyEmail    = regexp.MustCompile(`[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+`)
	anyAddress  = regexp.MustCompile(`[0-9A-Fa-f]*[:.][0-9A-Fa-f:.]*[0-9A-Fa-f:]`)
)

// secretsOnly leaves names and addresses as they are.
func secretsOnly() *redactor { return &redactor{} }

// pseudonyms also hides who and where.
func pseudonyms(persons []api.Person, servers []api.Server, groups []string) *redactor {
	r := &redactor{standIns: map[string]string{}, address: true, known: map[netip.Addr]string{}}
	for i, p := range persons {
		for _, text := range append([]string{p.Name, p.FullName, p.Email, p.Account}, strings.Fields(p.FullName)...) {
			r.stand(text, fmt.Sprintf("person-%d", i+1))
		}
		for _, a := range p.Addresses {
			r.stand(a.Label, "label")
		}
	}
	for i, s := range servers {
		r.stand(s.Name, fmt.Sprintf("server-%d", i+1))
	}
	for i, name := range groups {
		r.stand(name, fmt.Sprintf("group-%d", i+1))
	}
	if len(r.standIns) == 0 {
		return r
	}
	var names []string
	for name := range r.standIns {
		names = append(names, regexp.QuoteMeta(name))
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) }) // the longest first
	r.names = regexp.MustCompile(`(?i)` + strings.Join(names, "|"))
	return r
}

func (r *redactor) stand(name, in string) {
	name = strings.ToLower(strings.TrimSpace(name))
	if _, known := r.standIns[name]; len(name) > 1 && !known {
		r.standIns[name] = in
	}
}

func (r *redactor) redact(text string) string {
	text = secretBlock.ReplaceAllString(text, "[redacted key]")
	text = secretURL.ReplaceAllString(text, "$1://[redacted]")
	text = secretToken.ReplaceAllString(text, "[redacted token]")
	text = secretField.ReplaceAllString(text, "$1$2[redacted]")
	if !r.address {
		return text
	}
	text = loginField.ReplaceAllString(text, "$1$2[redacted]")
	if r.names != nil {
		text = r.names.ReplaceAllStringFunc(text, func(name string) string { return r.standIns[strings.ToLower(name)] })
	}
	text = anyEmail.ReplaceAllString(text, "[redacted email]")
	return anyAddress.ReplaceAllStringFunc(text, r.addressOf)
}

// addressOf is the stand-in of an address, with its port or without; what is
// none stays, and so do those that every machine has.
func (r *redactor) addressOf(text string) string {
	a, err := netip.ParseAddr(strings.TrimRight(text, ":."))
	port := ""
	if err != nil {
		host, p, cut := strings.Cut(text, ":")
		if a, err = netip.ParseAddr(host); err != nil || !cut {
			return text
		}
		port = ":" + p
	}
	a = a.Unmap()
	if a.IsLoopback() || a.IsUnspecified() {
		return text
	}
	if r.known[a] == "" {
		r.known[a] = fmt.Sprintf("address-%d", len(r.known)+1)
	}
	return r.known[a] + port
}
