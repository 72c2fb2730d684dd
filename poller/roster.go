package poller

import (
	"slices"
	"time"

	"github.com/guestflow/guestflow/events"
)

// roster is the account's online sessions in the order of the platform's list,
// as learned from its pages. It is what makes one page a proof of absence in a
// list that is too long for one.
//
// The argument: the platform sorts by keys that do not change, so two sessions
// stand in the same order in every list. A page is one query: it shows all
// sessions that stood between its first and its last one at that moment. If the
// roster has X between two sessions A and B, and a page shows A and B but not X,
// then X was not online at that moment. The first page also shows that nothing
// stands before its first session, the last page that nothing stands behind its
// last one.
//
// A session new on a page is put behind its neighbour on that page. Live sessions
// keep their true order by this: whatever the roster has between the two
// neighbours was not on the page, so it is gone, or it stands outside of the page
// and with it outside of the two. Only a session that was gone at that moment and
// comes back under its old id may then stand on the wrong side of the new one. So
// records of ended sessions are no neighbours, and a session needs a witness on
// either side: one of the page's sessions, where neither was put in its place after
// the other was last seen among known ones. Without witnesses it loses its place.
//
// The order is never assumed. Each page is checked against the roster; one
// contradiction empties it, and no page proves anything again until as many
// sessions as the roster holds were read without another.
type roster struct {
	entries map[string]*entry
	ring    ring
	loose   map[*entry]bool // those outside of the ring
	began   time.Time       // local clock: that of entry.at
	// watched is told that a session was online from when it was last seen until a
	// time; rate is that at which it ends, per second, and spread its share of the
	// rate at which others arrive anywhere in the list. They may be nil.
	watched func(e *entry, until time.Time)
	rate    func(e *entry) float64
	spread  func(e *entry) float64
	// agreed counts the pairs of known neighbours that pages showed in the
	// roster's order since the last contradiction, needed how many establish it.
	agreed, needed int
	contradictions int // in a row, without the order being established in between
	// placedAt is when the newest page came that put a session in its place.
	placedAt float64
	// complete is true once a whole round of the list has put every session in its
	// place.
	complete bool
}

// entry is one online session. It is in the ring where its place in the list is
// known.
type entry struct {
	id      string
	place   *Place
	since   time.Time // platform's clock: when it began; zero where that is not known
	seen    time.Time // local clock: when the request that last showed it was sent
	at      float64   // the same in seconds, as sums count it
	shown   float64   // when the answer came that last showed it; seconds, too
	placed  span      // of the page that gave it its place
	up      span      // since when it stands rightly behind those before it, that were seen since
	down    span      // the same of those behind it
	ordered span      // of the page that last showed it there, among known ones
	rate    float64   // at which it ends, per second, as learned when it was seen
	spread  float64   // its share of the arrivals at its location, as learned then
	block   *block    // of the ring; nil outside of it
	missed  time.Time // local clock: when it was queued for verification
	sought  int       // pages in a row that were read for it and did not show it
}

// certain reports whether one session stands before another in the list as it does
// in the ring: neither can have been away when the other was put in its place.
func certain(before, behind *entry) bool {
	return behind.up.precedes(before.ordered) && before.down.precedes(behind.ordered)
}

// span is the time in which an answer was so, in seconds as the sums count them.
type span struct{ sent, came float64 }

// precedes reports whether the answer of s is no newer than that of o, for
// certain.
func (s span) precedes(o span) bool { return s == o || s.came <= o.sent }

// establishing is how many pairs in a row must have agreed before the order of a
// fresh roster counts as established; each contradiction doubles it.
const establishing = 50

func newRoster(began time.Time) *roster {
	return &roster{began: began, entries: make(map[string]*entry), loose: make(map[*entry]bool), needed: establishing}
}

// established reports whether absence between neighbours is proof.
func (r *roster) established() bool { return r.complete && r.agreed >= r.needed }

// seconds is a time as the sums count it.
func (r *roster) seconds(t time.Time) float64 { return t.Sub(r.began).Seconds() }

// span of a moment.
func (r *roster) span(m moment) span { return span{r.seconds(m.sent), r.seconds(m.came)} }

// add makes a session known at a place, last seen at a moment.
func (r *roster) add(id string, place *Place, since time.Time, m moment) *entry {
	e := r.entries[id]
	if e == nil {
		s := r.span(m)
		e = &entry{id: id, place: place, since: since, seen: m.sent, at: s.sent, shown: s.came}
		r.weigh(e)
		r.entries[id] = e
		r.loose[e] = true
		place.joined(e)
	}
	return e
}

// touch notes that a session was shown at a moment.
func (r *roster) touch(id string, m moment) {
	if e := r.entries[id]; e != nil && m.sent.After(e.seen) {
		if r.watched != nil {
			r.watched(e, m.sent)
		}
		e.place.left(e)
		s := r.span(m)
		e.seen, e.at, e.shown, e.sought = m.sent, s.sent, max(e.shown, s.came), 0
		r.weigh(e)
		e.place.joined(e)
		if e.block != nil {
			e.block.stale = true
		}
	}
}

// weigh brings the rates of a session up to date.
func (r *roster) weigh(e *entry) {
	if r.rate != nil {
		e.rate = r.rate(e)
	}
	if r.spread != nil {
		e.spread = r.spread(e)
	}
}

// move notes that a session is at another place.
func (r *roster) move(id string, to *Place) {
	if e := r.entries[id]; e != nil {
		e.place.left(e)
		to.joined(e)
		e.place = to
	}
}

// remove forgets a session that is not online any more.
func (r *roster) remove(id string) {
	if e := r.entries[id]; e != nil {
		e.place.left(e)
		r.unlink(e)
		delete(r.entries, id)
		delete(r.loose, e)
	}
}

// oldest returns the session that was not seen for longest; nil where there is
// none.
func (r *roster) oldest(now time.Time) *entry {
	t := r.seconds(now)
	var oldest *entry
	older := func(e *entry) {
		if oldest == nil || e.at < oldest.at {
			oldest = e
		}
	}
	for _, b := range r.ring.blocks {
		b.refresh(t)
		older(b.oldest)
	}
	for e := range r.loose {
		older(e)
	}
	return oldest
}

// judgement is what a page says about known sessions.
type judgement struct {
	// present and absent are ids of sessions of the roster that the page shows, or
	// would show if they were online still.
	present, absent []string
	// contradicted is true when the page's order differs from the roster's: it
	// proves nothing then, and the roster starts anew.
	contradicted bool
}

// page is one page of the account's list, as the roster judges it.
type page struct {
	moment
	sessions []events.Session
	// first and last say that the page begins or ends the list.
	first, last bool
	// follows says that the page's first session stands behind everything the
	// ring holds: the sweep that built the ring has just read its end.
	follows bool
}

// judge works a page of the account's list in. Sessions of the page that are
// online and known get their place in the ring; those proven absent stay known
// until remove.
func (r *roster) judge(pg page) judgement {
	var j judgement
	var known []*entry
	on, online := make(map[string]bool, len(pg.sessions)), 0
	for i := range pg.sessions {
		id := pg.sessions[i].ID
		if on[id] {
			continue
		}
		on[id] = true
		if pg.sessions[i].Online {
			online++
		}
		if e := r.entries[id]; e != nil {
			j.present = append(j.present, id)
			if e.block != nil && pg.sessions[i].Online {
				known = append(known, e)
			}
		}
	}
	if !ascends(known) {
		r.contradict()
		j.contradicted = true
		return j
	}
	r.agreed += max(0, len(known)-1)
	if r.established() {
		r.contradictions = 0
		j.absent = r.between(known, on, pg)
	}
	if 2*len(known) >= online {
		for _, e := range known {
			e.ordered = r.span(pg.moment)
		}
	}
	return j
}

// between lists the entries that a page would show if they were online still:
// those between its first and last known session, and those beyond them where
// the list begins or ends. A session that another answer showed which may be newer
// is not among them.
func (r *roster) between(known []*entry, on map[string]bool, pg page) []string {
	first, last, sent := pg.first, pg.last, r.seconds(pg.sent)
	from, to := r.ring.first(), r.ring.last()
	switch {
	case from == nil || len(known) == 0 && !(first && last):
		return nil
	case len(known) > 0:
		if !first {
			from = known[0]
		}
		if !last {
			to = known[len(known)-1]
		}
	}
	var absent []string
	above := 0 // how many of the known stand before e
	for _, e := range r.ring.span(from, to) {
		switch {
		case above < len(known) && known[above] == e:
			above++
		case on[e.id]:
		case !first && !slices.ContainsFunc(known[:above], func(o *entry) bool { return certain(o, e) }),
			!last && !slices.ContainsFunc(known[above:], func(o *entry) bool { return certain(e, o) }):
			r.unlink(e)
		case e.shown <= sent:
			absent = append(absent, e.id)
		}
	}
	return absent
}

func (r *roster) contradict() {
	r.contradictions++
	r.agreed, r.complete = 0, false
	r.needed = min(2*r.needed, 1_000_000)
	r.ring.clear()
	for _, e := range r.entries {
		r.loose[e] = true
	}
}

// place gives the page's known sessions their place in the ring. Those above the
// first one that has a place go before it, the others behind their neighbour. A
// page without any can be placed only where it begins or ends the list: what the
// ring holds is not on it, so all of that stands behind or before it.
func (r *roster) place(pg page) {
	var at, next *entry
	placed := pg.first
	if !placed && (pg.follows || pg.last || r.ring.n == 0) {
		at, placed = r.ring.last(), true
	}
	for i := range pg.sessions {
		if e := r.entries[pg.sessions[i].ID]; e != nil && e.block != nil {
			at, next, placed = r.ring.before(e), e, true
			break
		}
	}
	if !placed {
		return
	}
	s := r.span(pg.moment)
	on, near := r.overlapping(pg, s), false
	for i := range pg.sessions {
		e := r.entries[pg.sessions[i].ID]
		if e == nil || !pg.sessions[i].Online {
			continue
		}
		if e.block == nil {
			if on != nil && !r.settled(at, on, s) {
				continue
			}
			r.ring.insert(e, at)
			delete(r.loose, e)
			e.placed, e.ordered, e.up, e.down = s, s, s, s
			// Through a neighbour on the page it stands rightly to all that this does.
			if next != nil && next.ordered == s {
				e.down = next.down
			}
			if at != nil && near && at.ordered == s {
				e.up = at.up
			}
			r.placedAt = max(r.placedAt, s.came)
		}
		at, near = e, true
		if e == next {
			next = nil
		}
	}
}

// overlapping returns what is on a page, where another page that may be newer has
// put sessions in their place; nil otherwise.
func (r *roster) overlapping(pg page, s span) map[string]bool {
	if r.placedAt <= s.sent {
		return nil
	}
	on := make(map[string]bool, len(pg.sessions))
	for i := range pg.sessions {
		on[pg.sessions[i].ID] = true
	}
	return on
}

// settled reports whether a session may be put behind at: that is on the page too,
// and what follows on it, up to the next session of the page, was there before the
// page was asked for. What another page has just put there may stand on either side
// of what is new on this one.
func (r *roster) settled(at *entry, on map[string]bool, s span) bool {
	if at == nil || !on[at.id] {
		return false
	}
	for e := range r.ring.behind(at) {
		if on[e.id] {
			return true
		}
		if e.placed.came > s.sent {
			return false
		}
	}
	return true
}

func (r *roster) unlink(e *entry) {
	if e.block != nil {
		r.ring.remove(e)
		r.loose[e] = true
	}
}
