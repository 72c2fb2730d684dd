package occupancy

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

var epoch = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

// venue makes the events of a small invented estate, one at a time, in an order
// that the contract allows, on a clock of its own.
type venue struct {
	rand      *rand.Rand
	now       time.Time
	account   string
	locations int
	aim       int // sessions online
	online    []events.State
	ended     []events.State
	made      int
	sequence  uint64
	stored    time.Duration // server's clock minus the platform's
}

func newVenue(seed uint64, locations, aim int) *venue {
	return &venue{rand: rand.New(rand.NewPCG(seed, 7)), now: epoch, account: events.DefaultAccount, locations: locations, aim: aim}
}

func (v *venue) location() (id, name string) {
	n := v.rand.IntN(v.locations)
	return fmt.Sprintf("loc-%02d", n), fmt.Sprintf("Café %02d", n)
}

// next makes one event, after a step of time.
func (v *venue) next(step time.Duration) Message {
	v.now = v.now.Add(step)
	n := len(v.online)
	switch r := v.rand.IntN(100); {
	case n == 0 || n < v.aim && r < 55:
		return v.start()
	case n >= v.aim && r < 45 || r < 8:
		return v.change(v.rand.IntN(n), events.Ended)
	case r < 60 && len(v.ended) > 0 && r%7 == 0:
		return v.resume()
	case r < 70:
		return v.change(v.rand.IntN(n), events.Updated)
	default:
		return v.change(v.rand.IntN(n), events.Traffic)
	}
}

func (v *venue) start() Message {
	v.made++
	id, name := v.location()
	kind, came := events.Started, v.now.Add(-time.Duration(v.rand.IntN(20))*time.Second)
	if v.made%9 == 0 {
		kind, came = events.Discovered, v.now.Add(-time.Duration(v.rand.IntN(3600))*time.Second)
	}
	s := events.Session{
		ID: fmt.Sprintf("s%06d", v.made), LocationID: id, LocationName: name, Online: true,
		GuestID: fmt.Sprintf("guest-%04d", v.rand.IntN(v.aim*2+1)), DeviceMAC: fmt.Sprintf("02:00:00:00:%02x:%02x", v.made>>8&255, v.rand.IntN(256)),
		DeviceIP: fmt.Sprintf("10.0.%d.%d", v.made>>8&255, v.made&255), DeviceDescription: "WebKit", AccessCode: "spring",
		LoginType: "Registration", ServiceProfile: "60 minutes", StartedAt: came,
	}
	if v.made%11 == 0 {
		s.DeviceMAC, s.GuestID = "", ""
	}
	e := events.Event{Kind: kind, Time: came, Data: events.Data{Revision: 1, Session: s}}
	v.online = append(v.online, events.State{})
	return v.emit(e, len(v.online)-1)
}

func (v *venue) change(i int, kind events.Kind) Message {
	was := v.online[i]
	s := was.Session
	s.DurationSeconds = int64(v.now.Sub(s.StartedAt) / time.Second)
	e := events.Event{Kind: kind, Time: v.now, Data: events.Data{Revision: was.Revision + 1, Episode: was.Episode}}
	switch kind {
	case events.Ended:
		s.Online = false
		e.Data.Observed.End = events.EndInferred
		if v.made%2 == 0 {
			s.EndedAt = v.now.Add(-time.Duration(v.rand.IntN(30)) * time.Second)
			e.Time, e.Data.Observed.End = s.EndedAt, events.EndReported
		}
	case events.Traffic:
		s.Downloaded.Value += 1 + v.rand.Int64N(1<<20)
		e.Data.Change = &events.Change{DownloadedBytes: s.Downloaded.Value - was.Session.Downloaded.Value}
	case events.Updated:
		if v.rand.IntN(2) == 0 {
			s.LocationID, s.LocationName = v.location()
		} else {
			s.DeviceIP = fmt.Sprintf("10.1.%d.%d", v.rand.IntN(256), v.rand.IntN(256))
		}
	}
	e.Data.Session = s
	e.Data.Previous = s.Replaced(&was.Session)
	m := v.emit(e, i)
	if kind == events.Ended {
		v.ended = append(v.ended, v.online[i])
		v.online[i] = v.online[len(v.online)-1]
		v.online = v.online[:len(v.online)-1]
	}
	return m
}

func (v *venue) resume() Message {
	i := v.rand.IntN(len(v.ended))
	was := v.ended[i]
	v.ended[i] = v.ended[len(v.ended)-1]
	v.ended = v.ended[:len(v.ended)-1]
	s := was.Session
	s.Online, s.EndedAt = true, time.Time{}
	v.online = append(v.online, was)
	return v.emit(events.Event{Kind: events.Resumed, Time: v.now, Data: events.Data{
		Revision: was.Revision + 1, Episode: was.Episode + 1, Session: s,
	}}, len(v.online)-1)
}

func (v *venue) emit(e events.Event, i int) Message {
	e.Account = v.account
	e.Data.Observed.At = v.now
	e = e.Sealed()
	v.online[i] = events.StateOf(e)
	v.sequence++
	return Message{Sequence: v.sequence, Stored: v.now.Add(v.stored), Event: e}
}

// messages makes n events.
func (v *venue) messages(n int, step time.Duration) []Message {
	list := make([]Message, n)
	for i := range list {
		list[i] = v.next(step)
	}
	return list
}

func encoded(t testing.TB, e events.Event) []byte {
	t.Helper()
	body, err := events.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	return body
}
