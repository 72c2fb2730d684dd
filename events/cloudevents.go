package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
)

// The CloudEvents attributes that every event has in common.
const (
	// ContentType is the media type of what Encode returns.
	ContentType = "application/cloudevents+json"
	// SpecVersion is the version of CloudEvents that Encode writes and Decode
	// reads.
	SpecVersion = "1.0"
	// SourcePrefix and the path-escaped account make the source.
	SourcePrefix = "guestflow/"

	dataContentType = "application/json"
	typePrefix      = "guestflow.session."
	typeSuffix      = ".v1"
	schemaPrefix    = "urn:guestflow:session:"
	schemaSuffix    = ":v1"
)

// Type returns the CloudEvents type of the kind, such as
// "guestflow.session.started.v1".
func (k Kind) Type() string { return typePrefix + string(k) + typeSuffix }

// SchemaID returns the CloudEvents dataschema of the kind, which is the $id of
// its JSON Schema, such as "urn:guestflow:session:started:v1".
func (k Kind) SchemaID() string { return schemaPrefix + string(k) + schemaSuffix }

// kindOf returns the kind of a CloudEvents type, or what is wrong with it.
func kindOf(typ []byte) (Kind, string) {
	rest, ok := bytes.CutPrefix(typ, []byte(typePrefix))
	if !ok {
		return "", "does not begin with " + typePrefix
	}
	name, ok := bytes.CutSuffix(rest, []byte(typeSuffix))
	if !ok {
		return "", "is not of version 1 of the contract; a newer release of this package may read it"
	}
	for _, k := range [...]Kind{Discovered, Started, Traffic, Updated, Ended, Resumed} {
		if string(name) == string(k) {
			return k, ""
		}
	}
	return "", "is of an unknown kind; a newer release of this package may know it"
}

// ErrNotEvent is what every error of Encode and Decode wraps: the bytes, or the
// Event, are not an event of this contract.
var ErrNotEvent = errors.New("not a guest session event")

// FieldError names the field that Encode or Decode refused. It wraps
// ErrNotEvent, and the cause where there is one.
type FieldError struct {
	// Field is the path in the JSON document, such as "data.session.id"; empty
	// where the bytes are not a JSON document at all.
	Field string
	// Reason says what is wrong, without the field's value: values may be
	// personal data.
	Reason string
	// Err is the cause, or nil.
	Err error
}

func (e *FieldError) Error() string {
	text := ErrNotEvent.Error() + ": "
	if e.Field != "" {
		text += e.Field + " "
	}
	return text + e.Reason
}

// Unwrap returns ErrNotEvent and the cause.
func (e *FieldError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrNotEvent}
	}
	return []error{ErrNotEvent, e.Err}
}

// refuse returns the first thing that keeps e from being an event: what identity
// and order rest on.
func (e *Event) refuse() error {
	d := &e.Data
	for _, f := range [...]struct{ field, value string }{
		{"id", e.ID}, {"source", e.Account}, {"data.session.id", d.Session.ID}, {"data.session.location_id", d.Session.LocationID},
	} {
		if f.value == "" {
			return &FieldError{Field: f.field, Reason: "is missing or empty"}
		}
	}
	if !e.Kind.Valid() {
		return &FieldError{Field: "type", Reason: "is of an unknown kind"}
	}
	if d.Revision < 1 {
		return &FieldError{Field: "data.revision", Reason: "is missing or less than 1"}
	}
	return nil
}

// MarshalJSON writes the value alone.
func (b Bytes) MarshalJSON() ([]byte, error) { return strconv.AppendInt(nil, b.Value, 10), nil }

// UnmarshalJSON reads the value; Decode fills in the error. A null changes nothing.
func (b *Bytes) UnmarshalJSON(p []byte) error {
	if string(p) == "null" {
		return nil
	}
	n, err := strconv.ParseInt(string(p), 10, 64)
	if err != nil {
		return json.Unmarshal(p, &b.Value)
	}
	*b = Bytes{Value: n}
	return nil
}
