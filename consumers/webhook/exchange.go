package webhook

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
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
	// Unwanted says why the endpoint would not get such an event; empty when it
	// would.
	Unwanted string
}

// Test sends one sample event to an endpoint of the file, and returns what was sent
// and answered. With no kind given it is one that the endpoint asks for, or the
// error says why none is (ErrNoSample); with one it is of that kind, and
// Exchange.Unwanted says where the endpoint would not get it. An endpoint that does
// not accept it is no error: see Exchange. It needs no JetStream.
func (d *Dispatcher) Test(ctx context.Context, name string, kind string) (Exchange, error) {
	o, err := d.options()
	if err != nil {
		return Exchange{}, err
	}
	e, err := d.endpoint(name)
	if err != nil {
		return Exchange{}, err
	}
	if kind != "" && !slices.Contains(e.topic.kinds, kind) {
		return Exchange{}, fmt.Errorf("endpoint %s gets events of %s, which have no kind %q; use one of %s", name, e.Stream, kind, strings.Join(e.topic.known(), ", "))
	}
	unwanted := ""
	ev, err := sampleFor(e, kind, o.Now())
	if err != nil && kind != "" {
		unwanted, ev = strings.TrimPrefix(err.Error(), ErrNoSample.Error()+": "), e.topic.about(e.topic.sample(kind, o.Now()))
	} else if err != nil {
		return Exchange{}, fmt.Errorf("endpoint %s: %w", name, err)
	}
	document, err := e.topic.encode(ev.of)
	if err != nil {
		return Exchange{}, err
	}
	s := newSender(e, o.Resolve, o.allow, o.Now)
	defer s.close()
	a := s.send(ctx, parcelOf(ev, document), true)
	if ctx.Err() != nil {
		return Exchange{}, ctx.Err()
	}
	v, reason := judge(a)
	x := Exchange{
		Endpoint: name, Method: http.MethodPost, URL: shown(e.URL), RequestBody: a.payload, Status: a.status,
		ResponseHeader: a.header, ResponseBody: a.body, Truncated: a.cut, Duration: a.took,
		Accepted: v == accepted, Reason: reason, Unwanted: unwanted,
	}
	if a.request != nil {
		x.RequestHeader = a.request.Header.Clone()
		for k := range e.headers {
			x.RequestHeader.Set(k, hidden)
		}
		if e.oauth != nil {
			x.RequestHeader.Set("Authorization", hidden)
		}
	}
	return x, nil
}

// Checked is what Check says of one endpoint.
type Checked struct {
	Endpoint Endpoint
	URL      string // with its query hidden
	// Sample is the kind of event that Test sends; Reason says why there is none.
	Sample string
	Reason string
	// Hint is what was perhaps not meant; empty mostly.
	Hint string
}

// Check reads the file and says of every endpoint, in the file's order, what it
// would get. Nothing is sent. The error is that of the file.
func (d *Dispatcher) Check() ([]Checked, error) {
	o, err := d.options()
	if err != nil {
		return nil, err
	}
	cfg, err := d.load()
	if err != nil {
		return nil, err
	}
	var out []Checked
	for _, e := range cfg.Endpoints {
		c := Checked{Endpoint: e, URL: shown(e.URL)}
		if ev, err := sampleFor(e, "", o.Now()); err != nil {
			c.Reason = err.Error()
		} else {
			c.Sample = ev.kind
		}
		if e.namesNobody() {
			c.Hint = "its condition asks for guest, and it gets no names: add fields: [guest] where it should"
		}
		out = append(out, c)
	}
	return out, nil
}
