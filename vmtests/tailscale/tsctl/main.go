// Tsctl is a tailnet for one story: a control server, a relay and a STUN server
// on one address, with a few commands to say who is who. The control server is
// Tailscale's own for its integration tests; what it cannot do, logins of one's
// choosing, is added here.
//
//	tsctl 10.50.0.2
//
// It prints "ready" and serves until it is killed: control at port 8081, where
// /lab/ takes the commands.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"tailscale.com/derp/derpserver"
	"tailscale.com/net/stun"
	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"
	"tailscale.com/types/logger"
)

const (
	controlPort = 8081
	derpPort    = 3340
	stunPort    = 3478
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: tsctl ADDRESS")
	}
	at, err := netip.ParseAddr(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	serveSTUN(at)
	serveDERP(at)
	t := &tailnet{logins: map[string]string{}}
	t.control = &testcontrol.Server{
		Logf: logger.Discard, DERPMap: derpMap(at), ExplicitBaseURL: fmt.Sprintf("http://%s:%d", at, controlPort),
		AllOnline: true, TagOwners: map[string][]string{}, MagicDNSDomain: "corp.test", AltMapStream: t.stream,
	}
	l, err := net.Listen("tcp", netip.AddrPortFrom(at, controlPort).String())
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", t.control)
	mux.HandleFunc("POST /lab/login/{host}", t.login)
	mux.HandleFunc("POST /lab/routes/{host}", t.routes)
	mux.HandleFunc("POST /lab/tag/{host}", t.tag)
	fmt.Println("ready")
	log.Fatal(http.Serve(l, mux))
}

// A tailnet is the control server and what the commands have said.
type tailnet struct {
	control *testcontrol.Server

	mu     sync.Mutex
	logins map[string]string // by host
}

// node finds a node by the name its host gave.
func (t *tailnet) node(host string) *tailcfg.Node {
	for _, n := range t.control.AllNodes() {
		if n.Hostinfo.Hostname() == host {
			return n
		}
	}
	return nil
}

// login says as whom a host is logged in: /lab/login/laptop?as=alice@corp.test.
func (t *tailnet) login(w http.ResponseWriter, r *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.logins[r.PathValue("host")] = r.FormValue("as")
}

// routes says for which networks a host is a router, as an admin who approves
// them does: /lab/routes/gate-1?to=10.30.0.0/24,0.0.0.0/0.
func (t *tailnet) routes(w http.ResponseWriter, r *http.Request) {
	n := t.node(r.PathValue("host"))
	if n == nil {
		http.Error(w, "no such host", http.StatusNotFound)
		return
	}
	var routes []netip.Prefix
	for text := range strings.SplitSeq(r.FormValue("to"), ",") {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		routes = append(routes, p)
	}
	t.control.SetSubnetRoutes(n.Key, routes)
}

// tag makes a node a machine's that was a person's: /lab/tag/laptop?as=tag:ci.
func (t *tailnet) tag(w http.ResponseWriter, r *http.Request) {
	n := t.node(r.PathValue("host"))
	if n == nil {
		http.Error(w, "no such host", http.StatusNotFound)
		return
	}
	n.Tags = nil
	if tag := r.FormValue("as"); tag != "" {
		n.Tags = []string{tag}
	}
	t.control.UpdateNode(n)
}

// stream answers a node's long poll. testcontrol calls logins user-N; here they
// are what was said. What a node tells of itself comes in polls of its own.
func (t *tailnet) stream(ctx context.Context, w testcontrol.MapStreamWriter, req *tailcfg.MapRequest) {
	if !req.Stream {
		t.update(req)
		w.SendMapMessage(&tailcfg.MapResponse{})
		return
	}
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	var sent []byte
	for alive := time.Now(); ; {
		res, err := t.netmap(req)
		if err != nil || res == nil {
			return
		}
		now, err := json.Marshal(res)
		if err != nil {
			return
		}
		switch {
		case string(now) != string(sent):
			sent, alive = now, time.Now()
			err = w.SendMapMessage(res)
		case time.Since(alive) > 50*time.Second:
			alive = time.Now()
			err = w.SendMapMessage(&tailcfg.MapResponse{KeepAlive: true})
		}
		if err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}

// update takes what a node says of itself.
func (t *tailnet) update(req *tailcfg.MapRequest) {
	n := t.control.Node(req.NodeKey)
	if n == nil || req.ReadOnly {
		return
	}
	n.Endpoints, n.DiscoKey, n.Cap = req.Endpoints, req.DiscoKey, req.Version
	if req.Hostinfo != nil {
		n.Hostinfo = req.Hostinfo.View()
		if ni := req.Hostinfo.NetInfo; ni != nil && ni.PreferredDERP != 0 {
			n.HomeDERP = ni.PreferredDERP
		}
	}
	t.control.UpdateNode(n)
}

// netmap is what a node is told, the same bytes for the same things.
func (t *tailnet) netmap(req *tailcfg.MapRequest) (*tailcfg.MapResponse, error) {
	res, err := t.control.MapResponse(req)
	if err != nil || res == nil {
		return nil, err
	}
	owners := map[tailcfg.UserID]string{}
	t.mu.Lock()
	for _, n := range append(slices.Clone(res.Peers), res.Node) {
		owners[n.User] = t.logins[n.Hostinfo.Hostname()]
		slices.Sort(n.Capabilities)
	}
	t.mu.Unlock()
	for i := range res.UserProfiles {
		if p := &res.UserProfiles[i]; owners[p.ID] != "" {
			p.LoginName, p.DisplayName = owners[p.ID], owners[p.ID]
		}
	}
	slices.SortFunc(res.UserProfiles, func(a, b tailcfg.UserProfile) int { return cmp.Compare(a.ID, b.ID) })
	return res, nil
}

// derpMap is the one relay there is.
func derpMap(at netip.Addr) *tailcfg.DERPMap {
	return &tailcfg.DERPMap{
		OmitDefaultRegions: true,
		Regions: map[int]*tailcfg.DERPRegion{1: {RegionID: 1, RegionCode: "lab", Nodes: []*tailcfg.DERPNode{{
			Name: "1", RegionID: 1, HostName: at.String(), IPv4: at.String(), IPv6: "none",
			STUNPort: stunPort, DERPPort: derpPort, InsecureForTests: true, STUNTestIP: at.String(),
		}}}},
	}
}

// serveDERP serves the relay by TLS, with a certificate of nobody's: it is
// reached by its address.
func serveDERP(at netip.Addr) {
	l, err := net.Listen("tcp", netip.AddrPortFrom(at, derpPort).String())
	if err != nil {
		log.Fatal(err)
	}
	d := derpserver.New(key.NewNode(), logger.Discard)
	mux := http.NewServeMux()
	mux.Handle("/derp", derpserver.Handler(d))
	mux.HandleFunc("/derp/probe", derpserver.ProbeHandler)
	mux.HandleFunc("/generate_204", derpserver.ServeNoContent)
	s := httptest.NewUnstartedServer(mux)
	s.Listener.Close()
	s.Listener = l
	s.Config.ErrorLog = log.New(logger.FuncWriter(logger.Discard), "", 0)
	s.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){} // relays speak HTTP/1.1
	s.StartTLS()
}

// serveSTUN tells nodes by which address they are seen.
func serveSTUN(at netip.Addr) {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, stunPort)))
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				log.Fatal(err)
			}
			if id, err := stun.ParseBindingRequest(b[:n]); err == nil {
				c.WriteToUDPAddrPort(stun.Response(id, netip.AddrPortFrom(from.Addr().Unmap(), from.Port())), from)
			}
		}
	}()
}
