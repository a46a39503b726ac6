package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A stub is a house in which nothing happens: it remembers what it was asked,
// by whom, and answers with zero values or with fail.
type stub struct {
	mu   sync.Mutex
	seen []string
	by   string
	fail error
	body io.ReadCloser // of streams
}

func (s *stub) saw(ctx context.Context, call string, args ...any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen, s.by = append(s.seen, call+fmt.Sprintf("%+v", args)), By(ctx)
	return s.fail
}

func (s *stub) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) == 0 {
		return ""
	}
	return s.seen[len(s.seen)-1]
}

func (s *stub) stream(err error) (io.ReadCloser, error) {
	if err != nil {
		return nil, err
	}
	if s.body != nil {
		return s.body, nil
	}
	return io.NopCloser(strings.NewReader("line\n")), nil
}

func (s *stub) Persons(ctx context.Context) ([]Person, error) {
	return []Person{}, s.saw(ctx, "Persons")
}
func (s *stub) Person(ctx context.Context, name string) (Person, error) {
	return Person{Name: name}, s.saw(ctx, "Person", name)
}
func (s *stub) AddPerson(ctx context.Context, p NewPerson) (Person, error) {
	return Person{Name: p.Name}, s.saw(ctx, "AddPerson", p)
}
func (s *stub) SetPerson(ctx context.Context, name string, w Switch) (Person, error) {
	return Person{}, s.saw(ctx, "SetPerson", name, w)
}
func (s *stub) SetAccount(ctx context.Context, name string, a NewAccount) (Person, error) {
	return Person{}, s.saw(ctx, "SetAccount", name, a)
}
func (s *stub) Addresses(ctx context.Context, f AddressFilter) ([]Address, error) {
	return nil, s.saw(ctx, "Addresses", f)
}
func (s *stub) AddAddress(ctx context.Context, p string, a NewAddress) (Address, error) {
	return Address{}, s.saw(ctx, "AddAddress", p, a)
}
func (s *stub) RemoveAddress(ctx context.Context, id string) (Address, error) {
	return Address{}, s.saw(ctx, "RemoveAddress", id)
}
func (s *stub) Servers(ctx context.Context) ([]Server, error) { return nil, s.saw(ctx, "Servers") }
func (s *stub) Server(ctx context.Context, name string) (Server, error) {
	return Server{}, s.saw(ctx, "Server", name)
}
func (s *stub) AddServer(ctx context.Context, v NewServer) (Server, error) {
	return Server{}, s.saw(ctx, "AddServer", v)
}
func (s *stub) SetServer(ctx context.Context, name string, w Switch) (Server, error) {
	return Server{}, s.saw(ctx, "SetServer", name, w)
}
func (s *stub) Maintain(ctx context.Context, name string, m NewMaintenance) (Server, error) {
	return Server{}, s.saw(ctx, "Maintain", name, m)
}

func (s *stub) Admins(ctx context.Context) ([]NamedAdmin, error) {
	return []NamedAdmin{}, s.saw(ctx, "Admins")
}
func (s *stub) AddAdmin(ctx context.Context, a NewNamedAdmin) (NamedAdmin, error) {
	return NamedAdmin{}, s.saw(ctx, "AddAdmin", a, string(a.Password))
}
func (s *stub) SetAdmin(ctx context.Context, name string, c AdminChange) (NamedAdmin, error) {
	return NamedAdmin{}, s.saw(ctx, "SetAdmin", name, c)
}
func (s *stub) SetAdminPassword(ctx context.Context, name string, p NewPassword) (NamedAdmin, error) {
	return NamedAdmin{}, s.saw(ctx, "SetAdminPassword", name, p, string(p.Password))
}
func (s *stub) RemoveAdmin(ctx context.Context, name string) (NamedAdmin, error) {
	return NamedAdmin{}, s.saw(ctx, "RemoveAdmin", name)
}
func (s *stub) Tokens(ctx context.Context, f TokenFilter) ([]Token, error) {
	return []Token{}, s.saw(ctx, "Tokens", f)
}
func (s *stub) CreateToken(ctx context.Context, t NewToken) (Token, error) {
	return Token{}, s.saw(ctx, "CreateToken", t)
}
func (s *stub) RevokeToken(ctx context.Context, name string) (Token, error) {
	return Token{}, s.saw(ctx, "RevokeToken", name)
}
func (s *stub) HostKeys(ctx context.Context, v string, f HostKeyFilter) (HostKeyList, error) {
	return HostKeyList{}, s.saw(ctx, "HostKeys", v, f)
}
func (s *stub) ImportHostKey(ctx context.Context, v string, k ImportedKey) (HostKeyList, error) {
	return HostKeyList{}, s.saw(ctx, "ImportHostKey", v, k)
}
func (s *stub) TrustHostKeys(ctx context.Context, v string, k TrustedKeys) (HostKeyList, error) {
	return HostKeyList{}, s.saw(ctx, "TrustHostKeys", v, k)
}
func (s *stub) ForgetHostKeys(ctx context.Context, v string, f HostKeyFilter) (HostKeyList, error) {
	return HostKeyList{}, s.saw(ctx, "ForgetHostKeys", v, f)
}
func (s *stub) Groups(ctx context.Context, k Kind) ([]Group, error) {
	return nil, s.saw(ctx, "Groups", k)
}
func (s *stub) Group(ctx context.Context, k Kind, name string) (Group, error) {
	return Group{}, s.saw(ctx, "Group", k, name)
}
func (s *stub) CreateGroup(ctx context.Context, k Kind, g NewGroup) (Group, error) {
	return Group{}, s.saw(ctx, "CreateGroup", k, g)
}
func (s *stub) AddMember(ctx context.Context, k Kind, g string, m Member) (Group, error) {
	return Group{}, s.saw(ctx, "AddMember", k, g, m)
}
func (s *stub) RemoveMember(ctx context.Context, k Kind, g string, m Member) (Group, error) {
	return Group{}, s.saw(ctx, "RemoveMember", k, g, m)
}
func (s *stub) Grants(ctx context.Context, f GrantFilter) ([]Grant, error) {
	return nil, s.saw(ctx, "Grants", f)
}
func (s *stub) Grant(ctx context.Context, id string) (Grant, error) {
	return Grant{}, s.saw(ctx, "Grant", id)
}
func (s *stub) CreateGrant(ctx context.Context, g NewGrant) (Grant, error) {
	return Grant{}, s.saw(ctx, "CreateGrant", g)
}
func (s *stub) SetGrantEnd(ctx context.Context, id string, e NewEnd) (Grant, error) {
	return Grant{}, s.saw(ctx, "SetGrantEnd", id, e)
}
func (s *stub) RevokeGrant(ctx context.Context, id string) (Grant, error) {
	return Grant{}, s.saw(ctx, "RevokeGrant", id)
}
func (s *stub) GrantHistory(ctx context.Context, id string) ([]Change, error) {
	return nil, s.saw(ctx, "GrantHistory", id)
}
func (s *stub) SetServerGraphics(ctx context.Context, name string, x Graphics) (Server, error) {
	return Server{}, s.saw(ctx, "SetServerGraphics", name, x)
}

func (s *stub) SetServerSensitive(ctx context.Context, name string, x Sensitivity) (Server, error) {
	return Server{}, s.saw(ctx, "SetServerSensitive", name, x)
}
func (s *stub) SetGroupSensitive(ctx context.Context, name string, x Sensitivity) (Group, error) {
	return Group{}, s.saw(ctx, "SetGroupSensitive", name, x)
}
func (s *stub) ApproveGrant(ctx context.Context, id string, a Approval) (Grant, error) {
	return Grant{}, s.saw(ctx, "ApproveGrant", id, a)
}
func (s *stub) Stays(ctx context.Context, f StayFilter) ([]Stay, error) {
	return nil, s.saw(ctx, "Stays", f)
}
func (s *stub) Stay(ctx context.Context, id string) (Stay, error) {
	return Stay{}, s.saw(ctx, "Stay", id)
}
func (s *stub) Search(ctx context.Context, q Search) (Page, error) {
	return Page{}, s.saw(ctx, "Search", q)
}
func (s *stub) EndStay(ctx context.Context, id string) (Stay, error) {
	return Stay{}, s.saw(ctx, "EndStay", id)
}
func (s *stub) Sessions(ctx context.Context, f SessionFilter) ([]Session, error) {
	return nil, s.saw(ctx, "Sessions", f)
}
func (s *stub) Session(ctx context.Context, id string) (Session, error) {
	return Session{}, s.saw(ctx, "Session", id)
}
func (s *stub) KillSession(ctx context.Context, id string) (Session, error) {
	return Session{}, s.saw(ctx, "KillSession", id)
}
func (s *stub) Entries(ctx context.Context, f EntryFilter) ([]Entry, error) {
	return nil, s.saw(ctx, "Entries", f)
}
func (s *stub) Events(ctx context.Context, id string) (io.ReadCloser, error) {
	return s.stream(s.saw(ctx, "Events", id))
}
func (s *stub) Export(ctx context.Context, id string) (io.ReadCloser, error) {
	return s.stream(s.saw(ctx, "Export", id))
}
func (s *stub) Recordings(ctx context.Context, id string) ([]Recording, error) {
	return nil, s.saw(ctx, "Recordings", id)
}
func (s *stub) Recording(ctx context.Context, id string, channel int, f Following) (io.ReadCloser, error) {
	return s.stream(s.saw(ctx, "Recording", id, channel, f))
}
func (s *stub) LookAtRDP(ctx context.Context, server string, f HostKeyFilter) (RDPLook, error) {
	return RDPLook{}, s.saw(ctx, "LookAtRDP", server, f)
}
func (s *stub) Acquaintances(ctx context.Context) ([]Acquaintance, error) {
	return nil, s.saw(ctx, "Acquaintances")
}
func (s *stub) Proposals(ctx context.Context) (Proposals, error) {
	return Proposals{}, s.saw(ctx, "Proposals")
}
func (s *stub) Explain(ctx context.Context, q Question) (Explanation, error) {
	return Explanation{}, s.saw(ctx, "Explain", q)
}
func (s *stub) Status(ctx context.Context) (Status, error) {
	return Status{Gate: By(ctx)}, s.saw(ctx, "Status")
}
func (s *stub) News(ctx context.Context, f NewsFilter) (iter.Seq2[News, error], error) {
	return func(yield func(News, error) bool) {
		_ = yield(News{ID: "1", Kind: NewsPulse}, nil) && yield(News{ID: "2", Kind: NewsFacts, Data: json.RawMessage(`{"revision":7}`)}, nil)
	}, s.saw(ctx, "News", f)
}
func (s *stub) Metrics(ctx context.Context) (io.ReadCloser, error) {
	return s.stream(s.saw(ctx, "Metrics"))
}
func (s *stub) Examine(ctx context.Context, q Examination) ([]Check, error) {
	return nil, s.saw(ctx, "Examine", q)
}
func (s *stub) Goroutines(ctx context.Context) (io.ReadCloser, error) {
	return s.stream(s.saw(ctx, "Goroutines"))
}
func (s *stub) Dump(ctx context.Context) (io.ReadCloser, error) {
	return s.stream(s.saw(ctx, "Dump"))
}

func (s *stub) Upgrade(ctx context.Context) (Upgraded, error) {
	return Upgraded{}, s.saw(ctx, "Upgrade")
}

func (s *stub) Reload(ctx context.Context) (Reloaded, error) {
	return Reloaded{}, s.saw(ctx, "Reload")
}
func (s *stub) Alerts(ctx context.Context, f AlertFilter) ([]Alert, error) {
	return nil, s.saw(ctx, "Alerts", f)
}
func (s *stub) Stats(ctx context.Context) (Stats, error) { return Stats{}, s.saw(ctx, "Stats") }
func (s *stub) Ready(ctx context.Context) error          { return s.saw(ctx, "Ready") }

// serve serves a house on a socket of its own until the test ends.
func serve(t *testing.T, h House) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "run", "inside.sock")
	l, err := Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	stop := serveOn(t, l, h)
	t.Cleanup(stop)
	return socket
}

// serveOn returns what ends the serving and waits for it.
func serveOn(t *testing.T, l net.Listener, h House) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, l, h) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
}

func (s *stub) AuditRows(ctx context.Context, f AuditFilter) ([]Change, error) {
	return []Change{}, s.saw(ctx, "AuditRows", f)
}
func (s *stub) AuditHead(ctx context.Context) (AuditHead, error) {
	return AuditHead{}, s.saw(ctx, "AuditHead")
}
func (s *stub) VerifyAudit(ctx context.Context, q AuditQuestion) (io.ReadCloser, error) {
	return s.stream(s.saw(ctx, "VerifyAudit", q))
}

func (s *stub) AskVideo(ctx context.Context, id string, v NewVideo) (Video, error) {
	return Video{}, s.saw(ctx, "AskVideo", id, v)
}
func (s *stub) Video(ctx context.Context, id string) (Video, error) {
	return Video{}, s.saw(ctx, "Video", id)
}
func (s *stub) VideoFile(ctx context.Context, id string) (io.ReadCloser, error) {
	return s.stream(s.saw(ctx, "VideoFile", id))
}
func (s *stub) LiveDesktop(ctx context.Context, id string) (io.ReadCloser, error) {
	return s.stream(s.saw(ctx, "LiveDesktop", id))
}
