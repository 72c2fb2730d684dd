package occupancy

import (
	"bytes"
	"strconv"
	"sync"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/group"
)

// frame is one server-sent message, shared by every client. It is encoded when the first
// client needs it, and once.
type frame struct {
	// Of an event: its sequence in the stream and what tells whom it concerns;
	// before is the location that a moving session came from.
	sequence                  uint64
	epoch                     string
	kind                      events.Kind
	account, location, before string
	body                      []byte // as the stream holds it
	// Of a change of occupancy: the changed locations, the totals of all as JSON, and what
	// makes those of some.
	places   []placed
	totals   []byte
	totalsOf func(of *group.Set) []byte
	// text is the message of a frame that is neither.
	text []byte

	mu    sync.Mutex
	shown *[ways][]byte
	some  map[*group.Set][]byte // totals
}

// The ways in which a message is shown: the latter two to whoever does not see the location
// that a session came from.
const (
	clearly = iota
	hiding
	clearlyCome
	hidingCome
	ways
)

// placed is the part of an occupancy frame for one location, for clients that
// asked for that location alone.
type placed struct {
	place Place
	body  []byte // JSON
}

// eventFrame returns the frame of an event of which body is the JSON.
func eventFrame(m Message, body []byte, epoch string) *frame {
	e := &m.Event
	f := &frame{
		sequence: m.Sequence, epoch: epoch, kind: e.Kind, account: e.Account,
		location: e.Data.Session.LocationID, body: body,
	}
	if p := e.Data.Previous; p != nil && p.LocationID != nil {
		f.before = *p.LocationID
	}
	return f
}

// in returns the message as it is shown in a way, which encode makes.
func (f *frame) in(way int, encode func() []byte) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.shown == nil {
		f.shown = new([ways][]byte)
	}
	if f.shown[way] == nil {
		f.shown[way] = encode()
	}
	return f.shown[way]
}

// changed is the message of another event than the stream holds.
func (f *frame) changed(how func(events.Event) events.Event) []byte {
	e, err := events.Decode(f.body)
	if err != nil {
		return nil // it was decoded before it came here
	}
	body, err := events.Encode(how(e))
	if err != nil {
		return nil
	}
	return f.message(body)
}

// withoutOrigin returns e without the location that the session came from: it did come from
// another one.
func withoutOrigin(e events.Event) events.Event {
	previous, elsewhere := *e.Data.Previous, ""
	previous.LocationID, previous.LocationName = &elsewhere, nil
	e.Data.Previous = &previous
	return e
}

func (f *frame) message(body []byte) []byte {
	id := strconv.FormatUint(f.sequence, 10) + "." + f.epoch
	return sse("session", id, body)
}

// sse returns one server-sent message. Line breaks of the data, which JSON does
// not need, become spaces.
func sse(event, id string, data []byte) []byte {
	b := make([]byte, 0, len(event)+len(id)+len(data)+24)
	if id != "" {
		b = append(append(append(b, "id: "...), id...), '\n')
	}
	b = append(append(b, "event: "...), event...)
	b = append(b, "\ndata: "...)
	if bytes.ContainsAny(data, "\r\n") {
		data = bytes.Map(func(r rune) rune {
			if r == '\r' || r == '\n' {
				return ' '
			}
			return r
		}, data)
	}
	return append(append(b, data...), '\n', '\n')
}

// of returns the totals of a set of locations, for clients that see them alone: made once
// for each of them, when the first one needs it.
func (f *frame) of(set *group.Set) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.some == nil {
		f.some = map[*group.Set][]byte{}
	}
	if f.some[set] == nil {
		f.some[set] = f.totalsOf(set)
	}
	return f.some[set]
}

func occupancyBody(places []placed, totals []byte) []byte {
	size := len(totals) + 32
	for i := range places {
		size += len(places[i].body) + 1
	}
	b := append(make([]byte, 0, size), `{"locations":[`...)
	for i := range places {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, places[i].body...)
	}
	b = append(b, `],"totals":`...)
	return append(append(b, totals...), '}')
}

// size is what the frame costs in memory when it is encoded both ways.
func (f *frame) size() int {
	n := 400 + 3*len(f.body) + len(f.text) + len(f.totals)
	for i := range f.places {
		n += 2*len(f.places[i].body) + 64
	}
	return n
}

// filter is what a client asked for and may see; an empty field matches anything.
type filter struct {
	account  string
	location string
	kinds    map[events.Kind]bool
	access
}

// bytes returns what a client with this filter gets of f; nil for nothing.
func (c *filter) bytes(f *frame) []byte {
	switch {
	case f.sequence > 0:
		return c.event(f)
	case len(f.places) > 0 && (c.account != "" || c.location != "" || c.scope != nil):
		var mine []placed
		for _, p := range f.places {
			if (c.account == "" || c.account == p.place.Account) && (c.location == "" || c.location == p.place.Location) && c.sees(p.place) {
				mine = append(mine, p)
			}
		}
		if mine == nil {
			return nil
		}
		totals := []byte("[]")
		if c.account == "" && c.location == "" {
			totals = f.of(c.scope)
		}
		return sse("occupancy", "", occupancyBody(mine, totals))
	case len(f.places) > 0:
		return f.in(clearly, func() []byte { return sse("occupancy", "", occupancyBody(f.places, f.totals)) })
	}
	return f.text
}

// wants reports whether an event is for the client. Of a session that leaves what it may see
// it hears no more: where it went is not its business.
func (c *filter) wants(f *frame) bool {
	here := Place{f.account, f.location}
	return f.sequence > 0 && c.sees(here) &&
		(c.account == "" || c.account == f.account) &&
		(c.location == "" || c.location == f.location || c.location == f.before && c.sees(Place{f.account, f.before})) &&
		(len(c.kinds) == 0 || c.kinds[f.kind])
}

// event returns what the client gets of an event.
func (c *filter) event(f *frame) []byte {
	came := f.before != "" && !c.sees(Place{f.account, f.before})
	switch {
	case !c.wants(f):
		return nil
	case came && c.clear:
		return f.in(clearlyCome, func() []byte { return f.changed(withoutOrigin) })
	case came:
		return f.in(hidingCome, func() []byte {
			return f.changed(func(e events.Event) events.Event { return Masked(withoutOrigin(e)) })
		})
	case c.clear:
		return f.in(clearly, func() []byte { return f.message(f.body) })
	}
	return f.in(hiding, func() []byte { return f.changed(Masked) })
}
