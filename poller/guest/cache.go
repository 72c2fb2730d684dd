package guest

import (
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/budget"
)

// The cache of confirmed guests, in memory alone: by guest_id, which unlike an
// address is the guest's own, so an entry cannot name somebody else.
const (
	guestsKept    = 10_000
	guestsKeptFor = time.Hour // then a name or e-mail that changed is seen
)

// guestCache is bounded by two generations: when the newer one is full, the older
// one is dropped.
type guestCache struct{ newer, older map[string]knownGuest }

type knownGuest struct {
	guest events.Guest
	until time.Time
}

func (c *guestCache) get(clock budget.Clock, id string) (events.Guest, bool) {
	k, ok := c.newer[id]
	if !ok {
		k, ok = c.older[id]
	}
	return k.guest, ok && clock.Now().Before(k.until)
}

func (c *guestCache) put(clock budget.Clock, id string, guest events.Guest) {
	if id == "" {
		return
	}
	if len(c.newer) >= guestsKept/2 {
		c.newer, c.older = nil, c.newer
	}
	if c.newer == nil {
		c.newer = make(map[string]knownGuest)
	}
	c.newer[id] = knownGuest{guest, clock.Now().Add(guestsKeptFor)}
}
