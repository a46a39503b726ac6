package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A setting is a key of the configuration and its value, as TOML has it.
type setting struct{ table, key, value string }

// tomlText writes a text; what is in it is checked by whoever reads the file.
func tomlText(s string) (string, error) {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
		return "", fmt.Errorf("%.60q has characters that cannot stand in the configuration", s)
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`, nil
}

func tomlList(texts []string) (string, error) {
	var quoted []string
	for _, s := range texts {
		q, err := tomlText(s)
		if err != nil {
			return "", err
		}
		quoted = append(quoted, q)
	}
	return "[" + strings.Join(quoted, ", ") + "]", nil
}

// edited puts settings into the text of a configuration, each in the line
// where its key is, also when that is commented out. Everything else stays.
func edited(text []byte, settings []setting) []byte {
	lines := strings.SplitAfter(string(text), "\n")
	for _, s := range settings {
		lines = editedLine(lines, s)
	}
	return []byte(strings.Join(lines, ""))
}

func editedLine(lines []string, s setting) []string {
	want := s.key + " = " + s.value + "\n"
	table, header, commented := "", -1, -1
	for i, line := range lines {
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "[") && !strings.Contains(trimmed, "="):
			table = strings.TrimSpace(strings.Trim(strings.SplitN(trimmed, "#", 2)[0], "[] \t"))
			if table == s.table && header < 0 {
				header = i
			}
		case table != s.table:
		case isKey(trimmed, s.key):
			end := i + 1
			// A list may go on over lines.
			if value := trimmed[strings.Index(trimmed, "=")+1:]; strings.HasPrefix(strings.TrimSpace(value), "[") && !strings.Contains(value, "]") {
				for end < len(lines) && !strings.Contains(lines[end], "]") {
					end++
				}
				end = min(end+1, len(lines))
			}
			return append(append(append([]string{}, lines[:i]...), want), lines[end:]...)
		case strings.HasPrefix(trimmed, "#") && isKey(strings.TrimPrefix(trimmed, "#"), s.key) && commented < 0:
			commented = i
		}
	}
	switch {
	case commented >= 0:
		lines[commented] = want
		return lines
	case header >= 0:
		return append(append(append([]string{}, lines[:header+1]...), want), lines[header+1:]...)
	}
	if n := len(lines); n > 0 && lines[n-1] != "" && !strings.HasSuffix(lines[n-1], "\n") {
		lines[n-1] += "\n"
	}
	return append(lines, "\n["+s.table+"]\n", want)
}

// isKey reports whether a line gives a key, and not one that begins like it.
func isKey(line, key string) bool {
	rest, ok := strings.CutPrefix(line, key)
	return ok && strings.HasPrefix(strings.TrimSpace(rest), "=")
}

// install puts a checked text in the place of the configuration, and keeps
// what was there as FILE.bak. Whatever happens, the file is the old one or the
// new one as a whole.
func install(ctx context.Context, file string, text []byte) (backup string, err error) {
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	there := err == nil
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return "", err
	}
	fresh, err := written(file, text)
	if err != nil {
		return "", err
	}
	defer os.Remove(fresh)
	if out, err := output(ctx, "insided", "--check-config", "--config", fresh); err != nil {
		says := strings.ReplaceAll(strings.ReplaceAll(out, "insided: error: ", ""), fresh, file)
		return "", fmt.Errorf("nothing was changed: %s", firstOf(strings.ReplaceAll(says, "\n", "; "), err.Error()))
	}
	if there && !bytes.Equal(old, text) {
		backup = file + ".bak"
		kept, err := written(file, old)
		if err == nil {
			err = os.Rename(kept, backup)
		}
		if err != nil {
			os.Remove(kept)
			return "", fmt.Errorf("nothing was changed: keep the old configuration: %w", err)
		}
	}
	if err := os.Rename(fresh, file); err != nil {
		return "", fmt.Errorf("nothing was changed: %w", err)
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return backup, err
	}
	defer dir.Close()
	return backup, dir.Sync()
}

// written writes a text beside a file, with the owner and the mode of that
// file: the group inside reads it.
func written(file string, text []byte) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return "", err
	}
	defer f.Close()
	mode := fs.FileMode(0o640)
	if info, e := os.Stat(file); e == nil {
		mode = info.Mode().Perm()
		if st, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
			err = f.Chown(int(st.Uid), int(st.Gid))
		}
	}
	_, writeErr := f.Write(text)
	if err = errors.Join(err, writeErr, f.Chmod(mode), f.Sync()); err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}
