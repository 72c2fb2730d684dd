package occupancy

import (
	"time"
	"unique"

	"github.com/guestflow/guestflow/events"
)

// Place names one location of one account.
type Place struct{ Account, Location string }

// area is what is known of one location, or of a whole account.
type area struct {
	account, id, name string
	since             int64 // when its first event was seen
	sequence          uint64
	seenAt            int64
	sessions          map[string]*session
	devices, guests   map[string]int32 // how many of the sessions are of each
	anonymous         int              // sessions without a MAC address
	arrivals          instants
	departures        instants
	stays             stays
	steps             steps
	dirty             bool
}

func newArea(account, id string, since int64) *area {
	return &area{
		account: account, id: id, since: since,
		sessions: map[string]*session{}, devices: map[string]int32{}, guests: map[string]int32{},
	}
}

func (l *area) place() Place { return Place{Account: l.account, Location: l.id} }

// session is an online session in compact form. Attributes of which there are
// few different ones share their text.
type session struct {
	id                           string
	place                        *area
	guest, yas                   string
	name, email                  string // of the guest, where an event named them
	mac, ip, code                string
	description, login, profile  unique.Handle[string]
	revision, episode            int64
	sequence                     uint64 // of its last event
	doubtedAt                    int64  // uncertain since, as far as noted
	startedAt, seenAt            int64
	cameAt                       int64 // online since, or back online since
	enteredAt                    int64 // at this place since
	countedAt                    int64 // in this place's curve since
	duration, downloaded, upload int64
}

func (s *session) fill(e *events.Event) {
	d := &e.Data.Session
	if s.guest != d.GuestID {
		s.name, s.email = "", ""
	}
	if g := e.Data.Guest; g != nil {
		s.name, s.email = g.Name, g.Email
	}
	s.guest, s.yas, s.mac, s.ip, s.code = d.GuestID, d.YasID, d.DeviceMAC, d.DeviceIP, d.AccessCode
	share(&s.description, d.DeviceDescription)
	share(&s.login, d.LoginType)
	share(&s.profile, d.ServiceProfile)
	s.revision, s.episode = e.Data.Revision, e.Data.Episode
	s.startedAt, s.seenAt = toMillis(d.StartedAt), toMillis(e.Data.Observed.At)
	s.duration, s.downloaded, s.upload = max(0, d.DurationSeconds), d.Downloaded.Value, d.Uploaded.Value
}

// share sets a shared text; it seldom changes, and comparing is cheaper.
func share(h *unique.Handle[string], text string) {
	if *h == (unique.Handle[string]{}) || h.Value() != text {
		*h = unique.Make(text)
	}
}

// count adds a session to the distinct devices and guests.
func (l *area) count(s *session) {
	l.sessions[s.id] = s
	if s.mac == "" {
		l.anonymous++
	} else {
		l.devices[s.mac]++
	}
	if s.guest != "" {
		l.guests[s.guest]++
	}
}

// forget is the inverse of count, with the session as it was counted.
func (l *area) forget(s *session) {
	delete(l.sessions, s.id)
	if s.mac == "" {
		l.anonymous--
	} else {
		release(l.devices, s.mac)
	}
	if s.guest != "" {
		release(l.guests, s.guest)
	}
}

func release(counts map[string]int32, key string) {
	if counts[key]--; counts[key] <= 0 {
		delete(counts, key)
	}
}

// enter brings a session to a place; arrived says whether it counts as an
// arrival there.
func (o *Occupancy) enter(l *area, s *session, at int64, arrived bool) {
	l.count(s)
	l.steps.add(at, 1, o.observed-o.limits.History.Milliseconds())
	if arrived {
		l.arrivals.add(at, o.observed-recentWindow.Milliseconds())
	}
}

// leave takes a session away that was there since the given time.
func (o *Occupancy) leave(l *area, s *session, at, since int64) {
	l.forget(s)
	l.steps.add(at, -1, o.observed-o.limits.History.Milliseconds())
	o.depart(l, at, since)
}

// depart counts a departure and the stay that it finishes.
func (o *Occupancy) depart(l *area, at, since int64) {
	l.departures.add(at, o.observed-recentWindow.Milliseconds())
	l.stays.add(at, max(0, at-since)/1000, o.observed-o.limits.Stays.Milliseconds())
}

// clock estimates the platform's time from the difference between the times at
// which the latest events were stored (the server's clock) and seen (the
// platform's). The smallest difference has the least waiting in it.
type clock struct {
	Latest []int64 `json:"latest,omitempty"` // differences in milliseconds, oldest first
}

const clockSample = 64

func (c *clock) add(difference int64) {
	if len(c.Latest) == clockSample {
		copy(c.Latest, c.Latest[1:])
		c.Latest = c.Latest[:clockSample-1]
	}
	c.Latest = append(c.Latest, difference)
}

// ahead returns by how much the server's clock is ahead of the platform's.
func (c *clock) ahead() int64 {
	if len(c.Latest) == 0 {
		return 0
	}
	least := c.Latest[0]
	for _, d := range c.Latest[1:] {
		least = min(least, d)
	}
	return least
}

// PlatformTime translates a time of the stream's server to the platform's clock.
// It never lies before ObservedAt.
func (o *Occupancy) PlatformTime(now time.Time) time.Time {
	return fromMillis(max(toMillis(now)-o.clock.ahead(), o.observed))
}
