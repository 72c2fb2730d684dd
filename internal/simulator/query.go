package simulator

import (
	"slices"
	"time"

	"github.com/guestflow/guestflow/events"
)

// Presence filters by whether a session is online.
type Presence int

// The values of the filter online: absent, true and false.
const (
	Any Presence = iota
	Online
	Offline
)

// Toggle is a boolean parameter that may be absent.
type Toggle int

// The values of a Toggle.
const (
	Absent Toggle = iota
	True
	False
)

// Query is a request for sessions. The zero Query asks for page 1 of all, 10 a
// page.
type Query struct {
	Location, Guest, MAC, Yas string
	Online                    Presence
	// StartDay and EndDay are any time of the day meant, UTC; zero is no filter.
	// When that day begins, Config.DayZone says.
	StartDay, EndDay time.Time
	// LastFirst is last_session_first: see Config.LastSessionFirst.
	LastFirst Toggle
	// Page below 1 is 1; PerPage below 1 is 10, above 100 it is 100.
	Page, PerPage int
}

// lists holds the sessions of one place in one order.
type lists struct{ online, ended index }

// scope is what one place lists: by the configured order, and by start time
// where that is another order and can be asked for.
type scope struct{ lists [2]lists }

func (s *session) startKey() uint64 { return timeKey(s.rec.StartedAt) }

// timeKey makes seconds ascend as unsigned numbers before 1970 too.
func timeKey(t time.Time) uint64 { return uint64(t.Unix()) + 1<<63 }

// byTime reports whether the configured order rests on the start time. Shuffled
// does as well: each request permutes that list.
func (cfg *Config) byTime() bool {
	return cfg.Order != ByID && cfg.Order != Unordered && cfg.Order != Moving
}

// keys returns the session's keys in the lists that are kept; n is how many.
func (p *population) keys(s *session) (k [2]uint64, n int) {
	return p.keysOf(s.startKey(), s.num, s.updated)
}

func (p *population) keysOf(start, num uint64, updated int64) (k [2]uint64, n int) {
	k[0], n = start, 1
	if !p.cfg.byTime() {
		if p.cfg.LastSessionFirst {
			k[1], n = k[0], 2
		}
		switch p.cfg.Order {
		case Unordered:
			k[0] = hash(num, 50)
		case Moving:
			k[0] = uint64(updated) + 1<<63 // ascends
		default:
			k[0] = 0
		}
	}
	return k, n
}

func (l *lists) of(online bool) *index {
	if online {
		return &l.online
	}
	return &l.ended
}

// list enters s in the lists of its venue and of the account; unlist takes it
// out. Between the two, venue, online, updated and the start time must not change.
func (p *population) list(s *session) {
	k, n := p.keys(s)
	for i := range n {
		e := entry{k[i], s.num, s}
		p.account.lists[i].of(s.online).insert(e)
		p.venues[s.venue].lists[i].of(s.online).insert(e)
	}
}

func (p *population) unlist(s *session) {
	k, n := p.keys(s)
	for i := range n {
		e := entry{k[i], s.num, s}
		p.account.lists[i].of(s.online).remove(e)
		p.venues[s.venue].lists[i].of(s.online).remove(e)
	}
}

// lookup finds sessions by guest, device or Yas id. It is built when first asked
// for, so that who never asks never pays.
type lookup struct {
	by map[string][]*session
}

func (s *session) lookupKeys() [3]string {
	return [...]string{"g" + s.rec.GuestID, "m" + s.rec.DeviceMAC, "y" + s.rec.YasID}
}

func (l *lookup) add(s *session) {
	if l.by == nil {
		return
	}
	for _, k := range s.lookupKeys() {
		l.by[k] = append(l.by[k], s)
	}
}

func (l *lookup) drop(s *session) {
	if l.by == nil {
		return
	}
	for _, k := range s.lookupKeys() {
		rest := slices.DeleteFunc(l.by[k], func(o *session) bool { return o == s })
		if len(rest) == 0 {
			delete(l.by, k)
		} else {
			l.by[k] = rest
		}
	}
}

// selection is the result of a query before paging: a view of the lists, or the
// sessions themselves where a filter has no list.
type selection struct {
	p       *population
	view    view
	all     []entry
	listed  bool // view counts
	reverse bool
	shuffle bool
	ties    *ties // nil where the order is total
}

func (x *selection) len() int {
	if x.listed {
		return x.view.len()
	}
	return len(x.all)
}

// selectSessions finds what q asks for.
func (p *population) selectSessions(q Query) selection {
	x := selection{p: p}
	if q.Online != Online {
		p.unpack()
	}
	order, which := p.cfg.orderOf(q)
	timed := p.cfg.byTime() || which == 1
	x.reverse, x.shuffle = order == NewestFirst, order == Shuffled
	if p.cfg.Ties && (order == NewestFirst || order == OldestFirst) {
		x.ties = &ties{p: p, filter: p.filterHash(q)}
	}

	place := p.scopeOf(q.Location)
	if place == nil {
		return x
	}
	startDay, endDay := p.cfg.days(q)

	if q.Guest == "" && q.MAC == "" && q.Yas == "" {
		from := uint64(0)
		if timed && !startDay.IsZero() {
			from = timeKey(startDay)
		}
		l := &place.lists[which]
		if q.Online != Offline && endDay.IsZero() { // online, a session has no end yet
			x.view.add(0, &l.online, from)
		}
		if q.Online != Online {
			x.view.add(1, &l.ended, from)
		}
		if endDay.IsZero() && (timed || startDay.IsZero()) {
			x.listed = true
			return x
		}
		x.all = x.view.append(nil, 0, x.view.len())
	} else {
		x.all = p.lookUp(q, which)
	}
	x.all = slices.DeleteFunc(x.all, func(e entry) bool { return !p.selects(q, e, startDay, endDay) })
	return x
}

// selects reports whether an entry of a list that q looks at is one that it asks for.
func (p *population) selects(q Query, e entry, startDay, endDay time.Time) bool {
	var started, ended time.Time
	if s := e.s; s != nil {
		if !q.names(s) || !endDay.IsZero() && s.online {
			return false
		}
		started, ended = s.rec.StartedAt, s.rec.EndedAt
	} else { // who is asked for by name has a session
		r := p.archived(e.num)
		started, ended = p.cfg.startedAt(r.start), time.Unix(0, r.end).Truncate(time.Second)
	}
	return !started.Before(startDay) && (endDay.IsZero() || ended.Before(endDay))
}

// days are from when on and before when who is asked for began and ended.
func (cfg *Config) days(q Query) (from, before time.Time) {
	if cfg.ExclusiveDates {
		return cfg.midnight(q.StartDay, 1), cfg.midnight(q.EndDay, 0)
	}
	return cfg.midnight(q.StartDay, 0), cfg.midnight(q.EndDay, 1)
}

// scopeOf is where a query looks: the account, a venue, or nowhere.
func (p *population) scopeOf(location string) *scope {
	if location == "" {
		return &p.account
	}
	if i, ok := p.venueOf[location]; ok {
		return &p.venues[i].scope
	}
	return nil
}

// orderOf is how the answer to a query is sorted, and which of the lists is.
func (cfg *Config) orderOf(q Query) (order Order, which int) {
	if q.LastFirst == Absent || !cfg.LastSessionFirst {
		return cfg.Order, 0
	}
	if !cfg.byTime() {
		which = 1
	}
	if q.LastFirst == False {
		return OldestFirst, which
	}
	return NewestFirst, which
}

// names reports whether a session is one that a query asks for, days aside.
func (q *Query) names(s *session) bool {
	r := &s.rec
	return (q.Guest == "" || r.GuestID == q.Guest) && (q.MAC == "" || r.DeviceMAC == q.MAC) &&
		(q.Yas == "" || r.YasID == q.Yas) && (q.Location == "" || r.LocationID == q.Location) &&
		(q.Online != Online || s.online) && (q.Online != Offline || !s.online)
}

// lookUp returns, in ascending order, the sessions of the most telling of q's
// identity filters.
func (p *population) lookUp(q Query, which int) (all []entry) {
	if p.found.by == nil {
		p.found.by = make(map[string][]*session)
		var v view
		v.add(0, &p.account.lists[0].online, 0)
		v.add(1, &p.account.lists[0].ended, 0)
		for _, e := range v.append(nil, 0, v.len()) {
			if e.s != nil { // the archive has indexes of its own
				p.found.add(e.s)
			}
		}
	}
	key := "m" + q.MAC
	if q.MAC == "" {
		if key = "g" + q.Guest; q.Guest == "" {
			key = "y" + q.Yas
		}
	}
	add := func(s *session) {
		k, _ := p.keys(s)
		all = append(all, entry{k[which], s.num, s})
	}
	for _, s := range p.found.by[key] {
		add(s)
	}
	if q.Online != Online {
		p.searchArchive(q, add)
	}
	slices.SortFunc(all, func(a, b entry) int {
		switch {
		case a.before(b):
			return -1
		case b.before(a):
			return 1
		}
		return 0
	})
	return all
}

// page returns the sessions of one page and whether more follow. seed decides
// the order of a shuffled list.
func (x *selection) page(dst []*session, page, perPage int, seed uint64) (_ []*session, more bool) {
	n := x.len()
	if page-1 > n/perPage {
		return dst, false
	}
	from := min((page-1)*perPage, n)
	k := min(perPage, n-from)
	if x.shuffle {
		perm := newPermutation(n, seed)
		row := x.p.row[:0]
		for i := from; i < from+k; i++ {
			row = x.slice(row, perm.at(i), 1)
		}
		return x.shown(dst, row), from+k < n
	}
	rank := from
	if x.reverse {
		rank = n - from - k
	}
	row := x.p.row[:0]
	if x.ties != nil {
		row = x.tied(row, rank, k, hash(x.ties.filter, uint64(from), uint64(perPage)))
	} else {
		row = x.slice(row, rank, k)
	}
	if x.reverse {
		slices.Reverse(row)
	}
	return x.shown(dst, row), from+k < n
}

// shown appends the sessions of a row, which is used again for the next page.
func (x *selection) shown(dst []*session, row []entry) []*session {
	for _, e := range row {
		if e.s == nil {
			e.s = x.p.recall(e.num)
		}
		dst = append(dst, e.s)
	}
	x.p.row = row
	return dst
}

func (x *selection) slice(dst []entry, r, k int) []entry {
	if x.listed {
		return x.view.append(dst, r, k)
	}
	return append(dst, x.all[r:r+k]...)
}

// pageSize is what the platform makes of per_page.
func (cfg *Config) pageSize(asked int) int {
	switch {
	case cfg.PerPageFixed > 0:
		return cfg.PerPageFixed
	case asked < 1:
		return defaultPerPage
	}
	return min(asked, maxPerPage)
}

// show returns the session as a client that reads the platform's record right
// sees it at t: rounded or cut figures, whole seconds, shown start time and
// duration, and nothing where the record says null.
func (p *population) show(s *session, t int64) events.Session {
	r := s.rec
	r.Online = s.online
	r.DurationSeconds = p.cfg.shownDuration(s.duration(t))
	down, up := s.figures(t, p.interval)
	r.Downloaded, r.Uploaded = p.cfg.readBytes(down), p.cfg.readBytes(up)
	if s.hidden.location {
		r.LocationID = ""
	}
	if s.hidden.id {
		r.ID = ""
	}
	return r
}
