package webhook

import (
	"context"
	"net/http"
	"time"

	"github.com/guestflow/guestflow/events"
)

// Exchange is one request and its answer, for a person to read: the values of
// the headers that the file sets, and the URL's query, are hidden, since they may
// hold tokens. Signatures are shown.
type Exchange struct {
	Endpoint       string
	Method, URL    string
	RequestHeader  http.Header
	RequestBody    []byte
	Status         int // 0 when no answer came
	ResponseHeader http.Header
	ResponseBody   []byte // at most 64 KiB
	Truncated      bool   // the body was longer
	Duration       time.Duration
	// Accepted is whether the endpoint took the event: any 2xx.
	Accepted bool
	// Reason says in words what came of it.
	Reason string
}

// SampleEvent is what Test sends: a made-up arrival of a made-up guest in account
// and location "example". Its id differs with the time.
func SampleEvent(at time.Time) events.Event {
	at = at.UTC().Truncate(time.Second)
	e := events.Event{
		Account: "example", Kind: events.Started, Time: at,
		Data: events.Data{
			Revision: 1,
			Session: events.Session{
				ID: "test-" + at.Format("20060102150405"), LocationID: "example", LocationName: "Example Hotel",
				GuestID: "example-guest", DeviceMAC: "02:00:00:00:00:01", DeviceIP: "192.0.2.10",
				DeviceDescription: "Example Phone", LoginType: "Registration", Online: true, StartedAt: at,
			},
			Guest:    &events.Guest{Username: "EXAMPLE1", Name: "Example Guest", Email: "guest@example.com"},
			Observed: events.Observed{At: at, NotYetAt: at.Add(-3 * time.Second), Guest: events.GuestConfirmed},
		},
	}
	return e.Sealed()
}

// Test sends SampleEvent to one endpoint of the file, whatever its filters, and
// returns what was sent and answered. An endpoint that does not accept it is no
// error: see Exchange. It needs no JetStream.
func (d *Dispatcher) Test(ctx context.Context, name string) (Exchange, error) {
	o, err := d.options()
	if err != nil {
		return Exchange{}, err
	}
	e, err := d.endpoint(name)
	if err != nil {
		return Exchange{}, err
	}
	ev := SampleEvent(o.Now())
	document, err := events.Encode(ev)
	if err != nil {
		return Exchange{}, err
	}
	s := newSender(e, o.Resolve, o.allow, o.Now)
	defer s.close()
	a := s.send(ctx, ev.ID, document, true)
	if ctx.Err() != nil {
		return Exchange{}, ctx.Err()
	}
	v, reason := judge(a)
	x := Exchange{
		Endpoint: name, Method: http.MethodPost, URL: shown(e.URL), RequestBody: a.payload, Status: a.status,
		ResponseHeader: a.header, ResponseBody: a.body, Truncated: a.cut, Duration: a.took,
		Accepted: v == accepted, Reason: reason,
	}
	if a.request != nil {
		x.RequestHeader = a.request.Header.Clone()
		for k := range e.headers {
			x.RequestHeader.Set(k, hidden)
		}
	}
	return x, nil
}
