package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/appliance/config"
)

// A piece is one file of a report.
type piece struct{ name, text string }

// longestPiece bounds what of a text goes into a report: its end.
const longestPiece = 1 << 20

func (c *cli) bugreportCommand() *cobra.Command {
	file, withNames := usualConfig, false
	cmd := &cobra.Command{
		Use: "bugreport FILE", Short: "write what is needed to find a mistake into a .tar.gz, without secrets and names", Args: args(1, 1),
		Long: `Writes a .tar.gz for whoever looks for a mistake: version, configuration, rules and
routes as the kernel has them, status, doctor, alerts, metrics, what the
daemon does at that moment, and the last lines of the log. Secrets are never in it. Persons, servers, groups, logins and addresses
become stand-ins such as person-1 and address-3, the same throughout the report,
unless --with-names is given. Read it before you send it.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, pieces := secretsOnly(), c.pieces(cmd.Context(), file)
			if !withNames {
				var err error
				if r, err = c.knownNames(cmd.Context()); err != nil {
					return err
				}
			}
			if err := writeReport(args[0], pieces, r); err != nil {
				return err
			}
			var names []string
			for _, p := range pieces {
				names = append(names, p.name)
			}
			return c.say(map[string]any{"file": args[0], "pieces": names}, []string{"read it before you send it: tar -xzOf " + args[0] + " | less"}, "%s is written", args[0])
		},
	}
	cmd.Flags().StringVar(&file, "config", file, "the configuration, a `FILE`")
	cmd.Flags().BoolVar(&withNames, "with-names", false, "leave names and addresses as they are")
	return cmd
}

// knownNames asks for what stands for somebody or something. A report about a
// daemon that does not answer cannot hide names, so it is not made.
func (c *cli) knownNames(ctx context.Context) (*redactor, error) {
	persons, err := c.house().Persons(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w (with --with-names a report is written all the same)", err)
	}
	servers, err := c.house().Servers(ctx)
	if err != nil {
		return nil, err
	}
	var groups []string
	for _, kind := range []api.Kind{api.ServerGroup, api.PersonGroup} {
		all, err := c.house().Groups(ctx, kind)
		if err != nil {
			return nil, err
		}
		for _, g := range all {
			groups = append(groups, g.Name)
		}
	}
	return pseudonyms(persons, servers, groups), nil
}

// pieces gathers what there is; what there is not says why.
func (c *cli) pieces(ctx context.Context, file string) []piece {
	h := c.house()
	pieces := []piece{
		{"version.txt", fmt.Sprintf("inside %s, %s, %s/%s, %s", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, time.Now().UTC().Format(time.RFC3339))},
		{"config.json", shownConfig(file)},
		asked("status.json", func() (any, error) { return h.Status(ctx) }),
		asked("doctor.json", func() (any, error) { return c.examine(ctx, api.Examination{}, file) }),
		asked("alerts.json", func() (any, error) { return h.Alerts(ctx, api.AlertFilter{All: true}) }),
		{"metrics.txt", bodyText(h.Metrics(ctx))},
		{"goroutines.txt", bodyText(h.Goroutines(ctx))},
	}
	for _, p := range []struct {
		name string
		argv []string
	}{
		{"system.txt", []string{"uname", "-srvm"}},
		{"rules.txt", []string{"nft", "list", "table", "inet", "inside"}},
		{"iprules.txt", []string{"ip", "rule"}},
		{"iprules6.txt", []string{"ip", "-6", "rule"}},
		{"routes.txt", []string{"ip", "route", "show", "table", "all"}},
		{"routes6.txt", []string{"ip", "-6", "route", "show", "table", "all"}},
		{"journal.txt", []string{"journalctl", "-u", "inside", "-u", "inside-guard", "-n", "2000", "--no-pager", "-o", "short-iso"}},
	} {
		out, err := output(ctx, p.argv[0], p.argv[1:]...)
		if err != nil {
			out = fmt.Sprintf("%s\n%v", out, err)
		}
		pieces = append(pieces, piece{p.name, out})
	}
	return pieces
}

// shownConfig is the configuration as it is understood: the text of the file
// may have a secret in any of its comments.
func shownConfig(file string) string {
	cfg, err := config.Load(file)
	if err != nil {
		return err.Error()
	}
	for _, secret := range []*string{&cfg.Store.URL, &cfg.Alerts.Webhook} {
		if *secret != "" {
			*secret = "[redacted]"
		}
	}
	text, err := json.MarshalIndent(cfg, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func asked(name string, ask func() (any, error)) piece {
	answer, err := ask()
	if err != nil {
		return piece{name, err.Error()}
	}
	text, err := json.MarshalIndent(answer, "", "  ")
	if err != nil {
		return piece{name, err.Error()}
	}
	return piece{name, string(text)}
}

func bodyText(body io.ReadCloser, err error) string {
	if err != nil {
		return err.Error()
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, longestPiece))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// writeReport writes the pieces, redacted, into a file that was not there.
func writeReport(file string, pieces []piece, r *redactor) (err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already: name another file", file)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			os.Remove(file)
		}
	}()
	zipped := gzip.NewWriter(f)
	archive := tar.NewWriter(zipped)
	for _, p := range pieces {
		text := r.redact(p.text[max(0, len(p.text)-longestPiece):]) + "\n"
		head := &tar.Header{Name: filepath.Join("inside-report", p.name), Mode: 0o600, Size: int64(len(text)), ModTime: time.Now()}
		if err := archive.WriteHeader(head); err != nil {
			return err
		}
		if _, err := io.WriteString(archive, text); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), zipped.Close())
}
