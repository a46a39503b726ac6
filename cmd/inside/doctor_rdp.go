package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

func (c *cli) doctorRDP() *cobra.Command {
	var f api.HostKeyFilter
	cmd := &cobra.Command{
		Use: "rdp SERVER", Short: "which security a server's RDP asks for, and what the gate can do with it", Args: args(1, 1),
		Long: `Has the gate dial the server as for a session and ask which security it takes:
standard RDP security, TLS, network level authentication (NLA), RDSTLS. Nobody
logs in and nothing is pinned. The exit code is 1 where nobody can get in.`,
		ValidArgsFunction: c.complete(c.serverNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := c.house().LookAtRDP(cmd.Context(), args[0], f)
			if err != nil {
				return err
			}
			if err := c.printRDP(l); err != nil || l.Usable {
				return err
			}
			return &saidNo{code: exitError}
		},
	}
	cmd.Flags().StringVar(&f.Address, "address", "", "which address of the server, 10.30.0.7 or 10.30.0.7:3389; needed where it is a prefix")
	return cmd
}

// securities are what a server takes, in words.
var securities = map[string]string{
	"tls": "TLS", "nla": "NLA", "nla-ex": "NLA with HYBRID_EX", "rdstls": "RDSTLS", "standard": "standard RDP security",
}

func (c *cli) printRDP(l api.RDPLook) error {
	if c.json {
		return c.printJSON(l)
	}
	var takes []string
	for _, t := range l.Takes {
		takes = append(takes, firstOf(securities[t], t))
	}
	var fields fields
	fields.add("server", l.Server+", "+l.Address)
	fields.add("takes", firstOf(strings.Join(takes, ", "), "nothing the gate knows")+yes(l.Insists, "; nobody without NLA"))
	fields.add("speaks", strings.Join(slices.DeleteFunc([]string{l.TLS, credsspText(l)}, func(s string) bool { return s == "" }), ", "))
	if cert := l.Certificate; cert != nil {
		fields.add("certificate", fmt.Sprintf("%s, until %s", cert.Subject, moment(cert.Until)))
		fields.add("fingerprint", cert.Fingerprint)
		pinned := map[string]string{"yes": "the pinned one", "no": "not pinned yet: the next session pins it", "changed": "NOT the pinned one"}[cert.Pinned]
		fields.add("key", cert.Key+", "+firstOf(pinned, cert.Pinned))
	}
	for _, t := range l.Trouble {
		fields.add("trouble", t)
	}
	if err := fields.print(c.out); err != nil {
		return err
	}
	for _, line := range l.Advice {
		fmt.Fprintf(c.out, "\n%s\n", api.Escape(line))
	}
	return nil
}

func credsspText(l api.RDPLook) string {
	if l.CredSSP == 0 {
		return ""
	}
	return "CredSSP " + strconv.Itoa(l.CredSSP)
}
