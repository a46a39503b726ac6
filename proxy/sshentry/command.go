package sshentry

import (
	"path"
	"slices"
	"strings"
)

// A transferKind is a way to move files. Their contents are not recorded.
type transferKind int

const (
	noTransfer transferKind = iota
	sftpTransfer
	scpUpload
	scpDownload
	otherTransfer // rsync, git
)

// transferOf tells whether a request moves files. Only a plain command line is
// looked at: `scp -f x; bash` would otherwise be a shell nobody records.
func transferOf(kind, command string) transferKind {
	if kind == "subsystem" {
		if command == "sftp" {
			return sftpTransfer
		}
		return noTransfer
	}
	words, ok := plainWords(command)
	if kind != "exec" || !ok || len(words) == 0 {
		return noTransfer
	}
	args := words[1:]
	switch path.Base(words[0]) {
	case "sftp-server":
		return sftpTransfer
	case "scp":
		switch {
		case slices.Contains(args, "-t"):
			return scpUpload
		case slices.Contains(args, "-f"):
			return scpDownload
		}
	case "rsync":
		if len(args) > 0 && args[0] == "--server" {
			return otherTransfer
		}
	case "git-upload-pack", "git-receive-pack", "git-upload-archive":
		return otherTransfer
	case "git":
		if len(args) > 0 && slices.Contains([]string{"upload-pack", "receive-pack", "upload-archive"}, args[0]) {
			return otherTransfer
		}
	}
	return noTransfer
}

// plainWords splits a command line as a shell would. ok is false when the
// shell would do more with it than run one program: run another, redirect,
// substitute.
func plainWords(line string) (words []string, ok bool) {
	var word strings.Builder
	inWord := false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == ' ' || c == '\t':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
			continue
		case c == '\'':
			end := strings.IndexByte(line[i+1:], '\'')
			if end < 0 {
				return nil, false
			}
			word.WriteString(line[i+1 : i+1+end])
			i += end + 1
		case c == '"':
			for i++; i < len(line) && line[i] != '"'; i++ {
				if line[i] == '$' || line[i] == '`' {
					return nil, false
				}
				if line[i] == '\\' && i+1 < len(line) {
					i++
				}
				word.WriteByte(line[i])
			}
			if i == len(line) {
				return nil, false
			}
		case c == '\\':
			if i++; i == len(line) || line[i] == '\n' {
				return nil, false
			}
			word.WriteByte(line[i])
		case strings.IndexByte(";&|<>()$`\n\r\x00{}#!", c) >= 0:
			return nil, false
		default:
			word.WriteByte(c)
		}
		inWord = true
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, true
}

// watchTransfer decides how much of a command's output is recorded.
func (s *session) watchTransfer(kind, command string) {
	t := transferOf(kind, command)
	// With a terminal everything is recorded, whatever it is called.
	s.record.transfer = t != noTransfer && !s.terminal
}
