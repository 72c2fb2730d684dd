package occupancy

import (
	"bytes"
	"strconv"
	"sync"

	"github.com/guestflow/guestflow/events"
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
	// Of a change of occupancy: the changed locations.
	places []placed
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
	f.masked = sync.OnceValue(func() []byte {
		e, err := events.Decode(body)
		if err != nil {
			return nil // it was decoded before it came here
		}
		hidden, err := events.Encode(maskedEvent(e))
		if err != nil {
			return nil
		}
		return f.message(hidden)
	})
	return f
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

// occupancyFrame returns the frame that tells every client what changed.
func occupancyFrame(places []placed, totals []byte) *frame {
	return &frame{places: places, text: sse("occupancy", "", occupancyBody(places, totals))}
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

// filter is what a client asked for; an empty field matches anything.
type filter struct {
	account  string
	location string
	kinds    map[events.Kind]bool
	clear    bool // may see personal data
}

// bytes returns what a client with this filter gets of f; nil for nothing.
func (c *filter) bytes(f *frame) []byte {
	switch {
	case f.sequence > 0:
		if c.account != "" && c.account != f.account ||
			c.location != "" && c.location != f.location && c.location != f.before ||
			len(c.kinds) > 0 && !c.kinds[f.kind] {
			return nil
		}
		if c.clear {
			return f.clear()
		}
		return f.masked()
	case len(f.places) > 0 && (c.account != "" || c.location != ""):
		var mine []placed
		for _, p := range f.places {
			if (c.account == "" || c.account == p.place.Account) && (c.location == "" || c.location == p.place.Location) {
				mine = append(mine, p)
			}
		}
		if mine == nil {
			return nil
		}
		return sse("occupancy", "", occupancyBody(mine, []byte("[]")))
	}
	return f.text
}
