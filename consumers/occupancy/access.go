package occupancy

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strconv"
	"strings"

	"github.com/guestflow/guestflow/internal/group"
)

// Groups tell which locations belong together, and who may see which.
type Groups interface {
	// Tree returns those in use, and what is closed when others are.
	Tree() (*group.Tree, <-chan struct{})
}

// access is what a request may see: of which locations, and whether personal data. Whatever
// tells of a location asks it: what may not be seen is answered as what does not exist.
type access struct {
	clear bool
	scope *group.Set // nil is every location
	tree  *group.Tree
	grant *group.Grant // of a group's token; nil for others
}

// sees reports whether a location may be seen.
func (x access) sees(p Place) bool { return x.scope.Has(p.Account, p.Location) }

// groups are those that may be seen, the uppermost ones.
func (x access) groups() []*group.Group {
	switch {
	case x.grant != nil:
		return x.grant.Groups
	case x.tree == nil:
		return nil
	}
	return x.tree.Groups
}

// within narrows the access to a group, and reports false where that may not be seen.
func (x access) within(id string) (access, bool) {
	g := x.tree.Find(id)
	if x.grant != nil {
		g = x.grant.Find(id)
	}
	if g == nil {
		return x, false
	}
	x.scope = g.Set() // all of it may be seen
	return x, true
}

// tokenHeader carries the token past a proxy that has Authorization for itself.
const tokenHeader = "Guestflow-Token"

// tokenOf is the token that a request bears, empty where it bears none. What a
// proxy asks for, Basic above all, is no token.
func tokenOf(r *http.Request) string {
	if own := strings.TrimSpace(r.Header.Get(tokenHeader)); own != "" {
		return own
	}
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(given)
}

// groupTree returns the groups in use, and what is closed when others are: never, where
// there is no file of them.
func (s *Service) groupTree() (*group.Tree, <-chan struct{}) {
	if s.settings.Groups == nil {
		return nil, nil
	}
	return s.settings.Groups.Tree()
}

// judge says what a request with this token may see, and reports false where nothing.
// Groups whose locations only the bearers of tokens see would be worth nothing if whoever
// has none saw more, so the first token in their file asks everybody for one.
func (a *api) judge(given string, tree *group.Tree) (access, bool) {
	tokens := tree != nil && len(tree.Grants) > 0
	switch {
	case a.s.settings.Token == "" && !tokens:
		return access{clear: a.s.settings.Unmasked, tree: tree}, true
	case given == "":
		return access{tree: tree}, !tokens && !a.s.settings.Private
	}
	sum := sha256.Sum256([]byte(given))
	if a.s.settings.Token != "" && subtle.ConstantTimeCompare(sum[:], a.token[:]) == 1 {
		return access{clear: true, tree: tree}, true
	}
	if g := tree.Bearer(given); g != nil {
		return access{clear: g.Personal, scope: g.Set(), tree: tree, grant: g}, true
	}
	return access{}, false
}

// admitted has handle answer the requests that may be answered, by what they may see. Every
// path that tells of locations or people is registered with it.
func (a *api) admitted(handle func(http.ResponseWriter, *http.Request, access)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Authorization, "+tokenHeader)
		tree, _ := a.s.groupTree()
		x, ok := a.judge(tokenOf(r), tree)
		if !ok {
			w.Header().Set("WWW-Authenticate", `Bearer realm="guestflow"`)
			refuse(w, http.StatusUnauthorized, "The request does not bear the right token; send it as \"Authorization: Bearer …\" or \"Guestflow-Token: …\".")
			return
		}
		handle(w, r, x)
	}
}

// narrowed is the access of a request that may ask for one group. It answers 404 and
// reports false where that may not be seen.
func narrowed(w http.ResponseWriter, r *http.Request, x access) (access, bool) {
	id := r.URL.Query().Get("group")
	if id == "" {
		return x, true
	}
	x, ok := x.within(id)
	if !ok {
		refuse(w, http.StatusNotFound, "There is no group "+strconv.Quote(id)+"; /v1/groups lists those that there are.")
	}
	return x, ok
}
