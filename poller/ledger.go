package poller

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/order"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/store"
)

// ledger is what is known of the account: who is online where, how its lists are
// sorted, who is missing, whose end waits. Whatever a look showed comes in by take,
// and by nothing else.
type ledger struct {
	*Settings
	requests *requests
	begun    time.Time // local clock
	places   places
	roster   *roster
	// What is known of the order of each kind of list: a filter may change it.
	online, venues, past order.List
	remembered           order.Direction // of online
	// wide is the tracking of the account as a whole.
	wide    diff.Tracking
	roaming bool     // sessions move from location to location
	probe   probe    // of the history
	history past     // from before tracking began
	missing []string // sessions that lists failed to show, without proof that they are gone
	hidden  float64  // the part of the list that its last reading of several pages did not show
	held    map[string]*heldEnd
	checks  checks // by address
	// planned is the newest decision: what it says of price and age holds until the
	// next.
	planned plan.Decision
	whole   bool  // one page is all of the list
	full    error // the outbox's, while it takes nothing
	// publish makes the status visible; called where polling stands still.
	publish      func(time.Time)
	tended       time.Time // local clock: when the ages of all places were last worked out
	memorised    time.Time // local clock: when rates were remembered
	historySaved time.Time // local clock
}

func newLedger(s *Settings, q *requests) *ledger {
	begun := s.Clock.Now()
	return &ledger{
		Settings: s, requests: q, begun: begun, memorised: begun,
		places: newPlaces(), roster: newRoster(plan.NewTrack(begun), s.Clock.Now), held: make(map[string]*heldEnd),
	}
}

func (k *ledger) rates() *plan.Rates { return k.roster.track.Rates }

// place returns the place with an id, new if need be.
func (k *ledger) place(id, name string) *place {
	place, ok := k.places.byID[id]
	if !ok {
		place = k.places.add(k.rates().Location(id, k.Clock.Now()))
	}
	if name != "" {
		place.name = name
	}
	return place
}

// recallAll reads what former processes learned of the platform.
func (k *ledger) recallAll() error {
	if err := k.recall(roamingKey, &k.roaming); err != nil {
		return err
	}
	if err := k.recall(wideKey, &k.wide); err != nil {
		return err
	}
	if err := k.recall(probeKey, &k.probe); err != nil {
		return err
	}
	if err := k.recall(addressesKey, &k.checks.Capability); err != nil {
		return err
	}
	var rates plan.Memory
	if err := k.recall(ratesKey, &rates); err != nil {
		return err
	}
	k.rates().Recall(rates)
	if err := k.recall(orderKey, &k.remembered); err != nil {
		return err
	}
	if err := k.recall(pastKey, &k.history); err != nil {
		return err
	}
	k.online.Expect(k.remembered)
	k.past.Expect(k.probe.Direction)
	k.probe.sought = k.probe.Date != ""
	k.probe.resumed = k.probe.sought
	return nil
}

// enrol puts the sessions that were online when the last process ended on the
// roster. When they were seen is not known to the minute; that they are old
// makes them urgent.
func (k *ledger) enrol() error {
	seen := k.begun.Add(-time.Minute)
	err := k.Store.All(func(s events.State) bool {
		if place := k.places.byID[s.Session.LocationID]; place != nil || len(k.Locations) == 0 {
			e := k.roster.add(s.Session.ID, k.place(s.Session.LocationID, s.Session.LocationName), s.Session.StartedAt, moment{sent: seen, came: seen})
			e.in[account].placed = true
			e.read(&s.Session)
			if a := k.addressOf(&s.Session); a.IsValid() {
				k.roster.book.enter(e, a)
			}
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("reading the sessions that are online: %w", err)
	}
	var displaced []string
	if err := k.recall(displacedKey, &displaced); err != nil {
		return err
	}
	for _, id := range displaced {
		if e := k.roster.entries[id]; e != nil {
			k.roster.displace(e)
		}
	}
	return nil
}

// adopt takes the configured locations. Known ones that are left out are watched
// until all their sessions have ended.
func (k *ledger) adopt(configured []string, known []store.LocationInfo) {
	for _, id := range configured {
		k.place(id, "")
	}
	for _, l := range known {
		if k.places.byID[l.ID] == nil && l.Online > 0 {
			k.place(l.ID, l.Name).leaving = true
			k.Logger.Warn("a location with online sessions is no longer configured: it is watched until they have ended, and nobody else is told of",
				"location", l.ID, "online", l.Online)
		}
	}
}

func (k *ledger) remember(key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if err := k.Store.Put(key, b); err != nil {
		return fmt.Errorf("remembering %s: %w", key, err)
	}
	return nil
}

// recall reads what remember wrote; what cannot be read counts as never learned.
func (k *ledger) recall(key string, v any) error {
	b, err := k.Store.Get(key)
	if err != nil {
		return fmt.Errorf("recalling %s: %w", key, err)
	}
	if len(b) > 0 && json.Unmarshal(b, v) != nil {
		k.Logger.Warn("what was learned earlier cannot be read and is learned anew", "what", key)
	}
	return nil
}

// tend brings what is known of each location up to date: everything that came
// before at is known, and each location is as old as the session of it that was
// seen least lately.
func (k *ledger) tend(now, at time.Time) {
	for _, place := range k.places.all {
		k.rates().PassAt(&place.Location, now)
		place.lately = at
	}
	k.roster.each(func(e *entry) {
		if e.Seen.Before(e.place.lately) {
			e.place.lately = e.Seen
		}
	})
	for _, place := range k.places.all {
		if place.lately.After(place.SeenAt) {
			place.SeenAt = place.lately
		}
	}
}

// displacedKey names the sessions that stand out of the list's order, so that no
// process takes them for gone.
const displacedKey = "account.displaced"

// wideKey names the tracking of the account as a whole: a location that turns up
// later is new, not found.
const wideKey = "account.tracking"

const (
	ratesKey    = "account.rates"
	ratesSaving = 30 * time.Minute
)

// saveRates remembers what is usual, now and then and at the end, where anybody
// came or went since.
func (k *ledger) saveRates(now time.Time, atEnd bool) error {
	if !k.rates().News() || !atEnd && now.Sub(k.memorised) < ratesSaving {
		return nil
	}
	k.memorised = now
	return k.remember(ratesKey, k.rates().Remember(k.places.plan))
}
