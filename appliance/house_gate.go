package appliance

import (
	"context"
	"net"
	"path/filepath"
	"runtime/debug"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/recording"
)

// serveAPI opens the socket and answers on it until ctx ends.
func (a *Appliance) serveAPI(ctx context.Context, keepers *sync.WaitGroup) (net.Listener, error) {
	socket, err := api.Listen(filepath.Join(a.cfg.Paths.Run, "inside.sock"))
	if err != nil {
		return nil, err
	}
	house := a.asHouse()
	keepers.Go(func() {
		if err := api.Serve(ctx, socket, house); err != nil {
			a.log.Error("api stopped", "error", err)
		}
	})
	return socket, nil
}

// asHouse is the appliance as its admins see it.
func (a *Appliance) asHouse() *House {
	h := &House{
		Gate:    a.cfg.Gate.Name,
		Store:   a.store,
		Book:    a.book.Load,
		Refresh: a.refresh,
		Live:    liveGate{a},
		Keys:    a.hostKeys,
		Records: a.records.root,
		Now:     a.clock.now,
	}
	if i := a.cfg.Intercept; i != nil {
		h.SSHPorts, h.RDPPorts = i.SSHPorts, i.RDPPorts
	}
	return h
}

// liveGate is what runs in the appliance right now.
type liveGate struct{ *Appliance }

func (g liveGate) Sessions() map[policy.SessionID]Traffic {
	g.live.mu.Lock()
	visits := make(map[policy.SessionID]*visit, len(g.live.sessions))
	for id, v := range g.live.sessions {
		visits[id] = v
	}
	g.live.mu.Unlock()
	carried := make(map[policy.SessionID]Traffic, len(visits))
	for id, v := range visits {
		carried[id] = v.traffic()
	}
	return carried
}

func (g liveGate) EndSession(id policy.SessionID, why policy.EndCause) bool {
	return g.live.endSession(id, why)
}

func (g liveGate) EndStay(id policy.StayID, why policy.EndCause) { g.live.endStay(id, why) }

func (g liveGate) Status(context.Context) api.Status {
	s := api.Status{Version: version(), Started: g.started}
	s.Rules = api.Part{OK: true, Detail: "installed"}
	if g.gate == nil {
		s.Rules.Detail = "none: this box is a tower"
	}
	s.Database = partOf(g.ledger.problem())
	s.Recorder = partOf(g.records.ready())
	if free, share, err := recording.Free(g.records.root); err == nil {
		s.Free, s.Share = int64(free), share
	}
	return s
}

func partOf(err error) api.Part {
	if err != nil {
		return api.Part{Detail: err.Error()}
	}
	return api.Part{OK: true}
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}

// traffic asks the kernel what the connection to the server has carried; the
// relay need not count.
func (v *visit) traffic() (t Traffic) {
	v.mu.Lock()
	server, _ := v.server.(*net.TCPConn)
	v.mu.Unlock()
	if server == nil {
		return t
	}
	raw, err := server.SyscallConn()
	if err != nil {
		return t
	}
	raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			t = Traffic{In: int64(info.Bytes_acked), Out: int64(info.Bytes_received)}
		}
	})
	return t
}
