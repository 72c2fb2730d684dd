package forgotten

import (
	"bytes"
	_ "embed" // the schemas and the AsyncAPI document
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/guestflow/guestflow/events"
)

// Where the stream is.
const (
	DefaultStream = "GUEST_FORGOTTEN"
	DefaultPrefix = "guest.forgotten"
	// ListSubject has entries, GuestSubject events.
	ListSubject  = DefaultPrefix + ".list"
	GuestSubject = DefaultPrefix + ".guest"
)

// Type is the CloudEvents type of an Event, SchemaID its dataschema.
const (
	Type     = "guestflow.guest.forgotten.v1"
	SchemaID = "urn:guestflow:guest-forgotten:v1"
)

// Entry is what the list keeps of one request.
type Entry struct {
	// ID is that of the request's Event.
	ID    string    `json:"id"`
	At    time.Time `json:"at"`
	Marks []string  `json:"marks"`
	// Erased are the messages that are deleted for it, or about to be: readers of these
	// streams must not take them for losses.
	Erased []Erased `json:"erased,omitempty"`
}

// Erased are messages of one stream.
type Erased struct {
	Stream    string    `json:"stream"`
	Created   time.Time `json:"created"` // of the stream
	Sequences []uint64  `json:"sequences"`
}

// Event tells to forget a person. Its wire form is a CloudEvents 1.0 document.
type Event struct {
	// ID is the CloudEvents id and subject.
	ID   string
	Time time.Time
	// Account is the one that the request is about; empty means every one.
	Account string
	Data    Data
}

// Data is the CloudEvents data of an Event. In the stream Sealed has the person; in a
// webhook's body Person has.
type Data struct {
	Sealed string  `json:"sealed,omitempty"`
	Person *Person `json:"person,omitempty"`
}

// Person is who is to be forgotten, by all that former events may have told of them.
type Person struct {
	GuestIDs   []string `json:"guest_ids,omitempty"`
	Emails     []string `json:"emails,omitempty"`
	DeviceMACs []string `json:"device_macs,omitempty"`
	// SessionIDs and VisitIDs are the person's.
	SessionIDs []string `json:"session_ids,omitempty"`
	VisitIDs   []string `json:"visit_ids,omitempty"`
}

type document struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	DataSchema      string    `json:"dataschema"`
	Account         string    `json:"account,omitempty"`
	Data            *Data     `json:"data"`
}

// ErrNotForgotten is what every error of Decode wraps.
var ErrNotForgotten = errors.New("not an event of a person who is to be forgotten")

// Encode returns e as a CloudEvents document. The error wraps ErrNotForgotten: without an
// id, or with both or neither of Sealed and Person.
func Encode(e Event) ([]byte, error) {
	if err := e.refuse(); err != nil {
		return nil, err
	}
	return json.Marshal(document{
		SpecVersion: events.SpecVersion, ID: e.ID, Source: "guestflow", Type: Type, Subject: e.ID, Time: e.Time.UTC(),
		DataContentType: "application/json", DataSchema: SchemaID, Account: e.Account, Data: &e.Data,
	})
}

func (e *Event) refuse() error {
	switch {
	case e.ID == "":
		return fmt.Errorf("%w: id is missing", ErrNotForgotten)
	case (e.Data.Sealed == "") == (e.Data.Person == nil):
		return fmt.Errorf("%w: data has to have one of sealed and person", ErrNotForgotten)
	}
	return nil
}

// Decode reads what Encode writes.
func Decode(body []byte) (Event, error) {
	d := document{Data: &Data{}}
	if err := json.Unmarshal(body, &d); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrNotForgotten, err)
	}
	if d.Type != Type || d.Data == nil {
		return Event{}, fmt.Errorf("%w: type is not %s", ErrNotForgotten, Type)
	}
	e := Event{ID: d.ID, Time: d.Time.UTC(), Account: d.Account, Data: *d.Data}
	return e, e.refuse()
}

//go:embed schemas/guest-forgotten.v1.json
var schema []byte

//go:embed schemas/forgotten-entry.v1.json
var entrySchema []byte

//go:embed asyncapi.yaml
var asyncAPI []byte

// Schema returns the JSON Schema of an Event's document, EntrySchema that of an Entry.
func Schema() []byte { return bytes.Clone(schema) }

// EntrySchema returns the JSON Schema of an Entry.
func EntrySchema() []byte { return bytes.Clone(entrySchema) }

// AsyncAPI returns the AsyncAPI 3 document of the stream, in YAML.
func AsyncAPI() []byte { return bytes.Clone(asyncAPI) }
