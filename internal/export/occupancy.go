package export

import (
	"cmp"
	"context"
	"hash/maphash"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/consume"
)

// Hour is a row of the table of occupancy: one location in one hour. Hours in which
// nobody was there have none.
type Hour struct {
	Account      string `parquet:"account,dict"`
	LocationID   string `parquet:"location_id,dict"`
	LocationName string `parquet:"location_name,dict,optional"`
	Hour         int64  `parquet:"hour,timestamp(microsecond)"` // when it began, UTC
	// Arrivals and Departures are sessions that were seen to start and to end in it.
	Arrivals   int64 `parquet:"arrivals"`
	Departures int64 `parquet:"departures"`
	// Peak and Mean are of sessions online at a time.
	Peak int64   `parquet:"peak_online"`
	Mean float64 `parquet:"mean_online"`
	// Sessions and Guests were online at any time in it; guests by guest_id, else device,
	// else session.
	Sessions int64 `parquet:"sessions"`
	Guests   int64 `parquet:"guests"`
}

// presence is a stretch of time that a session was online at a location, in
// microseconds.
type presence struct {
	from, to int64 // to is farFuture while it lasts
	guest    uint64
	seen     bool // its start is an arrival: not discovered, and not a move
	leaves   bool // its end is a departure: not a move
}

const farFuture = 1<<63 - 1

// site is a location of an account.
type site struct {
	account, location string
}

// stays folds events into presences.
type stays struct {
	seed   maphash.Seed
	online map[site]stay // by account and session
	sites  map[site]*area
}

// stay is a session that is online.
type stay struct {
	location string
	presence presence
}

type area struct {
	name string
	past []presence
}

// step is what an event changes of who is where.
type step struct {
	kind             events.Kind
	account, session string
	location, name   string
	guest, device    string
	at, start        int64
	// knownFrom is from when on the event tells of what was: one that was discovered may
	// have begun long before, when others had been there too.
	knownFrom int64
}

// stepOf reads an event. A session that was discovered has been there since its start, as
// the platform tells it.
func stepOf(e *events.Event) step {
	s := &e.Data.Session
	c := step{
		kind: e.Kind, account: e.Account, session: s.ID, location: s.LocationID, name: s.LocationName, guest: s.GuestID, device: s.DeviceMAC,
		at: micros(e.Time), start: micros(s.StartedAt), knownFrom: micros(e.Time),
	}
	if e.Kind == events.Discovered {
		c.knownFrom = micros(e.Data.Observed.At)
	}
	return c
}

func (t *stays) apply(c *step) {
	key := site{c.account, c.session}
	was, known := t.online[key]
	switch {
	case c.kind == events.Ended:
		if !known { // its arrival has left the stream
			was = stay{c.location, presence{from: cmp.Or(c.start, c.at), guest: t.who(c)}}
		}
		was.presence.to, was.presence.leaves = max(c.at, was.presence.from), true
		delete(t.online, key)
		t.leave(c, was)
	case !known:
		from := c.at
		if c.kind == events.Discovered && c.start > 0 {
			from = c.start
		}
		t.online[key] = stay{c.location, presence{from: from, to: farFuture, guest: t.who(c), seen: c.kind == events.Started || c.kind == events.Resumed}}
	case was.location != c.location: // it moved
		was.presence.to = max(c.at, was.presence.from)
		t.leave(c, was)
		t.online[key] = stay{c.location, presence{from: c.at, to: farFuture, guest: t.who(c)}}
	}
	t.area(site{c.account, c.location}).name = c.name
}

func (t *stays) who(c *step) uint64 {
	return maphash.Comparable(t.seed, [2]string{c.account, cmp.Or(c.guest, c.device, c.session)})
}

func (t *stays) leave(c *step, s stay) {
	a := t.area(site{c.account, s.location})
	a.past = append(a.past, s.presence)
}

func (t *stays) area(of site) *area {
	a := t.sites[of]
	if a == nil {
		a = new(area)
		t.sites[of] = a
	}
	return a
}

// hours are the rows of the hours of the range.
func (t *stays) hours(from, to time.Time, put func([]Hour) error) error {
	for key, s := range t.online {
		a := t.area(site{key.account, s.location})
		a.past = append(a.past, s.presence)
	}
	order := slices.SortedFunc(maps.Keys(t.sites), func(a, b site) int {
		return cmp.Or(cmp.Compare(a.account, b.account), cmp.Compare(a.location, b.location))
	})
	for _, of := range order {
		a := t.sites[of]
		if err := put(a.hours(of, micros(from), micros(to))); err != nil {
			return err
		}
		a.past = nil
	}
	return nil
}

const anHour = int64(time.Hour / time.Microsecond)

// hours goes through the presences by start, and keeps those that reach on.
func (a *area) hours(of site, from, to int64) (rows []Hour) {
	slices.SortFunc(a.past, func(x, y presence) int { return cmp.Compare(x.from, y.from) })
	var here []presence
	next := 0
	for hour := from; hour < to; hour += anHour {
		end := hour + anHour
		here = slices.DeleteFunc(here, func(p presence) bool { return p.to < hour })
		for ; next < len(a.past) && a.past[next].from < end; next++ {
			if a.past[next].to >= hour {
				here = append(here, a.past[next])
			}
		}
		if len(here) == 0 {
			if next == len(a.past) {
				return rows
			}
			hour = max(hour, a.past[next].from/anHour*anHour-anHour) // to the next presence
			continue
		}
		row := hourly(here, hour, end)
		row.Account, row.LocationID, row.LocationName = of.account, of.location, a.name
		rows = append(rows, row)
	}
	return rows
}

// hourly counts an hour.
func hourly(here []presence, hour, end int64) Hour {
	row := Hour{Hour: hour, Sessions: int64(len(here))}
	type turn struct{ at, by int64 }
	turns := make([]turn, 0, 2*len(here))
	guests := make([]uint64, 0, len(here))
	var online int64 // microseconds
	for _, p := range here {
		from, to := max(p.from, hour), min(p.to, end)
		online += to - from
		turns = append(turns, turn{from, 1}, turn{to, -1})
		guests = append(guests, p.guest)
		if p.seen && p.from >= hour {
			row.Arrivals++
		}
		if p.leaves && p.to < end {
			row.Departures++
		}
	}
	// Of two at one moment, who goes makes room for who comes.
	slices.SortFunc(turns, func(a, b turn) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.by, b.by)) })
	var now int64
	for _, t := range turns {
		now += t.by
		row.Peak = max(row.Peak, now)
	}
	slices.Sort(guests)
	row.Guests = int64(len(slices.Compact(guests)))
	row.Mean = float64(online) / float64(anHour)
	return row
}

// Occupancy writes the hours that are complete: those that end at the watermark or
// before. It reads all of the stream, since who came before the range may be there in it.
// To go on later, ask from CompleteUntil on.
func Occupancy(ctx context.Context, stream jetstream.Stream, r Request, out io.Writer) (Report, error) {
	report := Report{Table: "occupancy"}
	complete, err := r.completeUntil(ctx, stream)
	if err != nil {
		return report, err
	}
	report.CompleteUntil = complete.Truncate(time.Hour)
	t := stays{maphash.MakeSeed(), map[site]stay{}, map[site]*area{}}
	var filters []string
	for _, k := range []events.Kind{events.Discovered, events.Started, events.Updated, events.Ended, events.Resumed} {
		filters = append(filters, r.Sessions.Filter(r.Account, "", k)) // of all locations: sessions move
	}
	first := int64(farFuture)
	report.LastSequence, report.Unreadable, err = read(ctx, stream, consume.FromStart(), filters,
		func(m jetstream.Msg, _ *jetstream.MsgMetadata) (step, bool) {
			e, err := events.Decode(m.Data())
			return stepOf(&e), err == nil
		}, func(steps []step) error {
			for i := range steps {
				t.apply(&steps[i])
				first = min(first, steps[i].knownFrom)
			}
			return nil
		})
	if err != nil {
		return report, err
	}
	from, to := r.Since.Truncate(time.Hour), report.CompleteUntil
	if first < farFuture && time.UnixMicro(first).After(from) { // before the stream's first event nothing is known of who had left
		from = time.UnixMicro(first).UTC().Truncate(time.Hour)
	}
	if !r.Until.IsZero() && r.Until.Before(to) {
		to = r.Until.Truncate(time.Hour)
	}
	if r.K > 1 {
		report.K = r.K
	}
	return report, written(out, r.Format, &report, func(put func([]Hour) error) error {
		return t.hours(from, to, func(rows []Hour) error { return put(r.shown(rows, &report)) })
	})
}

// shown leaves out other locations, and hours that too few guests stand behind: coarser
// than one location in one hour, occupancy would say nothing.
func (r *Request) shown(rows []Hour, report *Report) []Hour {
	return slices.DeleteFunc(rows, func(h Hour) bool {
		if r.Location != "" && h.LocationID != r.Location || !r.in(h.Account, h.LocationID) {
			return true
		}
		if r.K > 1 && h.Guests < int64(r.K) {
			report.LeftOut++
			return true
		}
		return false
	})
}
