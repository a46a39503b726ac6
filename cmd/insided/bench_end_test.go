package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/netfilter/nettest"
	"github.com/pawelmojski/inside/store"
)

// report gives the middle and the far end of what was measured.
func report(b *testing.B, took []time.Duration, what string) {
	b.Helper()
	slices.Sort(took)
	at := func(share float64) float64 { return took[int(share*float64(len(took)-1))].Seconds() * 1000 }
	b.ReportMetric(at(0), "min-"+what)
	b.ReportMetric(at(0.5), "p50-"+what)
	b.ReportMetric(at(0.99), "p99-"+what)
	b.ReportMetric(at(1), "max-"+what)
}

// The end of a session after the end of its grant: how much later the
// connection closes, and how much later than the end the last byte of output
// comes. Each session has a grant of its own, and they end one after the other.
func BenchmarkExpiry(b *testing.B) {
	const each, apart = 40, 100 * time.Millisecond
	var logins []string
	for i := range each {
		logins = append(logins, fmt.Sprintf("user%02d", i))
	}
	h := newHouse(b, settings{sshd: nettest.SSHDOptions{Users: accounts(logins...)}})
	h.know()
	var closed, last []time.Duration
	for b.Loop() {
		first := time.Now().Add(20 * time.Second)
		var mu sync.Mutex
		var sessions sync.WaitGroup
		for i, login := range logins {
			end := first.Add(time.Duration(i) * apart).Truncate(time.Microsecond)
			_, err := h.api().CreateGrant(context.Background(), api.NewGrant{
				Person: "p.mojski", Server: "test-ssh-server", Logins: []string{login}, End: end,
			})
			if err != nil {
				b.Fatal(err)
			}
			client, err := h.logIn(login)
			if err != nil {
				b.Fatal(err)
			}
			s, err := client.NewSession()
			if err != nil {
				b.Fatal(err)
			}
			out := &clocked{}
			s.Stdout = out
			if err := s.Start("while sleep 0.05; do echo tick; done"); err != nil {
				b.Fatal(err)
			}
			sessions.Go(func() {
				client.Wait()
				over := time.Now()
				mu.Lock()
				defer mu.Unlock()
				closed = append(closed, over.Sub(end))
				last = append(last, time.Unix(0, out.last.Load()).Sub(end))
			})
		}
		if late := time.Until(first); late < time.Second {
			b.Fatalf("logging in took until %s before the first end", late)
		}
		sessions.Wait()
	}
	report(b, closed, "close-ms")
	slices.Sort(last)
	b.ReportMetric(last[len(last)-1].Seconds()*1000, "last-output-ms")
	if slices.Min(closed) < 0 {
		b.Errorf("a session ended %s before its grant", -slices.Min(closed))
	}
}

// A grant is revoked under which a thousand people sit in front of a terminal,
// one in ten of which prints all the time: from the call to the last byte each
// of them is sent, which is the line that says why.
func BenchmarkRevokeThousand(b *testing.B) {
	const people = 1000
	h := newHouse(b, settings{sshd: nettest.SSHDOptions{Users: accounts("ideo")}})
	h.know()
	for b.Loop() {
		grant := h.grant()
		outs := make([]*clocked, people)
		var opening sync.WaitGroup
		var failed atomic.Int64
		door := make(chan struct{}, 8)
		for i := range outs {
			outs[i] = &clocked{}
			opening.Go(func() {
				door <- struct{}{}
				defer func() { <-door }()
				command := "exec cat"
				if i%10 == 0 {
					command = "while sleep 0.2; do echo tick; done"
				}
				if err := h.watchOutput(b, outs[i], command); err != nil {
					b.Log(err)
					failed.Add(1)
				}
			})
		}
		opening.Wait()
		if failed.Load() > 0 {
			b.Fatalf("%d of %d sessions not opened", failed.Load(), people)
		}
		h.live(people)
		before := h.cpu()
		called := time.Now()
		if _, err := h.api().RevokeGrant(context.Background(), grant); err != nil {
			b.Fatal(err)
		}
		answered := time.Since(called)
		h.live(0)
		cost := h.cpu() - before
		// Whoever reads too slowly is cut off without the line: then there was
		// no byte at all after the call.
		told := 0
		took := make([]time.Duration, people)
		for i, out := range outs {
			if took[i] = max(0, time.Unix(0, out.last.Load()).Sub(called)); took[i] > 0 {
				told++
			}
		}
		report(b, took, "ms")
		b.ReportMetric(100*float64(told)/people, "%told")
		b.ReportMetric(cost.Seconds()*1000, "gate-cpu-ms")
		b.ReportMetric(answered.Seconds()*1000, "answer-ms")
	}
}

// watchOutput opens a terminal with a command in it and notes when the last
// byte comes.
func (h *house) watchOutput(b *testing.B, out io.Writer, command string) error {
	client, err := h.logIn("ideo")
	if err != nil {
		return err
	}
	b.Cleanup(func() { client.Close() })
	s, err := client.NewSession()
	if err != nil {
		return err
	}
	s.Stdout = out
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		return err
	}
	if _, err := s.StdinPipe(); err != nil { // so that the input stays open
		return err
	}
	return s.Start(command)
}

// The same as BenchmarkRevoke where the house knows a hundred thousand grants,
// ten thousand persons and a thousand servers.
func BenchmarkRevokeAmongManyGrants(b *testing.B) {
	state := filepath.Join(b.TempDir(), "state")
	crowd(b, state)
	h := newHouse(b, settings{state: state})
	h.know()
	var took, answered []time.Duration
	for b.Loop() {
		answer, last := h.revokeUnderOutput(b)
		took, answered = append(took, last), append(answered, answer)
	}
	slices.Sort(answered)
	b.ReportMetric(answered[len(answered)/2].Seconds()*1000, "answer-ms")
	report(b, took, "ms")
}

// crowd fills an embedded database past the store, which would take its time.
func crowd(b *testing.B, state string) {
	b.Helper()
	if err := os.MkdirAll(state, 0o750); err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(state, "inside.db")
	s, err := store.Open(b.Context(), path)
	if err != nil {
		b.Fatal(err)
	}
	s.Close()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		b.Fatal(err)
	}
	insert := func(n int, query string, row func(i int) []any) {
		st, err := tx.Prepare(query)
		if err != nil {
			b.Fatal(err)
		}
		for i := range n {
			if _, err := st.Exec(row(i)...); err != nil {
				b.Fatal(err)
			}
		}
	}
	insert(10_000, "INSERT INTO persons (id, name, full_name, email, disabled) VALUES ($1, $2, '', '', false)", func(i int) []any {
		return []any{fmt.Sprint("p", i), fmt.Sprint("person.", i)}
	})
	insert(10_000, "INSERT INTO addresses (id, person, prefix, label, disabled) VALUES ($1, $2, $3, 'home', false)", func(i int) []any {
		return []any{1_000_000 + i, fmt.Sprint("p", i), fmt.Sprintf("10.%d.%d.%d/32", 100+i>>16, i>>8&255, i&255)}
	})
	insert(1_000, "INSERT INTO servers (id, name, prefix, ssh_port, rdp_port, disabled) VALUES ($1, $2, $3, 0, 0, false)", func(i int) []any {
		return []any{fmt.Sprint("s", i), fmt.Sprint("server-", i), fmt.Sprintf("172.16.%d.%d/32", i>>8, i&255)}
	})
	insert(100_000, `INSERT INTO grants (id, person, person_group, server, server_group, protocols, logins, source, forwarding,
		starts, ends, schedules, reason, revoked, created, created_by)
		VALUES ($1, $2, '', $3, '', 'ssh', $4, '', 0, 1700000000000000, 1900000000000000, 'Europe/Warsaw Mon-Fri 09:00-17:00', '', 0, 1700000000000000, 'root')`,
		func(i int) []any {
			return []any{1 + i, fmt.Sprint("p", i%10_000), fmt.Sprint("s", i%1_000), "root\nadmin"}
		})
	if _, err := tx.Exec("UPDATE counters SET n = 200000 WHERE name IN ('grant', 'revision')"); err != nil {
		b.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
}
