package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

func (c *cli) certificateCommand() *cobra.Command {
	return noun("certificate", "a server's RDP certificate: what the gate shows, and what it must be shown",
		c.certificateShow(), c.certificateImport(), c.certificateTrust(), c.certificateForget())
}

const rdpAddressUsage = "which address of the server, 10.30.0.7 or 10.30.0.7:3389; needed where it is a prefix"

func (c *cli) certificateShow() *cobra.Command {
	var f api.HostKeyFilter
	cmd := &cobra.Command{
		Use: "show NAME", Short: "show both sides of a server's identity in RDP", Args: args(1, 1), ValidArgsFunction: c.complete(c.serverNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			sc, err := c.house().ServerCertificate(cmd.Context(), args[0], f)
			if err != nil || c.json {
				return c.orJSON(sc, err)
			}
			l := list{head: []string{"SIDE", "KEY", "SUBJECT", "NAMES", "ISSUER", "ENDS", "PINNED", "BY"}}
			g := sc.Gate
			by := "the gate"
			if g.Imported {
				by = "imported"
			}
			l.add("shown by the gate", g.Fingerprint, g.Subject, strings.Join(g.Names, ", "), g.Issuer, g.NotAfter, time.Time{}, by)
			for _, k := range sc.Pinned {
				l.add("of the server", k.Fingerprint, "", "", "", time.Time{}, k.Pinned, k.By)
			}
			return c.list(sc, l)
		},
	}
	cmd.Flags().StringVar(&f.Address, "address", "", rdpAddressUsage)
	return cmd
}

func (c *cli) certificateImport() *cobra.Command {
	var i api.ImportedCertificate
	var cert, key string
	cmd := &cobra.Command{
		Use:   "import NAME --cert FILE --key FILE",
		Short: "have the gate show the server's own certificate, so that no client notices anything",
		Long: `Reads a certificate, perhaps with those that signed it, and its private key, both
in PEM and the key without a passphrase, and has the gate show it to RDP clients
instead of one of its own. Where it is the very one the server shows, clients
that insist on network level authentication (NLA) may log in at the server
through the gate, which passes that on untouched.

  inside server certificate import desk --cert desk.crt --key desk.key`,
		Args: args(1, 1), ValidArgsFunction: c.complete(c.serverNames),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if cert == "" || key == "" {
				return &usage{cmd, errors.New("a certificate and its private key are needed: inside server certificate import desk --cert FILE --key FILE")}
			}
			if i.Certificate, err = readFile(cmd, []string{cert}); err != nil {
				return err
			}
			text, err := readFile(cmd, []string{key})
			if err != nil {
				return err
			}
			i.PrivateKey = api.Secret(text)
			defer clear(i.PrivateKey)
			sc, err := c.house().ImportCertificate(cmd.Context(), args[0], i)
			if err != nil {
				return err
			}
			var notes []string
			if len(sc.Pinned) > 0 && !slices.ContainsFunc(sc.Pinned, func(k api.PublicKey) bool { return k.Fingerprint == sc.Gate.Fingerprint }) {
				notes = append(notes, "the server itself shows another key, so NLA cannot be passed through")
			}
			if sc.Gate.NotAfter.Before(time.Now()) {
				notes = append(notes, fmt.Sprintf("this certificate ended %s", moment(sc.Gate.NotAfter)))
			}
			return c.say(sc, notes, "the gate shows %s for %s", sc.Gate.Fingerprint, sc.Server)
		},
	}
	cmd.Flags().StringVar(&i.Address, "address", "", rdpAddressUsage)
	cmd.Flags().StringVar(&cert, "cert", "", "the certificate")
	cmd.Flags().StringVar(&key, "key", "", "its private key")
	return cmd
}

func (c *cli) certificateTrust() *cobra.Command {
	var t api.TrustedCertificate
	cmd := &cobra.Command{
		Use:   "trust NAME [FILE]",
		Short: "pin the key of a server's certificate in place of the one that was pinned",
		Long: `Reads a certificate in PEM from a file, or from standard input where there is none
or it is -. From then on the server must show its key; it may renew the
certificate around it. Take it from the server itself, not from the network.`,
		Args: args(1, 2), ValidArgsFunction: c.complete(c.serverNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readFile(cmd, args[1:])
			if err != nil {
				return err
			}
			t.Certificate = text
			sc, err := c.house().TrustCertificate(cmd.Context(), args[0], t)
			if err != nil {
				return err
			}
			return c.say(sc, nil, "%s must show %s", sc.Server, fingerprints(sc.Pinned))
		},
	}
	cmd.Flags().StringVar(&t.Address, "address", "", rdpAddressUsage)
	return cmd
}

func (c *cli) certificateForget() *cobra.Command {
	var f api.ForgottenCertificate
	cmd := &cobra.Command{
		Use:   "forget NAME",
		Short: "unpin a server's key, the one it shows next is pinned, unseen by anybody; or drop what was imported",
		Args:  args(1, 1), ValidArgsFunction: c.complete(c.serverNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			sc, err := c.house().ForgetCertificate(cmd.Context(), args[0], f)
			switch {
			case err != nil:
				return err
			case f.Imported && sc.Removed == 0:
				return c.say(sc, nil, "nothing was imported for %s: the gate shows %s of its own", sc.Server, sc.Gate.Fingerprint)
			case f.Imported:
				return c.say(sc, nil, "the gate shows %s of its own for %s", sc.Gate.Fingerprint, sc.Server)
			}
			return c.say(sc, nil, "%d key(s) of %s forgotten: the one it shows next is pinned", sc.Removed, sc.Server)
		},
	}
	cmd.Flags().StringVar(&f.Address, "address", "", rdpAddressUsage)
	cmd.Flags().BoolVar(&f.Imported, "imported", false, "have the gate show a certificate of its own again")
	return cmd
}

func (c *cli) caRDP() *cobra.Command {
	return &cobra.Command{
		Use:   "rdp",
		Short: "show the certificate that signs what the gate shows in RDP, for clients to trust",
		Long: `Prints the certificate of the gate's own authority. Where clients trust it they do
not ask about the certificates the gate shows in the servers' names:

  inside ca rdp >inside.crt
  certutil -addstore Root inside.crt          (Windows; or by group policy)
  cp inside.crt /usr/local/share/ca-certificates/ && update-ca-certificates`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ca, err := c.house().RDPAuthority(cmd.Context())
			if err != nil || c.json {
				return c.orJSON(ca, err)
			}
			_, err = fmt.Fprint(c.out, ca.PEM)
			return err
		},
	}
}
