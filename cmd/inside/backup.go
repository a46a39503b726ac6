package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/appliance/backup"
	"github.com/pawelmojski/inside/appliance/config"
)

func (c *cli) backupCommand() *cobra.Command {
	file, recordings := usualConfig, false
	cmd := &cobra.Command{
		Use: "backup FILE", Short: "write all that the gate knows into one file, while it runs", Args: args(1, 1),
		Long: `Writes one .tar.gz, which root alone can read: the configuration, the gate's keys
(what it shows in servers' names, its authorities, what opens stored
credentials, what signs the audit trail), and all tables of the database as they
are at one moment, from SQLite and PostgreSQL in the same form, so that inside
restore puts them into either. With --recordings also what people did.

Not in it: recordings, unless asked for; the key of stored credentials where
systemd hands it over (LoadCredentialEncrypted=inside.key); the file that
alerts.webhook_token_file names. That a backup was made is in the audit trail.

Whoever has the file can pass for the gate and open stored credentials: keep it
as you keep the keys. With - it goes to standard output, to be encrypted:

  inside backup - | age -p >gate-1.age`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.remote() {
				return errors.New("a backup is made on the gate itself, and INSIDE_URL names another")
			}
			if args[0] == "-" {
				if f, ok := c.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
					return errors.New("a backup holds keys and is not for a terminal: name a file, or pipe it into a program that encrypts it")
				}
				return c.backUp(cmd.Context(), c.out, os.TempDir(), file, recordings)
			}
			f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%s is there already: name another file", args[0])
			}
			if err != nil {
				return err
			}
			err = c.backUp(cmd.Context(), f, filepath.Dir(args[0]), file, recordings)
			if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
				os.Remove(args[0]) // half of it must not pass for the whole
				return err
			}
			notes := []string{"it holds keys: whoever has it can pass for the gate"}
			if !recordings {
				notes = append(notes, "recordings are not in it; --recordings takes them along")
			}
			return c.say(map[string]any{"file": args[0], "recordings": recordings}, notes, "%s is written", args[0])
		},
	}
	cmd.Flags().StringVar(&file, "config", file, "the configuration of the gate, a `FILE`")
	cmd.Flags().BoolVar(&recordings, "recordings", false, "also everything that was recorded")
	return cmd
}

// backUp writes a backup. The keys never cross the API: who may ask the daemon
// need not be root. room is a folder with room for the database.
func (c *cli) backUp(ctx context.Context, to io.Writer, room, file string, recordings bool) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	w, err := backup.NewWriter(to, backup.About{Gate: cfg.Gate.Name, Made: time.Now().UTC(), Version: version(), Recordings: recordings}, text)
	if err != nil {
		return err
	}
	// Before the database: the newest head that the gate has signed is kept
	// beside its keys, and the audit trail must not end before it.
	if err := addFolder(w, cfg.Paths.State, backup.Keys); err != nil {
		return asRoot(err)
	}
	if err := c.addDatabase(ctx, w, room); err != nil {
		return err
	}
	if recordings {
		if err := addFolder(w, cfg.Paths.State, backup.Recordings); err != nil {
			return asRoot(err)
		}
	}
	return w.Close()
}

func asRoot(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return api.NewProblem(api.CodeForbidden, "a backup has the gate's keys in it, which root alone may read: "+err.Error(), "sudo inside backup FILE")
	}
	return err
}

func addFolder(w *backup.Writer, state, name string) error {
	folder, err := os.OpenRoot(filepath.Join(state, name))
	if err != nil {
		return err
	}
	defer folder.Close()
	return w.Folder(name, folder.FS())
}

// addDatabase keeps the dump in a file without a name until its length is
// known.
func (c *cli) addDatabase(ctx context.Context, w *backup.Writer, room string) error {
	body, err := c.house().Dump(ctx)
	if err != nil {
		return err
	}
	defer body.Close()
	f, err := os.CreateTemp(room, ".inside-dump-*")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	size, err := io.Copy(f, body)
	if err != nil {
		return fmt.Errorf("the database was not read to its end: %w", err)
	}
	end := make([]byte, min(size, 64))
	if _, err := f.ReadAt(end, size-int64(len(end))); err != nil {
		return err
	}
	if i := bytes.LastIndexByte(bytes.TrimSuffix(end, []byte("\n")), '\n'); !bytes.HasPrefix(end[i+1:], []byte(`{"rows":`)) {
		return errors.New("the database was not read to its end: the daemon broke off; `journalctl -u inside -n 20` says why")
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return w.File(backup.Database, size, f)
}

func (c *cli) restoreCommand() *cobra.Command {
	file, broken := usualConfig, false
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "put a backup in the place of a gate that knows nothing yet", Args: args(1, 1),
		Long: `Restores what inside backup has written, as root, onto a gate that does not run
and has no record of its own: after the package was installed, or beside a state
that was moved away. The whole file is checked before anything is written, the
audit trail before anything counts; where something is wrong, nothing was
changed.

The configuration of the backup is put into place unless somebody has changed
the one that is there, which then counts: with another [store] url the tables
move from one database to another. A configuration must name the gate as the
backup does.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			argv := []string{"--config", file, "--restore", name}
			if broken {
				argv = slices.Insert(argv, 0, "--accept-broken-record")
			}
			insided := exec.CommandContext(cmd.Context(), program("insided"), argv...)
			var said, failed bytes.Buffer
			insided.Stdout, insided.Stderr = &said, &failed
			if err := insided.Run(); err != nil {
				var exit *exec.ExitError
				if !errors.As(err, &exit) {
					return err
				}
				return errors.New(firstOf(string(bytes.TrimPrefix(bytes.TrimSpace(failed.Bytes()), []byte("insided: error: "))), err.Error()))
			}
			return c.say(map[string]string{"file": name}, []string{"systemctl enable --now inside-guard inside"}, "%s", bytes.TrimSpace(said.Bytes()))
		},
	}
	cmd.Flags().StringVar(&file, "config", file, "the configuration of the gate, a `FILE`")
	cmd.Flags().BoolVar(&broken, "accept-broken-record", false, "also restore an audit trail in which something was changed or is missing")
	return cmd
}
