package main

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"
	"golang.org/x/term"

	"github.com/pawelmojski/inside/appliance/api"
)

func (c *cli) credentialCommand() *cobra.Command {
	return noun("credential", "what the gate logs in with in people's names",
		c.credentialAdd(), c.credentialList(), c.credentialRemove(),
		c.credentialEnroll(), c.credentialEnrolled(), c.credentialUnenroll())
}

func (c *cli) credentialAdd() *cobra.Command {
	var asked api.NewCredential
	var isPassword bool
	cmd := &cobra.Command{
		Use:   "add PERSON",
		Short: "store a private key or a password for a person, from standard input",
		Long: `Reads a private key from standard input, or with --password a password, and
keeps it sealed. When the person proves a key the gate knows, it logs in to the
server with this instead, so that a plain key file and no agent is enough:

  inside person key add alice <alice.pub
  inside credential add alice --server web --login deploy <deploy_key

What fits best is used: one for the login and the server, then for the server,
for the login, for any; keys before passwords. It is used only inside a granted
session, each use is an audit row, and nothing shows it again.

In RDP, a client that knows the stored password logs in with it by network level
authentication (NLA), checked by the gate before the server hears of it. A client
without NLA is logged in by what it sends itself; with --without-proof the gate
logs it in with the stored password, so that the person never learns it. Then
nothing but the address says who comes: anybody else behind it gets in, too.

  inside credential add alice --server desk --login alice --password --without-proof

A key with a passphrase is unlocked here: the passphrase is asked for on the
terminal and goes nowhere.`,
		Args: args(1, 1), ValidArgsFunction: c.complete(c.personNames),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			asked.Person, asked.Kind = args[0], api.KeyCredential
			if isPassword {
				asked.Kind = api.PasswordCredential
				asked.Secret, err = readPassword(cmd.InOrStdin(), c.err)
			} else {
				asked.Secret, err = readKey(cmd, c.err)
			}
			defer clear(asked.Secret)
			if err != nil {
				return err
			}
			k, err := c.house().AddCredential(cmd.Context(), asked)
			if err != nil {
				return err
			}
			var notes []string
			if isPassword && k.Server == "" {
				notes = append(notes, "every server "+k.Person+" logs in to by it gets to see the password: --server names one")
			}
			if k.WithoutProof {
				notes = append(notes, "whoever comes by RDP from an address of "+k.Person+"'s is logged in with it: nothing else is asked")
			}
			return c.say(k, notes, "credential %s stored: %s %s", k.ID, what(k), servesFor(k.Person, k.Login, k.Server))
		},
	}
	cmd.Flags().StringVar(&asked.Login, "login", "", "the login on the server it is for (default any)")
	cmd.Flags().StringVar(&asked.Server, "server", "", "the server it is for (default any)")
	cmd.Flags().BoolVar(&isPassword, "password", false, "read a password instead of a key")
	cmd.Flags().BoolVar(&asked.WithoutProof, "without-proof", false, "in RDP, log in with the password whoever comes from the person's addresses; takes --server")
	c.completeFlag(cmd, "server", c.serverNames)
	return cmd
}

func what(k api.Credential) string {
	if k.Fingerprint == "" {
		return "a " + k.Kind
	}
	return k.Kind + " " + k.Fingerprint
}

func servesFor(person, login, server string) string {
	text := "for " + person
	if login != "" {
		text += " as " + login
	}
	if server == "" {
		return text + " on any server"
	}
	return text + " on " + server
}

// readPassword reads one line, from a terminal without showing it.
func readPassword(in io.Reader, out io.Writer) ([]byte, error) {
	if isTerminal(in) {
		fmt.Fprint(out, "Password: ")
		defer fmt.Fprintln(out)
		return term.ReadPassword(int(in.(*os.File).Fd()))
	}
	text, err := io.ReadAll(io.LimitReader(in, longestFile+1))
	text = bytes.TrimSuffix(text, []byte("\n"))
	return bytes.TrimSuffix(text, []byte("\r")), err
}

func isTerminal(in io.Reader) bool {
	f, ok := in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// readKey reads a private key and takes its passphrase off.
func readKey(cmd *cobra.Command, out io.Writer) (api.Secret, error) {
	if f, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return nil, &usage{cmd, errors.New("the private key is read from standard input: inside credential add alice <~/.ssh/id_ed25519")}
	}
	text, err := readFile(cmd, nil)
	if err != nil {
		return nil, err
	}
	_, err = ssh.ParseRawPrivateKey([]byte(text))
	var locked *ssh.PassphraseMissingError
	if !errors.As(err, &locked) {
		return api.Secret(text), nil // whether it is a key the daemon says
	}
	passphrase, err := askPassphrase(out)
	if err != nil {
		return nil, err
	}
	defer clear(passphrase)
	key, err := ssh.ParseRawPrivateKeyWithPassphrase([]byte(text), passphrase)
	if err != nil {
		return nil, fmt.Errorf("unlock the private key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return nil, fmt.Errorf("unlock the private key: %w", err)
	}
	defer clear(block.Bytes)
	return pem.EncodeToMemory(block), nil
}

// askPassphrase asks on the terminal: standard input is the key's.
func askPassphrase(out io.Writer) ([]byte, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, errors.New("the private key has a passphrase, and there is no terminal to ask for it: ssh-keygen -p takes it off a copy")
	}
	defer tty.Close()
	fmt.Fprint(out, "Passphrase of the key: ")
	defer fmt.Fprintln(out)
	return term.ReadPassword(int(tty.Fd()))
}

func (c *cli) credentialList() *cobra.Command {
	return c.csvFlag(&cobra.Command{
		Use: "list [PERSON]", Short: "list what is stored; never the secrets", Args: args(0, 1), ValidArgsFunction: c.complete(c.personNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			var f api.CredentialFilter
			if len(args) > 0 {
				f.Person = args[0]
			}
			credentials, err := c.house().Credentials(cmd.Context(), f)
			if err != nil {
				return err
			}
			l := list{head: []string{"ID", "PERSON", "LOGIN", "SERVER", "KIND", "FINGERPRINT", "PROOF", "STORED", "BY"}}
			for _, k := range credentials {
				proof := "needed"
				if k.WithoutProof {
					proof = "none"
				}
				l.add(k.ID, k.Person, firstOf(k.Login, "any"), firstOf(k.Server, "any"), k.Kind, k.Fingerprint, proof, k.Created, k.By)
			}
			return c.list(credentials, l)
		},
	})
}

func (c *cli) credentialRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove ID", Short: "forget what is stored; sessions that run go on", Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := c.house().RemoveCredential(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.say(k, nil, "credential %s removed: %s %s", k.ID, what(k), servesFor(k.Person, k.Login, k.Server))
		},
	}
}

func (c *cli) personKeyCommand() *cobra.Command {
	return noun("key", "the public keys the gate knows a person by",
		c.personKeyAdd(), c.personKeyList(), c.personKeyRemove())
}

func (c *cli) personKeyAdd() *cobra.Command {
	return &cobra.Command{
		Use: "add PERSON [FILE]", Short: "know a person by a public key",
		Long: `Reads a public key (a .pub file) from a file, or from standard input where there
is none or it is -. When the person proves it, the gate logs in to the server
with what it holds for them: see inside credential add. The address still
says who a person is: a key never lets anybody in by itself, and proves nothing
at anybody else's address.

  inside person key add alice <alice.pub`,
		Args: args(1, 2), ValidArgsFunction: c.complete(c.personNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readFile(cmd, args[1:])
			if err != nil {
				return err
			}
			k, err := c.house().AddPersonKey(cmd.Context(), args[0], api.NewPersonKey{PublicKey: text})
			if err != nil {
				return err
			}
			return c.say(k, nil, "person %s is known by %s %s (key %s)", k.Person, k.Type, k.Fingerprint, k.ID)
		},
	}
}

func (c *cli) personKeyList() *cobra.Command {
	return c.csvFlag(&cobra.Command{
		Use: "list [PERSON]", Short: "list the keys people are known by", Args: args(0, 1), ValidArgsFunction: c.complete(c.personNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			var f api.CredentialFilter
			if len(args) > 0 {
				f.Person = args[0]
			}
			keys, err := c.house().PersonKeys(cmd.Context(), f)
			if err != nil {
				return err
			}
			l := list{head: []string{"ID", "PERSON", "LOGIN", "SERVER", "TYPE", "FINGERPRINT", "LABEL", "ADDED", "BY"}}
			for _, k := range keys {
				l.add(k.ID, k.Person, firstOf(k.Login, "any"), strings.TrimSpace(firstOf(k.Server, "any")+" "+k.Address), k.Type, k.Fingerprint, k.Label, k.Added, k.By)
			}
			return c.list(keys, l)
		},
	})
}

func (c *cli) personKeyRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove ID", Short: "know nobody by a key any more", Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := c.house().RemovePersonKey(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.say(k, nil, "person %s is not known by %s any more", k.Person, k.Fingerprint)
		},
	}
}
