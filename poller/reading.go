package poller

import (
	"cmp"
	"context"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/store"
)

// A list of several pages is several queries. When a session ends between two
// of them, everything behind it moves up, and a live session can slip through
// the border between two pages. A reading therefore asks for pages that overlap:
// per_page may differ from page to page, and page n of s records begins at
// position (n−1)·s, so there is nearly always an s between 50 and 100 whose page
// begins a few records before the end of what was read.
//
// Each page is taken as it comes. Together they prove nobody gone: rows of equal
// start, or of a list without order, stand elsewhere in each query. What a complete
// reading did not show is worth a question of its own.
const (
	// overlap is how many records two neighbouring pages share at least: so many
	// sessions may end between two requests before a page has to be read again.
	overlap = 2
	// rejoins is how often a page that shares nothing with the one before is
	// followed by one that begins further back, before the reading goes on without.
	rejoins = 3
	// mostFailed is how many pages there are at least to a join that fails, beside those:
	// a page far back joins at last, and brings hardly anything new.
	mostFailed = 4
	// retryJoins is how many readings of a list there are to one that tries whether its
	// pages can be joined, where they could not.
	retryJoins = 10
	// mostAlike is how many pages in a row may show mostly who was on the page before,
	// and nobody new, before a list counts as read: a platform may give the same page for
	// ever. It may give several in turn, so that mostBarren may show nobody new whatever
	// they show, or as many as were read: behind an answer that was long in coming stand
	// all who arrived meanwhile before the rest.
	mostAlike  = 10
	mostBarren = 100
)

// windowFrom returns the page that reaches furthest among those that begin at
// least back records before position covered.
func windowFrom(covered, back int) plan.Window { return windowAmong(covered, back, plan.MaxPerPage, 1) }

// windowFrom is the same for a list of the account, which may have a page size of the
// platform's own: then the next page begins at covered, or before.
func (k *account) windowFrom(covered, back int) plan.Window {
	if w, fixed := k.fixedFrom(covered); fixed {
		return w
	}
	return windowFrom(covered, back)
}

// fixedFrom is the page that a position stands on where the platform has a page size of its
// own.
func (k *account) fixedFrom(position int) (w plan.Window, fixed bool) {
	t := k.roster.track
	return plan.Window{Number: position/t.Size + 1, Size: t.Size}, t.Fixed
}

// windowAmong does so among those of most records, of so many fewer, and so on.
func windowAmong(covered, back, most, fewer int) plan.Window {
	begin := covered - back
	if begin <= 0 {
		return plan.Window{Number: 1, Size: most}
	}
	best := plan.Window{Number: 1, Size: most}
	for size := most; size >= plan.MaxPerPage/2; size -= fewer {
		w := plan.Window{Number: begin/size + 1, Size: size}
		if w.End() > best.End() {
			best = w
		}
	}
	return best
}

// reading is a list that is read page by page. next and add are called in turn
// until add reports that it is done.
type reading struct {
	began time.Time // local clock
	from  time.Time // platform's clock: earliest moment of the first page
	size  int       // of the first page, which tells one reading's windows from another's
	pages int

	asked   plan.Window
	before  map[string]bool // ids on the page before
	shown   map[string]bool // on any page
	covered int             // positions read so far
	missed  int             // joins that failed in a row
	failed  int             // joins that failed
	// unjoined is set once pages could not be joined: rows move faster than they are
	// read, and waiting for two that meet would never end.
	unjoined bool
	news     int             // sessions that nobody knew
	barren   int             // pages in a row that showed nothing new
	alike    int             // of them, in a row, those that showed mostly who was on the page before
	last     map[string]bool // ids on it, whether it was joined or not
	repeats  bool            // the list counts as read, though the platform says that it goes on
	fixed    int             // the platform's own page size where it ignores per_page
	unread   []platform.Skip // its records that could not be read
}

func newReading(began time.Time, turn int) *reading {
	return &reading{began: began, size: plan.MaxPerPage - 3*(turn%10), shown: make(map[string]bool)}
}

// next returns the page to ask for.
func (r *reading) next() plan.Window {
	switch {
	case r.fixed > 0:
		r.asked = plan.Window{Number: r.pages + 1, Size: r.fixed}
	case r.pages == 0:
		r.asked = plan.Window{Number: 1, Size: r.size}
	default:
		// Each failed join reaches ten times further back, until that proves vain.
		back := overlap
		for range r.missed {
			back *= 10
		}
		r.asked = windowFrom(r.covered, min(back, plan.MaxPerPage-1))
	}
	return r.asked
}

// add takes the answer to the page that next returned.
func (r *reading) add(page platform.Page, m timing) (done bool) {
	if r.pages == 0 {
		r.from = m.from
	}
	r.pages++
	if len(r.unread) <= mostVeiled {
		r.unread = append(r.unread, page.Skipped...)
	}
	if size := sizeOf(page, r.asked); size != r.asked.Size && page.More {
		r.fixed = size
	}
	joined, known, again := r.covered == 0, len(r.shown), 0
	ids := make(map[string]bool, len(page.Sessions))
	for i := range page.Sessions {
		id := page.Sessions[i].ID
		ids[id], r.shown[id] = true, true
		joined = joined || r.before[id]
		if r.last[id] {
			again++
		}
	}
	if r.barren++; len(r.shown) > known {
		r.barren, r.alike = 0, 0
	} else if r.alike++; 2*again < len(ids) {
		r.alike = 0
	}
	r.last = ids
	if r.unjoined = r.unjoined || r.missed == rejoins || r.failed > rejoins+r.pages/mostFailed; r.fixed == 0 && !joined && !r.unjoined {
		r.missed++
		r.failed++
		return false
	}
	r.missed, r.before = 0, ids
	r.covered = r.asked.Start() + positions(page, r.asked)
	ends := !page.More || page.Records == 0
	r.repeats = !ends && (r.alike >= mostAlike || r.barren >= max(mostBarren, r.pages/2))
	return ends || r.repeats
}

// repeating is what is said of such a list.
const repeating = "a list shows the same sessions page after page and does not end: whoever else is online stays unknown; ask the platform's support why"

// hidden is the part of the list that was on no page: each record that came more often than
// its position was read stood where another should have.
func (r *reading) hidden() float64 {
	return max(0, 1-float64(len(r.shown))/max(1, float64(r.covered)))
}

// sizeOf returns the page size that the platform used: what it says, or else at
// least what it sent. It may send some records twice, and so more than it says.
func sizeOf(page platform.Page, asked plan.Window) int {
	switch {
	case page.PerPage > 0:
		return page.PerPage
	case page.Records > asked.Size:
		return page.Records
	}
	return asked.Size
}

// positions is how many positions in the list a page covers.
func positions(page platform.Page, asked plan.Window) int {
	return min(page.Records, sizeOf(page, asked))
}

// ends reports whether a page is the last one of its list: an empty page behind
// others only tells that there is no such page.
func ends(page platform.Page, w plan.Window) bool {
	return !page.More && (page.Records > 0 || w.Number == 1)
}

// list asks for the next page of a location's list.
func (p *Poller) list(ctx context.Context, id string) error {
	location := p.location(id, "")
	r := location.reading
	if r == nil {
		r = location.begin(p.Clock.Now())
		p.watched.read[id] = location
	}
	online := true
	w := r.next()
	location.Asking = true
	return p.askSessions(ctx, platform.Query{LocationID: id, Online: &online, Page: w.Number, PerPage: w.Size}, func(page platform.Page, m timing, err error) error {
		location.Asking = false
		done := err != nil || r.add(page, m)
		if done {
			location.reading = nil
			delete(p.watched.read, id)
			location.AskedAt = p.Clock.Now()
		}
		if err != nil {
			return nil
		}
		ev := evidence{
			timing: m, sessions: page.Sessions, skipped: page.Skipped, scope: ofLocation, location: id,
			first: w.Number == 1, last: ends(page, w),
		}
		for i := range page.Sessions {
			if p.roster.find(page.Sessions[i].ID) == nil {
				r.news++
			}
		}
		if done {
			location.done(r)
			left := location.unsettled - 1
			if r.news <= len(r.shown)/newsShare {
				left = 0
			}
			p.watched.unsettle(location, max(0, left))
			ev.marks = []store.LocationMark{p.markOf(location, r, page)}
		}
		if err := p.take(ctx, ev); err != nil {
			return err
		}
		if !done {
			return nil
		}
		if r.repeats {
			p.odd(repeating, "location", location.ID)
		}
		location.name = ev.marks[0].Name
		location.tracking = diff.Tracking{Since: ev.marks[0].TrackedSince, SeenAt: ev.marks[0].SeenAt}
		if r.pages == 1 {
			location.veil.look(r.from, page.Skipped)
		}
		p.rates().PassAt(&location.Location, r.began)
		return p.finished(ctx, r, location)
	})
}

// begin begins a reading of its list.
func (p *location) begin(now time.Time) *reading {
	p.reading = newReading(now, p.readings)
	p.reading.unjoined = p.moves && p.readings%retryJoins > 0
	return p.reading
}

// done notes a reading that is complete.
func (p *location) done(r *reading) {
	if p.readings%retryJoins == 0 || r.unjoined {
		p.moves = r.unjoined
	}
	p.readings++
}

// markOf is how a location is tracked once a reading of its list is done.
func (k *ledger) markOf(location *location, r *reading, page platform.Page) store.LocationMark {
	mark := store.LocationMark{ID: location.ID, Name: location.name, TrackedSince: cmp.Or(location.tracking.Since, k.wide.Since), SeenAt: location.tracking.SeenAt}
	if r.pages == 1 && len(page.Skipped) == 0 {
		mark.SeenAt = r.from // Several pages may hide somebody, and so may an unreadable record.
	}
	if mark.TrackedSince.IsZero() {
		mark.TrackedSince = r.from
	}
	for i := range page.Sessions {
		if s := &page.Sessions[i]; s.LocationID == location.ID && s.LocationName != "" {
			mark.Name = s.LocationName
		}
	}
	return mark
}
