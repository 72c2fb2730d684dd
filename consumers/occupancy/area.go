package occupancy

import (
	"iter"
	"maps"
	"strings"
	"time"
	"unique"

	"github.com/guestflow/guestflow/events"
)

// Place names one location of one account.
type Place struct{ Account, Location string }

// area is what is known of one location, or of a whole account.
type area struct {
	account, id, name string
	of                *account // nil of an account as a whole
	since             int64    // when its first event was seen
	sequence          uint64
	seenAt            int64
	all               map[string]*session   // of an account, by id; nil of a location
	here              map[*session]struct{} // of a location
	devices, guests   distinct              // of the sessions
	anonymous         int                   // sessions without a MAC address
	arrivals          instants
	departures        instants
	stays             stays
	steps             steps
	week              week
	dirty             bool
}

func newArea(account, id string, since int64) *area {
	return &area{
		account: account, id: id, since: since, here: map[*session]struct{}{}, devices: newDistinct(), guests: newDistinct(),
	}
}

// newTotal is that of a whole account.
func newTotal(account string) *area {
	l := newArea(account, "", 0)
	l.all, l.here = map[string]*session{}, nil
	return l
}

// sessions yields those that are online.
func (l *area) sessions() iter.Seq[*session] {
	if l.all != nil {
		return maps.Values(l.all)
	}
	return maps.Keys(l.here)
}

func (l *area) online() int { return len(l.all) + len(l.here) }

func (l *area) place() Place { return Place{Account: l.account, Location: l.id} }

// session is an online session in compact form: texts that are its own stand in one,
// and attributes of which there are few different ones share theirs.
type session struct {
	own                          string
	ends                         [ownTexts]uint32 // in own
	place                        *area
	named                        *named // nil where no event named the guest
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

// named is who an event said the guest is.
type named struct{ name, email string }

// The texts of a session that hardly two share, in the order in which they stand in own.
const (
	ownID = iota
	ownGuest
	ownYas
	ownMAC
	ownIP
	ownCode
	ownTexts
)

func (s *session) text(i int) string {
	from := uint32(0)
	if i > 0 {
		from = s.ends[i-1]
	}
	return s.own[from:s.ends[i]]
}

func (s *session) id() string    { return s.text(ownID) }
func (s *session) guest() string { return s.text(ownGuest) }
func (s *session) mac() string   { return s.text(ownMAC) }

// identify sets the texts of its own, unless they are the same.
func (s *session) identify(texts [ownTexts]string) {
	same := true
	for i, text := range texts {
		same = same && s.text(i) == text
	}
	if same {
		return
	}
	s.own = strings.Join(texts[:], "")
	end := 0
	for i, text := range texts {
		end += len(text)
		s.ends[i] = uint32(end)
	}
}

// call sets who the guest is; nobody where both are empty.
func (s *session) call(name, email string) {
	if s.named = nil; name != "" || email != "" {
		s.named = &named{name, email}
	}
}

// names are what an event called the guest.
func (s *session) names() (name, email string) {
	if s.named == nil {
		return "", ""
	}
	return s.named.name, s.named.email
}

func (s *session) fill(e *events.Event) {
	d := &e.Data.Session
	if s.guest() != d.GuestID {
		s.named = nil
	}
	if g := e.Data.Guest; g != nil {
		s.call(g.Name, g.Email)
	}
	s.identify([ownTexts]string{d.ID, d.GuestID, d.YasID, d.DeviceMAC, d.DeviceIP, d.AccessCode})
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

// count adds a session to those who are here, and to the distinct devices and guests.
func (l *area) count(s *session) {
	if l.all != nil {
		l.all[s.id()] = s
	} else {
		l.here[s] = struct{}{}
	}
	if mac := s.mac(); mac == "" {
		l.anonymous++
	} else {
		if h, fresh := l.devices.add(mac); fresh && l.of != nil {
			l.of.devices.came(h, l)
		}
	}
	if guest := s.guest(); guest != "" {
		if h, fresh := l.guests.add(guest); fresh && l.of != nil {
			l.of.guests.came(h, l)
		}
	}
}

// forget is the inverse of count, with the session as it was counted.
func (l *area) forget(s *session) {
	if l.all != nil {
		delete(l.all, s.id())
	} else {
		delete(l.here, s)
	}
	if mac := s.mac(); mac == "" {
		l.anonymous--
	} else {
		if h, gone := l.devices.remove(mac); gone && l.of != nil {
			l.of.devices.left(h, l)
		}
	}
	if guest := s.guest(); guest != "" {
		if h, gone := l.guests.remove(guest); gone && l.of != nil {
			l.of.guests.left(h, l)
		}
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
