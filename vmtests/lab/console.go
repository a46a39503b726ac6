package lab

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"time"
)

// Console logs in as root at the machine's serial console and runs a command
// there. It returns what stood on the screen meanwhile.
func (v *VM) Console(ctx context.Context, command string) (string, error) {
	c, err := v.dial(ctx, "console")
	if err != nil {
		return "", err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		c.SetDeadline(deadline)
	}
	r := bufio.NewReader(c)
	screen := &strings.Builder{}
	for _, step := range []struct{ types, sees string }{
		{"\r", "login: "},
		{"root\r", "# "},
		{command + "; echo end-of-$((6*7))\r", "end-of-42"},
	} {
		if _, err := c.Write([]byte(step.types)); err != nil {
			return screen.String(), fmt.Errorf("the console: %w", err)
		}
		for !strings.HasSuffix(screen.String(), step.sees) {
			b, err := r.ReadByte()
			if err != nil {
				return screen.String(), fmt.Errorf("the console, before it said %q: %w", step.sees, err)
			}
			screen.WriteByte(b)
		}
	}
	c.SetWriteDeadline(time.Now().Add(time.Second))
	c.Write([]byte("exit\r"))
	return screen.String(), nil
}
