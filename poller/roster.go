package poller

import (
	"math"
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
	root    entry // sentinel of the ring
	// agreed counts the pairs of known neighbours that pages showed in the
	// roster's order since the last contradiction, needed how many establish it.
	agreed, needed int
	contradictions int // in a row, without the order being established in between
	// complete is true once a whole round of the list has put every session in its
	// place.
	complete bool
}

// entry is one online session. It is in the ring where its place in the list is
// known.
type entry struct {
	id         string
	place      *Place
	seen       time.Time // local clock: when the request that last showed it was sent
	placed     time.Time // local clock: when the page was asked for that gave it its place
	ordered    time.Time // local clock: when a page last showed it there, among known ones
	key        uint64    // grows along the ring; zero outside of it
	prev, next *entry
}

// witnessed reports whether neither session can have been away when the other was
// put in its place.
func (e *entry) witnessed(by *entry) bool {
	return !e.placed.After(by.ordered) && !by.placed.After(e.ordered)
}

// establishing is how many pairs in a row must have agreed before the order of a
// fresh roster counts as established; each contradiction doubles it.
const establishing = 50

func newRoster() *roster {
	r := &roster{entries: make(map[string]*entry), needed: establishing}
	r.root.prev, r.root.next = &r.root, &r.root
	return r
}

// established reports whether absence between neighbours is proof.
func (r *roster) established() bool { return r.complete && r.agreed >= r.needed }

// add makes a session known at a place, last seen at a time.
func (r *roster) add(id string, place *Place, seen time.Time) *entry {
	e := r.entries[id]
	if e == nil {
		e = &entry{id: id, place: place, seen: seen}
		r.entries[id] = e
		place.joined(seen)
	}
	return e
}

// touch notes that a session was shown by a request sent at a time.
func (r *roster) touch(id string, sent time.Time) {
	if e := r.entries[id]; e != nil && sent.After(e.seen) {
		e.place.left(e.seen)
		e.place.joined(sent)
		e.seen = sent
	}
}

// move notes that a session is at another place.
func (r *roster) move(id string, to *Place) {
	if e := r.entries[id]; e != nil {
		e.place.left(e.seen)
		to.joined(e.seen)
		e.place = to
	}
}

// remove forgets a session that is not online any more.
func (r *roster) remove(id string) {
	if e := r.entries[id]; e != nil {
		e.place.left(e.seen)
		r.unlink(e)
		delete(r.entries, id)
	}
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
	sessions []events.Session
	sent     time.Time // local clock
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
	on := make(map[string]bool, len(pg.sessions))
	for i := range pg.sessions {
		id := pg.sessions[i].ID
		if on[id] {
			continue
		}
		on[id] = true
		if e := r.entries[id]; e != nil {
			j.present = append(j.present, id)
			if e.key != 0 && pg.sessions[i].Online {
				known = append(known, e)
			}
		}
	}
	for i := 1; i < len(known); i++ {
		if known[i-1].key >= known[i].key {
			r.contradict()
			j.contradicted = true
			return j
		}
	}
	r.agreed += max(0, len(known)-1)
	if r.established() {
		r.contradictions = 0
		j.absent = r.between(known, on, pg.first, pg.last)
	}
	if 2*len(known) >= len(pg.sessions) {
		for _, e := range known {
			e.ordered = pg.sent
		}
	}
	return j
}

// between lists the entries that a page would show if they were online still:
// those between its first and last known session, and those beyond them where
// the list begins or ends.
func (r *roster) between(known []*entry, on map[string]bool, first, last bool) []string {
	var absent []string
	from, to := r.root.next, r.root.prev
	switch {
	case from == &r.root || len(known) == 0 && !(first && last):
		return nil
	case len(known) > 0:
		if !first {
			from = known[0]
		}
		if !last {
			to = known[len(known)-1]
		}
	}
	above := 0 // how many of the known stand before e
	for e := from; ; {
		next := e.next
		switch {
		case above < len(known) && known[above] == e:
			above++
		case on[e.id]:
		case (first || slices.ContainsFunc(known[:above], e.witnessed)) && (last || slices.ContainsFunc(known[above:], e.witnessed)):
			absent = append(absent, e.id)
		default:
			r.unlink(e)
		}
		if e == to {
			return absent
		}
		e = next
	}
}

func (r *roster) contradict() {
	r.contradictions++
	r.agreed, r.complete = 0, false
	r.needed = min(2*r.needed, 1_000_000)
	for e := r.root.next; e != &r.root; {
		next := e.next
		e.prev, e.next, e.key = nil, nil, 0
		e = next
	}
	r.root.prev, r.root.next = &r.root, &r.root
}

// place gives the page's known sessions their place in the ring. Those above the
// first one that has a place go before it, the others behind their neighbour. A
// page without any can be placed only where it begins or ends the list: what the
// ring holds is not on it, so all of that stands behind or before it.
func (r *roster) place(pg page) {
	var at *entry
	switch {
	case pg.first:
		at = &r.root
	case pg.follows || pg.last || r.root.next == &r.root:
		at = r.root.prev
	}
	for i := range pg.sessions {
		if e := r.entries[pg.sessions[i].ID]; e != nil && e.key != 0 {
			at = e.prev
			break
		}
	}
	if at == nil {
		return
	}
	for i := range pg.sessions {
		e := r.entries[pg.sessions[i].ID]
		if e == nil || !pg.sessions[i].Online {
			continue
		}
		if e.key == 0 {
			r.link(e, at)
			e.placed, e.ordered = pg.sent, pg.sent
		}
		at = e
	}
}

func (r *roster) unlink(e *entry) {
	if e.key != 0 {
		e.prev.next, e.next.prev = e.next, e.prev
		e.prev, e.next, e.key = nil, nil, 0
	}
}

// link puts e behind at.
func (r *roster) link(e, at *entry) {
	e.prev, e.next = at, at.next
	at.next.prev = e
	at.next = e
	low, high := uint64(0), uint64(math.MaxUint64)
	if e.prev != &r.root {
		low = e.prev.key
	}
	if e.next != &r.root {
		high = e.next.key
	}
	// At an end of the ring a step is taken, not half of what is left: that is
	// where most sessions are added.
	const step = 1 << 32
	switch {
	case high-low < 2:
		r.renumber()
	case e.prev == &r.root && e.next == &r.root:
		e.key = high / 2
	case e.next == &r.root && high-low > step:
		e.key = low + step
	case e.prev == &r.root && high-low > step:
		e.key = high - step
	default:
		e.key = low + (high-low)/2
	}
}

// renumber spreads the keys evenly; it happens once in many thousand inserts.
func (r *roster) renumber() {
	step := math.MaxUint64 / uint64(len(r.entries)+2)
	key := step
	for e := r.root.next; e != &r.root; e = e.next {
		e.key = key
		key += step
	}
}
