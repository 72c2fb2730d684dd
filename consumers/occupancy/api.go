package occupancy

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/guestflow/guestflow/internal/group"
)

// maxRecent bounds the counts that the list of locations may hold of each.
const maxRecent = 180

type locationsAnswer struct {
	Locations []Location `json:"locations"`
	Totals    []Location `json:"totals"`
}

type sessionsAnswer struct {
	Sessions []Session `json:"sessions"`
	// Next is the cursor of the next page; absent on the last one.
	Next string `json:"next,omitempty"`
	// Masked is true when personal data is hidden.
	Masked bool `json:"masked"`
}

// whole answers 503 and reports false while the state is not whole; else it
// leaves the read lock held and the age of the data in the answer's header.
func (a *api) whole(w http.ResponseWriter) (now time.Time, ok bool) {
	s := a.s
	s.mu.RLock()
	if !s.ready {
		st := s.status
		s.mu.RUnlock()
		w.Header().Set("Retry-After", "1")
		detail := "The stream is being read (" + strconv.FormatUint(st.Behind, 10) + " events to go); ask again in a moment."
		if st.Error != "" {
			detail = "The stream cannot be read: " + st.Error
		}
		refuse(w, http.StatusServiceUnavailable, detail)
		return now, false
	}
	now = s.now()
	if seen := s.state.ObservedAt(); !seen.IsZero() {
		w.Header().Set("Age", strconv.FormatInt(int64(now.Sub(seen)/time.Second), 10))
	}
	return now, true
}

func (a *api) locations(w http.ResponseWriter, r *http.Request, x access) {
	recent, ok := count(w, r, "recent", 0, maxRecent)
	if !ok {
		return
	}
	if x, ok = narrowed(w, r, x); !ok {
		return
	}
	now, ok := a.whole(w)
	if !ok {
		return
	}
	all := locationsAnswer{a.s.state.Locations(x.scope, now, recent), a.s.state.Totals(x.scope, now, recent)}
	a.assess(all.Locations, now)
	a.s.mu.RUnlock()
	answer(w, r, all)
}

// place finds the location that a request names, and may see; the read lock is held, and
// released where there is none.
func (a *api) place(w http.ResponseWriter, r *http.Request, x access) (Place, bool) {
	id, account := r.PathValue("id"), r.URL.Query().Get("account")
	var found []Place
	for _, p := range a.s.state.Places(id) {
		if id != "" && x.sees(p) && (p.Account == account || !r.URL.Query().Has("account")) {
			found = append(found, p)
		}
	}
	if len(found) == 1 {
		return found[0], true
	}
	a.s.mu.RUnlock()
	if len(found) == 0 {
		refuse(w, http.StatusNotFound, "No location "+strconv.Quote(id)+" was seen in the stream; /v1/locations lists those that were.")
		return Place{}, false
	}
	accounts := make([]string, len(found))
	for i, p := range found {
		accounts[i] = strconv.Quote(p.Account)
	}
	refuse(w, http.StatusBadRequest, "Location "+strconv.Quote(id)+" exists in the accounts "+strings.Join(accounts, ", ")+"; add ?account=….")
	return Place{}, false
}

// assess adds how sure the counts of locations are, and what is usual; the read lock is
// held.
func (a *api) assess(locations []Location, now time.Time) {
	s := a.s
	sessions := map[string]float64{} // by account
	ms, zone := toMillis(now), s.settings.Limits.Zone
	for i := range locations {
		l := &locations[i]
		of := s.state.accounts[l.Account]
		if _, known := sessions[l.Account]; !known {
			sessions[l.Account] = of.sessionsOf(ms, zone, s.settings.Days)
		}
		l.Interval = s.state.interval(Place{l.Account, l.ID}, now, s.settings.LookAge)
		if u, ok := of.usual(of.areas[l.ID], ms, zone, s.settings.Days, sessions[l.Account]); ok {
			l.Usual = &u
		}
	}
}

func (a *api) location(w http.ResponseWriter, r *http.Request, x access) {
	recent, ok := count(w, r, "recent", 0, maxRecent)
	if !ok {
		return
	}
	now, ok := a.whole(w)
	if !ok {
		return
	}
	p, ok := a.place(w, r, x)
	if !ok {
		return
	}
	l, _ := a.s.state.Location(p, now, recent)
	one := []Location{l}
	a.assess(one, now)
	a.s.mu.RUnlock()
	answer(w, r, one[0])
}

func (a *api) sessions(w http.ResponseWriter, r *http.Request, x access) {
	limit, ok := count(w, r, "limit", 50, 1000)
	if !ok {
		return
	}
	after := r.URL.Query().Get("after")
	if _, _, valid := parseCursor(after); after != "" && !valid {
		refuse(w, http.StatusBadRequest, "after is "+strconv.Quote(after)+": want the next of an earlier answer.")
		return
	}
	if _, ok = a.whole(w); !ok {
		return
	}
	p, ok := a.place(w, r, x)
	if !ok {
		return
	}
	list, next, _ := a.s.state.Sessions(p, after, max(limit, 1))
	a.s.mu.RUnlock()
	if !x.clear {
		for i := range list {
			list[i].mask()
		}
	}
	answer(w, r, sessionsAnswer{list, next, !x.clear})
}

func (a *api) history(w http.ResponseWriter, r *http.Request, x access) {
	most := int(a.s.settings.Limits.History / time.Minute)
	minutes, ok := count(w, r, "minutes", most, most)
	if !ok {
		return
	}
	now, ok := a.whole(w)
	if !ok {
		return
	}
	p, ok := a.place(w, r, x)
	if !ok {
		return
	}
	h, _ := a.s.state.History(p, now, max(minutes, 1))
	a.s.mu.RUnlock()
	answer(w, r, h)
}

func (a *api) week(w http.ResponseWriter, r *http.Request, x access) {
	now, ok := a.whole(w)
	if !ok {
		return
	}
	p, ok := a.place(w, r, x)
	if !ok {
		return
	}
	week, _ := a.s.state.Week(p, now, a.s.settings.Days)
	a.s.mu.RUnlock()
	answer(w, r, week)
}

type healthAnswer struct {
	// Now is the present on the platform's clock, as far as it is known.
	Now    time.Time    `json:"now"`
	Stream healthStream `json:"stream"`
	// Detection is the delay from a start at the source to the look that showed
	// it, of the latest starts.
	Detection  healthDelay `json:"detection"`
	Clients    int64       `json:"clients"`
	Bucket     written     `json:"bucket"`
	Checkpoint written     `json:"checkpoint"`
	Pipelines  []Pipeline  `json:"pipelines"`
	// Access says what this request may see: "full" or "masked".
	Access string `json:"access"`
	// Groups are those whose token the request bears.
	Groups []string `json:"groups,omitempty"`
	// TokenHelps is true when a token would show more.
	TokenHelps bool `json:"token_helps"`
	// Parts are what this process tells of beside: "visits", "alerts", "webhooks" and
	// "stories".
	Parts []string `json:"parts"`
	// MayRedeliver is true when this request's sender may have dead letters sent again.
	MayRedeliver bool `json:"may_redeliver"`
}

type healthStream struct {
	Status
	ObservedAt time.Time `json:"observed_at,omitzero"`
	AgeSeconds float64   `json:"age_seconds"`
	Counters   Counters  `json:"counters"`
}

type healthDelay struct {
	Starts     int     `json:"starts"`
	P50Seconds float64 `json:"p50_seconds"`
	P95Seconds float64 `json:"p95_seconds"`
}

func (a *api) health(w http.ResponseWriter, r *http.Request, x access) {
	s := a.s
	status := s.Status()
	s.mu.RLock()
	now, seen := s.now(), s.state.ObservedAt()
	waits := s.state.delays.quantiles(0.5, 0.95)
	h := healthAnswer{
		Now:    now,
		Stream: healthStream{Status: status, ObservedAt: seen, Counters: s.state.Counters()},
		Detection: healthDelay{
			len(s.state.delays.Latest),
			seconds(time.Duration(waits[0]) * time.Millisecond), seconds(time.Duration(waits[1]) * time.Millisecond),
		},
		Clients: s.clients.Load(), Bucket: s.bucket, Checkpoint: s.saved, Pipelines: []Pipeline{},
		Access: "masked", TokenHelps: s.settings.Token != "" && !x.clear && x.grant == nil,
		Parts: s.parts(x), MayRedeliver: s.settings.Webhooks != nil && a.mayChange(r, x),
	}
	s.mu.RUnlock()
	if !seen.IsZero() {
		h.Stream.AgeSeconds = seconds(now.Sub(seen))
	}
	if x.clear {
		h.Access = "full"
	}
	if s.settings.Pipelines != nil {
		h.Pipelines = append(h.Pipelines, s.settings.Pipelines.Pipelines()...)
	}
	if x.grant != nil {
		s.confine(&h, x)
	}
	answer(w, r, h)
}

// confine leaves of the health what is of the locations that may be seen: what is counted
// over all of them alone is left empty.
func (s *Service) confine(h *healthAnswer, x access) {
	h.Stream.Counters, h.Detection, h.Clients, h.Bucket, h.Checkpoint = Counters{}, healthDelay{}, 0, written{}, written{}
	for _, g := range x.grant.Groups {
		h.Groups = append(h.Groups, g.ID)
	}
	all := h.Pipelines
	h.Pipelines = []Pipeline{}
	s.mu.RLock()
	defer s.mu.RUnlock()
	areas := s.state.areasIn(x.scope)
	for _, p := range all {
		// An error may name other locations, and what waits be of them.
		p.StalenessSeconds, p.StalestLocation, p.LastError, p.OutboxEvents, p.OutboxBytes, p.OutboxAgeSeconds = 0, "", "", 0, 0, 0
		mine := false
		for _, l := range areas {
			if l.account != p.Account {
				continue
			}
			mine = true
			if s.settings.LookAge == nil {
				continue
			}
			if age, ok := s.settings.LookAge(l.place()); ok && seconds(age) > p.StalenessSeconds {
				p.StalenessSeconds, p.StalestLocation = seconds(age), l.id
			}
		}
		if mine {
			h.Pipelines = append(h.Pipelines, p)
		}
	}
}

// groupsAnswer is the tree as far as it may be seen.
type groupsAnswer struct {
	Groups []groupView `json:"groups"`
}

// groupView is a group, the figures of all its locations together, and what is in it.
type groupView struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Rollup
	// Locations are its own, those of the groups in it aside.
	Locations []placeView `json:"locations"`
	Groups    []groupView `json:"groups"`
}

type placeView struct {
	Account string `json:"account"`
	ID      string `json:"id"`
	// Seen is false of a location that the stream knows nothing of.
	Seen bool `json:"seen"`
}

func (a *api) groups(w http.ResponseWriter, r *http.Request, x access) {
	now, ok := a.whole(w)
	if !ok {
		return
	}
	list := a.views(x.groups(), now)
	a.s.mu.RUnlock()
	answer(w, r, groupsAnswer{list})
}

// views are those of groups; the read lock is held.
func (a *api) views(list []*group.Group, now time.Time) []groupView {
	views := make([]groupView, len(list))
	o := a.s.state
	for i, g := range list {
		v := groupView{ID: g.ID, Name: g.Name, Rollup: o.rollup(o.areasIn(g.Set()), toMillis(now)), Locations: []placeView{}, Groups: a.views(g.Groups, now)}
		own := group.NewSet(g.Locations...)
		for p := range own.All() {
			if p.Location != group.Every && o.find(Place{p.Account, p.Location}) == nil {
				v.Locations = append(v.Locations, placeView{p.Account, p.Location, false})
			}
		}
		for _, l := range o.areasIn(own) {
			v.Locations = append(v.Locations, placeView{l.account, l.id, true})
		}
		slices.SortFunc(v.Locations, func(a, b placeView) int { return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.ID, b.ID)) })
		views[i] = v
	}
	return views
}
