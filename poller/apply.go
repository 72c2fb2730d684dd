package poller

import (
	"math"

	"github.com/guestflow/guestflow/events"
)

// apply keeps the roster and the learned rates in step with what was committed.
func (k *ledger) apply(changes []events.Event, m timing) {
	k.prune(m.sent)
	for i := range changes {
		e := &changes[i]
		s := &e.Data.Session
		switch {
		case e.Kind.Arrival():
			location := k.location(s.LocationID, s.LocationName)
			entry := k.roster.add(s.ID, location, s.StartedAt, m)
			if !s.StartedAt.IsZero() && s.StartedAt.Before(m.from.Add(-mostLag)) && e.Kind == events.Discovered {
				entry.entered = math.Inf(-1) // No answer is of before its start.
			}
			if e.Kind != events.Discovered && !e.Data.Observed.Backfilled {
				k.rates().Started(&location.Location, k.Clock.Now())
			}
			if e.Kind == events.Resumed {
				k.checks.returned(s.ID)
			}
		case e.Kind == events.Ended:
			if k.Sightings != nil {
				k.Sightings.Gone(s.ID)
			}
			k.roster.parted[s.ID] = k.roster.rows.Seconds(m.came)
			if entry := k.roster.find(s.ID); entry != nil {
				if !k.ofPast(s) {
					k.roster.track.Ended(&entry.Row, m.sent, k.Clock.Now())
				}
				k.checks.departed(entry, m, e.Data.Observed.Proof)
				k.roster.remove(s.ID)
			}
		case e.Kind == events.Updated && e.Data.Previous != nil && e.Data.Previous.LocationID != nil:
			k.roster.move(s.ID, k.location(s.LocationID, s.LocationName))
		}
	}
}

// ofPast reports whether a session ended before tracking began. Backfills tell of many at
// once, whose ends are not those of a time.
func (k *ledger) ofPast(s *events.Session) bool {
	return !s.EndedAt.IsZero() && s.EndedAt.Before(k.wide.Since)
}

// touch keeps the roster in step with the sessions that were shown.
func (k *ledger) touch(shown []events.Session, m timing) {
	for i := range shown {
		if e := k.roster.find(shown[i].ID); e != nil && shown[i].Online {
			k.caughtUp(e, &shown[i], m)
			k.roster.touch(e, shown[i].StartedAt, m)
			e.read(&shown[i])
		}
	}
}

// attend notes what an answer says of who is at which address, and of who is online by
// that.
func (k *ledger) attend(ev *evidence) {
	if ev.scope != ofHistory {
		k.checks.audit(ev.sessions, ev.timing)
	}
	k.checks.locate(ev.sessions)
	for _, present := range ev.present {
		if e := present.of; k.roster.find(e.ID) == e {
			k.roster.touch(e, e.Start, timing{sent: present.at, came: ev.came})
		}
	}
}

// learnRoaming notes when a session id turns up in another location: from then
// on a location's list no longer proves an end, and missing sessions are
// verified.
func (k *account) learnRoaming(changes []events.Event) error {
	if k.roaming {
		return nil
	}
	for i := range changes {
		d := &changes[i].Data
		previous := d.Previous
		if previous == nil || previous.LocationID == nil {
			continue
		}
		k.roaming = true
		k.Logger.Warn("a session moved to another location under its id: from now on each missing session is verified before it counts as ended",
			"session", d.Session.ID, "from", *previous.LocationID, "to", d.Session.LocationID)
		return k.remember(roamingKey, true)
	}
	return nil
}

const roamingKey = "platform.roaming"
