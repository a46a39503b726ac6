package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

func (c *cli) hostKeyCommand() *cobra.Command {
	return noun("host-key", "a server's SSH host keys: what the gate shows, and what it must be shown",
		c.hostKeyShow(), c.hostKeyImport(), c.hostKeyTrust(), c.hostKeyForget())
}

const addressUsage = "which address of the server, 10.30.0.7 or 10.30.0.7:22; needed where it is a prefix"

func (c *cli) hostKeyShow() *cobra.Command {
	var f api.HostKeyFilter
	cmd := &cobra.Command{
		Use: "show NAME", Short: "show both sides of a server's identity", Args: args(1, 1), ValidArgsFunction: c.complete(c.serverNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := c.house().HostKeys(cmd.Context(), args[0], f)
			if err != nil {
				return err
			}
			l := list{head: []string{"SIDE", "TYPE", "FINGERPRINT", "PINNED", "BY"}}
			for _, k := range keys.Gate {
				l.add("shown by the gate", k.Type, k.Fingerprint, k.Pinned, k.By)
			}
			for _, k := range keys.Pinned {
				l.add("of the server", k.Type, k.Fingerprint, k.Pinned, k.By)
			}
			if c.csv {
				return api.NewCSV(c.out).Write(bothSides(keys))
			}
			return c.list(keys, l)
		},
	}
	cmd.Flags().StringVar(&f.Address, "address", "", addressUsage)
	return c.csvFlag(cmd)
}

// A sideKey is a key and whose it is, as a line of a list.
type sideKey struct {
	Side string `json:"side"` // "gate", "server"
	api.PublicKey
}

func bothSides(keys api.HostKeyList) (all []sideKey) {
	for _, k := range keys.Gate {
		all = append(all, sideKey{"gate", k})
	}
	for _, k := range keys.Pinned {
		all = append(all, sideKey{"server", k})
	}
	return all
}

func (c *cli) hostKeyImport() *cobra.Command {
	var k api.ImportedKey
	cmd := &cobra.Command{
		Use:   "import NAME [FILE]",
		Short: "have the gate show the server's own key, so that no client notices anything",
		Long: `Reads a private host key (PEM, without a passphrase) from a file, or from
standard input where there is none or it is -, and has the gate show it to
clients instead of a key of its own:

  ssh root@10.30.0.7 cat /etc/ssh/ssh_host_ed25519_key | inside server host-key import web`,
		Args: args(1, 2), ValidArgsFunction: c.complete(c.serverNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readFile(cmd, args[1:])
			if err != nil {
				return err
			}
			k.PrivateKey = text
			keys, err := c.house().ImportHostKey(cmd.Context(), args[0], k)
			if err != nil {
				return err
			}
			return c.say(keys, nil, "the gate shows %s for %s", fingerprints(keys.Gate), keys.Server)
		},
	}
	cmd.Flags().StringVar(&k.Address, "address", "", addressUsage)
	return cmd
}

func (c *cli) hostKeyTrust() *cobra.Command {
	var k api.TrustedKeys
	cmd := &cobra.Command{
		Use:   "trust NAME [FILE]",
		Short: "pin a server's public keys in place of those that were pinned",
		Long: `Reads public host keys from a file, or from standard input where there is none
or it is -: a .pub file of the server, or what ssh-keyscan prints. From then on
the server must show one of them:

  ssh-keyscan 10.30.0.7 | inside server host-key trust web

What ssh-keyscan saw was not verified by anybody: compare the fingerprints.`,
		Args: args(1, 2), ValidArgsFunction: c.complete(c.serverNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readFile(cmd, args[1:])
			if err != nil {
				return err
			}
			k.PublicKeys = text
			keys, err := c.house().TrustHostKeys(cmd.Context(), args[0], k)
			if err != nil {
				return err
			}
			return c.say(keys, nil, "%s must show %s", keys.Server, fingerprints(keys.Pinned))
		},
	}
	cmd.Flags().StringVar(&k.Address, "address", "", addressUsage)
	return cmd
}

func (c *cli) hostKeyForget() *cobra.Command {
	var f api.HostKeyFilter
	cmd := &cobra.Command{
		Use:   "forget NAME",
		Short: "unpin a server's keys; the one it shows next is pinned, unseen by anybody",
		Args:  args(1, 1), ValidArgsFunction: c.complete(c.serverNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := c.house().ForgetHostKeys(cmd.Context(), args[0], f)
			if err != nil {
				return err
			}
			return c.say(keys, nil, "%d key(s) of %s forgotten: the one it shows next is pinned", keys.Removed, keys.Server)
		},
	}
	cmd.Flags().StringVar(&f.Address, "address", "", addressUsage)
	return cmd
}

func fingerprints(keys []api.PublicKey) string {
	text := ""
	for i, k := range keys {
		if i > 0 {
			text += ", "
		}
		text += k.Type + " " + k.Fingerprint
	}
	return text
}

// longestFile bounds what is read: the daemon takes no more than 1 MiB.
const longestFile = 512 << 10

// readFile reads the file that is named, or standard input.
func readFile(cmd *cobra.Command, names []string) (string, error) {
	in := cmd.InOrStdin()
	if len(names) > 0 && names[0] != "-" {
		f, err := os.Open(names[0])
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, longestFile+1))
	if err != nil {
		return "", err
	}
	if len(text) > longestFile {
		return "", fmt.Errorf("that is longer than any key: %d KiB are read at most", longestFile>>10)
	}
	return string(text), nil
}
