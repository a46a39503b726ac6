package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// boots runs the guard as the service manager does before the network is up.
func (h *house) boots() (string, error) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	c := h.Gateway.Command(ctx, filepath.Join(binaries, "insided"), "--guard", "--config", h.config)
	c.Env = append(os.Environ(), "STATE_DIRECTORY="+filepath.Join(h.dir, "state"))
	out, err := c.CombinedOutput()
	return string(out), err
}

// reached says whether the client reaches an address.
func (h *house) reached(addr string) bool {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 5*time.Second)
	defer cancel()
	conn, err := h.Client.Dial(ctx, addr)
	if err == nil {
		conn.Close()
		return true
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		h.t.Errorf("%s is not refused but: %v", addr, err)
	}
	return false
}

func (h *house) opens() {
	h.t.Helper()
	if out, err := h.Gateway.Run(h.t.Context(), filepath.Join(binaries, "insided"), "--cleanup"); err != nil {
		h.t.Fatalf("%v\n%s", err, out)
	}
}

func TestTheGuardClosesTheWayAtBootAlsoWhenTheFileIsBroken(t *testing.T) {
	const v4, v6 = "10.30.0.140:22", "[fd30::140]:22"
	h := emptyHouse(t, settings{})
	h.writeConfig(settings{})
	closed := func(when string) {
		t.Helper()
		for _, addr := range []string{v4, v6} {
			if h.reached(addr) {
				t.Errorf("%s: %s is reached", when, addr)
			}
		}
	}
	if !h.reached(v4) || !h.reached(v6) {
		t.Fatal("the lab is closed by itself")
	}
	if out, err := h.boots(); err != nil || out != "" {
		t.Fatalf("the guard: %v\n%s", err, out)
	}
	closed("before the daemon")

	good, err := os.ReadFile(h.config)
	if err != nil {
		t.Fatal(err)
	}
	h.opens()
	h.write(h.config, strings.Replace(string(good), "interfaces", "interfaecs", 1))
	out, err := h.boots()
	if err == nil || !strings.Contains(out, "interfaecs") || !strings.Contains(out, "nothing is closed") {
		t.Errorf("a broken file and no rules before: %v\n%s", err, out)
	}

	h.write(h.config, string(good))
	h.before = "true"
	h.start()
	h.daemon.Stop()
	h.opens()
	if !h.reached(v4) {
		t.Error("the way is closed after --cleanup")
	}
	h.write(h.config, strings.Replace(string(good), "interfaces", "interfaecs", 1))
	out, err = h.boots()
	if err != nil || !strings.Contains(out, h.config+":5:") || !strings.Contains(out, "closed by the rules that were last in force") {
		t.Errorf("a broken file at a later boot: %v\n%s", err, out)
	}
	closed("with a broken file")
	if out, err := h.Gateway.Run(t.Context(), filepath.Join(binaries, "insided"), "--config", h.config); err == nil || !strings.Contains(out, h.config+":5:") {
		t.Errorf("the daemon with a broken file: %v\n%s", err, out)
	}
	closed("after the daemon failed")
}

func TestADaemonThatCannotServeItsSocketEndsAndSaysSo(t *testing.T) {
	h := emptyHouse(t, settings{})
	h.writeConfig(settings{})
	text, err := os.ReadFile(h.config)
	if err != nil {
		t.Fatal(err)
	}
	h.write(h.config, strings.Replace(string(text), h.run(), "/proc/inside", 1))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := h.Gateway.Command(ctx, filepath.Join(binaries, "insided"), "--config", h.config).CombinedOutput()
	if ctx.Err() != nil || err == nil || !strings.Contains(string(out), "error: api socket: ") {
		t.Errorf("%v, %v\n%s", err, ctx.Err(), out)
	}
	if h.reached("10.30.0.140:22") {
		t.Error("the way is open after the daemon failed")
	}
}
