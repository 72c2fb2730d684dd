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
// roster. When they were seen is not known to the minute; that they are old
// makes them urgent.
func (k *account) enrol() error {
	seen := k.begun.Add(-time.Minute)
	err := k.Store.All(func(s events.State) bool {
		if location := k.watched.byID[s.Session.LocationID]; location != nil || len(k.Locations) == 0 {
			e := k.roster.add(s.Session.ID, k.location(s.Session.LocationID, s.Session.LocationName), s.Session.StartedAt, timing{sent: seen, came: seen})
			e.in[ofAccount].placed = true
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
func (k *account) saveRates(now time.Time, atEnd bool) error {
	if !k.rates().News() || !atEnd && now.Sub(k.memorised) < ratesSaving {
		return nil
	}
	k.memorised = now
	return k.remember(ratesKey, k.rates().Remember(k.watched.plan))
}

// provenAt yields the entries that a page of a location's list showed if they were
// online there.
func (k *account) provenAt(id string, reading order.Reading) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for e := range k.roster.at(k.watched.byID[id]) {
			if (reading.Whole || k.keepsPosition(e) && reading.Proves(e.Start)) && !yield(e) {
				return
			}
		}
	}
}

// keepsPosition reports whether a page of a location may judge a session by its start:
// either list has shown it in its position, and neither out of it.
func (k *account) keepsPosition(e *entry) bool {
	inAccount, inLocation := e.in[ofAccount], e.in[ofLocation]
	return k.startsTell() && !inAccount.displaced && !inLocation.displaced && (inAccount.placed || inLocation.placed)
}

// startsTell reports whether starts may say where sessions stand in a location's
// list: never while the account's list contradicts that order.
func (k *account) startsTell() bool {
	return k.accountList.Established() || k.accountList.Contradictions == 0
}

// notePositions notes which sessions of a page stood in their position in its list.
func (k *account) notePositions(reading order.Reading, ev *evidence) error {
	if reading.Contradicted || ev.scope != ofAccount && ev.scope != ofLocation {
		return nil
	}
	news := false
	for _, id := range reading.Displaced {
		e := k.roster.entries[id]
		switch {
		case e == nil || e.Start.IsZero() || e.in[ev.scope].displaced:
		case ev.scope == ofAccount:
			k.roster.displace(e)
			news = true
		default:
			e.in[ofLocation].displaced = true
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
		if e.in[ofAccount].displaced {
			displaced = append(displaced, e.ID)
		}
	}
	slices.Sort(displaced)
	return k.remember(displacedKey, displaced)
}

// wantedOf drops the sessions of locations that are not configured.
func (k *account) wantedOf(sessions []events.Session) []events.Session {
	if len(k.Locations) == 0 {
		return sessions
	}
	var wanted []events.Session
	for i := range sessions {
		location := k.watched.byID[sessions[i].LocationID]
		if location != nil && (!location.leaving || k.roster.entries[sessions[i].ID] != nil) {
			wanted = append(wanted, sessions[i])
		}
	}
	return wanted
}

// tracking of a location: its own, or that of the whole account.
func (k *account) tracking(location string) diff.Tracking {
	t := k.wide
	if location, ok := k.watched.byID[location]; ok && !location.tracking.Since.IsZero() {
		t = location.tracking
	}
	return t
}

// fresh drops the sessions of which an answer is known already that may be newer
// than one whose request was sent at a time.
func (k *account) fresh(sessions []events.Session, sent time.Time) []events.Session {
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
func (k *account) part(id string, came time.Time) {
	if len(k.requests.underWay)+len(k.watched.read) == 0 {
		clear(k.roster.parted)
		return
	}
	k.roster.parted[id] = k.roster.rows.Seconds(came)
}
