package poller

import (
	"fmt"
	"math"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/order"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/store"
)

// account is who is online where, and how the platform lists them.
type account struct {
	*Settings
	requests *requests
	begun    time.Time // local clock
	watched  locations
	roster   *roster
	// What is known of the order of the lists of sessions online: the account's, and
	// those of locations. A filter may change it.
	accountList, locationLists order.List
	remembered                 order.Direction // of online
	// wide is the tracking of the account as a whole.
	wide      diff.Tracking
	unread    []platform.Skip // of the reading that this began with
	lag       lag
	savedLag  lag       // as it is remembered
	shifted   time.Time // local clock: when starts were last seen changed; see shift
	roaming   bool      // sessions move from location to location
	tended    time.Time // local clock: when the ages of all locations were last worked out
	memorised time.Time // local clock: when rates were remembered
}

func newAccount(s *Settings, q *requests) *account {
	begun := s.Clock.Now()
	return &account{
		Settings: s, requests: q, begun: begun, memorised: begun,
		watched: newLocations(), roster: newRoster(plan.NewTrack(begun), s.Clock.Now),
	}
}

func (k *account) rates() *plan.Rates { return k.roster.track.Rates }

// location returns the location with an id, new if need be.
func (k *account) location(id, name string) *location {
	location, ok := k.watched.byID[id]
	if !ok {
		location = k.watched.add(k.rates().Location(id, k.Clock.Now()))
	}
	if name != "" {
		location.name = name
	}
	return location
}

// enrol puts the sessions that were online when the last process ended on the
// roster, as seen a round of the list ago, with the probes beside it: as long ago as
// those whose turn it is. What has passed since makes all of them older alike. Counted,
// it would make them overdue, and be asked about one by one, before the sweep had a
// chance to be by. Were they younger, a page would seem to bring so little that ends
// were held back for the platform's figures.
func (k *account) enrol(online int) error {
	_, limit := k.Budgets[platform.Sessions].Used(k.begun)
	pages := float64(online) / plan.MaxPerPage
	round := (pages + math.Sqrt(pages)) * budget.Window.Seconds() / float64(limit)
	seen := k.begun.Add(-time.Millisecond - seconds(round))
	if err := k.recallShift(); err != nil {
		return err
	}
	err := k.Store.All(func(s events.State) bool {
		if location := k.watched.byID[s.Session.LocationID]; location != nil || len(k.Locations) == 0 {
			e := k.roster.add(s.Session.ID, k.location(s.Session.LocationID, s.Session.LocationName), s.Session.StartedAt, timing{sent: seen, came: seen})
			e.in[ofAccount].placed = k.startStays(&s)
			// No answer is of before its start; but that may be told on another clock.
			e.entered = min(k.roster.rows.Seconds(s.Session.StartedAt), k.roster.rows.Seconds(k.begun))
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
	if err := k.recall(lagKey, &k.lag); err != nil {
		return err
	}
	k.savedLag = k.lag
	var displaced []string
	if err := k.recall(displacedKey, &displaced); err != nil {
		return err
	}
	for _, id := range displaced {
		if e := k.roster.find(id); e != nil {
			k.roster.displace(e)
		}
	}
	return nil
}

// adopt takes the configured locations. Known ones that are left out are watched
// until all their sessions have ended.
func (k *account) adopt(configured []string, known []store.LocationInfo) {
	for _, id := range configured {
		k.location(id, "")
	}
	for _, l := range known {
		if k.watched.byID[l.ID] == nil && l.Online > 0 {
			k.location(l.ID, l.Name).leaving = true
			k.Logger.Warn("a location with online sessions is no longer configured: it is watched until they have ended, and nobody else is told of",
				"location", l.ID, "online", l.Online)
		}
	}
}

// tend brings what is known of each location up to date: everything that came
// before at is known, and each location is as old as the session of it that was
// seen least lately.
func (k *account) tend(now, at time.Time) {
	for _, location := range k.watched.all {
		k.rates().PassAt(&location.Location, now)
		location.lately = at
	}
	k.roster.each(func(e *entry) {
		if e.Seen.Before(e.at.lately) {
			e.at.lately = e.Seen
		}
	})
	for _, location := range k.watched.all {
		if location.lately.After(location.SeenAt) {
			location.SeenAt = location.lately
		}
	}
}

// wideKey names the tracking of the account as a whole: a location that turns up
// later is new, not found.
const wideKey = "account.tracking"

const (
	ratesKey    = "account.rates"
	ratesSaving = 30 * time.Minute
)

// saveRates remembers what is usual, now and then and at the end, where anybody
// came or went since.
func (k *account) saveRates(now time.Time, atEnd bool) error {
	if !k.rates().News() || !atEnd && now.Sub(k.memorised) < ratesSaving {
		return nil
	}
	k.memorised = now
	return k.remember(ratesKey, k.rates().Remember(k.watched.plan))
}
