package visit

import (
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/visits"
)

func (r *Reducer) publishStart(a *account, v *open, e *events.Event) {
	if e.Data.Guest != nil && a.wanting[v.id.short()] == v {
		a.named[v] = e.Data.Guest
	}
	r.publish(a, v, visits.Event{Kind: visits.Started, Time: fromMillis(v.started), Data: visits.Data{
		Guest:    e.Data.Guest,
		Observed: visits.Observed{At: e.Data.Observed.At, NotYetAt: e.Data.Observed.NotYetAt},
	}})
}

func (r *Reducer) publishStay(a *account, v *open, threshold time.Duration) {
	r.publish(a, v, visits.Event{Kind: visits.Stayed, Time: fromMillis(v.started).Add(threshold), Data: visits.Data{
		ThresholdSeconds: int64(threshold / time.Second),
		Observed:         visits.Observed{At: r.now(a)},
	}})
}

func (r *Reducer) publishEnd(a *account, v *open) {
	end := ends[v.end]
	o := visits.Observed{At: r.now(a), End: end}
	if end != events.EndReported && v.certain < v.ended {
		o.NotYetAt = fromMillis(v.certain)
	}
	r.publish(a, v, visits.Event{Kind: visits.Ended, Time: fromMillis(v.ended), Data: visits.Data{Observed: o}})
}

// publishCount tells what was not known when the guest came.
func (r *Reducer) publishCount(a *account, v *open) {
	r.publish(a, v, visits.Event{Kind: visits.Counted, Time: fromMillis(v.started), Data: visits.Data{
		Guest: a.named[v], Observed: visits.Observed{At: r.now(a)},
	}})
	a.answered(v)
}

func (r *Reducer) publishLapse(a *account, v *open) {
	r.publish(a, v, visits.Event{Kind: visits.Lapsed, Time: fromMillis(v.ended).Add(r.rules.Lapsed), Data: visits.Data{
		ThresholdSeconds: int64(r.rules.Lapsed / time.Second),
		Observed:         visits.Observed{At: r.now(a), End: ends[v.end]},
	}})
}

// now is the time by which what is decided is certain.
func (r *Reducer) now(a *account) time.Time {
	if !r.clock.IsZero() {
		return r.clock
	}
	return fromMillis(max(a.watermark, r.seen))
}

// publish fills in the visit and hands the event out.
func (r *Reducer) publish(a *account, v *open, e visits.Event) {
	v.revision++
	e.Account = a.name
	e.Data.Revision = int64(v.revision)
	at := e.Time
	if e.Kind == visits.Lapsed {
		at = fromMillis(v.ended)
	}
	e.Data.Visit = v.describe(at)
	if e.Kind == visits.Ended || e.Kind == visits.Lapsed {
		e.Data.Visit.EndedAt = at
	}
	r.out = append(r.out, Output{Event: e.Sealed(), Input: r.sequence, Clock: r.clock, Answer: r.answer})
}

// describe returns the visit as of a time.
func (v *open) describe(at time.Time) visits.Visit {
	out := visits.Visit{
		ID: v.id.String(), Place: v.place.name, LocationID: v.at.id, LocationName: v.at.name, Locations: []string{v.at.id},
		Identity: visits.BySession, GuestID: v.guest, DeviceMAC: v.device, Arrival: arrivals[v.arrival],
		Number: int64(v.number), First: certainties[v.first],
		StartedAt: fromMillis(v.started), DurationSeconds: max(0, int64(at.Sub(fromMillis(v.started))/time.Second)),
		Devices: v.devices(), Sessions: int64(v.sessions), DownloadedBytes: v.down, UploadedBytes: v.up,
	}
	if v.days >= 0 {
		days := int64(v.days)
		out.DaysSinceLast = &days
	}
	if v.place.group {
		out.Group = v.place.name
	}
	switch {
	case v.guest != "":
		out.Identity = visits.ByGuest
	case v.device != "":
		out.Identity = visits.ByDevice
	}
	if v.more != nil && len(v.more.locations) > 0 {
		out.Locations = out.Locations[:0]
		for _, l := range v.more.locations {
			out.Locations = append(out.Locations, l.id)
		}
	}
	return out
}
