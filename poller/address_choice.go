package poller

import (
	"math"
	"net/netip"
	"time"

	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
)

const (
	// askAboutAgain is how long ago a session was asked about at least that no answer has
	// shown since, in seconds.
	askAboutAgain = 5
)

// choose chooses what the next request asks: whom one reply did not show, who is
// missing in lists, some who have ended, and then those of whom the answer brings most.
// It opens the blocks of rows in the order of what they can bring at most, until
// those left can bring no more than what was found.
func (c *checks) choose(now time.Time) {
	t := c.roster.rows.Seconds(now)
	c.chosen, c.gain, c.chosenAt = c.chosen[:0], 0, now
	c.settleDoubts(now)
	proof := c.Established()
	if proof {
		c.chooseSuspects(t)
	}
	c.chooseFormers(t, proof)
	if room := platform.MaxIPs - len(c.chosen); room > 0 {
		c.chooseBest(now, room)
	}
	if len(c.chosen) < 2 {
		c.chosen = c.chosen[:0] // One alone proves nothing; see address.Believable.
	}
}

// weigh tells the strategy what addresses add: on a budget of their own, so many
// requests a second beside its own; on the same budget, what the next one would bring.
// What they tell is learned with few requests then.
func (c *checks) weigh(now time.Time, v *plan.View) {
	v.AddressGain, v.Beside = 0, 0
	if !c.on() {
		return
	}
	proof := c.Established()
	if c.beside() {
		if proof && v.Online > 0 {
			_, limit := c.Budgets[platform.Guests].Used(now)
			v.Beside = float64(limit) / budget.Window.Seconds() * float64(c.roster.book.askable) / float64(v.Online)
		}
		return
	}
	if now.Before(c.until) || !c.requests.beside(plan.Look{Kind: plan.Addresses}) || !proof && now.Sub(c.askedAt) < learningShare*seconds(1/v.Budget) {
		return
	}
	if c.choose(now); len(c.chosen) == 0 || !proof && len(c.chosen) < leastTaught {
		return
	}
	if v.AddressGain = c.gain; !proof {
		v.AddressGain = math.MaxFloat64 // It is their turn.
	}
}

func (c *checks) ask(e *entry) {
	c.chosen = append(c.chosen, question{address: e.address(), of: e})
}

// chooseSuspects takes whom one more reply can prove gone, and who is missing.
func (c *checks) chooseSuspects(t float64) {
	left := c.suspects[:0]
	for _, e := range c.suspects {
		from, ok := e.check.Suspect(c.rules())
		if c.roster.find(e.ID) != e || !ok || !e.askable() {
			continue
		}
		left = append(left, e)
		if t >= from && len(c.chosen) < platform.MaxIPs/2 {
			c.ask(e)
			c.gain += max(0, t-c.roster.rows.Seconds(e.Seen))
		}
	}
	clear(c.suspects[len(left):])
	c.suspects = left
	for _, id := range c.missing.ids[:min(len(c.missing.ids), platform.MaxIPs/2)] {
		e := c.roster.find(id)
		if e != nil && e.askable() && !c.asked(e, t) && !c.has(e) && len(c.chosen) < 3*platform.MaxIPs/4 {
			c.ask(e)
			c.gain += max(0, t-c.roster.rows.Seconds(e.Seen)) / 2
		}
	}
}

// chooseFormers takes some who have ended: many to learn, then one now and then.
func (c *checks) chooseFormers(t float64, proof bool) {
	most := formersShare
	if proof {
		most = 1
	}
	left := c.formers[:0]
	for _, f := range c.formers {
		if _, taken := c.roster.book.who(f.address); !taken && t-f.Ended.To <= keptFor && c.roster.find(f.id) == nil {
			left = append(left, f)
		}
	}
	c.formers = left
	for i, f := range c.formers {
		if most > 0 && t >= f.from && !c.hasAddress(f.address) {
			c.chosen = append(c.chosen, question{address: f.address, former: i})
			most--
		}
	}
}

// tells reports whether addresses tell soon when a session ends.
func (c *checks) tells(e *entry) bool {
	return c.on() && c.beside() && c.Established() && e.askable()
}

func (c *checks) has(e *entry) bool { return c.hasAddress(e.address()) }

func (c *checks) hasAddress(a netip.Addr) bool {
	for i := range c.chosen {
		if c.chosen[i].address == a {
			return true
		}
	}
	return false
}

// asked reports whether a session was asked about since it was seen, and a short while
// ago.
func (c *checks) asked(e *entry, t float64) bool {
	return e.check != nil && e.check.Asked > c.roster.rows.Seconds(e.Seen) && t-e.check.Asked < askAboutAgain
}

// chooseBest takes the sessions of which the answer brings most.
func (c *checks) chooseBest(now time.Time, room int) {
	t := c.roster.rows.Seconds(now)
	taken := make(map[*plan.Row]bool, len(c.chosen))
	for _, q := range c.chosen {
		if q.of != nil {
			taken[&q.of.Row] = true
		}
	}
	loose := func(yield func(*plan.Row) bool) {
		for e := range c.roster.loose {
			if !yield(&e.Row) {
				return
			}
		}
	}
	best, gain := c.asking.Best(now, c.roster.track, room, c.requests.pagesAsked(nil), loose, func(row *plan.Row) bool {
		return taken[row] || c.asked(c.roster.entry(row), t)
	})
	for _, row := range best {
		c.ask(c.roster.entry(row))
	}
	c.gain += gain
}
