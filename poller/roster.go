package poller

import (
	"cmp"
	"iter"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/plan"
)

// roster is the account's online sessions as far as known. Those whose position in
// the platform's list follows from their start stand in its rows, in that order;
// the others, whose start is not known or who were shown out of order, are loose.
type roster struct {
	slots  // its entries
	track  *plan.Track
	rows   *plan.Rows // the track's
	loose  map[*entry]bool
	adrift map[int64]map[*entry]bool // those of the loose whose start is known, by its second
	parted map[string]float64        // when sessions had ended that an answer may still show; see fresh
	now    func() time.Time          // local clock
	book   book
}

// entry is one online session. Its Seen is when the request was sent that last
// showed it.
type entry struct {
	plan.Row
	at      *location
	shown   float64       // when the answer came that last showed it, in the rows' seconds
	entered float64       // when the first one came that showed it
	behind  float64       // seconds by which an answer is behind, if it is, that showed lower figures
	doubted float64       // when that answer came
	in      standings     // the lists that show it
	figures figures       // as last shown
	missed  time.Duration // since the process began: when it was queued for verification; zero is never
	doubt   float64       // how surely it is gone by lists that prove nothing; see presume
	check   *check        // what asking by its address told; nil where nobody asked

	writes int32   // times that its figures were found changed
	sought int32   // pages in a row that were read for it and did not show it
	place  [4]byte // its IPv4 address, in memory alone; see address
	queued bool    // it is queued for verification, still
	shared bool    // another session has, or had, the address too
	vain   bool    // asking by it told of others again and again
}

// address is its IPv4 address; the zero Addr where it has none.
func (e *entry) address() netip.Addr {
	if e.place == [4]byte{} {
		return netip.Addr{}
	}
	return netip.AddrFrom4(e.place)
}

// standings are where a session stands in the list of a scope: that of the account
// or that of its location.
type standings [ofHistory]standing

type standing struct {
	placed    bool  // it was shown in its position
	displaced bool  // it was shown out of order
	writes    int32 // of the entry, when it was last shown
}

// figures are what changes where a session's row is written.
type figures struct{ downloaded, uploaded events.Bytes }

func newRoster(track *plan.Track, now func() time.Time) *roster {
	r := &roster{track: track, rows: track.Rows, now: now,
		slots: newSlots(), loose: make(map[*entry]bool), adrift: make(map[int64]map[*entry]bool), parted: make(map[string]float64)}
	r.book = book{rows: track.Rows, slots: &r.slots}
	return r
}

// entry returns the one of a row, or of its session where the row has left; nil of none.
func (r *roster) entry(row *plan.Row) *entry {
	if row == nil {
		return nil
	}
	if e := r.of(row.Slot); e != nil && &e.Row == row {
		return e
	}
	return r.find(row.ID)
}

// placed reports whether a session stands in its position in the account's list.
func (r *roster) placed(row *plan.Row) bool { return r.entry(row).in[ofAccount].placed }

// rowsOf returns the rows of sessions; nil for those that are not known.
func (r *roster) rowsOf(sessions []events.Session) []*plan.Row {
	rows := make([]*plan.Row, len(sessions))
	for i := range sessions {
		if e := r.find(sessions[i].ID); e != nil {
			rows[i] = &e.Row
		}
	}
	return rows
}

// add makes a session known at a location, last seen at a moment.
func (r *roster) add(id string, at *location, since time.Time, m timing) *entry {
	e := r.find(id)
	if e == nil {
		id = strings.Clone(id) // The id alone, not the record that it is a part of.
		e = &entry{Row: r.rows.NewRow(id, &at.Location, since, m.sent), at: at, shown: r.rows.Seconds(m.came)}
		e.entered = e.shown
		e.figures = figures{events.UnknownBytes, events.UnknownBytes}
		r.track.Enter(&e.Row)
		r.take(e)
		r.link(e)
		at.enter(e)
	}
	return e
}

// touch notes that a session was shown at a moment, with the start that the record
// gives.
func (r *roster) touch(e *entry, since time.Time, m timing) {
	if since.IsZero() {
		since = e.Start
	}
	if !since.Equal(e.Start) || !e.Listed() && !since.IsZero() && !e.in[ofAccount].displaced {
		r.unlink(e)
		e.Start = since
		r.link(e)
	}
	if m.sent.After(e.Seen) {
		e.shown, e.sought, e.doubt = max(e.shown, r.rows.Seconds(m.came)), 0, 0
		r.track.Show(&e.Row, m.sent, r.now())
	}
}

// move notes that a session is at another location.
func (r *roster) move(id string, to *location) {
	if e := r.find(id); e != nil {
		e.at.leave(e)
		to.enter(e)
		to.Joined(&e.Row)
		e.at, e.Location, e.in[ofLocation] = to, &to.Location, standing{writes: e.writes}
	}
}

// remove forgets a session that is not online any more.
func (r *roster) remove(id string) {
	if e := r.find(id); e != nil {
		e.at.leave(e)
		r.unlink(e)
		r.book.leave(e)
		r.give(e)
	}
}

// link puts an entry where it belongs, unlink takes it out.
func (r *roster) link(e *entry) {
	if e.Start.IsZero() || e.in[ofAccount].displaced {
		r.loosen(e)
		return
	}
	r.rows.Insert(&e.Row)
}

func (r *roster) loosen(e *entry) {
	r.loose[e] = true
	if e.Start.IsZero() {
		return
	}
	second := e.Start.Unix()
	if r.adrift[second] == nil {
		r.adrift[second] = make(map[*entry]bool)
	}
	r.adrift[second][e] = true
}

func (r *roster) unlink(e *entry) {
	if r.loose[e] {
		delete(r.loose, e)
		second := e.Start.Unix()
		if delete(r.adrift[second], e); len(r.adrift[second]) == 0 {
			delete(r.adrift, second)
		}
	}
	if e.Listed() {
		r.rows.Remove(&e.Row)
	}
}

// setAside takes a session out of the rows that no page can settle, until it is
// shown again.
func (r *roster) setAside(e *entry) {
	r.unlink(e)
	r.loosen(e)
}

// displace takes the position of a session that was shown out of order.
func (r *roster) displace(e *entry) {
	r.unlink(e)
	e.in[ofAccount].displaced = true
	r.link(e)
}

// disorder notes that the order of a list was lost: who was out of it may stand in it
// once there is one, and nobody has a position until then.
func (r *roster) disorder(list scope) {
	for e := range r.all() {
		e.in[list] = standing{writes: e.writes}
	}
	if list == ofAccount {
		r.turn(r.rows.NewestFirst)
	}
}

// turn sorts the rows anew, for a list with another direction.
func (r *roster) turn(newestFirst bool) {
	r.rows.Reset(newestFirst)
	clear(r.loose)
	clear(r.adrift)
	all := slices.Collect(r.all())
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.ID, b.ID)) })
	for _, e := range all {
		r.link(e)
	}
}

// oldest returns the session that was not seen for longest; nil where there is
// none.
func (r *roster) oldest(now time.Time) *plan.Row {
	oldest := r.rows.Oldest(now)
	for e := range r.loose {
		if oldest == nil || e.Seen.Before(oldest.Seen) {
			oldest = &e.Row
		}
	}
	return oldest
}

// each calls f with each session.
func (r *roster) each(f func(*entry)) {
	for row := range r.rows.All() {
		f(r.entry(row))
	}
	for e := range r.loose {
		f(e)
	}
}

// at yields the entries of a location; nil is all of them.
func (r *roster) at(at *location) iter.Seq[*entry] {
	if at != nil {
		return func(yield func(*entry) bool) {
			for slot := range at.sessions {
				if !yield(r.of(slot)) {
					return
				}
			}
		}
	}
	return r.all()
}

// within yields the entries of the rows whose start lies strictly between two; zero
// is no bound.
func (r *roster) within(after, before time.Time) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for row := range r.rows.Between(after, before) {
			if !yield(r.entry(row)) {
				return
			}
		}
	}
}

// looseWithin yields the loose entries whose start may lie between two; zero is no bound.
// Where more begin in a second than a page shows there may be very many of them.
func (r *roster) looseWithin(after, before time.Time) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for second := range r.adriftWithin(after, before) {
			for e := range r.adrift[second] {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// adriftWithin yields the seconds that adrift has between two times.
func (r *roster) adriftWithin(after, before time.Time) iter.Seq[int64] {
	from, to := int64(math.MinInt64), int64(math.MaxInt64)
	if !after.IsZero() {
		from = after.Unix()
	}
	if !before.IsZero() {
		to = before.Unix()
	}
	return func(yield func(int64) bool) {
		if !after.IsZero() && !before.IsZero() && to-from < int64(len(r.adrift)) {
			for second := from; second <= to && yield(second); second++ {
			}
			return
		}
		for second := range r.adrift {
			if from <= second && second <= to && !yield(second) {
				return
			}
		}
	}
}

// read notes the figures that a record shows.
func (e *entry) read(s *events.Session) {
	if e.written(s) {
		e.writes++
	}
	e.figures = figures{s.Downloaded, s.Uploaded}
}
