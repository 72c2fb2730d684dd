package visits

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/guestflow/guestflow/events"
)

const (
	typePrefix = "guestflow.visit."
	typeSuffix = ".v1"
	// SchemaID is the CloudEvents dataschema of every kind.
	SchemaID = "urn:guestflow:visit:v1"
)

// Type returns the CloudEvents type of the kind, such as "guestflow.visit.started.v1".
func (k Kind) Type() string { return typePrefix + string(k) + typeSuffix }

// document is the wire form.
type document struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	DataSchema      string    `json:"dataschema"`
	Data            *Data     `json:"data"`
}

// ErrNotVisit is what every error of Encode and Decode wraps, with the field and what is
// wrong with it; never with its value, which may be personal data.
var ErrNotVisit = errors.New("not a visit event")

func refused(field, reason string) error { return fmt.Errorf("%w: %s %s", ErrNotVisit, field, reason) }

// refuse returns the first thing that keeps e from being an event.
func (e *Event) refuse() error {
	v := &e.Data.Visit
	for _, f := range [...]struct{ field, value string }{
		{"id", e.ID}, {"source", e.Account}, {"data.visit.id", v.ID}, {"data.visit.place", v.Place}, {"data.visit.location_id", v.LocationID},
	} {
		if f.value == "" {
			return refused(f.field, "is missing or empty")
		}
	}
	switch {
	case !e.Kind.Valid():
		return refused("type", "is of an unknown kind")
	case e.Data.Revision < 1:
		return refused("data.revision", "is missing or less than 1")
	case v.StartedAt.IsZero():
		return refused("data.visit.started_at", "is missing")
	}
	return nil
}

// Encode returns e as a CloudEvents 1.0 structured JSON document, with times in UTC. The
// same event always gives the same bytes. The error wraps ErrNotVisit.
func Encode(e Event) ([]byte, error) {
	if err := e.refuse(); err != nil {
		return nil, err
	}
	d := e.Data
	for _, t := range []*time.Time{&e.Time, &d.Visit.StartedAt, &d.Visit.EndedAt, &d.Observed.At, &d.Observed.NotYetAt} {
		*t = t.UTC()
	}
	body, err := json.Marshal(document{
		SpecVersion: events.SpecVersion, ID: e.ID, Source: events.SourcePrefix + url.PathEscape(e.Account), Type: e.Kind.Type(),
		Subject: d.Visit.ID, Time: e.Time, DataContentType: "application/json", DataSchema: SchemaID, Data: &d,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotVisit, err)
	}
	return body, nil
}

// Decode reads what Encode writes. It skips what it does not know, since later releases
// of version 1 may add fields. The error wraps ErrNotVisit.
func Decode(body []byte) (Event, error) {
	var e Event
	d := document{Data: &e.Data}
	if err := json.Unmarshal(body, &d); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrNotVisit, err)
	}
	if d.SpecVersion != events.SpecVersion {
		return Event{}, refused("specversion", "is not "+events.SpecVersion)
	}
	kind, ok := strings.CutPrefix(d.Type, typePrefix)
	if kind, ok = strings.CutSuffix(kind, typeSuffix); !ok || !strings.HasPrefix(d.Type, typePrefix) {
		return Event{}, refused("type", "is not of version 1 of this contract")
	}
	path, ok := strings.CutPrefix(d.Source, events.SourcePrefix)
	account, err := url.PathUnescape(path)
	if !ok || err != nil {
		return Event{}, refused("source", "is not "+events.SourcePrefix+"and an account")
	}
	if d.Data == nil {
		return Event{}, refused("data", "is missing")
	}
	e.ID, e.Account, e.Kind, e.Time = d.ID, account, Kind(kind), d.Time.UTC()
	if err := e.refuse(); err != nil {
		return Event{}, err
	}
	if d.Subject != e.Data.Visit.ID {
		return Event{}, refused("subject", "is not data.visit.id")
	}
	return e, nil
}
