package sshentry

import (
	"path"
	"slices"
	"strings"

	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/sshentry/transfer"
)

// A transferKind is a way to move files.
type transferKind int

const (
	noTransfer transferKind = iota
	sftpTransfer
	scpUpload
	scpDownload
	otherTransfer // rsync, git: nobody follows them
)

// transferOf tells whether a request moves files, and for scp where to or
// from. Only a plain command line is looked at: `scp -f x; bash` would
// otherwise be a shell nobody records.
func transferOf(kind, command string) (t transferKind, target string) {
	if kind == "subsystem" && command == "sftp" {
		return sftpTransfer, ""
	}
	words, ok := plainWords(command)
	if kind != "exec" || !ok || len(words) == 0 {
		return noTransfer, ""
	}
	args := append(words[1:], "")
	switch path.Base(words[0]) {
	case "sftp-server":
		return sftpTransfer, ""
	case "scp":
		target = words[len(words)-1]
		switch {
		case slices.Contains(args, "-t"):
			return scpUpload, target
		case slices.Contains(args, "-f"):
			return scpDownload, target
		}
	case "rsync":
		if args[0] == "--server" {
			return otherTransfer, ""
		}
	case "git-upload-pack", "git-receive-pack", "git-upload-archive":
		return otherTransfer, ""
	case "git":
		if slices.Contains([]string{"upload-pack", "receive-pack", "upload-archive"}, args[0]) {
			return otherTransfer, ""
		}
	}
	return noTransfer, ""
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

// watchTransfer has the files of a transfer reported, and decides how much of
// the output is recorded besides. A program is believed to be sftp or scp as
// long as it talks like one; one that is merely called rsync or git is not
// believed, as its talk is not understood here.
func (s *session) watchTransfer(kind, command string) {
	s.record.limit = maxPlainRecording
	s.sniffer, s.record.files = nil, nil
	if s.terminal {
		return
	}
	note := func(e recording.Event) {
		e.Channel = s.number
		s.f.note(e)
	}
	switch t, target := transferOf(kind, command); t {
	case sftpTransfer:
		s.sniffer = transfer.SFTP(note)
	case scpUpload, scpDownload:
		s.sniffer = transfer.SCP(t == scpUpload, target, note)
	case otherTransfer:
		s.record.limit = maxTransferRecording
	}
	s.record.files = s.sniffer
}
