package platform

import (
	"sync"
	"time"

	"github.com/guestflow/guestflow/events"
)

// dialect is what pages showed of how the platform writes values that can be read
// in more than one way. It is safe for concurrent use, and forgotten at the end of
// the process: the first page shows it again.
type dialect struct {
	mu         sync.Mutex
	separators separators
	// days: a duration passed 24 hours, so durations do not wrap.
	days bool
	// east is the offset of times without a zone, where located is set.
	east    time.Duration
	located bool
}

// reading is a record as it was read by itself.
type reading struct {
	session    events.Session
	start, end moment
	short      string // a duration in one of two units
	doubtful   [2]string
	startText  string // samples of what is resolved later
	endText    string
	why        Skip // Field is empty for a record that is not skipped
}

// finish reads what the other records of a page decide, and sorts the records into
// sessions and those that are left out. at is the answer's Date; zero where it has
// none.
func (c *Client) finish(page *Page, all []reading, shown separators, at time.Time) {
	c.dialect.mu.Lock()
	defer c.dialect.mu.Unlock()
	c.dialect.separators = c.dialect.separators.and(shown)
	for i := range all {
		c.dialect.days = c.dialect.days || all[i].session.DurationSeconds >= day
	}
	c.dialect.locate(all, at)
	zone, name := c.zone(at)
	unread := (*tally)(&page.Unread)
	for i := range all {
		r := &all[i]
		c.doubtful(r, unread)
		s := &r.session
		s.StartedAt = c.inZone(r.start, zone, startName, r.startText, unread)
		s.EndedAt = c.inZone(r.end, zone, endName, r.endText, unread)
		if zone != nil && (r.start.local || r.end.local) {
			page.Zone = name
		}
		if s.Online {
			// Some platforms write the present time, or another, for none.
			s.EndedAt = time.Time{}
		}
		c.dialect.duration(r, at, unread)
		if r.why.Reason == "" {
			page.Sessions = append(page.Sessions, *s)
			continue
		}
		r.why.ID, r.why.LocationID, r.why.GuestID, r.why.YasID = s.ID, s.LocationID, s.GuestID, s.YasID
		r.why.DeviceMAC, r.why.StartedAt = s.DeviceMAC, s.StartedAt
		switch r.why.Field {
		case "id":
			r.why.ID = ""
		case "location_id":
			r.why.LocationID = ""
		}
		page.Skipped = append(page.Skipped, r.why)
	}
}

// doubtful reads the figures whose separator can be told only by others.
func (c *Client) doubtful(r *reading, unread *tally) {
	for i, f := range []struct {
		to    *events.Bytes
		field string
	}{{&r.session.Downloaded, downloadedName}, {&r.session.Uploaded, uploadedName}} {
		if r.doubtful[i] == "" {
			continue
		}
		b, _, _, err := parseFigure(r.doubtful[i], c.cfg.ByteBase, c.dialect.separators)
		if err != nil {
			unread.add(f.field, clipped(r.doubtful[i]), 1)
		}
		*f.to = b
	}
}

func (c *Client) inZone(m moment, zone *time.Location, field, sample string, unread *tally) time.Time {
	if m.local && zone == nil {
		unread.add(field, sample, 1)
		return time.Time{}
	}
	return m.in(zone)
}

const (
	// leastWitnesses sessions at least must agree on the zone.
	leastWitnesses = 3
	// offsetStep is what the offsets of all zones are multiples of, and offsetSlack
	// how far from one a witness may be.
	offsetStep  = 15 * time.Minute
	offsetSlack = 2 * time.Minute
)

// locate learns the zone of times that name none: a session that is online began
// its duration before the answer's Date. That is taken for certain where at least
// leastWitnesses sessions, and more than half of those that could tell, agree.
func (d *dialect) locate(all []reading, at time.Time) {
	if at.IsZero() {
		return
	}
	votes := make(map[time.Duration]int)
	asked := 0
	for i := range all {
		r := &all[i]
		if !r.start.local || !r.session.Online || r.session.DurationSeconds == events.UnknownSeconds {
			continue
		}
		asked++
		east := r.start.at.Add(time.Duration(r.session.DurationSeconds) * time.Second).Sub(at)
		near := east.Round(offsetStep)
		if (east-near).Abs() <= offsetSlack && near >= -12*time.Hour && near <= 14*time.Hour {
			votes[near]++
		}
	}
	for east, n := range votes {
		if n >= leastWitnesses && 2*n > asked {
			d.east, d.located = east, true
		}
	}
}

// zone returns the zone of times that name none, nil where it is not known, and
// its name for people. What the records show is surer than what is configured; but
// where the two agree, the configured zone also knows when its clocks change.
func (c *Client) zone(at time.Time) (*time.Location, string) {
	d, configured := &c.dialect, c.cfg.TimeZone
	if configured != nil {
		if _, east := at.In(configured).Zone(); !d.located || !at.IsZero() && time.Duration(east)*time.Second == d.east {
			return configured, configured.String() + ", as configured"
		}
	}
	if !d.located {
		return nil, ""
	}
	zone := time.FixedZone("", int(d.east/time.Second))
	name := at.In(zone).Format("-07:00") + ", as the answers' dates show"
	if configured != nil {
		name += "; GUESTFLOW_API_TIME_ZONE=" + configured.String() + " contradicts"
	}
	return zone, name
}

// duration settles a record's duration by its times.
func (d *dialect) duration(r *reading, at time.Time, unread *tally) {
	s := &r.session
	span, sure := int64(0), false
	switch {
	case s.StartedAt.IsZero():
	case !s.Online && !s.EndedAt.IsZero():
		span, sure = int64(s.EndedAt.Sub(s.StartedAt)/time.Second), true
	case s.Online && !at.IsZero():
		span, sure = int64(at.Sub(s.StartedAt)/time.Second), true
	}
	if r.short != "" {
		minutes, hours, _ := shortDuration(r.short)
		near := func(seconds, slack int64) bool { return sure && seconds-span <= slack && span-seconds <= slack }
		switch m, h := near(minutes, durationSlack), near(hours, 2*durationSlack); {
		case minutes == hours, m && !h:
			s.DurationSeconds = minutes
		case h && !m:
			s.DurationSeconds = hours
		default:
			unread.add(durationName, clipped(r.short), 1)
		}
	}
	if sure && !d.days && s.DurationSeconds != events.UnknownSeconds {
		s.DurationSeconds = unwrapped(s.DurationSeconds, span)
	}
}
