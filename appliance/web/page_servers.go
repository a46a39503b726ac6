package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/pawelmojski/inside/appliance/api"
)

// A serverList is every server behind the gate.
type serverList struct {
	Servers []api.Server
	Role    api.Role
}

func (l serverList) Changes() bool { return l.Role == api.Admin }

func (p *Pages) showServers(v *visit) error {
	servers, err := v.house().Servers(v.ctx())
	if err != nil {
		return err
	}
	slices.SortFunc(servers, func(a, b api.Server) int { return strings.Compare(a.Name, b.Name) })
	v.show(http.StatusOK, "servers", page{Title: "Servers", Nav: "servers", Main: serverList{servers, v.actor.Role}})
	return nil
}

// A serverPage is one server, and who it and the gate are to each other.
type serverPage struct {
	api.Server
	Keys    *api.HostKeyList // of a server that is one address
	Why     string           // there are no keys to show
	Role    api.Role
	Problem *api.Problem
}

func (s serverPage) Operates() bool { return operates(s.Role) }
func (s serverPage) Changes() bool  { return s.Role == api.Admin }

func (p *Pages) showServer(v *visit) error {
	return p.serverAt(v, http.StatusOK, nil)
}

func (p *Pages) serverAt(v *visit, status int, problem *api.Problem) error {
	name := v.r.PathValue("name")
	shown := serverPage{Role: v.actor.Role, Problem: problem}
	var err error
	if shown.Server, err = v.house().Server(v.ctx(), name); err != nil {
		return err
	}
	keys, err := v.house().HostKeys(v.ctx(), name, api.HostKeyFilter{Address: v.r.URL.Query().Get("address")})
	var none *api.Problem
	switch {
	case err == nil:
		shown.Keys = &keys
	case isProblem(err, &none):
		shown.Why = none.Detail
	default:
		return err
	}
	v.show(status, "server", page{Title: name, Nav: "servers", Done: thingDone[v.r.URL.Query().Get("done")], Main: shown})
	return nil
}

func serverPath(v *visit) string { return "/servers/" + url.PathEscape(v.r.PathValue("name")) }

func addServer(v *visit) (string, error) {
	_, err := v.house().AddServer(v.ctx(), api.NewServer{Name: v.r.PostForm.Get("name"), Address: strings.TrimSpace(v.r.PostForm.Get("address"))})
	return "added", err
}

func setServer(v *visit) (string, error) {
	_, err := v.house().SetServer(v.ctx(), v.r.PathValue("name"), api.Switch{Version: v.version(), Disabled: v.r.PostForm.Get("disabled") == "true"})
	return "changed", err
}

func trustKeys(v *visit) (string, error) {
	_, err := v.house().TrustHostKeys(v.ctx(), v.r.PathValue("name"), api.TrustedKeys{Address: v.r.PostForm.Get("address"), PublicKeys: v.r.PostForm.Get("keys")})
	return "changed", err
}

func forgetKeys(v *visit) (string, error) {
	_, err := v.house().ForgetHostKeys(v.ctx(), v.r.PathValue("name"), api.HostKeyFilter{Address: v.r.PostForm.Get("address")})
	return "forgotten", err
}
