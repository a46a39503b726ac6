package sshentry

import (
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"
)

// The payloads of RFC 4254 that the gate looks into. x/crypto/ssh reads them
// into structs; every parser here fails on what is cut short, has something
// left over or is longer than any honest peer makes it.

// A ptyRequest asks for a terminal (RFC 4254 section 6.2).
type ptyRequest struct {
	Term                         string
	Columns, Rows, Width, Height uint32
	Modes                        string
}

// A windowChange is the new size of a terminal (section 6.7).
type windowChange struct {
	Columns, Rows, Width, Height uint32
}

// An envRequest sets a variable (section 6.4).
type envRequest struct {
	Name, Value string
}

// A stringRequest is exec, subsystem or signal.
type stringRequest struct {
	Value string
}

// An exitSignal is how a process died (section 6.10).
type exitSignal struct {
	Signal  string
	Core    bool
	Message string
	Lang    string
}

// A directTCPIP opens a connection at the server (section 7.2).
type directTCPIP struct {
	Host       string
	Port       uint32
	OriginHost string
	OriginPort uint32
}

// A directStreamlocal opens a unix socket at the server (OpenSSH's PROTOCOL
// section 2.4).
type directStreamlocal struct {
	Path, Reserved string
	Reserved2      uint32
}

// A forward is what tcpip-forward and cancel-tcpip-forward name (section 7.1).
type forward struct {
	Host string
	Port uint32
}

// A forwardedTCPIP is a connection that came in at such a forward.
type forwardedTCPIP struct {
	Host       string
	Port       uint32
	OriginHost string
	OriginPort uint32
}

const (
	maxModes   = 4 << 10
	maxValue   = 4 << 10  // of a variable
	maxCommand = 64 << 10 // of an exec; the kernel takes 128 KiB for one argument
)

var errTooLong = errors.New("a field is too long")

func parsePty(b []byte) (p ptyRequest, err error) {
	if err := ssh.Unmarshal(b, &p); err != nil {
		return p, err
	}
	if len(p.Term) > maxName || len(p.Modes) > maxModes {
		return p, errTooLong
	}
	return p, nil
}

func parseWindowChange(b []byte) (w windowChange, err error) {
	return w, ssh.Unmarshal(b, &w)
}

func parseEnv(b []byte) (e envRequest, err error) {
	if err := ssh.Unmarshal(b, &e); err != nil {
		return e, err
	}
	if len(e.Name) > maxName || len(e.Value) > maxValue {
		return e, errTooLong
	}
	if e.Name == "" || strings.ContainsAny(e.Name, "=\x00") || strings.Contains(e.Value, "\x00") {
		return e, errors.New("not a variable")
	}
	return e, nil
}

func parseString(b []byte, limit int) (string, error) {
	var s stringRequest
	if err := ssh.Unmarshal(b, &s); err != nil {
		return "", err
	}
	if len(s.Value) > limit {
		return "", errTooLong
	}
	return s.Value, nil
}

func parseExitSignal(b []byte) (e exitSignal, err error) {
	if err := ssh.Unmarshal(b, &e); err != nil {
		return e, err
	}
	e.Signal = plainLine(e.Signal, 32)
	e.Message = plainLine(e.Message, 4*maxName)
	e.Lang = plainLine(e.Lang, 32)
	return e, nil
}

func parseDirectTCPIP(b []byte) (d directTCPIP, err error) {
	if err := ssh.Unmarshal(b, &d); err != nil {
		return d, err
	}
	if len(d.Host) > maxName || len(d.OriginHost) > maxName {
		return d, errTooLong
	}
	if d.Port > 65535 || d.OriginPort > 65535 {
		return d, errors.New("no such port")
	}
	return d, nil
}

func parseDirectStreamlocal(b []byte) (d directStreamlocal, err error) {
	if err := ssh.Unmarshal(b, &d); err != nil {
		return d, err
	}
	if len(d.Path) > maxName || len(d.Reserved) > maxName {
		return d, errTooLong
	}
	return d, nil
}

func parseForward(b []byte) (r forward, err error) {
	if err := ssh.Unmarshal(b, &r); err != nil {
		return r, err
	}
	if len(r.Host) > maxName {
		return r, errTooLong
	}
	if r.Port > 65535 {
		return r, errors.New("no such port")
	}
	return r, nil
}

func parseForwardedTCPIP(b []byte) (r forwardedTCPIP, err error) {
	if err := ssh.Unmarshal(b, &r); err != nil {
		return r, err
	}
	if len(r.Host) > maxName || len(r.OriginHost) > maxName {
		return r, errTooLong
	}
	if r.Port > 65535 || r.OriginPort > 65535 {
		return r, errors.New("no such port")
	}
	return r, nil
}
