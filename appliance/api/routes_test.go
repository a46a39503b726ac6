package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// awkward is a name nobody can have, and everybody can type.
const awkward = `a/b?c#d%2F..&e=é "f" \x`

// calls are all calls of the client, with what the house must be asked.
func calls() map[string]func(context.Context, House) error {
	at := time.Date(2026, 12, 24, 10, 0, 0, 123000, time.UTC)
	bodies := func(b io.ReadCloser, err error) error {
		if err != nil {
			return err
		}
		defer b.Close()
		_, err = io.ReadAll(b)
		return err
	}
	return map[string]func(context.Context, House) error{
		"Persons[]":               func(ctx context.Context, h House) error { _, err := h.Persons(ctx); return err },
		"Person[" + awkward + "]": func(ctx context.Context, h House) error { _, err := h.Person(ctx, awkward); return err },
		"Person[..]":              func(ctx context.Context, h House) error { _, err := h.Person(ctx, ".."); return err },
		"AddPerson[{Name:x FullName: Email: Account: Addresses:[{Address:10.0.0.1 Label:l}]}]": func(ctx context.Context, h House) error {
			_, err := h.AddPerson(ctx, NewPerson{Name: "x", Addresses: []NewAddress{{"10.0.0.1", "l"}}})
			return err
		},
		"SetAccount[x {Version:2 Account:" + awkward + "}]": func(ctx context.Context, h House) error {
			_, err := h.SetAccount(ctx, "x", NewAccount{2, awkward})
			return err
		},
		"SetPerson[x {Version:2 Disabled:true}]": func(ctx context.Context, h House) error {
			_, err := h.SetPerson(ctx, "x", Switch{2, true})
			return err
		},
		"Addresses[{Person:" + awkward + "}]": func(ctx context.Context, h House) error {
			_, err := h.Addresses(ctx, AddressFilter{awkward})
			return err
		},
		"AddAddress[x {Address:10.0.0.1 Label:}]": func(ctx context.Context, h House) error {
			_, err := h.AddAddress(ctx, "x", NewAddress{Address: "10.0.0.1"})
			return err
		},
		"RemoveAddress[7]": func(ctx context.Context, h House) error { _, err := h.RemoveAddress(ctx, "7"); return err },
		"Credentials[{Person:x}]": func(ctx context.Context, h House) error {
			_, err := h.Credentials(ctx, CredentialFilter{"x"})
			return err
		},
		"AddCredential[{Person:p Server:s Login:l Kind:key Secret:[redacted] WithoutProof:false} k\n]": func(ctx context.Context, h House) error {
			_, err := h.AddCredential(ctx, NewCredential{Person: "p", Server: "s", Login: "l", Kind: "key", Secret: Secret("k\n")})
			return err
		},
		"RemoveCredential[7]": func(ctx context.Context, h House) error { _, err := h.RemoveCredential(ctx, "7"); return err },
		"PersonKeys[{Person:}]": func(ctx context.Context, h House) error {
			_, err := h.PersonKeys(ctx, CredentialFilter{})
			return err
		},
		"AddPersonKey[" + awkward + " {PublicKey:k}]": func(ctx context.Context, h House) error {
			_, err := h.AddPersonKey(ctx, awkward, NewPersonKey{"k"})
			return err
		},
		"ServerCertificate[x {Address:a}]": func(ctx context.Context, h House) error {
			_, err := h.ServerCertificate(ctx, "x", HostKeyFilter{"a"})
			return err
		},
		"ImportCertificate[x {Address:a Certificate:c PrivateKey:[redacted]} k\n]": func(ctx context.Context, h House) error {
			_, err := h.ImportCertificate(ctx, "x", ImportedCertificate{"a", "c", Secret("k\n")})
			return err
		},
		"TrustCertificate[x {Address: Certificate:c}]": func(ctx context.Context, h House) error {
			_, err := h.TrustCertificate(ctx, "x", TrustedCertificate{Certificate: "c"})
			return err
		},
		"ForgetCertificate[x {Address:a Imported:true}]": func(ctx context.Context, h House) error {
			_, err := h.ForgetCertificate(ctx, "x", ForgottenCertificate{"a", true})
			return err
		},
		"RDPAuthority[]": func(ctx context.Context, h House) error { _, err := h.RDPAuthority(ctx); return err },
		"UserCA[]":       func(ctx context.Context, h House) error { _, err := h.UserCA(ctx); return err },
		"MakeUserCA[{Rotate:true}]": func(ctx context.Context, h House) error {
			_, err := h.MakeUserCA(ctx, NewUserCA{true})
			return err
		},
		"ServerLogins[]": func(ctx context.Context, h House) error { _, err := h.ServerLogins(ctx); return err },
		"SetTrustsUserCA[x {Allowed:true}]": func(ctx context.Context, h House) error {
			_, err := h.SetTrustsUserCA(ctx, "x", Allowance{true})
			return err
		},
		"SetEnrolling[" + awkward + " {Allowed:false}]": func(ctx context.Context, h House) error {
			_, err := h.SetEnrolling(ctx, awkward, Allowance{})
			return err
		},
		"Enrolments[{Person:p}]": func(ctx context.Context, h House) error {
			_, err := h.Enrolments(ctx, CredentialFilter{"p"})
			return err
		},
		"Unenroll[{Person:p Server:s Login:l Forget:true}]": func(ctx context.Context, h House) error {
			_, err := h.Unenroll(ctx, Unenrolment{"p", "s", "l", true})
			return err
		},
		"RemovePersonKey[7]": func(ctx context.Context, h House) error { _, err := h.RemovePersonKey(ctx, "7"); return err },
		"AskVideo[x {Anew:true}]": func(ctx context.Context, h House) error {
			_, err := h.AskVideo(ctx, "x", NewVideo{true})
			return err
		},
		"Video[x]":       func(ctx context.Context, h House) error { _, err := h.Video(ctx, "x"); return err },
		"VideoFile[x]":   func(ctx context.Context, h House) error { return bodies(h.VideoFile(ctx, "x")) },
		"LiveDesktop[x]": func(ctx context.Context, h House) error { return bodies(h.LiveDesktop(ctx, "x")) },
		"Servers[]":      func(ctx context.Context, h House) error { _, err := h.Servers(ctx); return err },
		"Server[x]":      func(ctx context.Context, h House) error { _, err := h.Server(ctx, "x"); return err },
		"AddServer[{Name:x Address:10.0.0.1 SSHPort:22 RDPPort:0 RDPGraphics:}]": func(ctx context.Context, h House) error {
			_, err := h.AddServer(ctx, NewServer{Name: "x", Address: "10.0.0.1", SSHPort: 22})
			return err
		},
		"SetServer[x {Version:0 Disabled:false}]": func(ctx context.Context, h House) error {
			_, err := h.SetServer(ctx, "x", Switch{})
			return err
		},
		"Maintain[x {Version:2 In:30m At:0001-01-01 00:00:00 +0000 UTC Until:0001-01-01 00:00:00 +0000 UTC Exempt:[a b] Reason:r Off:false}]": func(ctx context.Context, h House) error {
			_, err := h.Maintain(ctx, "x", NewMaintenance{Version: 2, In: "30m", Exempt: []string{"a", "b"}, Reason: "r"})
			return err
		},
		"Admins[]": func(ctx context.Context, h House) error { _, err := h.Admins(ctx); return err },
		"AddAdmin[{Name:x Role:viewer Password:[redacted]} p]": func(ctx context.Context, h House) error {
			_, err := h.AddAdmin(ctx, NewNamedAdmin{"x", Viewer, Secret("p")})
			return err
		},
		"SetAdmin[" + awkward + " {Role:viewer Disabled:true}]": func(ctx context.Context, h House) error {
			_, err := h.SetAdmin(ctx, awkward, AdminChange{Viewer, true})
			return err
		},
		"SetAdminPassword[x {Password:[redacted]} p]": func(ctx context.Context, h House) error {
			_, err := h.SetAdminPassword(ctx, "x", NewPassword{Secret("p")})
			return err
		},
		"RemoveAdmin[x]":     func(ctx context.Context, h House) error { _, err := h.RemoveAdmin(ctx, "x"); return err },
		"Tokens[{All:true}]": func(ctx context.Context, h House) error { _, err := h.Tokens(ctx, TokenFilter{true}); return err },
		"CreateToken[{Name:x Role:viewer Expires:30d}]": func(ctx context.Context, h House) error {
			_, err := h.CreateToken(ctx, NewToken{"x", Viewer, "30d"})
			return err
		},
		"RevokeToken[x]": func(ctx context.Context, h House) error { _, err := h.RevokeToken(ctx, "x"); return err },
		"HostKeys[x {Address:[::1]:22}]": func(ctx context.Context, h House) error {
			_, err := h.HostKeys(ctx, "x", HostKeyFilter{"[::1]:22"})
			return err
		},
		"ImportHostKey[x {Address: PrivateKey:k}]": func(ctx context.Context, h House) error {
			_, err := h.ImportHostKey(ctx, "x", ImportedKey{PrivateKey: "k"})
			return err
		},
		"TrustHostKeys[x {Address: PublicKeys:k}]": func(ctx context.Context, h House) error {
			_, err := h.TrustHostKeys(ctx, "x", TrustedKeys{PublicKeys: "k"})
			return err
		},
		"ForgetHostKeys[x {Address:a}]": func(ctx context.Context, h House) error {
			_, err := h.ForgetHostKeys(ctx, "x", HostKeyFilter{"a"})
			return err
		},
		"Groups[group]":        func(ctx context.Context, h House) error { _, err := h.Groups(ctx, ServerGroup); return err },
		"Groups[person-group]": func(ctx context.Context, h House) error { _, err := h.Groups(ctx, PersonGroup); return err },
		"Group[group x]":       func(ctx context.Context, h House) error { _, err := h.Group(ctx, ServerGroup, "x"); return err },
		"Group[person-group x]": func(ctx context.Context, h House) error {
			_, err := h.Group(ctx, PersonGroup, "x")
			return err
		},
		"CreateGroup[group {Name:x Description:d}]": func(ctx context.Context, h House) error {
			_, err := h.CreateGroup(ctx, ServerGroup, NewGroup{"x", "d"})
			return err
		},
		"CreateGroup[person-group {Name:x Description:}]": func(ctx context.Context, h House) error {
			_, err := h.CreateGroup(ctx, PersonGroup, NewGroup{Name: "x"})
			return err
		},
		"AddMember[group x {Member:group:y}]": func(ctx context.Context, h House) error {
			_, err := h.AddMember(ctx, ServerGroup, "x", Member{"group:y"})
			return err
		},
		"AddMember[person-group x {Member:y}]": func(ctx context.Context, h House) error {
			_, err := h.AddMember(ctx, PersonGroup, "x", Member{"y"})
			return err
		},
		"RemoveMember[group x {Member:group:y}]": func(ctx context.Context, h House) error {
			_, err := h.RemoveMember(ctx, ServerGroup, "x", Member{"group:y"})
			return err
		},
		"RemoveMember[person-group x {Member:" + awkward + "}]": func(ctx context.Context, h House) error {
			_, err := h.RemoveMember(ctx, PersonGroup, "x", Member{awkward})
			return err
		},
		"Grants[{Person:x Active:true Unused:30d Waiting:true}]": func(ctx context.Context, h House) error {
			_, err := h.Grants(ctx, GrantFilter{"x", true, "30d", true})
			return err
		},
		"Grant[1]": func(ctx context.Context, h House) error { _, err := h.Grant(ctx, "1"); return err },
		"CreateGrant[{Person:x PersonGroup: Server:y Group: Protocols:[ssh] Logins:[] SourceIP: Forwarding:[] Redirection:[] Duration:8h Permanent:false Start:2026-12-24 10:00:00.000123 +0000 UTC End:0001-01-01 00:00:00 +0000 UTC Schedules:[{Windows:w Zone:z}] Idle:30m MaxSessions:2 MaxEntries:10/h Renew:true Reason: Template:t}]": func(ctx context.Context, h House) error {
			_, err := h.CreateGrant(ctx, NewGrant{Person: "x", Server: "y", Protocols: []string{"ssh"}, Duration: "8h", Start: at, Schedules: []Schedule{{"w", "z"}}, Idle: "30m", MaxSessions: 2, MaxEntries: "10/h", Renew: true, Template: "t"})
			return err
		},
		"Templates[]":                     func(ctx context.Context, h House) error { _, err := h.Templates(ctx); return err },
		"Template[" + awkward + "]":       func(ctx context.Context, h House) error { _, err := h.Template(ctx, awkward); return err },
		"RemoveTemplate[" + awkward + "]": func(ctx context.Context, h House) error { _, err := h.RemoveTemplate(ctx, awkward); return err },
		"CreateTemplate[{Name:x Protocols:[ssh] Logins:[] Forwarding:[local] Redirection:[drive] Duration:8h Permanent:true Schedules:[{Windows:w Zone:z}] Idle:30m MaxSessions:2 MaxEntries:10/h Renew:true Reason:r}]": func(ctx context.Context, h House) error {
			_, err := h.CreateTemplate(ctx, NewTemplate{Name: "x", Protocols: []string{"ssh"}, Forwarding: []string{"local"}, Redirection: []string{"drive"}, Duration: "8h", Permanent: true, Schedules: []Schedule{{"w", "z"}}, Idle: "30m", MaxSessions: 2, MaxEntries: "10/h", Renew: true, Reason: "r"})
			return err
		},
		"SetGrantEnd[1 {Version:3 Duration: By:1h Until:0001-01-01 00:00:00 +0000 UTC Permanent:false NoRenew:false}]": func(ctx context.Context, h House) error {
			_, err := h.SetGrantEnd(ctx, "1", NewEnd{Version: 3, By: "1h"})
			return err
		},
		"SetServerGraphics[x {Version:2 RDPGraphics:native}]": func(ctx context.Context, h House) error {
			_, err := h.SetServerGraphics(ctx, "x", Graphics{2, "native"})
			return err
		},
		"SetServerSensitive[x {Version:2 Sensitive:true}]": func(ctx context.Context, h House) error {
			_, err := h.SetServerSensitive(ctx, "x", Sensitivity{2, true})
			return err
		},
		"SetGroupSensitive[" + awkward + " {Version:2 Sensitive:false}]": func(ctx context.Context, h House) error {
			_, err := h.SetGroupSensitive(ctx, awkward, Sensitivity{2, false})
			return err
		},
		"ApproveGrant[1 {Version:7}]": func(ctx context.Context, h House) error {
			_, err := h.ApproveGrant(ctx, "1", Approval{7})
			return err
		},
		"RevokeGrant[1]":  func(ctx context.Context, h House) error { _, err := h.RevokeGrant(ctx, "1"); return err },
		"GrantHistory[1]": func(ctx context.Context, h House) error { _, err := h.GrantHistory(ctx, "1"); return err },
		"Stays[{All:true Person: PersonGroup: Server: Group:" + awkward + " Grant: From:2026-12-24 10:00:00.000123 +0000 UTC To:0001-01-01 00:00:00 +0000 UTC After:7 Limit:5}]": func(ctx context.Context, h House) error {
			_, err := h.Stays(ctx, StayFilter{All: true, Group: awkward, From: at, After: "7", Limit: 5})
			return err
		},
		"Stay[7]": func(ctx context.Context, h House) error { _, err := h.Stay(ctx, "7"); return err },
		"Search[" + fmt.Sprintf("%+v", Search{Query: awkward, From: at, Files: true, Limit: 3}) + "]": func(ctx context.Context, h House) error {
			_, err := h.Search(ctx, Search{Query: awkward, From: at, Files: true, Limit: 3})
			return err
		},
		"EndStay[1]": func(ctx context.Context, h House) error { _, err := h.EndStay(ctx, "1"); return err },
		"Sessions[{All:false Stay:1 After: Limit:0}]": func(ctx context.Context, h House) error {
			_, err := h.Sessions(ctx, SessionFilter{Stay: "1"})
			return err
		},
		"Session[abcd]":     func(ctx context.Context, h House) error { _, err := h.Session(ctx, "abcd"); return err },
		"KillSession[abcd]": func(ctx context.Context, h House) error { _, err := h.KillSession(ctx, "abcd"); return err },
		"Entries[{Answer:denied Person: Server: After: Limit:3}]": func(ctx context.Context, h House) error {
			_, err := h.Entries(ctx, EntryFilter{Answer: "denied", Limit: 3})
			return err
		},
		"Events[abcd]":     func(ctx context.Context, h House) error { return bodies(h.Events(ctx, "abcd")) },
		"Export[abcd]":     func(ctx context.Context, h House) error { return bodies(h.Export(ctx, "abcd")) },
		"Recordings[abcd]": func(ctx context.Context, h House) error { _, err := h.Recordings(ctx, "abcd"); return err },
		"Recording[abcd 2 {Follow:true}]": func(ctx context.Context, h House) error {
			return bodies(h.Recording(ctx, "abcd", 2, Following{true}))
		},
		"LookAtRDP[x {Address:10.0.0.1}]": func(ctx context.Context, h House) error {
			_, err := h.LookAtRDP(ctx, "x", HostKeyFilter{"10.0.0.1"})
			return err
		},
		"Acquaintances[]": func(ctx context.Context, h House) error { _, err := h.Acquaintances(ctx); return err },
		"Proposals[]":     func(ctx context.Context, h House) error { _, err := h.Proposals(ctx); return err },
		"Explain[{Person:x Server:y Login: Protocol: From: At:2026-12-24 10:00:00.000123 +0000 UTC}]": func(ctx context.Context, h House) error {
			_, err := h.Explain(ctx, Question{Person: "x", Server: "y", At: at})
			return err
		},
		"AuditRows[{By:x Action:grant Object:grant 7 From:2026-12-24 10:00:00.000123 +0000 UTC To:0001-01-01 00:00:00 +0000 UTC Before:9 Limit:5}]": func(ctx context.Context, h House) error {
			_, err := h.AuditRows(ctx, AuditFilter{By: "x", Action: "grant", Object: "grant 7", From: at, Before: 9, Limit: 5})
			return err
		},
		"AuditHead[]": func(ctx context.Context, h House) error { _, err := h.AuditHead(ctx); return err },
		"VerifyAudit[{Recordings:true Head:{}}]": func(ctx context.Context, h House) error {
			return bodies(h.VerifyAudit(ctx, AuditQuestion{true, "{}"}))
		},
		"Goroutines[]": func(ctx context.Context, h House) error { return bodies(h.Goroutines(ctx)) },
		"Dump[]":       func(ctx context.Context, h House) error { return bodies(h.Dump(ctx)) },
		"Upgrade[]":    func(ctx context.Context, h House) error { _, err := h.Upgrade(ctx); return err },
		"Reload[]":     func(ctx context.Context, h House) error { _, err := h.Reload(ctx); return err },
		"Examine[{Servers:true}]": func(ctx context.Context, h House) error {
			_, err := h.Examine(ctx, Examination{true})
			return err
		},
		"Alerts[{All:true}]": func(ctx context.Context, h House) error { _, err := h.Alerts(ctx, AlertFilter{true}); return err },
		"Stats[]":            func(ctx context.Context, h House) error { _, err := h.Stats(ctx); return err },
		"News[{Kinds:entry,stay After:7}]": func(ctx context.Context, h House) error {
			news, err := h.News(ctx, NewsFilter{"entry,stay", "7"})
			if err != nil {
				return err
			}
			for n, err := range news {
				if err != nil || string(n.Data) != `{"revision":7}` {
					return fmt.Errorf("%+v, %w", n, err)
				}
				return nil
			}
			return errors.New("no news")
		},
		"Status[]": func(ctx context.Context, h House) error { _, err := h.Status(ctx); return err },
	}
}

func TestEveryCallArrivesAsItWasMade(t *testing.T) {
	h := new(stub)
	client := NewClient(serve(t, h))
	for want, call := range calls() {
		if err := call(t.Context(), client); err != nil {
			t.Errorf("%s: %v", want, err)
		}
		if diff := cmp.Diff(want, h.last()); diff != "" {
			t.Errorf("the house was asked (-want +got):\n%s", diff)
		}
	}
}

// forPages are routes that pages and foreign programs use, and the client does
// not.
var forPages = map[string]bool{
	"/openapi.yaml": true,
	"/sessions/{id}/recordings/{channel}/live": true, // the client follows the file itself
}

func TestEveryRouteDeclaresAPermissionAndTheClientUsesIt(t *testing.T) {
	used := map[string]bool{}
	var mu sync.Mutex
	mux := http.NewServeMux()
	for _, rt := range routes {
		if rt.need < toLook || rt.need > toChange {
			t.Errorf("%s %s declares no permission: see role.go for those there are", rt.method, rt.path)
		}
		if changes := rt.method != "GET"; changes != (rt.kind == change) {
			t.Errorf("%s %s: what changes is not asked with GET, and nothing else changes", rt.method, rt.path)
		}
		if changes := rt.kind == change; changes && rt.need < toOperate {
			t.Errorf("%s %s changes something for everybody who may look", rt.method, rt.path)
		}
		mux.HandleFunc(rt.method+" "+prefix+rt.path, func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			used[r.Pattern] = true
			NewProblem(CodeConflict, "not now", "later").write(w, r)
		})
	}
	server := httptest.NewServer(mux)
	defer server.Close()
	client := newClient("", toServer(server.Listener.Addr().String()))
	for name, call := range calls() {
		var p *Problem
		if err := call(t.Context(), client); !errors.As(err, &p) || p.Code != CodeConflict || p.Hint != "later" {
			t.Errorf("%s: the problem comes back as %v", name, err)
		}
	}
	for _, rt := range routes {
		if !used[rt.method+" "+prefix+rt.path] && !forPages[rt.path] {
			t.Errorf("no call of the client uses %s %s", rt.method, rt.path)
		}
	}
}

// toServer sends every request to one address.
type toServer string

func (addr toServer) RoundTrip(r *http.Request) (*http.Response, error) {
	r.URL.Host = string(addr)
	return http.DefaultTransport.RoundTrip(r)
}

func TestARouteWithoutAPermissionIsForNobody(t *testing.T) {
	h := new(stub)
	rt := route{"GET", "/persons", 0, routes[0].call}
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "http://inside/api/v1/persons", nil)
	r = r.WithContext(WithActor(r.Context(), Actor{"root", Admin}))
	rt.handler(t.Context(), h, socketDoor).ServeHTTP(w, r)
	if w.Code != http.StatusForbidden || h.last() != "" {
		t.Errorf("got %d %s, and the house saw %q", w.Code, w.Body, h.last())
	}
}

func TestErrorsOfTheHouseBecomeProblems(t *testing.T) {
	h := new(stub)
	client := NewClient(serve(t, h))
	for _, c := range []struct {
		fail   error
		code   string
		status int
		detail string
	}{
		{NewProblem(CodeNotFound, "no such", "look"), CodeNotFound, 404, "no such"},
		{NewProblem(CodeInvalid, "cannot be", ""), CodeInvalid, 422, "cannot be"},
		{NewProblem(CodeUnavailable, "gone", ""), CodeUnavailable, 503, "gone"},
		{errors.New("something broke"), CodeInternal, 500, "something broke"},
		{context.DeadlineExceeded, CodeUnavailable, 503, "no answer within 30s"},
	} {
		h.fail = c.fail
		_, err := client.AddPerson(t.Context(), NewPerson{Name: "x"})
		var p *Problem
		if !errors.As(err, &p) || p.Code != c.code || p.Status != c.status || !strings.HasPrefix(p.Detail, c.detail) {
			t.Errorf("%v comes back as %#v", c.fail, err)
		}
	}
}

func TestAnEmptyNameReachesNobody(t *testing.T) {
	h := new(stub)
	client := NewClient(serve(t, h))
	var p *Problem
	if _, err := client.Person(t.Context(), ""); !errors.As(err, &p) || p.Code != CodeInvalid {
		t.Errorf("Person: %v", err)
	}
	if _, err := client.RevokeGrant(t.Context(), ""); !errors.As(err, &p) || p.Code != CodeInvalid {
		t.Errorf("RevokeGrant: %v", err)
	}
	if h.last() != "" {
		t.Errorf("the house was asked %s", h.last())
	}
}
