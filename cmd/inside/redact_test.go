package main

import (
	"strings"
	"testing"

	"github.com/pawelmojski/inside/appliance/api"
)

func TestNoSecretAndNoNameIsLeft(t *testing.T) {
	persons := []api.Person{{Name: "alice", FullName: "Alice Liddell", Email: "alice@corp.example", Account: "aliddell@corp", Addresses: []api.Address{{Label: "home of Alice"}}}, {Name: "alice.b"}}
	servers := []api.Server{{Name: "prod-db-01"}}
	r := pseudonyms(persons, servers, []string{"crown-jewels"})
	for _, c := range []struct{ text, want string }{
		{"postgres://inside:geheim@db/inside?password=geheim", "postgres://[redacted]"},
		{`"url": "POSTGRESQL://u:geheim@h/d"`, `"url": "POSTGRESQL://[redacted]"`},
		{"told https://hooks.example/geheim/x once", "told https://[redacted] once"},
		{"token ins_" + strings.Repeat("a", 52) + " seen", "token [redacted] [redacted] seen"},
		{"x=ins_" + strings.Repeat("b", 52), "x=[redacted token]"},
		{`password="geheim" sslpassword=geheim`, `password="[redacted]" sslpassword=[redacted]`},
		{"-----BEGIN OPENSSH PRIVATE KEY-----\ngeheim\n-----END OPENSSH PRIVATE KEY-----", "[redacted key]"},
		{"-----BEGIN EC PRIVATE KEY-----\ngeheim", "[redacted key]"},
		{"person=alice server=prod-db-01 login=root", "person=person-1 server=server-1 login=[redacted]"},
		{"ALICE and alice.b of crown-jewels", "person-1 and person-2 of group-1"},
		{"Liddell, aliddell@corp, someone@else.example", "person-1, person-1, [redacted email]"},
		{`client=10.50.0.2:50123 dest=[fd30::140]:22 10.50.0.2`, "client=address-1:50123 dest=[address-2]:22 address-1"},
		{"ip daddr 10.30.0.0/24 tproxy ip to 127.0.0.1:7022, [::1]:7022", "ip daddr address-3/24 tproxy ip to 127.0.0.1:7022, [::1]:7022"},
		{"2026-11-22T19:24:33Z version 1.2.3 at 12:30:45, 0x01000000", "2026-11-22T19:24:33Z version 1.2.3 at 12:30:45, 0x01000000"},
	} {
		got := r.redact(c.text)
		if c.text[0] == 't' && strings.Contains(c.text, "ins_") { // either way nothing is left of it
			if strings.Contains(got, "aaaa") {
				t.Errorf("%s: %s", c.text, got)
			}
			continue
		}
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.text, got, c.want)
		}
	}
	if got := secretsOnly().redact("alice from 10.50.0.2, password=geheim"); got != "alice from 10.50.0.2, password=[redacted]" {
		t.Error(got)
	}
}
