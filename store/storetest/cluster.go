package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// PostgreSQL gives the URL of an empty database that lives as long as the
// test. The server behind it is shared by the tests of a binary; it is gone,
// with its files, soon after the binary is.
func PostgreSQL(tb testing.TB) (url string) {
	tb.Helper()
	c, err := sharedCluster()
	if err != nil {
		missing(tb, err)
	}
	return c.Database(tb)
}

// Schema gives the URL of an empty schema in a database that the tests of a
// binary share, for tests that do not look beyond their own tables: a database
// takes PostgreSQL thirty times as long.
func Schema(tb testing.TB) (url string) {
	tb.Helper()
	c, err := sharedCluster()
	if err != nil {
		missing(tb, err)
	}
	name := fmt.Sprintf("test_%d", numbers.Add(1))
	if err := c.exec("CREATE SCHEMA " + name); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.exec("DROP SCHEMA " + name + " CASCADE"); err != nil {
			tb.Error(err)
		}
	})
	return c.url("postgres") + "&search_path=" + name
}

var sharedCluster = sync.OnceValues(newCluster)

// StartCluster starts a server for one test alone, to be stopped and killed.
func StartCluster(tb testing.TB) *Cluster {
	tb.Helper()
	c, err := newCluster()
	if err != nil {
		missing(tb, err)
	}
	tb.Cleanup(c.remove)
	return c
}

// missing skips where somebody works on something else without PostgreSQL
// installed; never where the tests are the point.
func missing(tb testing.TB, err error) {
	tb.Helper()
	if errors.Is(err, errNotInstalled) && os.Getenv("CI") == "" {
		tb.Skip(err)
	}
	tb.Fatal(err)
}

var errNotInstalled = errors.New("PostgreSQL 15 is not installed: apt-get install postgresql-15")

// A Cluster is one PostgreSQL server with its files in a directory of its own,
// where its unix socket lies too; it listens nowhere else.
type Cluster struct {
	bin   string // where initdb and postgres are
	dir   string
	owner *syscall.Credential // nil: whoever runs the test

	keeper *exec.Cmd // nil while the server is stopped
	orders io.WriteCloser
	server int // process id
}

// The keeper is the parent of the server. Its standard input ends with the
// test binary, however that ends; then it stops the server and removes the
// directory. A line on the input tells it to leave the files.
const keeper = `
"$1/postgres" -D "$2/data" >>"$2/log" 2>&1 </dev/null &
echo $!
read -r order
kill -QUIT $!
wait $!
[ "$order" = keep ] || rm -rf "$2"
`

// Settings of the server. A crash of the machine may cost a test its
// database, so nothing waits for the disk.
const settings = `
listen_addresses = ''
unix_socket_directories = '%s'
max_connections = 300
shared_buffers = 64MB
fsync = off
full_page_writes = off
`

func newCluster() (*Cluster, error) {
	c := &Cluster{bin: "/usr/lib/postgresql/15/bin"}
	if _, err := os.Stat(c.bin + "/postgres"); err != nil {
		return nil, fmt.Errorf("%w (%w)", errNotInstalled, err)
	}
	var err error
	if c.dir, err = os.MkdirTemp("", "inside-postgres-"); err != nil {
		return nil, err
	}
	if err := c.setUp(); err != nil {
		_ = os.RemoveAll(c.dir)
		return nil, err
	}
	return c, nil
}

func (c *Cluster) setUp() error {
	if os.Geteuid() == 0 { // initdb refuses to run as root
		var err error
		if c.owner, err = unprivileged(); err != nil {
			return err
		}
		if err := os.Chown(c.dir, int(c.owner.Uid), int(c.owner.Gid)); err != nil {
			return err
		}
	}
	// Czech, where "ch" comes after "h": nothing may depend on the order of
	// text in the database.
	initdb := c.command(c.bin+"/initdb", "-D", c.dir+"/data", "-U", "inside", "-A", "trust", "-E", "UTF8", "--no-sync",
		"--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=cs-CZ")
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	conf, err := os.OpenFile(filepath.Join(c.dir, "data", "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(conf, settings, c.dir)
	if err := errors.Join(err, conf.Close()); err != nil {
		return err
	}
	return c.start()
}

func unprivileged() (*syscall.Credential, error) {
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

func (c *Cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = c.dir
	// A group of its own: Ctrl-C in the terminal is for the test binary.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.owner, Setpgid: true}
	return cmd
}

// Start starts the server again after Stop or Kill.
func (c *Cluster) Start(tb testing.TB) {
	tb.Helper()
	if err := c.start(); err != nil {
		tb.Fatal(err)
	}
}

func (c *Cluster) start() error {
	cmd := c.command("/bin/sh", "-c", keeper, "keeper", c.bin, c.dir)
	orders, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	c.keeper, c.orders = cmd, orders
	if _, err := fmt.Fscan(out, &c.server); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	return c.await()
}

// await waits until the server answers; it has no other signal for that.
func (c *Cluster) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, c.url("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(c.dir + "/log")
			return fmt.Errorf("PostgreSQL does not answer: %w\n%s", err, log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop stops the server at once, as a crash of it would, and keeps its files.
func (c *Cluster) Stop(tb testing.TB) {
	tb.Helper()
	c.end(tb, "keep\n")
}

// Kill is Stop by SIGKILL, of the processes that serve connections as well:
// left alone they answer until they notice, and hold the memory the server
// needs to start again.
func (c *Cluster) Kill(tb testing.TB) {
	tb.Helper()
	if err := syscall.Kill(c.server, syscall.SIGKILL); err != nil {
		tb.Fatal(err)
	}
	c.end(tb, "keep\n")
	for {
		left := c.processes()
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(5 * time.Millisecond) // they are nobody's children to wait for
	}
}

// Freeze stops every process of the server where it stands, as a machine does
// that hangs: connections stay open and nobody answers.
func (c *Cluster) Freeze(tb testing.TB) { c.signal(tb, syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (c *Cluster) Thaw(tb testing.TB) { c.signal(tb, syscall.SIGCONT) }

func (c *Cluster) signal(tb testing.TB, s syscall.Signal) {
	tb.Helper()
	if err := syscall.Kill(c.server, s); err != nil { // first: it starts the others
		tb.Fatal(err)
	}
	for _, pid := range c.processes() {
		_ = syscall.Kill(pid, s) // it may have ended by itself
	}
}

// processes are those that stand in the server's data folder, as all of
// PostgreSQL's do.
func (c *Cluster) processes() (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, dir := range dirs {
		if at, err := os.Readlink(dir); err == nil && at == filepath.Join(c.dir, "data") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
			pids = append(pids, pid)
		}
	}
	return pids
}

func (c *Cluster) end(tb testing.TB, order string) {
	tb.Helper()
	if _, err := io.WriteString(c.orders, order); err != nil {
		tb.Fatal(err)
	}
	_ = c.keeper.Wait() // its status is that of the last test in the script
	c.keeper = nil
}

func (c *Cluster) remove() {
	if c.keeper != nil {
		_ = c.orders.Close()
		_ = c.keeper.Wait()
	}
	_ = os.RemoveAll(c.dir)
}

// Socket is the path of the server's unix socket.
func (c *Cluster) Socket() string { return c.dir + "/.s.PGSQL.5432" }

func (c *Cluster) url(database string) string {
	return "postgres://inside@/" + database + "?host=" + url.QueryEscape(c.dir)
}

var numbers atomic.Int64 // of databases and schemas

// Database creates an empty database that lives as long as the test.
func (c *Cluster) Database(tb testing.TB) (url string) {
	tb.Helper()
	name := fmt.Sprintf("test_%d", numbers.Add(1))
	if err := c.exec("CREATE DATABASE " + name); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if c.keeper == nil {
			return // the test stopped the server; its files go with it
		}
		if err := c.exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			tb.Error(err)
		}
	})
	return c.url(name)
}

func (c *Cluster) exec(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.url("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", strings.ToLower(statement), err)
	}
	return nil
}
