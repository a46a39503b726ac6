package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
	"github.com/pawelmojski/inside/store/storetest"
)

// ownMounts runs a part as a process that may mount what nobody else sees.
func ownMounts(t *testing.T, part string) {
	t.Helper()
	cmd := process(t, part, t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestAFullDiskLetsNobodyInAndHealsByItself(t *testing.T) { ownMounts(t, "full disk") }

// fillDisk works on a disk of four megabytes.
func fillDisk(dir string) error {
	if err := syscall.Mount("inside", dir, "tmpfs", 0, "size=4m"); err != nil {
		return err
	}
	path := filepath.Join(dir, "inside.db")
	s, err := store.Open(context.Background(), path)
	if err != nil {
		return err
	}
	defer s.Close()
	session, err := grantedOn(s)
	if err != nil {
		return err
	}
	if _, err := enterFor(s, session); err != nil {
		return err
	}
	ballast := filepath.Join(dir, "ballast")
	if err := fill(ballast); err != nil {
		return err
	}
	// What space SQLite still has in its files is used up; then it ends.
	entered := 1
	for err = nil; err == nil; entered++ {
		if _, err = enterFor(s, session); entered > 100_000 {
			return errors.New("the disk does not become full")
		}
	}
	entered--
	if sentinel(err) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "full") {
		return fmt.Errorf("on a full disk Enter says: %w", err)
	}
	facts, err := s.Facts(context.Background())
	if err != nil || len(facts.Grants) != 1 {
		return fmt.Errorf("facts cannot be read on a full disk: %w", err)
	}
	if err := pingUntil(s, false); err != nil {
		return err
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	if err := s.Ping(context.Background()); err != nil {
		return fmt.Errorf("with space again Ping says: %w", err)
	}
	if _, err := enterFor(s, session); err != nil {
		return fmt.Errorf("with space again Enter says: %w", err)
	}
	entries, err := s.Entries(context.Background(), store.EntryFilter{Limit: 1_000_000})
	if err != nil {
		return err
	}
	if len(entries) != entered+1 || entries[0].ID != int64(len(entries)) {
		return fmt.Errorf("%d persons were let in, %d entries are written", entered+1, len(entries))
	}
	return nil
}

// pingUntil pings until the answer is that the store can or cannot be written:
// the last free frame of the log may still take a ping.
func pingUntil(s *store.Store, writable bool) error {
	for range 10_000 {
		if err := s.Ping(context.Background()); (err == nil) == writable {
			return nil
		}
	}
	return fmt.Errorf("Ping never says that writable is %v", writable)
}

func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, io.LimitReader(zeros{}, 64<<20))
	if err = errors.Join(err, f.Close()); !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("the disk is not full: %w", err)
	}
	return nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestAReadOnlyDatabaseIsNotOpened(t *testing.T) { ownMounts(t, "read-only") }

func openReadOnly(dir string) error {
	path := filepath.Join(dir, "inside.db")
	s, err := store.Open(context.Background(), path)
	if err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	if err := syscall.Mount(dir, dir, "", syscall.MS_BIND, ""); err != nil {
		return err
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""); err != nil {
		return err
	}
	s, err = store.Open(context.Background(), path)
	if err == nil {
		err = s.Ping(context.Background())
		s.Close()
	}
	if err == nil || sentinel(err) || !strings.Contains(err.Error(), path) {
		return fmt.Errorf("a read-only database says: %w", err)
	}
	return nil
}

func TestAPingNoticesADatabaseThatBecameReadOnly(t *testing.T) {
	url := storetest.PostgreSQL(t)
	db := raw(t, url)
	execute(t, db, "ALTER DATABASE "+query(t, db, "SELECT current_database()")+" SET default_transaction_read_only = on")
	s, err := store.Open(t.Context(), url)
	if err == nil {
		s.Close()
		t.Error("an empty read-only database was opened")
	}
	execute(t, db, "ALTER DATABASE "+query(t, db, "SELECT current_database()")+" RESET default_transaction_read_only")
	storetest.Open(t, url)
	execute(t, db, "ALTER DATABASE "+query(t, db, "SELECT current_database()")+" SET default_transaction_read_only = on")
	s = storetest.Open(t, url)
	if _, err := s.Facts(t.Context()); err != nil {
		t.Errorf("a read-only database cannot be read: %v", err)
	}
	if err := s.Ping(t.Context()); err == nil || sentinel(err) {
		t.Errorf("Ping of a read-only database says: %v", err)
	}
}

func TestAFileThatIsGoneIsNoticed(t *testing.T) {
	path := storetest.SQLite(t)
	s := storetest.Open(t, path)
	session := granted(t, s)
	aside := path + ".aside"
	if err := os.Rename(path, aside); err != nil {
		t.Fatal(err)
	}
	wantAway := func(what string) {
		t.Helper()
		_, err := s.Facts(t.Context())
		if _, enterErr := enterFor(s, session); enterErr == nil || err == nil || s.Ping(t.Context()) == nil {
			t.Errorf("%s: Facts says %v, Enter says %v", what, err, enterErr)
		}
		if err == nil || !strings.Contains(err.Error(), path) || sentinel(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	wantAway("the file is gone")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantAway("another file is in its place")
	if err := os.Rename(aside, path); err != nil {
		t.Fatal(err)
	}
	if _, err := enterFor(s, session); err != nil {
		t.Errorf("the file is back: %v", err)
	}
}

// enterFor enters with a deadline, as a gate does.
func enterFor(s *store.Store, session policy.Session) (policy.Session, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	session, _, err := s.Enter(ctx, session)
	return session, err
}
