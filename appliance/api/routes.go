package api

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
)

// routes is everything the daemon answers to.
var routes = slices.Concat(
	personRoutes,
	serverRoutes,
	specRoutes,
	tokenRoutes,
	adminRoutes,
	eventRoutes,
	groupRoutes(ServerGroup, "/groups"),
	groupRoutes(PersonGroup, "/person-groups"),
	grantRoutes,
	templateRoutes,
	insideRoutes,
	recordRoutes,
	auditRoutes,
	credentialRoutes,
	certificateRoutes,
	alertRoutes,
	videoRoutes,
	approvalRoutes,
	doctorRoutes,
	reloadRoutes,
	backupRoutes,
	upgradeRoutes,
	graphicsRoutes,
	rdpRoutes,
	observedRoutes,
)

var personRoutes = []route{
	{"GET", "/persons", toLook, ask(func(h House, r *http.Request, _ none) ([]Person, error) {
		return h.Persons(r.Context())
	})},
	{"POST", "/persons", toChange, tell(func(h House, r *http.Request, p NewPerson) (Person, error) {
		return h.AddPerson(r.Context(), p)
	})},
	{"GET", "/persons/{name}", toLook, ask(func(h House, r *http.Request, _ none) (Person, error) {
		return h.Person(r.Context(), r.PathValue("name"))
	})},
	{"PATCH", "/persons/{name}", toChange, tell(func(h House, r *http.Request, s Switch) (Person, error) {
		return h.SetPerson(r.Context(), r.PathValue("name"), s)
	})},
	{"POST", "/persons/{name}/account", toChange, tell(func(h House, r *http.Request, a NewAccount) (Person, error) {
		return h.SetAccount(r.Context(), r.PathValue("name"), a)
	})},
	{"GET", "/addresses", toLook, ask(func(h House, r *http.Request, f AddressFilter) ([]Address, error) {
		return h.Addresses(r.Context(), f)
	})},
	{"POST", "/persons/{name}/addresses", toChange, tell(func(h House, r *http.Request, a NewAddress) (Address, error) {
		return h.AddAddress(r.Context(), r.PathValue("name"), a)
	})},
	{"DELETE", "/addresses/{id}", toChange, tell(func(h House, r *http.Request, _ none) (Address, error) {
		return h.RemoveAddress(r.Context(), r.PathValue("id"))
	})},
}

var serverRoutes = []route{
	{"GET", "/servers", toLook, ask(func(h House, r *http.Request, _ none) ([]Server, error) {
		return h.Servers(r.Context())
	})},
	{"POST", "/servers", toChange, tell(func(h House, r *http.Request, s NewServer) (Server, error) {
		return h.AddServer(r.Context(), s)
	})},
	{"GET", "/servers/{name}", toLook, ask(func(h House, r *http.Request, _ none) (Server, error) {
		return h.Server(r.Context(), r.PathValue("name"))
	})},
	{"PATCH", "/servers/{name}", toChange, tell(func(h House, r *http.Request, s Switch) (Server, error) {
		return h.SetServer(r.Context(), r.PathValue("name"), s)
	})},
	{"POST", "/servers/{name}/maintenance", toOperate, tell(func(h House, r *http.Request, m NewMaintenance) (Server, error) {
		return h.Maintain(r.Context(), r.PathValue("name"), m)
	})},
	{"GET", "/servers/{name}/host-keys", toLook, ask(func(h House, r *http.Request, f HostKeyFilter) (HostKeyList, error) {
		return h.HostKeys(r.Context(), r.PathValue("name"), f)
	})},
	{"POST", "/servers/{name}/host-keys/import", toChange, tell(func(h House, r *http.Request, k ImportedKey) (HostKeyList, error) {
		return h.ImportHostKey(r.Context(), r.PathValue("name"), k)
	})},
	{"POST", "/servers/{name}/host-keys/trust", toChange, tell(func(h House, r *http.Request, k TrustedKeys) (HostKeyList, error) {
		return h.TrustHostKeys(r.Context(), r.PathValue("name"), k)
	})},
	{"POST", "/servers/{name}/host-keys/forget", toChange, tell(func(h House, r *http.Request, f HostKeyFilter) (HostKeyList, error) {
		return h.ForgetHostKeys(r.Context(), r.PathValue("name"), f)
	})},
}

func groupRoutes(k Kind, path string) []route {
	return []route{
		{"GET", path, toLook, ask(func(h House, r *http.Request, _ none) ([]Group, error) {
			return h.Groups(r.Context(), k)
		})},
		{"POST", path, toChange, tell(func(h House, r *http.Request, g NewGroup) (Group, error) {
			return h.CreateGroup(r.Context(), k, g)
		})},
		{"GET", path + "/{name}", toLook, ask(func(h House, r *http.Request, _ none) (Group, error) {
			return h.Group(r.Context(), k, r.PathValue("name"))
		})},
		{"POST", path + "/{name}/members", toChange, tell(func(h House, r *http.Request, m Member) (Group, error) {
			return h.AddMember(r.Context(), k, r.PathValue("name"), m)
		})},
		{"DELETE", path + "/{name}/members/{member}", toChange, tell(func(h House, r *http.Request, _ none) (Group, error) {
			return h.RemoveMember(r.Context(), k, r.PathValue("name"), Member{r.PathValue("member")})
		})},
	}
}

var grantRoutes = []route{
	{"GET", "/grants", toLook, ask(func(h House, r *http.Request, f GrantFilter) ([]Grant, error) {
		return h.Grants(r.Context(), f)
	})},
	{"POST", "/grants", toOperate, tell(func(h House, r *http.Request, g NewGrant) (Grant, error) {
		return h.CreateGrant(r.Context(), g)
	})},
	{"GET", "/grants/{id}", toLook, ask(func(h House, r *http.Request, _ none) (Grant, error) {
		return h.Grant(r.Context(), r.PathValue("id"))
	})},
	{"PATCH", "/grants/{id}", toOperate, tell(func(h House, r *http.Request, e NewEnd) (Grant, error) {
		return h.SetGrantEnd(r.Context(), r.PathValue("id"), e)
	})},
	{"POST", "/grants/{id}/revoke", toOperate, tell(func(h House, r *http.Request, _ none) (Grant, error) {
		return h.RevokeGrant(r.Context(), r.PathValue("id"))
	})},
	{"GET", "/grants/{id}/history", toLook, ask(func(h House, r *http.Request, _ none) ([]Change, error) {
		return h.GrantHistory(r.Context(), r.PathValue("id"))
	})},
}

var insideRoutes = []route{
	{"GET", "/stays", toLook, paged(House.Stays, EveryStay)},
	{"GET", "/stays/{id}", toLook, ask(func(h House, r *http.Request, _ none) (Stay, error) {
		return h.Stay(r.Context(), r.PathValue("id"))
	})},
	{"POST", "/stays/{id}/end", toOperate, tell(func(h House, r *http.Request, _ none) (Stay, error) {
		return h.EndStay(r.Context(), r.PathValue("id"))
	})},
	{"GET", "/sessions", toLook, paged(House.Sessions, EverySession)},
	{"GET", "/sessions/{id}", toLook, ask(func(h House, r *http.Request, _ none) (Session, error) {
		return h.Session(r.Context(), r.PathValue("id"))
	})},
	{"POST", "/sessions/{id}/kill", toOperate, tell(func(h House, r *http.Request, _ none) (Session, error) {
		return h.KillSession(r.Context(), r.PathValue("id"))
	})},
}

var recordRoutes = []route{
	{"GET", "/search", toLook, paged(House.Search, EveryFound)},
	{"GET", "/entries", toLook, paged(House.Entries, EveryEntry)},
	{"GET", "/sessions/{id}/events", toWatch, stream("application/jsonl", func(h House, r *http.Request, _ none) (io.ReadCloser, error) {
		return h.Events(r.Context(), r.PathValue("id"))
	})},
	{"GET", "/sessions/{id}/export", toWatch, stream("application/x-tar", func(h House, r *http.Request, _ none) (io.ReadCloser, error) {
		return h.Export(r.Context(), r.PathValue("id"))
	})},
	{"GET", "/sessions/{id}/recordings", toLook, ask(func(h House, r *http.Request, _ none) ([]Recording, error) {
		return h.Recordings(r.Context(), r.PathValue("id"))
	})},
	{"GET", "/sessions/{id}/recordings/{channel}", toWatch, stream("application/x-asciicast", func(h House, r *http.Request, f Following) (io.ReadCloser, error) {
		channel, err := channelOf(r)
		if err != nil {
			return nil, err
		}
		return h.Recording(r.Context(), r.PathValue("id"), channel, f)
	})},
	{"GET", "/explain", toLook, ask(func(h House, r *http.Request, q Question) (Explanation, error) {
		return h.Explain(r.Context(), q)
	})},
	{"GET", "/status", toLook, ask(func(h House, r *http.Request, _ none) (Status, error) {
		return h.Status(r.Context())
	})},
}

func channelOf(r *http.Request) (int, error) {
	channel, err := strconv.Atoi(r.PathValue("channel"))
	if err != nil || channel < 0 {
		return 0, NewProblem(CodeInvalid, fmt.Sprintf("%.40q is not a channel: channels are numbers from 0", r.PathValue("channel")), "")
	}
	return channel, nil
}
