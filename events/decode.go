package events

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"
)

// Decode reads a CloudEvents 1.0 structured JSON document as Encode writes it.
// It is strict on what identity and order rest on (specversion, id, source,
// type, subject, session id, location id, revision) and on the types of the
// fields that it knows; it skips fields and extension attributes that it does
// not know. Times come out in UTC, and the session's byte figures with their
// rounding errors.
//
// The error is a *FieldError, which names the field and wraps ErrNotEvent.
func Decode(body []byte) (Event, error) {
	var w struct {
		SpecVersion string    `json:"specversion"`
		ID          string    `json:"id"`
		Source      string    `json:"source"`
		Type        string    `json:"type"`
		Subject     string    `json:"subject"`
		Time        time.Time `json:"time"`
		Data        Data      `json:"data"`
	}
	if err := json.Unmarshal(body, &w); err != nil {
		if bad := (*json.UnmarshalTypeError)(nil); errors.As(err, &bad) {
			return Event{}, &FieldError{Field: bad.Field, Reason: "is a JSON " + bad.Value, Err: err}
		}
		return Event{}, &FieldError{Reason: err.Error(), Err: err}
	}
	if w.SpecVersion != SpecVersion {
		return Event{}, &FieldError{Field: "specversion", Reason: "is not " + SpecVersion}
	}
	path, ok := strings.CutPrefix(w.Source, SourcePrefix)
	if !ok {
		return Event{}, &FieldError{Field: "source", Reason: "does not begin with " + SourcePrefix}
	}
	account, err := url.PathUnescape(path)
	if err != nil {
		return Event{}, &FieldError{Field: "source", Reason: "has a bad escape", Err: err}
	}
	kind, wrong := kindOf(w.Type)
	if wrong != "" {
		return Event{}, &FieldError{Field: "type", Reason: wrong}
	}
	e := Event{ID: w.ID, Account: account, Kind: kind, Time: w.Time, Data: w.Data}
	if err := e.refuse(); err != nil {
		return Event{}, err
	}
	if w.Subject != e.Data.Session.ID {
		return Event{}, &FieldError{Field: "subject", Reason: "is not data.session.id"}
	}
	e.settle()
	return e, nil
}

// settle brings what the wire form leaves open to the form that the types
// promise: times in UTC, byte figures with their errors.
func (e *Event) settle() {
	d := &e.Data
	s := &d.Session
	s.Downloaded.Error, s.Uploaded.Error = d.Observed.Rounding.DownloadedBytes, d.Observed.Rounding.UploadedBytes
	for _, t := range [...]*time.Time{&e.Time, &s.StartedAt, &s.EndedAt, &d.Observed.At, &d.Observed.NotYetAt} {
		*t = t.UTC()
	}
	if d.Previous != nil && d.Previous.StartedAt != nil {
		t := d.Previous.StartedAt.UTC()
		d.Previous.StartedAt = &t
	}
}
