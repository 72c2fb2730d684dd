package poller

import (
	"cmp"
	"context"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/order"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
)

// gap is a stretch of the account's history that nobody has read: the process,
// the network or the platform was away. It is read beside everything else, a
// page at a time, and its cursor is remembered.
//
// Newest first, the cursor is a position: new sessions only push the unread ones
// further down, so what is read from there on may repeat and leaves nothing out.
// Oldest first, it is a page of the list since a day in the past, which only
// grows at its end.
type gap struct {
	// From is the start up to which every session is known; platform's clock.
	From time.Time
	// Covered is how many positions were read of newest first.
	Covered int `json:",omitempty"`
	// Date and Page are the cursor of oldest first.
	Date string `json:",omitempty"`
	Page int    `json:",omitempty"`
	// Size is that of the pages; zero is plan.MaxPerPage.
	Size int `json:",omitempty"`
	// Back is true where the pages are read towards the older ones.
	Back bool `json:",omitempty"`
	// Again is the how manieth reading it is for those who all began at From, News how
	// many of these it has shown that nobody knew; see readAgain.
	Again, News int `json:",omitempty"`
}

// A probe that does not reach the frontier within some pages leaves the rest to a
// gap, and one that was not made for a while begins anew at the end of the list.
const (
	deepProbe = 5 // pages
	longAway  = 15 * time.Minute
)

// missed notes that the history since a start is to be read later.
func (r *historyReader) missed(g gap) {
	r.Logger.Info("a part of the history was missed and is read beside the rest", "from", g.From)
	r.probe.Gaps = append(r.probe.Gaps, g)
	r.probe.dirty, r.probe.savedAt = true, time.Time{}
}

// reorder drops the cursors of gaps: the list is sorted another way now.
func reorder(gaps []gap) []gap {
	for i := range gaps {
		gaps[i] = gap{From: gaps[i].From}
	}
	return gaps
}

// fillGap reads the next page of the newest gap.
func (p *Poller) fillGap(ctx context.Context) error {
	b := &p.history.probe
	g := &b.Gaps[len(b.Gaps)-1]
	query := platform.Query{PerPage: cmp.Or(g.Size, plan.MaxPerPage)}
	var w plan.Window
	if b.Direction == order.OldestFirst {
		if g.Date == "" {
			g.Date, g.Page = dayBefore(g.From), 1
		}
		query.StartDate, query.Page = g.Date, g.Page
	} else {
		if w = p.windowFrom(g.Covered, overlap); g.Covered == 0 && !p.roster.track.Fixed {
			w.Size = query.PerPage
		}
		query.Page, query.PerPage = w.Number, w.Size
	}
	return p.askHistory(ctx, query, func(answer platform.Page, _ timing) error {
		return p.history.gapRead(w, answer)
	})
}

// gapRead goes on from a page of the newest gap.
func (r *historyReader) gapRead(w plan.Window, answer platform.Page) error {
	b := &r.probe
	g := &b.Gaps[len(b.Gaps)-1]
	oldest, _ := startsOf(answer.Sessions)
	done := false
	switch {
	case b.Direction == order.NewestFirst:
		g.Covered = w.Start() + positions(answer, w)
		done = !answer.More || answer.Records == 0 || oldest.Before(g.From.Add(-frontierSlack))
	case g.Back:
		g.Page--
		done = g.Page < 1 || answer.Records > 0 && oldest.Before(g.From.Add(-frontierSlack))
	case answer.Records == 0 && g.Page > 1 && !answer.More:
		// The history was cut at its beginning, so its pages moved.
		g.Page = 1
	default:
		g.Page++
		done = !answer.More
	}
	b.dirty = true
	if done {
		r.Logger.Info("a part of the history that was missed is complete", "from", g.From)
		read := *g
		b.Gaps = b.Gaps[:len(b.Gaps)-1]
		if !read.enough(b.Direction == order.NewestFirst && w.Number == 1) {
			r.again(read.From, read.Again+1)
		}
		b.savedAt = time.Time{}
	}
	return r.save()
}

// startsOf returns the first and the last start on a page; zero where no record
// has one.
func startsOf(sessions []events.Session) (oldest, newest time.Time) {
	for i := range sessions {
		s := sessions[i].StartedAt
		if s.IsZero() {
			continue
		}
		if oldest.IsZero() || s.Before(oldest) {
			oldest = s
		}
		if s.After(newest) {
			newest = s
		}
	}
	return oldest, newest
}
