package poller

import (
	"math"
	"slices"
	"time"
)

// keptOrder is the roster's order as one process leaves it to the next. Without
// it, no page could prove gone what ended while guestflow was not running: it
// would have no place in the list. An old one is safe, as if the pages since then
// had never been read; a wrong one is contradicted.
type keptOrder struct {
	// Sessions, in the list's order.
	Sessions []string
	// Spans are pairs of milliseconds before the order was kept, Marks which of
	// them each session's ordered, up and down are.
	Spans [][2]int64
	Marks [][3]int
}

const (
	orderKey    = "account.order"
	orderSaving = 15 * time.Second
)

// keep returns the order; empty where it is not known.
func (r *roster) keep(now time.Time) keptOrder {
	var k keptOrder
	if !r.complete {
		return k
	}
	t := r.seconds(now)
	k.Sessions, k.Marks = make([]string, 0, r.ring.n), make([][3]int, 0, r.ring.n)
	numbers := make(map[span]int)
	mark := func(s span) int {
		n, ok := numbers[s]
		if !ok {
			n = len(k.Spans)
			numbers[s] = n
			// Wider rather than narrower: that proves less.
			k.Spans = append(k.Spans, [2]int64{int64(math.Ceil(1000 * (t - s.sent))), int64(math.Floor(1000 * (t - s.came)))})
		}
		return n
	}
	for _, b := range r.ring.blocks {
		for _, e := range b.entries {
			k.Sessions = append(k.Sessions, e.id)
			k.Marks = append(k.Marks, [3]int{mark(e.ordered), mark(e.up), mark(e.down)})
		}
	}
	return k
}

// restore puts the sessions that are known still in the order of a former process.
// Pages have to agree with it before it proves anything.
func (r *roster) restore(k keptOrder) {
	if len(k.Marks) != len(k.Sessions) {
		return
	}
	spans := make([]span, len(k.Spans))
	for i, s := range k.Spans {
		spans[i] = span{-float64(s[0]) / 1000, -max(0, float64(s[1])) / 1000}
	}
	for i, id := range k.Sessions {
		e, m := r.entries[id], k.Marks[i]
		if e == nil || e.block != nil || slices.Min(m[:]) < 0 || slices.Max(m[:]) >= len(spans) {
			continue
		}
		r.ring.insert(e, r.ring.last())
		delete(r.loose, e)
		e.ordered, e.up, e.down = spans[m[0]], spans[m[1]], spans[m[2]]
		e.placed = e.ordered
	}
	r.complete = r.ring.n > 0
}

// saveOrder remembers the order, now and then and at the end, where anybody was put
// in or taken out since.
func (p *Poller) saveOrder(now time.Time, atEnd bool) error {
	changes := p.roster.ring.changes
	if changes == p.orderChanges || !atEnd && now.Sub(p.orderAt) < orderSaving {
		return nil
	}
	p.orderAt, p.orderChanges = now, changes
	return p.remember(orderKey, p.roster.keep(now))
}

// recallOrder takes the order of a former process.
func (p *Poller) recallOrder() error {
	var k keptOrder
	if err := p.recall(orderKey, &k); err != nil {
		return err
	}
	p.roster.restore(k)
	p.orderChanges = p.roster.ring.changes
	return nil
}
