package poller

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/order"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/store"
)

// estate is who is online where, and how the platform lists them.
type estate struct {
	*Settings
	requests *requests
	begun    time.Time // local clock
	places   places
	roster   *roster
	// What is known of the order of the lists of sessions online: the account's, and
	// those of locations. A filter may change it.
	online, venues order.List
	remembered     order.Direction // of online
	// wide is the tracking of the account as a whole.
	wide      diff.Tracking
	roaming   bool      // sessions move from location to location
	tended    time.Time // local clock: when the ages of all places were last worked out
	memorised time.Time // local clock: when rates were remembered
}

func newEstate(s *Settings, q *requests) *estate {
	begun := s.Clock.Now()
	return &estate{
		Settings: s, requests: q, begun: begun, memorised: begun,
		places: newPlaces(), roster: newRoster(plan.NewTrack(begun), s.Clock.Now),
	}
}

func (k *estate) rates() *plan.Rates { return k.roster.track.Rates }

// place returns the place with an id, new if need be.
func (k *estate) place(id, name string) *place {
	place, ok := k.places.byID[id]
	if !ok {
		place = k.places.add(k.rates().Location(id, k.Clock.Now()))
	}
	if name != "" {
		place.name = name
	}
	return place
}

// enrol puts the sessions that were online when the last process ended on the
// roster. When they were seen is not known to the minute; that they are old
// makes them urgent.
func (k *estate) enrol() error {
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
func (k *estate) adopt(configured []string, known []store.LocationInfo) {
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

// tend brings what is known of each location up to date: everything that came
// before at is known, and each location is as old as the session of it that was
// seen least lately.
func (k *estate) tend(now, at time.Time) {
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
func (k *estate) saveRates(now time.Time, atEnd bool) error {
	if !k.rates().News() || !atEnd && now.Sub(k.memorised) < ratesSaving {
		return nil
	}
	k.memorised = now
	return k.remember(ratesKey, k.rates().Remember(k.places.plan))
}

// provenAt yields the entries that a page of a location's list showed if they were
// online there.
func (k *estate) provenAt(id string, reading order.Reading) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for e := range k.roster.at(k.places.byID[id]) {
			if (reading.Whole || k.keepsPlace(e) && reading.Proves(e.Start)) && !yield(e) {
				return
			}
		}
	}
}

// keepsPlace reports whether a page of a location may judge a session by its start:
// either list has shown it in its place, and neither out of it.
func (k *estate) keepsPlace(e *entry) bool {
	inAccount, inLocation := e.in[account], e.in[location]
	return k.startsPlace() && !inAccount.displaced && !inLocation.displaced && (inAccount.placed || inLocation.placed)
}

// startsPlace reports whether starts may say where sessions stand in a location's
// list: never while the account's list contradicts that order.
func (k *estate) startsPlace() bool { return k.online.Established() || k.online.Contradictions == 0 }

// settlePlaces notes which sessions of a page stood in their place in its list.
func (k *estate) settlePlaces(reading order.Reading, ev *evidence) error {
	if reading.Contradicted || ev.scope != account && ev.scope != location {
		return nil
	}
	news := false
	for _, id := range reading.Displaced {
		e := k.roster.entries[id]
		switch {
		case e == nil || e.Start.IsZero() || e.in[ev.scope].displaced:
		case ev.scope == account:
			k.roster.displace(e)
			news = true
		default:
			e.in[location].displaced = true
		}
	}
	for i := range ev.sessions {
		if e := k.roster.entries[ev.sessions[i].ID]; e != nil {
			in := &e.in[ev.scope]
			in.placed = !in.displaced && (in.placed || !slices.Contains(reading.Doubtful, e.ID))
			in.writes = e.writes
		}
	}
	if !news {
		return nil
	}
	var displaced []string
	for e := range k.roster.loose {
		if e.in[account].displaced {
			displaced = append(displaced, e.ID)
		}
	}
	slices.Sort(displaced)
	return k.remember(displacedKey, displaced)
}

// wantedOf drops the sessions of locations that are not configured.
func (k *estate) wantedOf(sessions []events.Session) []events.Session {
	if len(k.Locations) == 0 {
		return sessions
	}
	var wanted []events.Session
	for i := range sessions {
		place := k.places.byID[sessions[i].LocationID]
		if place != nil && (!place.leaving || k.roster.entries[sessions[i].ID] != nil) {
			wanted = append(wanted, sessions[i])
		}
	}
	return wanted
}

// tracking of a location: its own, or that of the whole account.
func (k *estate) tracking(location string) diff.Tracking {
	t := k.wide
	if place, ok := k.places.byID[location]; ok && !place.tracking.Since.IsZero() {
		t = place.tracking
	}
	return t
}

// fresh drops the sessions of which an answer is known already that may be newer
// than one whose request was sent at a time.
func (k *estate) fresh(sessions []events.Session, sent time.Time) []events.Session {
	since := k.roster.rows.Seconds(sent)
	stale := func(s events.Session) bool {
		parted, ok := k.roster.parted[s.ID]
		e := k.roster.entries[s.ID]
		return e != nil && e.shown > since || ok && s.Online && parted > since
	}
	if !slices.ContainsFunc(sessions, stale) {
		return sessions
	}
	return slices.DeleteFunc(slices.Clone(sessions), stale)
}

// part remembers that a session had ended by a time, while answers may come that
// still show it.
func (k *estate) part(id string, came time.Time) {
	if len(k.requests.flights)+len(k.places.read) == 0 {
		clear(k.roster.parted)
		return
	}
	k.roster.parted[id] = k.roster.rows.Seconds(came)
}
