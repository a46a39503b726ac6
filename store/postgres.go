package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// Few connections: a gate writes little, and every gate has its own.
const (
	postgresConns       = 8
	postgresIdleConns   = 3
	postgresIdleTime    = time.Minute
	postgresLifetime    = 30 * time.Minute
	postgresDialTimeout = 5 * time.Second
)

func openPostgres(raw string) (engine, error) {
	u, err := url.Parse(raw)
	if err != nil || strings.Contains(u.Path+u.RawQuery+u.Fragment, "@") {
		// The parser's error quotes the URL, and the URL holds the password. For
		// the parser an unescaped / ? or # in the password ends the host; then
		// the @ comes after it.
		return engine{}, refuse(ErrInvalid, "the postgres:// URL cannot be read: percent-encode special characters in its user and password")
	}
	cfg, err := pgx.ParseConfig(raw)
	if err != nil {
		return engine{}, refuse(ErrInvalid, "the database URL %s has a setting that cannot be used", withoutPassword(u))
	}
	if cfg.DefaultQueryExecMode == pgx.QueryExecModeSimpleProtocol {
		// CVE-2026-41889: what the client quotes itself can be broken out of.
		return engine{}, refuse(ErrInvalid, "the database URL %s asks for the simple protocol: use another default_query_exec_mode", withoutPassword(u))
	}
	if cfg.ConnectTimeout == 0 {
		// database/sql opens connections for waiting calls in a goroutine of
		// its own, without their deadlines.
		cfg.ConnectTimeout = postgresDialTimeout
	}
	db := stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(limitIdleTransactions))
	db.SetMaxOpenConns(postgresConns)
	db.SetMaxIdleConns(postgresIdleConns)
	db.SetConnMaxIdleTime(postgresIdleTime)
	db.SetConnMaxLifetime(postgresLifetime)
	return engine{
		name:       "postgres",
		database:   withoutPassword(u),
		write:      db,
		read:       db,
		hasSchema:  "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = 'schema_version'",
		lockSchema: "SELECT pg_advisory_xact_lock(7526768903561299)", // a number of our own
		contended:  postgresContended,
		hints:      func(ctx context.Context, hint func()) { listen(ctx, cfg, hint) },
	}, nil
}

// limitIdleTransactions lets the server drop the locks of a gate that fell
// silent in the middle of a transaction, before TCP notices in two hours.
func limitIdleTransactions(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, "SET idle_in_transaction_session_timeout = '15s'")
	return err
}

// withoutPassword names a database; a password may also stand in the query.
func withoutPassword(u *url.URL) string {
	named := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	if u.User != nil {
		named.User = url.User(u.User.Username())
	}
	if host := u.Query().Get("host"); host != "" {
		named.RawQuery = url.Values{"host": {host}}.Encode()
	}
	return named.String()
}

// postgresContended tells serialization failures and deadlocks, which the
// server resolved by giving up this transaction.
func postgresContended(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "40001" || e.Code == "40P01")
}

// Intervals of listening. A connection that silently went nowhere is found
// out by a ping; polling covers the time until then.
const (
	listenPing  = 5 * time.Second
	listenRetry = time.Second
	listenDial  = 5 * time.Second
)

// listen calls hint for every notification, and after each connect, since what
// happened before it was missed. It connects again until ctx ends.
func listen(ctx context.Context, cfg *pgx.ConnConfig, hint func()) {
	for ctx.Err() == nil {
		_ = listenOnce(ctx, cfg, hint) // the poll reports outages, once
		select {
		case <-ctx.Done():
		case <-time.After(listenRetry):
		}
	}
}

func listenOnce(ctx context.Context, cfg *pgx.ConnConfig, hint func()) error {
	conn, err := connectListener(ctx, cfg)
	if err != nil {
		return err
	}
	defer closeListener(conn)
	hint()
	for {
		wait, cancel := context.WithTimeout(ctx, listenPing)
		_, err := conn.WaitForNotification(wait)
		cancel()
		switch {
		case err == nil:
			hint()
		case ctx.Err() != nil, conn.IsClosed():
			return err
		default:
			if err := pingListener(ctx, conn); err != nil {
				return err
			}
		}
	}
}

func connectListener(ctx context.Context, cfg *pgx.ConnConfig) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, listenDial)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, "LISTEN inside_facts"); err != nil {
		closeListener(conn)
		return nil, fmt.Errorf("listen: %w", err)
	}
	return conn, nil
}

func pingListener(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, listenDial)
	defer cancel()
	return conn.Ping(ctx)
}

func closeListener(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}
