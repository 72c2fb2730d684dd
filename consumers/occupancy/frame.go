package occupancy

import (
	"bytes"
	"strconv"
	"sync"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/group"
)

// frame is one server-sent message, shared by every client. It is encoded when
// the first client needs it, and once.
type frame struct {
	// Of an event: its sequence in the stream and what tells whom it concerns;
	// before is the location that a moving session came from.
	sequence                  uint64
	epoch                     string
	kind                      events.Kind
	account, location, before string
	body                      []byte // as the stream holds it
	clear, masked             func() []byte
	// The same for whoever does not see the location before; nil where there is none.
	cameClear, cameMasked func() []byte
	// Of a change of occupancy: the changed locations, and the totals of some.
	places []placed
	totals func(of *group.Set) []byte
	// text is the message of a frame that is no event.
	text []byte
}

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
	f.clear = sync.OnceValue(func() []byte { return f.message(body) })
	f.masked = f.changed(Masked)
	if f.before != "" {
		f.cameClear = f.changed(withoutOrigin)
		f.cameMasked = f.changed(func(e events.Event) events.Event { return Masked(withoutOrigin(e)) })
	}
	return f
}

// changed makes the message of another event than the stream holds, once.
func (f *frame) changed(how func(events.Event) events.Event) func() []byte {
	return sync.OnceValue(func() []byte {
		e, err := events.Decode(f.body)
		if err != nil {
			return nil // it was decoded before it came here
		}
		body, err := events.Encode(how(e))
		if err != nil {
			return nil
		}
		return f.message(body)
	})
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

// occupancyFrame returns the frame that tells every client what changed. of makes the
// totals of some locations, for clients that see them alone: once for each of them, when
// the first one needs it.
func occupancyFrame(places []placed, totals []byte, of func(*group.Set) []byte) *frame {
	var mu sync.Mutex
	made := map[*group.Set][]byte{}
	return &frame{places: places, text: sse("occupancy", "", occupancyBody(places, totals)), totals: func(set *group.Set) []byte {
		mu.Lock()
		defer mu.Unlock()
		if made[set] == nil {
			made[set] = of(set)
		}
		return made[set]
	}}
}

func occupancyBody(places []placed, totals []byte) []byte {
	b := []byte(`{"locations":[`)
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
	n := 400 + 3*len(f.body) + len(f.text)
	for i := range f.places {
		n += len(f.places[i].body) + 64
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
			totals = f.totals(c.scope)
		}
		return sse("occupancy", "", occupancyBody(mine, totals))
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
		return f.cameClear()
	case came:
		return f.cameMasked()
	case c.clear:
		return f.clear()
	}
	return f.masked()
}
