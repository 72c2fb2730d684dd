package poller

import (
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/platform"
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
	from, at time.Time // platform's clock: earliest and latest moment of the pages
	pages    int

	asked    window
	before   map[string]bool // ids on the page before
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

// add takes the answer to the page that next returned, which was so at some
// moment between from and at.
func (l *listing) add(page platform.Page, from, at time.Time) (done bool) {
	if l.pages == 0 {
		l.from = from
	}
	l.at = at
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
	l.before = ids
	l.covered = l.asked.start() + page.Records
	l.done = !page.More || page.Records == 0 || l.pages >= maxPages
	l.unjoined = l.unjoined || l.pages >= maxPages
	return l.done
}

// sizeOf returns the page size that the platform used: what it says, or at least
// what it sent.
func sizeOf(page platform.Page, asked window) int {
	if page.Records > asked.size {
		return page.Records
	}
	if page.PerPage > 0 && page.PerPage < asked.size {
		return page.PerPage
	}
	return asked.size
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

// exhausted reports whether every page was read, though they may not join: what
// is missing is worth a question of its own.
func (l *listing) exhausted() bool { return l.done && l.skipped == 0 }
