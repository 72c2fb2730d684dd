package poller

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/order"
)

// roster is the account's online sessions as far as known. Those whose place in
// the platform's list follows from their start stand in the ring, in that order;
// the others, whose start is not known or who were shown out of order, are loose.
type roster struct {
	entries map[string]*entry
	ring    ring
	loose   map[*entry]bool
	began   time.Time // local clock: that of entry.at
	// watched is told that a session was online from when it was last seen until a
	// time; rate is that at which it ends, per second. They may be nil.
	watched func(e *entry, until time.Time)
	rate    func(e *entry) float64
}

// entry is one online session.
type entry struct {
	id      string
	place   *Place
	since   time.Time // platform's clock: when it began; zero where that is not known
	seen    time.Time // local clock: when the request that last showed it was sent
	at      float64   // the same in seconds, as sums count it
	shown   float64   // when the answer came that last showed it; seconds, too
	rate    float64   // at which it ends, per second, as learned when it was seen
	in      standings // the lists that show it
	figures figures   // as last shown
	writes  int       // times that these were found changed
	block   *block    // of the ring; nil outside of it
	missed  time.Time // local clock: when it was queued for verification
	queued  bool      // it is, still
	sought  int       // pages in a row that were read for it and did not show it
	doubt   float64   // how surely it is gone by lists that prove nothing; see presume
}

// standings are where a session stands in the list of a scope: that of the account
// or that of its location.
type standings [history]standing

type standing struct {
	placed    bool // it was shown in its place
	displaced bool // it was shown out of order
	writes    int  // of the entry, when it was last shown
}

// figures are what changes where a session's row is written.
type figures struct{ downloaded, uploaded events.Bytes }

func newRoster(began time.Time) *roster {
	return &roster{began: began, entries: make(map[string]*entry), loose: make(map[*entry]bool)}
}

// seconds is a time as the sums count it.
func (r *roster) seconds(t time.Time) float64 { return t.Sub(r.began).Seconds() }

// add makes a session known at a place, last seen at a moment.
func (r *roster) add(id string, place *Place, since time.Time, m moment) *entry {
	e := r.entries[id]
	if e == nil {
		e = &entry{id: id, place: place, since: since, seen: m.sent, at: r.seconds(m.sent), shown: r.seconds(m.came)}
		e.figures = figures{events.UnknownBytes, events.UnknownBytes}
		r.weigh(e)
		r.entries[id] = e
		r.link(e)
		place.enter(e)
	}
	return e
}

// touch notes that a session was shown at a moment, with the start that the record
// gives.
func (r *roster) touch(e *entry, since time.Time, m moment) {
	if since.IsZero() {
		since = e.since
	}
	if !since.Equal(e.since) || e.block == nil && !since.IsZero() && !e.in[account].displaced {
		r.unlink(e)
		e.since = since
		r.link(e)
	}
	if !m.sent.After(e.seen) {
		return
	}
	if r.watched != nil {
		r.watched(e, m.sent)
	}
	e.place.left(e)
	e.seen, e.at, e.shown, e.sought, e.doubt = m.sent, r.seconds(m.sent), max(e.shown, r.seconds(m.came)), 0, 0
	r.weigh(e)
	e.place.joined(e)
	if e.block != nil {
		e.block.stale = true
	}
}

// weigh brings the rate of a session up to date.
func (r *roster) weigh(e *entry) {
	if r.rate != nil {
		e.rate = r.rate(e)
	}
}

// move notes that a session is at another place.
func (r *roster) move(id string, to *Place) {
	if e := r.entries[id]; e != nil {
		e.place.leave(e)
		to.enter(e)
		e.place, e.in[location] = to, standing{writes: e.writes}
	}
}

// remove forgets a session that is not online any more.
func (r *roster) remove(id string) {
	if e := r.entries[id]; e != nil {
		e.place.leave(e)
		r.unlink(e)
		delete(r.entries, id)
	}
}

// link puts an entry where it belongs, unlink takes it out.
func (r *roster) link(e *entry) {
	if e.since.IsZero() || e.in[account].displaced {
		r.loose[e] = true
		return
	}
	r.ring.insert(e)
}

func (r *roster) unlink(e *entry) {
	delete(r.loose, e)
	if e.block != nil {
		r.ring.remove(e)
	}
}

// displace takes the place of a session that was shown out of order.
func (r *roster) displace(e *entry) {
	r.unlink(e)
	e.in[account].displaced = true
	r.link(e)
}

// disorder notes that the order of a list was lost: who was out of it may stand in it
// once there is one, and nobody has a place until then.
func (r *roster) disorder(list scope) {
	for _, e := range r.entries {
		e.in[list] = standing{writes: e.writes}
	}
	if list == account {
		r.turn(r.ring.direction)
	}
}

// turn sorts the ring anew, for a list with another direction.
func (r *roster) turn(d order.Direction) {
	for _, e := range r.entries {
		e.block = nil
	}
	r.ring = ring{direction: d}
	clear(r.loose)
	all := make([]*entry, 0, len(r.entries))
	for _, e := range r.entries {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Or(a.since.Compare(b.since), cmp.Compare(a.id, b.id)) })
	for _, e := range all {
		r.link(e)
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

// at yields the entries of a place; nil is all of them.
func (r *roster) at(place *Place) iter.Seq[*entry] {
	if place != nil {
		return maps.Keys(place.sessions)
	}
	return maps.Values(r.entries)
}

// provenBy yields the entries that a page of the account's list showed if they were
// online.
func (r *roster) provenBy(reading order.Reading) iter.Seq[*entry] {
	if reading.Whole {
		return r.at(nil)
	}
	after, before, ok := reading.Bounds()
	return func(yield func(*entry) bool) {
		if !ok {
			return
		}
		for e := range r.ring.between(after, before) {
			if e.in[account].placed && !yield(e) {
				return
			}
		}
		// Who was set aside has its place still.
		for e := range r.loose {
			if e.in[account].placed && !e.in[account].displaced && reading.Proves(e.since) && !yield(e) {
				return
			}
		}
	}
}

// page returns an answer as a page of its list.
func (r *roster) page(ev *evidence) order.Page {
	list := ev.scope
	if list == history {
		list = account // the same key sorts both
	}
	return order.Page{Records: r.records(ev.sessions, list), First: ev.first, Last: ev.last}
}

// records returns what the order of a list rests on.
func (r *roster) records(sessions []events.Session, list scope) []order.Record {
	records := make([]order.Record, len(sessions))
	for i := range sessions {
		s := &sessions[i]
		records[i] = order.Record{ID: s.ID, Start: s.StartedAt}
		if e := r.entries[s.ID]; e != nil {
			in := &e.in[list]
			records[i].Written = e.writes > in.writes || e.written(s)
			records[i].Placed = in.placed && e.since.Equal(s.StartedAt)
		}
	}
	return records
}

// written reports whether a record shows that its row was written since the session
// was last shown.
func (e *entry) written(s *events.Session) bool {
	changed := func(was, is events.Bytes) bool { return was.Error >= 0 && is.Error >= 0 && was != is }
	return changed(e.figures.downloaded, s.Downloaded) || changed(e.figures.uploaded, s.Uploaded)
}

// read notes the figures that a record shows.
func (e *entry) read(s *events.Session) {
	if e.written(s) {
		e.writes++
	}
	e.figures = figures{s.Downloaded, s.Uploaded}
}
