package poller

import (
	"cmp"
	"slices"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
)

// location is one that is watched: what the planner knows of it, and what the
// poller does.
type location struct {
	plan.Location
	name     string
	sessions map[int32]struct{} // their slots; see roster.at
	leaving  bool               // it is no longer configured: only its known sessions are of interest
	tracking diff.Tracking      // on the platform's clock, by looks whose records could all be read
	veil     veil
	reading  *reading // of its list, under way; nil outside of one
	readings int      // of its list so far
	moves    bool     // its rows do so faster than pages are read that are to be joined
	// unsettled is how many readings of its list may be made to find all who began at
	// once.
	unsettled int
	lately    time.Time // scratch of tend
	emptied   *emptied  // all who were there left at once; nil outside of that
	cohort    *cohort   // those who began at once there; nil where they are not too many for a page
	missing   int       // sessions that are missing there, where one page of its list answers for all
}

// enter and leave are for sessions that come and go.
func (p *location) enter(e *entry) {
	if p.sessions == nil {
		p.sessions = make(map[int32]struct{})
	}
	p.sessions[e.Slot] = struct{}{}
}

func (p *location) leave(e *entry) {
	delete(p.sessions, e.Slot)
	p.Left(&e.Row)
}

// trackingOf is how it is tracked for a session, whom a record that could not be read may
// have been.
func (p *location) trackingOf(s *events.Session) diff.Tracking {
	t := p.tracking
	hides := func(record platform.Skip) bool { return record.MayHide(s) }
	if p.veil.seenAt.After(t.SeenAt) && !slices.ContainsFunc(p.veil.records, hides) {
		t.SeenAt = p.veil.seenAt
	}
	return t
}

// veil is what the complete looks at a list leave open since the last one whose records
// could all be read.
type veil struct {
	seenAt  time.Time // when the last of them began whose records are kept
	records []platform.Skip
}

// mostVeiled bounds the records of a veil. With more, nobody is taken for absent.
const mostVeiled = 100

// look notes a complete look that began at a time.
func (v *veil) look(at time.Time, unread []platform.Skip) {
	if len(unread) == 0 {
		*v = veil{}
		return
	}
	for _, record := range unread {
		same := func(r platform.Skip) bool {
			start := r.StartedAt.Equal(record.StartedAt)
			r.StartedAt = record.StartedAt
			return start && r == record
		}
		if len(v.records) <= mostVeiled && !slices.ContainsFunc(v.records, same) {
			v.records = append(v.records, record)
		}
	}
	if len(v.records) <= mostVeiled {
		v.seenAt = at
	}
}

// locations are the locations that are watched.
type locations struct {
	byID     map[string]*location
	all      []*location          // in the order in which they became known
	plan     []*plan.Location     // the same
	read     map[string]*location // whose list is being read
	restless int                  // of how many unsettled is not zero
	emptying []*location          // of which emptied is not nil
	// perPage is the platform's own page size where it ignores per_page; else zero.
	perPage int
}

func newLocations() locations {
	return locations{byID: make(map[string]*location), read: make(map[string]*location)}
}

func (ps *locations) add(l plan.Location) *location {
	p := &location{Location: l}
	p.PerPage = ps.perPage
	ps.byID[l.ID] = p
	ps.all, ps.plan = append(ps.all, p), append(ps.plan, &p.Location)
	return p
}

// sized notes the platform's own page size: by another one, a list of several pages would
// pass for one that proves by itself who is gone.
func (ps *locations) sized(perPage int) {
	ps.perPage = perPage
	for _, p := range ps.all {
		p.PerPage = perPage
	}
}

// certainBy notes that a location's list was read completely from a time on: without an
// order, it is as old as the session that was seen least lately.
func (r *roster) certainBy(p *location, began time.Time, ordered bool) {
	at := began
	if !ordered {
		for e := range r.at(p) {
			if e.Seen.Before(at) {
				at = e.Seen
			}
		}
	}
	if at.After(p.SeenAt) {
		p.SeenAt = at
	}
}

// reading returns the location whose list was begun first of those that have
// further pages to ask for; nil where there is none.
func (ps *locations) reading() *plan.Location {
	var first *location
	for id, p := range ps.read {
		if !p.Asking && (first == nil || cmp.Or(p.reading.began.Compare(first.reading.began), cmp.Compare(id, first.ID)) < 0) {
			first = p
		}
	}
	return first.planned()
}

// unsettle sets how many readings of its list may be made to find all who began at once.
func (ps *locations) unsettle(p *location, readings int) {
	if p.unsettled > 0 {
		ps.restless--
	}
	if p.unsettled = readings; readings > 0 {
		ps.restless++
	}
}

// unsettled returns the location at which many began at once and whose list is to be
// read; nil where there is none.
func (ps *locations) unsettled() *plan.Location {
	var most *location
	if ps.restless == 0 {
		return nil // Nearly always, and there may be many locations.
	}
	for _, p := range ps.all {
		if p.unsettled > 0 && !p.Asking && (most == nil || p.Online > most.Online) {
			most = p
		}
	}
	return most.planned()
}

// planned is the planner's view of a location; nil of none.
func (p *location) planned() *plan.Location {
	if p == nil {
		return nil
	}
	return &p.Location
}
