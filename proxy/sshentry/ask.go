package sshentry

import (
	"context"

	"golang.org/x/crypto/ssh"
)

func (s *session) enter(ctx context.Context, r *ssh.Request) bool { return false }
func (s *session) lendAgent(ctx context.Context) bool             { return false }
func (s *session) watchTransfer(kind, command string)             {}
