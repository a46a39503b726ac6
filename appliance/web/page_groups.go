package web

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/pawelmojski/inside/appliance/api"
)

// A groupList is the groups of both kinds.
type groupList struct {
	Kinds []groupsOfKind
	Role  api.Role
}

type groupsOfKind struct {
	Kind   api.Kind
	Title  string
	Groups []api.Group
}

func (l groupList) Changes() bool { return l.Role == api.Admin }

func (p *Pages) showGroups(v *visit) error {
	l := groupList{Role: v.actor.Role}
	for _, k := range []groupsOfKind{{Kind: api.ServerGroup, Title: "Groups of servers"}, {Kind: api.PersonGroup, Title: "Groups of persons"}} {
		var err error
		if k.Groups, err = v.house().Groups(v.ctx(), k.Kind); err != nil {
			return err
		}
		l.Kinds = append(l.Kinds, k)
	}
	v.show(http.StatusOK, "groups", page{Title: "Groups", Nav: "groups", Main: l})
	return nil
}

// A groupPage is one group and who or what is in it.
type groupPage struct {
	api.Group
	Kind    api.Kind
	Role    api.Role
	Problem *api.Problem
}

func (g groupPage) Operates() bool { return operates(g.Role) }
func (g groupPage) Changes() bool  { return g.Role == api.Admin }

// Of is where the members have their pages.
func (g groupPage) Of() string {
	if g.Kind == api.PersonGroup {
		return "persons"
	}
	return "servers"
}

// kindOf is the kind of group a path is about.
func kindOf(v *visit) (api.Kind, error) {
	switch k := api.Kind(v.r.PathValue("kind")); k {
	case api.ServerGroup, api.PersonGroup:
		return k, nil
	}
	return "", api.NewProblem(api.CodeNotFound, "there are groups of servers and of persons", "")
}

func (p *Pages) showGroup(v *visit) error {
	return p.groupAt(v, http.StatusOK, nil)
}

func (p *Pages) groupAt(v *visit, status int, problem *api.Problem) error {
	k, err := kindOf(v)
	if err != nil {
		return err
	}
	g, err := v.house().Group(v.ctx(), k, v.r.PathValue("name"))
	if err != nil {
		return err
	}
	v.show(status, "group", page{Title: g.Name, Nav: "groups", Done: thingDone[v.r.URL.Query().Get("done")], Main: groupPage{g, k, v.actor.Role, problem}})
	return nil
}

func groupPath(v *visit) string {
	return "/groups/" + url.PathEscape(v.r.PathValue("kind")) + "/" + url.PathEscape(v.r.PathValue("name"))
}

func createGroup(v *visit) (string, error) {
	k, err := kindOf(v)
	if err == nil {
		_, err = v.house().CreateGroup(v.ctx(), k, api.NewGroup{Name: v.r.PostForm.Get("name"), Description: v.r.PostForm.Get("description")})
	}
	return "added", err
}

func changeMember(v *visit) (string, error) {
	k, err := kindOf(v)
	if err != nil {
		return "", err
	}
	m := api.Member{Member: strings.TrimSpace(v.r.PostForm.Get("member"))}
	if v.r.PostForm.Get("do") == "remove" {
		_, err = v.house().RemoveMember(v.ctx(), k, v.r.PathValue("name"), m)
		return "removed", err
	}
	_, err = v.house().AddMember(v.ctx(), k, v.r.PathValue("name"), m)
	return "added", err
}
