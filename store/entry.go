package store

import (
	"encoding/binary"
	"time"

	"github.com/guestflow/guestflow/events"
)

// Entry is one event in the outbox: its document, and what its message needs
// beside it, so that nobody has to parse the document to publish it.
type Entry struct {
	// Seq counts the entries of a file: 1, 2, 3 … without gaps, and never twice.
	Seq uint64
	// ID is the event's, and the Nats-Msg-Id.
	ID                    string
	Account               string
	LocationID, SessionID string
	Kind                  events.Kind
	Revision              int64
	// Body is what events.Encode returned.
	Body []byte
	// CommittedAt is when the entry came into the outbox. Traffic that is merged
	// into it later leaves it as it is.
	CommittedAt time.Time
}

// Subject returns the subject that the event is published on.
func (e *Entry) Subject(s events.Subjects) string {
	event := events.Event{Account: e.Account, Kind: e.Kind}
	event.Data.Session.LocationID = e.LocationID
	return s.Of(event)
}

// An entry record is version and kind (1 byte each), the time of the commit, the
// revision, four texts with their lengths before them, and the body.
const entryVersion = 1

var kinds = [...]events.Kind{
	1: events.Discovered, 2: events.Started, 3: events.Traffic,
	4: events.Updated, 5: events.Ended, 6: events.Resumed,
}

// encodeEntry returns the record of an event that was encoded as body.
func encodeEntry(e *events.Event, body []byte, committed time.Time) []byte {
	s := &e.Data.Session
	b := make([]byte, 0, len(body)+len(e.ID)+len(e.Account)+len(s.LocationID)+len(s.ID)+48)
	return append(appendHead(b, e, committed), body...)
}

// appendHead appends the record of an event but for its body.
func appendHead(b []byte, e *events.Event, committed time.Time) []byte {
	s := &e.Data.Session
	kind := byte(0)
	for i, k := range kinds {
		if k == e.Kind {
			kind = byte(i)
		}
	}
	b = appendTime(append(b, entryVersion, kind), committed)
	b = binary.AppendVarint(b, e.Data.Revision)
	for _, t := range [...]string{e.ID, e.Account, s.LocationID, s.ID} {
		b = appendText(b, t)
	}
	return b
}

// entryView is an entry record, taken apart in place: it is valid as long as the
// transaction that it was read in.
type entryView struct {
	seq                            uint64
	kind                           events.Kind
	committed                      time.Time
	revision                       int64
	id, account, location, session []byte
	body                           []byte
}

// viewEntry takes a record apart. The error is ErrCorrupt.
func viewEntry(key, b []byte) (entryView, error) {
	seq, err := sequenceOf(key)
	if err != nil {
		return entryView{}, err
	}
	in := input{b: b}
	version, kind := in.byte(), in.byte()
	if version != entryVersion || kind == 0 || int(kind) >= len(kinds) {
		return entryView{}, damaged("outbox entry %d has record version %d and kind %d", seq, version, kind)
	}
	v := entryView{seq: seq, kind: kinds[kind], committed: in.time(), revision: in.varint()}
	v.id, v.account, v.location, v.session = in.text(), in.text(), in.text(), in.text()
	v.body = in.rest()
	if in.bad || len(v.body) == 0 {
		return entryView{}, damaged("outbox entry %d cannot be read", seq)
	}
	return v, nil
}

// entry copies v out of its transaction. The account is that of the entry before,
// mostly, and then shares its memory.
func (v *entryView) entry(account string) Entry {
	if account != string(v.account) {
		account = string(v.account)
	}
	var scratch [128]byte
	text := string(append(append(append(scratch[:0], v.id...), v.location...), v.session...))
	id, location := len(v.id), len(v.id)+len(v.location)
	return Entry{
		Seq: v.seq, ID: text[:id], LocationID: text[id:location], SessionID: text[location:], Account: account,
		Kind: v.kind, Revision: v.revision, CommittedAt: v.committed, Body: append([]byte(nil), v.body...),
	}
}

// event decodes the document.
func (v *entryView) event() (events.Event, error) {
	e, err := events.Decode(v.body)
	if err != nil {
		return events.Event{}, damaged("outbox entry %d: %v", v.seq, err)
	}
	return e, nil
}
