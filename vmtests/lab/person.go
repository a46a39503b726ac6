package lab

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

// Password is that of the servers' accounts.
const Password = "correct horse"

// A Person sits at the client of a lab.
type Person struct{ lab *nettest.Lab }

// NewPerson gives a lab a person, who has ssh and knows the password.
func NewPerson(l *nettest.Lab) (Person, error) {
	for name, text := range map[string]string{
		"askpass":    "#!/bin/sh\necho '" + Password + "'\n",
		"ssh_config": "Host *\nUserKnownHostsFile /dev/null\nGlobalKnownHostsFile /dev/null\nStrictHostKeyChecking no\nIdentityFile /nonexistent\nConnectTimeout 20\n",
	} {
		if err := os.WriteFile(filepath.Join(l.Dir, name), []byte(text), 0o755); err != nil {
			return Person{}, err
		}
	}
	return Person{l}, nil
}

// SSH prepares what the person types: ssh LOGIN@ADDRESS COMMAND...
func (p Person) SSH(ctx context.Context, args ...string) *exec.Cmd {
	c := p.lab.Client.Command(ctx, "ssh", append([]string{"-F", filepath.Join(p.lab.Dir, "ssh_config")}, args...)...)
	c.Env = append(os.Environ(), "SSH_ASKPASS="+filepath.Join(p.lab.Dir, "askpass"), "SSH_ASKPASS_REQUIRE=force", "SSH_AUTH_SOCK=", "DISPLAY=:0")
	return c
}

// The gate greets with a version of its own, so that the server's banner at
// the client is a leak.
const serversBanner = "SSH-2.0-OpenSSH"

// Who connects to port 22 and says who answers: "server", "gate", "nobody", or
// "hung up" when somebody took the connection and said nothing. Who does not
// take it within that time is nobody.
func (p Person) Who(ctx context.Context, address string, within time.Duration) (string, error) {
	dialing, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	c, err := p.lab.Client.Dial(dialing, net.JoinHostPort(address, "22"))
	if err != nil {
		return "nobody", err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		c.SetReadDeadline(deadline)
	}
	text := make([]byte, len(serversBanner))
	if _, err := io.ReadFull(c, text); err != nil {
		return "hung up", err
	}
	if string(text) == serversBanner {
		return "server", nil
	}
	return "gate", nil
}
