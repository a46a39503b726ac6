package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/pawelmojski/inside/appliance/api"
)

const (
	urlKey       = "INSIDE_URL"
	tokenFileKey = "INSIDE_TOKEN_FILE"

	longestTokenFile = 4096
)

// remote reports whether a gate is asked by a URL and not by its socket. A
// socket that was typed is what is meant.
func (c *cli) remote() bool { return os.Getenv(urlKey) != "" && !c.socketFlag.Changed }

// house is the gate that is asked.
func (c *cli) house() *api.Client {
	if !c.remote() {
		return api.NewClient(c.socket)
	}
	token, err := readToken(os.Getenv(tokenFileKey))
	if err != nil {
		return api.NoClient(err)
	}
	client, err := api.NewTokenClient(os.Getenv(urlKey), token)
	if err != nil {
		return api.NoClient(err)
	}
	return client
}

// readToken reads a token from a file that nobody else may read: the
// environment of a process is no place for it, since its children get it, and
// tools print it.
func readToken(path string) (string, error) {
	wrong := func(hint, format string, args ...any) (string, error) {
		return "", api.NewProblem(api.CodeInvalid, fmt.Sprintf(format, args...), hint)
	}
	if path == "" {
		return wrong("inside token create NAME --role viewer makes a token; name the file that holds it", "%s is set and %s is not", urlKey, tokenFileKey)
	}
	f, err := os.Open(path)
	if err != nil {
		return wrong("", "%s: %v", tokenFileKey, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return wrong("", "%s: %v", tokenFileKey, err)
	}
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&0o027 != 0 {
		return wrong("chmod 600 "+path, "%s: others may read or change %s (its mode is %#o)", tokenFileKey, path, mode.Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, longestTokenFile))
	if err != nil {
		return wrong("", "%s: %v", tokenFileKey, err)
	}
	token := strings.TrimSpace(string(text))
	if !api.IsToken(token) {
		return wrong("it holds what inside token create printed, and nothing more", "%s: there is no token in %s", tokenFileKey, path)
	}
	return token, nil
}
