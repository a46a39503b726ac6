// Command labagent runs commands in a virtual machine of the stories.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pawelmojski/inside/vmtests/lab/agent"
)

func main() {
	os.Setenv("PATH", "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin")
	os.Setenv("LC_ALL", "C.UTF-8")
	os.Setenv("HOME", "/root")
	os.Setenv("DEBIAN_FRONTEND", "noninteractive")
	for {
		if port, err := open(); err == nil {
			agent.Serve(port)
			port.Close()
		}
		time.Sleep(20 * time.Millisecond) // the driver may still be on its way
	}
}

// open opens the port by its name, which udev may not have linked yet.
func open() (*os.File, error) {
	names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
	if err != nil {
		return nil, err
	}
	for _, file := range names {
		if text, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(text)) == agent.Port {
			return os.OpenFile(filepath.Join("/dev", filepath.Base(filepath.Dir(file))), os.O_RDWR, 0)
		}
	}
	return nil, fmt.Errorf("no port is named %s", agent.Port)
}
