package nettest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// A Shadow is a running freerdp-shadow-cli: a server of RDP that lets nobody
// in without network level authentication.
type Shadow struct {
	*Daemon
	dir string
}

// StartShadow starts it on the backend's port 3389, with one terminal on its
// screen, and waits until it answers.
func (l *Lab) StartShadow(u User) (*Shadow, error) {
	dir, err := os.MkdirTemp(l.Dir, "shadow-")
	if err != nil {
		return nil, err
	}
	sam, err := exec.Command("winpr-hash", "-u", u.Name, "-p", u.Password, "-f", "sam").Output()
	if err != nil {
		return nil, fmt.Errorf("winpr-hash: install winpr-utils: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sam"), sam, 0o600); err != nil {
		return nil, err
	}
	script := "set -e\nmount -t tmpfs none /run\nmkdir " + hidden + "\nmount --bind " + dir + " " + hidden + "\n" +
		"mount -t tmpfs none /tmp\nmkdir -m 1777 /tmp/.X11-unix\nexport HOME=" + hidden + " DISPLAY=:92\n" +
		"Xvfb :92 -screen 0 800x560x24 -nolisten tcp &\nuntil xdpyinfo >/dev/null 2>&1; do sleep 0.1; done\n" +
		"xterm -bg '#204060' -fg white -fn fixed -geometry 100x30+20+20 &\n" +
		"exec freerdp-shadow-cli /port:3389 /sec:nla +auth /sam-file:" + hidden + "/sam\n"
	s := &Shadow{dir: dir}
	if s.Daemon, err = l.Backend.start("shadow", nil, []string{"unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return s, s.until(ctx, "an answer on port 3389", func() bool {
		c, err := l.Backend.Dial(ctx, "127.0.0.1:3389")
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// Certificate is the file of the certificate it shows, and of its private key.
func (s *Shadow) Certificate() (cert, key string, err error) {
	for name, file := range map[string]*string{"shadow.crt": &cert, "shadow.key": &key} {
		err := filepath.WalkDir(s.dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Name() == name {
				*file = path
			}
			return nil
		})
		if err != nil || *file == "" {
			return "", "", fmt.Errorf("freerdp-shadow has left no %s below %s: %w", name, s.dir, err)
		}
	}
	return cert, key, nil
}
