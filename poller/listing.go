package poller

import (
	"context"
	"fmt"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/store"
)

// MaxPerPage is the platform's documented maximum of records a request.
const MaxPerPage = 100

// A list of several pages is several queries. When a session ends between two
// of them, everything behind it moves up, and a live session can slip through
// the border between two pages. A listing therefore asks for pages that overlap:
// per_page may differ from page to page, and page n of s records begins at
// position (n−1)·s, so there is nearly always an s between 50 and 100 whose page
// begins a few records before the end of what was read.
//
// Joined pages miss nothing: the list is in some order, the order of two
// sessions never changes, and each page shows every session between its first
// and its last one at that moment. If page k+1 shows a session Z that page k
// showed, then no place in the order lies behind k's last and before k+1's first
// session: Z is on both. So a session online all along, wherever it stands, is
// on one of the two. Only an order that changes between two queries defeats
// this, which is why one absence from joined pages is not yet proof.
const (
	// overlap is how many records two neighbouring pages share at least: so many
	// sessions may end between two requests before a page has to be read again.
	overlap = 2
	// rejoins is how often a page that shares nothing with the one before is
	// followed by one that begins further back, before the list goes on
	// unjoined and proves nothing.
	rejoins = 3
	// maxPages bounds a listing whatever the platform answers: 500,000 records.
	maxPages = 5000
)

// window is one page: number, counted from 1, of size records.
type window struct{ number, size int }

func (w window) start() int { return (w.number - 1) * w.size }
func (w window) end() int   { return w.number * w.size }

// windowFrom returns the page that reaches furthest among those that begin at
// least back records before position covered.
func windowFrom(covered, back int) window {
	begin := covered - back
	if begin <= 0 {
		return window{1, MaxPerPage}
	}
	best := window{1, MaxPerPage}
	for size := MaxPerPage; size >= MaxPerPage/2; size-- {
		w := window{begin/size + 1, size}
		if w.end() > best.end() {
			best = w
		}
	}
	return best
}

// listing reads one list page by page and joins the pages into a snapshot.
// next and add are called in turn until add reports that it is done.
type listing struct {
	began    time.Time // local clock
	sessions []events.Session
	came     time.Time // local clock: when the last page had
	from, at time.Time // platform's clock: earliest and latest moment of the pages
	pages    int

	asked    window
	before   map[string]bool // ids on the page before
	order    []string        // ids as the pages have them; what is read again comes once
	covered  int             // positions read so far
	missed   int             // joins that failed in a row
	skipped  int             // records that could not be read
	unjoined bool
	fixed    int // the platform's own page size where it ignores per_page
	done     bool
}

// next returns the page to ask for.
func (l *listing) next() window {
	switch {
	case l.fixed > 0:
		l.asked = window{l.pages + 1, l.fixed}
	case l.pages == 0:
		l.asked = window{1, MaxPerPage}
	case l.unjoined:
		l.asked = windowFrom(l.covered, overlap)
	default:
		// Each failed join reaches ten times further back.
		back := overlap
		for range l.missed {
			back *= 10
		}
		l.asked = windowFrom(l.covered, min(back, MaxPerPage-1))
	}
	return l.asked
}

// add takes the answer to the page that next returned.
func (l *listing) add(page platform.Page, m moment) (done bool) {
	if l.pages == 0 {
		l.from = m.from
	}
	l.came, l.at = m.came, m.at
	l.pages++
	l.skipped += len(page.Skipped)
	l.sessions = append(l.sessions, page.Sessions...)
	if size := sizeOf(page, l.asked); size != l.asked.size && page.More {
		l.fixed = size
	}
	joined := l.pages == 1
	ids := make(map[string]bool, len(page.Sessions))
	for i := range page.Sessions {
		id := page.Sessions[i].ID
		ids[id] = true
		joined = joined || l.before[id]
	}
	switch {
	case l.fixed > 0:
		// Pages of one size cannot overlap.
		l.unjoined = true
	case joined || l.unjoined:
		l.missed = 0
	case l.missed == rejoins:
		l.unjoined = true
	default:
		l.missed++
		l.done = l.pages >= maxPages
		return l.done
	}
	for i := range page.Sessions {
		if id := page.Sessions[i].ID; !l.before[id] {
			l.order = append(l.order, id)
		}
	}
	l.before = ids
	l.covered = l.asked.start() + positions(page, l.asked)
	l.done = !page.More || page.Records == 0 || l.pages >= maxPages
	l.unjoined = l.unjoined || l.pages >= maxPages
	return l.done
}

// sizeOf returns the page size that the platform used: what it says, or else at
// least what it sent. It may send some records twice, and so more than it says.
func sizeOf(page platform.Page, asked window) int {
	switch {
	case page.PerPage > 0:
		return page.PerPage
	case page.Records > asked.size:
		return page.Records
	}
	return asked.size
}

// positions is how many places in the list a page covers.
func positions(page platform.Page, asked window) int {
	return min(page.Records, sizeOf(page, asked))
}

// snapshot returns what the pages showed. A listing that was not finished proves
// nothing.
func (l *listing) snapshot() diff.Snapshot {
	proof := diff.Joined
	switch {
	case !l.done || l.unjoined || l.skipped > 0:
		proof = diff.Partial
	case l.pages == 1:
		proof = diff.Atomic
	}
	return diff.Snapshot{Sessions: l.sessions, From: l.from, At: l.at, Proof: proof}
}

// moment is the time in which its pages were read.
func (l *listing) moment() moment { return moment{l.began, l.came, l.from, l.at} }

// exhausted reports whether every page was read, though they may not join: what
// is missing is worth a question of its own.
func (l *listing) exhausted() bool { return l.done && l.skipped == 0 }

// list asks for the next page of a location's list.
func (p *Poller) list(ctx context.Context, id string) error {
	place := p.place(id, "")
	l := p.listings[id]
	if l == nil {
		l = &listing{began: p.Clock.Now()}
		p.listings[id] = l
	}
	online := true
	w := l.next()
	place.asking = true
	return p.askSessions(ctx, platform.Query{LocationID: id, Online: &online, Page: w.number, PerPage: w.size}, func(page platform.Page, m moment, err error) error {
		place.asking = false
		if err == nil {
			p.note(id, page)
			if !l.add(page, m) {
				return nil
			}
		}
		delete(p.listings, id)
		place.AskedAt = p.Clock.Now()
		if l.pages == 0 {
			return nil
		}
		if l.pages > 1 && !place.keepsOrder(l.order) {
			l.unjoined = true
		}
		return p.conclude(ctx, place, l)
	})
}

// reading returns the location whose list was begun first of those that have
// further pages to ask for.
func (p *Poller) reading() *Place {
	var first *Place
	for id, l := range p.listings {
		if place := p.places[id]; !place.asking && (first == nil || l.began.Before(p.listings[first.ID].began)) {
			first = place
		}
	}
	return first
}

// conclude works a location's finished list in.
func (p *Poller) conclude(ctx context.Context, place *Place, l *listing) error {
	start := p.Clock.Now()
	known, err := p.Store.Location(place.ID)
	if err != nil {
		return fmt.Errorf("location %s: reading its state: %w", place.ID, err)
	}
	snap := l.snapshot()
	snap.Sessions = p.fresh(snap.Sessions, l.began)
	if err := p.yield(ctx, snap.Sessions); err != nil {
		return err
	}
	if snap.Proof == diff.Joined && p.roster.established() {
		// Joined pages of a list whose order is established miss nothing.
		snap.Proof = diff.Atomic
	}
	expected := p.unheld(p.before(known.Sessions, l.began))
	delta, err := p.compare(expected, known.Suspects, snap)
	if err != nil {
		return err
	}
	delta = p.hold(delta)
	mark := store.LocationMark{ID: place.ID, Name: nameIn(snap.Sessions, place), TrackedSince: p.tracking(place.ID).Since, SeenAt: place.tracking.SeenAt}
	if mark.TrackedSince.IsZero() {
		mark.TrackedSince = snap.From
	}
	if snap.Proof != diff.Partial {
		mark.SeenAt = snap.From
	}
	if err := p.commit(ctx, delta, l.began, mark); err != nil {
		return fmt.Errorf("location %s: committing %d changes: %w", place.ID, len(delta.Changes), err)
	}
	place.Name = mark.Name
	place.tracking = diff.Tracking{Since: mark.TrackedSince, SeenAt: mark.SeenAt}
	if snap.Proof != diff.Partial {
		place.SeenAt = l.began
	}
	p.apply(delta, l.moment(), snap.Sessions)
	p.Sightings.show(snap.Sessions, l.began)
	place.learned.pass(l.began)
	p.distrust(expected, l)
	p.report(place, l, snap, delta, start)
	return nil
}

// before drops the sessions that another look may have shown after a list was begun:
// the list is no proof that they are gone.
func (p *Poller) before(states []events.State, began time.Time) []events.State {
	kept, since := states[:0], p.roster.seconds(began)
	for _, s := range states {
		if e := p.roster.entries[s.Session.ID]; e == nil || e.shown <= since {
			kept = append(kept, s)
		}
	}
	return kept
}

// compare diffs a snapshot with the states it was expected to show.
func (p *Poller) compare(expected []events.State, suspects map[string]store.Suspect, snap diff.Snapshot) (diff.Delta, error) {
	known := diff.Known{
		Expected: expected,
		Suspects: make(map[string]diff.Suspect, len(suspects)),
		Tracking: p.tracking,
		SeenAt:   p.seenAt,
	}
	for id, s := range suspects {
		known.Suspects[id] = diff.Suspect(s)
	}
	others, err := p.others(expected, snap)
	if err != nil {
		return diff.Delta{}, err
	}
	known.Find = func(id string) (events.State, bool) { s, ok := others[id]; return s, ok }
	rules := p.Rules
	rules.Roaming = p.roaming
	delta := diff.Compare(known, snap, rules)
	return delta, p.learnRoaming(delta)
}

// others looks up the sessions of a snapshot that were not expected.
func (p *Poller) others(expected []events.State, snap diff.Snapshot) (map[string]events.State, error) {
	ids := diff.Unexpected(expected, snap)
	if len(ids) == 0 {
		return nil, nil
	}
	found, err := p.Store.Find(ids)
	if err != nil {
		return nil, fmt.Errorf("looking up %d sessions: %w", len(ids), err)
	}
	return found, nil
}
