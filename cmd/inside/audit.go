package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

func (c *cli) auditCommand() *cobra.Command {
	return noun("audit", "who changed and who looked at what; whether the record is whole", c.auditList(), c.auditVerify(), c.auditHead())
}

func (c *cli) auditList() *cobra.Command {
	var f api.AuditFilter
	var from, to string
	cmd := &cobra.Command{
		Use: "list", Short: "the audit trail, the newest first", Args: args(0, 0),
		Long: `Lists who did what and when, with the thing before and after where something
was changed. What the gate did by itself is there too:

  inside audit list --action grant
  inside audit list --object "grant 42"
  inside audit list --by jon --from 2026-01-01 --to 2026-02-01 --csv`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.Limit < 0 || f.Before < 0 {
				return errors.New("--limit and --before are numbers from 0")
			}
			var err error
			if f.From, err = parseWhen("--from", from, time.Local, time.Now()); err != nil {
				return err
			}
			if f.To, err = parseWhen("--to", to, time.Local, time.Now()); err != nil {
				return err
			}
			changes, err := c.house().AuditRows(cmd.Context(), f)
			if err != nil {
				return err
			}
			l := list{head: []string{"ROW", "TIME", "BY", "WHAT", "OBJECT", "CHANGE"}, wide: true}
			for _, ch := range changes {
				l.add(ch.ID, ch.Time, ch.By, ch.Action, ch.Object, changeText(ch))
			}
			if n := len(changes); n > 0 && (n == f.Limit || f.Limit == 0 && n == 100) && changes[n-1].ID > 1 && !c.json && !c.csv {
				c.note(fmt.Sprintf("there may be older ones: --before %d", changes[n-1].ID))
			}
			return c.list(changes, l)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.By, "by", "", "only what this admin, token or gate did")
	flags.StringVar(&f.Action, "action", "", "only this, such as grant.revoke, or grant for all that begins so")
	flags.StringVar(&f.Object, "object", "", `only what was done to this, such as "grant 42" or "person alice"`)
	flags.StringVar(&from, "from", "", "not before this time")
	flags.StringVar(&to, "to", "", "before this time")
	flags.IntVar(&f.Before, "before", 0, "only rows older than this one")
	flags.IntVar(&f.Limit, "limit", 0, "the newest so many (default 100)")
	return c.csvFlag(cmd)
}

// changeText says what was changed: the fields that differ, or in words what
// was made, removed or done.
func changeText(ch api.Change) string {
	var was, is map[string]json.RawMessage
	if json.Unmarshal(ch.Before, &was) != nil || json.Unmarshal(ch.After, &is) != nil {
		return ch.Detail
	}
	names := maps.Clone(was)
	maps.Copy(names, is)
	var changed []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !bytes.Equal(was[name], is[name]) {
			changed = append(changed, name+": "+valueText(was[name])+" → "+valueText(is[name]))
		}
	}
	return firstOf(strings.Join(changed, ", "), ch.Detail)
}

func valueText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return firstOf(text, "none")
	}
	return string(raw)
}

func (c *cli) auditHead() *cobra.Command {
	return &cobra.Command{
		Use: "head", Short: "print the signed head of the record, to be kept elsewhere", Args: args(0, 0),
		Long: `Signs the record as it is now and prints the head as JSON. Keep it on another
machine, print it, send it to yourself: with it, inside audit verify --head
proves whether anything up to then was changed or taken away, whoever had the
gate and its database in the meantime.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			head, err := c.house().AuditHead(cmd.Context())
			if err != nil {
				return err
			}
			return c.printJSON(head)
		},
	}
}

// verified is what a verification found, for --json.
type verified struct {
	api.AuditReport
	Found []api.BrokenRecord `json:"found"` // what is not as it was written
}

func (c *cli) auditVerify() *cobra.Command {
	var q api.AuditQuestion
	var head string
	cmd := &cobra.Command{
		Use: "verify", Short: "read the whole record and name the first one that is not as it was written", Args: args(0, 0),
		Long: `Reads every audit row and every entry and compares them with their hashes, with
the heads that gates have signed, and with the sessions and stays they tell of.
The first record that was changed, taken out or put in is named.

With --recordings the files of this gate are read too and compared with their
seals; every one that differs is named, but for those the record says were
removed because of recordings.keep. With --head the record is compared with
a head that was printed before and kept elsewhere.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if head != "" {
				text, err := readFile(cmd, []string{head})
				if err != nil {
					return err
				}
				q.Head = text
			}
			return c.verify(cmd, q)
		},
	}
	cmd.Flags().BoolVar(&q.Recordings, "recordings", false, "read the recordings too")
	cmd.Flags().StringVar(&head, "head", "", "a file with a head that was kept, - is standard input")
	return cmd
}

func (c *cli) verify(cmd *cobra.Command, q api.AuditQuestion) error {
	body, err := c.house().VerifyAudit(cmd.Context(), q)
	if err != nil {
		return err
	}
	defer body.Close()
	v := verified{Found: []api.BrokenRecord{}}
	err = api.Reports(body, func(r api.AuditReport) error {
		if r.Broken != nil {
			v.Found = append(v.Found, *r.Broken)
			if !c.json {
				fmt.Fprintln(c.out, api.Escape("broken: "+r.Broken.Text))
			}
		}
		v.AuditReport = r
		return nil
	})
	if err != nil {
		return err
	}
	v.Broken = nil
	if c.json {
		if err := c.printJSON(v); err != nil {
			return err
		}
	}
	if len(v.Found) > 0 {
		return &saidNo{exitError, "compare with a backup; until then rely on nothing behind that record: inside audit list, inside entries"}
	}
	if c.json {
		return nil
	}
	return c.say(v, verifiedNotes(v.AuditReport), "the record is whole: audit rows %d, entries %d, signed heads %d, sealed sessions %d%s",
		v.Audits, v.Entries, v.Heads, v.Sealed, filesText(q, v.AuditReport))
}

func filesText(q api.AuditQuestion, r api.AuditReport) string {
	if !q.Recordings {
		return ""
	}
	text := fmt.Sprintf(", files read of %d", r.Recordings)
	if r.Removed > 0 {
		text += fmt.Sprintf(", removed of %d", r.Removed)
	}
	return text
}

func verifiedNotes(r api.AuditReport) []string {
	if newer := r.Links - r.Signed; newer > 0 {
		return []string{fmt.Sprintf("%d records are newer than the last signature, which is made each second", newer)}
	}
	return nil
}
