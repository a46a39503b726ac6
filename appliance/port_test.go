package appliance

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/appliance/config"
)

// A port of the API that is taken is no reason to let nobody in.
func TestAPortThatIsTakenDoesNotStopTheGate(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	said, log := io.Pipe()
	a := &Appliance{settings: newSettings(config.Config{API: config.API{Listen: other.Addr().String()}}), log: slog.New(slog.NewTextHandler(log, nil))}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { a.serveTokens(ctx, nil); close(ended) }()
	line := make([]byte, 1000)
	n, err := said.Read(line)
	if text := string(line[:n]); err != nil || !strings.Contains(text, "another program listens on "+other.Addr().String()) || !strings.Contains(text, "choose another [api] listen") {
		t.Errorf("%q, %v", text, err)
	}
	select {
	case <-ended:
		t.Error("it gave up")
	default:
	}
	cancel()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("it goes on when the gate stops")
	}
}
