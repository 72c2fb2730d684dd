package occupancy

import (
	"iter"
	"slices"
	"time"
)

// Place names one location of one account.
type Place struct{ Account, Location string }

// area is what is known of one location, or of a whole account.
type area struct {
	account, id, name string
	of                *account // nil of a location that is not in the stream
	number            int32    // of a location, in the roster
	since             int64    // when its first event was seen
	sequence          uint64
	seenAt            int64
	here              []int32  // the numbers of the sessions at a location, in any order
	devices, guests   distinct // of the sessions at a location
	anonymous         int      // sessions without a MAC address
	arrivals          instants
	departures        instants
	stays             stays
	steps             steps
	week              week
	dirty             bool
}

func newArea(account, id string, since int64) *area {
	return &area{account: account, id: id, since: since}
}

// whole reports whether it is a whole account.
func (l *area) whole() bool { return l.of != nil && l.of.total == l }

// sessions yields those that are online, who may go meanwhile.
func (l *area) sessions() iter.Seq[session] {
	if l.whole() {
		return l.of.roster.each()
	}
	return func(yield func(session) bool) {
		for _, n := range slices.Backward(l.here) { // the last one takes the place of one that goes
			if !yield(l.of.roster.of(n)) {
				return
			}
		}
	}
}

func (l *area) online() int {
	if l.whole() {
		return l.of.roster.online
	}
	return len(l.here)
}

// distinct counts the devices and the guests that are online.
func (l *area) distinct() (devices, guests int) {
	if l.whole() {
		return l.of.devices.len() + l.anonymous, l.of.guests.len()
	}
	return l.devices.len() + l.anonymous, l.guests.len()
}

func (l *area) place() Place { return Place{Account: l.account, Location: l.id} }

// count adds a session to those who are here, and to the distinct devices and guests.
func (l *area) count(s session) {
	s.row.place, s.at = l.number, int32(len(l.here))
	l.here = append(l.here, s.number)
	if mac := s.mac(); mac == "" {
		l.anonymous++
		l.of.total.anonymous++
	} else if h, fresh := l.devices.add(mac); fresh {
		l.of.devices.came(h, l)
	}
	if guest := s.guest(); guest != "" {
		if h, fresh := l.guests.add(guest); fresh {
			l.of.guests.came(h, l)
		}
	}
}

// forget is the inverse of count, with the session as it was counted.
func (l *area) forget(s session) {
	last := l.here[len(l.here)-1]
	l.of.roster.of(last).at, l.here[s.at] = s.at, last
	l.here = l.here[:len(l.here)-1]
	if mac := s.mac(); mac == "" {
		l.anonymous--
		l.of.total.anonymous--
	} else if h, gone := l.devices.remove(mac); gone {
		l.of.devices.left(h, l)
	}
	if guest := s.guest(); guest != "" {
		if h, gone := l.guests.remove(guest); gone {
			l.of.guests.left(h, l)
		}
	}
}

// enter notes that a session came to a place; arrived says whether it counts as an
// arrival there.
func (o *Occupancy) enter(l *area, at int64, arrived bool) {
	l.steps.add(at, 1, o.observed-o.limits.History.Milliseconds())
	if arrived {
		l.arrivals.add(at, o.observed-recentWindow.Milliseconds())
	}
}

// leave notes that a session left a place where it was since the given time.
func (o *Occupancy) leave(l *area, at, since int64) {
	l.steps.add(at, -1, o.observed-o.limits.History.Milliseconds())
	o.depart(l, at, since)
}

// depart counts a departure and the stay that it finishes.
func (o *Occupancy) depart(l *area, at, since int64) {
	l.departures.add(at, o.observed-recentWindow.Milliseconds())
	l.stayed(since, at, o.limits.Zone)
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
