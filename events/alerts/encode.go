package alerts

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
	typePrefix = "guestflow.alert."
	typeSuffix = ".v1"
	// SchemaID is the CloudEvents dataschema of both kinds.
	SchemaID = "urn:guestflow:alert:v1"
)

// Type returns the CloudEvents type of the kind, such as "guestflow.alert.raised.v1".
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

// ErrNotAlert is what every error of Encode and Decode wraps, with the field and what is
// wrong with it.
var ErrNotAlert = errors.New("not an alert event")

func refused(field, reason string) error { return fmt.Errorf("%w: %s %s", ErrNotAlert, field, reason) }

// refuse returns the first thing that keeps e from being an event.
func (e *Event) refuse() error {
	a := &e.Data.Alert
	for _, f := range [...]struct{ field, value string }{
		{"id", e.ID}, {"source", e.Account}, {"data.alert.id", a.ID}, {"data.alert.rule", a.Rule},
		{"data.alert.figure", a.Figure}, {"data.alert.location_id", a.LocationID},
	} {
		if f.value == "" {
			return refused(f.field, "is missing or empty")
		}
	}
	switch {
	case !e.Kind.Valid():
		return refused("type", "is of an unknown kind")
	case !a.What.Valid():
		return refused("data.alert.what", "is unknown")
	case e.Data.Revision < 1:
		return refused("data.revision", "is missing or less than 1")
	case a.Since.IsZero() || a.RaisedAt.IsZero():
		return refused("data.alert.since or raised_at", "is missing")
	case e.Kind == Cleared && (a.ClearedAt.IsZero() || !a.Reason.Valid()):
		return refused("data.alert.cleared_at or reason", "is missing")
	}
	return nil
}

// Encode returns e as a CloudEvents 1.0 structured JSON document, with times in UTC. The
// same event always gives the same bytes. The error wraps ErrNotAlert.
func Encode(e Event) ([]byte, error) {
	if err := e.refuse(); err != nil {
		return nil, err
	}
	d := e.Data
	for _, t := range []*time.Time{&e.Time, &d.Alert.Since, &d.Alert.RaisedAt, &d.Alert.ClearedAt, &d.Alert.LookedAt} {
		*t = t.UTC()
	}
	body, err := json.Marshal(document{
		SpecVersion: events.SpecVersion, ID: e.ID, Source: events.SourcePrefix + url.PathEscape(e.Account), Type: e.Kind.Type(),
		Subject: d.Alert.ID, Time: e.Time, DataContentType: "application/json", DataSchema: SchemaID, Data: &d,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotAlert, err)
	}
	return body, nil
}

// Decode reads what Encode writes. It skips what it does not know, since later releases
// of version 1 may add fields. The error wraps ErrNotAlert.
func Decode(body []byte) (Event, error) {
	var e Event
	d := document{Data: &e.Data}
	if err := json.Unmarshal(body, &d); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrNotAlert, err)
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
	if d.Subject != e.Data.Alert.ID {
		return Event{}, refused("subject", "is not data.alert.id")
	}
	return e, nil
}
