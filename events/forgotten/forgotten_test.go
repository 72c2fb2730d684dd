package forgotten

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/guestflow/guestflow/events"
)

const key = "0123456789abcdef"

// TestListFindsWhomItHas: by id, address and device, in an account or in all, and with its
// own key alone.
func TestListFindsWhomItHas(t *testing.T) {
	t.Parallel()
	marks := []string{
		KeyMark(key), Mark(key, GuestID, "default", "ann"), Mark(key, Email, "", "Ann@x.org"), Mark(key, MAC, "", "m1"),
		Mark(key, Session, "default", "s1"), "no mark", "",
	}
	l, other := NewList(key), NewList("fedcba9876543210")
	l.Add(marks)
	other.Add(marks)
	for _, c := range []struct {
		kind           Kind
		account, value string
		want           bool
	}{
		{GuestID, "default", "ann", true}, {GuestID, "other", "ann", false}, {GuestID, "default", "an", false}, {GuestID, "default", "", false},
		{Email, "other", "aNN@X.org", true}, {MAC, "any", "m1", true}, {Session, "default", "s1", true}, {Session, "default", "m1", false},
	} {
		if got := l.Has(c.kind, c.account, c.value); got != c.want {
			t.Errorf("%s %s of %s: %v", c.kind, c.value, c.account, got)
		}
		if other.Has(c.kind, c.account, c.value) {
			t.Errorf("%s %s is found with another key", c.kind, c.value)
		}
	}
	if !l.Readable() || other.Readable() || !NewList(key).Readable() {
		t.Error("a wrong key does not show")
	}
	again := NewList(key)
	if again.Add(l.Marks()); len(again.Marks()) != 5 || !again.Has(MAC, "", "m1") {
		t.Errorf("the list has %v", l.Marks())
	}
	if nobody := (*List)(nil); !nobody.Empty() || nobody.Has(MAC, "", "m1") || nobody.Names("default", &events.Session{ID: "s1"}) {
		t.Error("nil has somebody")
	}
}

// TestCleansedEventsNameNobody, and those of others stay as they are.
func TestCleansedEventsNameNobody(t *testing.T) {
	t.Parallel()
	l := NewList(key)
	l.Add([]string{Mark(key, GuestID, "", "ann"), Mark(key, Email, "", "ann@x.org")})
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	of := func(guest string) events.Event {
		e := events.Event{Account: "default", Kind: events.Started, Time: at, Data: events.Data{Revision: 1, Observed: events.Observed{At: at}}}
		e.Data.Session = events.Session{ID: "s", LocationID: "bar", GuestID: guest, DeviceMAC: "m1", DeviceIP: "10.0.0.1", YasID: "yas", AccessCode: "code", DeviceDescription: "Phone", Online: true}
		return e.Sealed()
	}
	byMail := of("")
	byMail.Data.Guest = &events.Guest{Name: "Ann", Email: "Ann@x.org"}
	passed, was := of("bob"), "ann"
	passed.Data.Previous = &events.Previous{GuestID: &was}
	for name, e := range map[string]events.Event{"by id": of("ann"), "by e-mail": byMail, "passed on": passed} {
		id := e.ID
		if !l.Cleanse(&e) || e.ID != id {
			t.Errorf("%s: not cleansed, or renamed", name)
		}
		body, err := events.Encode(e)
		if err != nil || bytes.Contains(bytes.ToLower(body), []byte("ann")) {
			t.Errorf("%s: %s, %v", name, body, err)
		}
		if name == "passed on" != (e.Data.Session.GuestID == "bob") {
			t.Errorf("%s: of %q", name, e.Data.Session.GuestID)
		}
		if name != "passed on" && (e.Data.Session.DeviceIP+e.Data.Session.YasID+e.Data.Session.AccessCode != "" || e.Data.Session.DeviceDescription != events.Forgotten) {
			t.Errorf("%s: %s", name, body)
		}
	}
	if bob := of("bob"); l.Cleanse(&bob) {
		t.Error("another guest is cleansed")
	}
}

// TestPeopleAreSealed: opened by the key alone.
func TestPeopleAreSealed(t *testing.T) {
	t.Parallel()
	sealed, err := Seal(key, Person{GuestIDs: []string{"ann"}, Emails: []string{"ann@x.org"}})
	if err != nil || strings.Contains(sealed, "ann") {
		t.Fatal(sealed, err)
	}
	for _, c := range []struct {
		key, text string
		want      error
	}{{key, sealed, nil}, {"fedcba9876543210", sealed, ErrSealed}, {"", sealed, ErrSealed}, {key, "AAAA", ErrSealed}, {key, "no", ErrSealed}} {
		e := Event{ID: "1", Data: Data{Sealed: c.text}}
		if err := e.Open(c.key); !errors.Is(err, c.want) || c.want == nil && e.Data.Person.GuestIDs[0] != "ann" {
			t.Errorf("key %q, %q: %v, %+v", c.key, c.text, err, e.Data)
		}
	}
}

// TestDocumentsFollowTheSchemas, and what is none is refused.
func TestDocumentsFollowTheSchemas(t *testing.T) {
	t.Parallel()
	compile := func(text []byte) *jsonschema.Schema {
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		if err := c.AddResource("x.json", document); err != nil {
			t.Fatal(err)
		}
		s, err := c.Compile("x.json")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	fits := func(s *jsonschema.Schema, body []byte) error {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err != nil {
			return err
		}
		return s.Validate(v)
	}
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, d := range []Data{{Sealed: "AAAA"}, {Person: &Person{GuestIDs: []string{"ann"}, SessionIDs: []string{"s1"}}}} {
		body, err := Encode(Event{ID: "1", Time: at, Account: "default", Data: d})
		if err == nil {
			err = fits(compile(Schema()), body)
		}
		if err != nil {
			t.Errorf("%s: %v", body, err)
		}
		if e, err := Decode(body); err != nil || e.ID != "1" || e.Account != "default" || !e.Time.Equal(at) {
			t.Errorf("%+v, %v", e, err)
		}
	}
	entry, err := json.Marshal(Entry{ID: "1", At: at, Marks: []string{KeyMark(key)}, Erased: []Erased{{Stream: "S", Created: at, Sequences: []uint64{7}}}})
	if err == nil {
		err = fits(compile(EntrySchema()), entry)
	}
	if err != nil {
		t.Errorf("%s: %v", entry, err)
	}
	for _, d := range []Data{{}, {Sealed: "x", Person: &Person{}}} {
		if _, err := Encode(Event{ID: "1", Data: d}); !errors.Is(err, ErrNotForgotten) {
			t.Errorf("%+v: %v", d, err)
		}
	}
	for _, text := range []string{"", "{}", `{"type":"guestflow.guest.forgotten.v1"}`, `{"type":"guestflow.guest.forgotten.v1","id":"1","data":{}}`} {
		if _, err := Decode([]byte(text)); !errors.Is(err, ErrNotForgotten) {
			t.Errorf("%q: %v", text, err)
		}
	}
	var document struct {
		Channels map[string]struct{ Address string }
	}
	if err := yaml.Unmarshal(AsyncAPI(), &document); err != nil || document.Channels["list"].Address != ListSubject || document.Channels["guest"].Address != GuestSubject {
		t.Errorf("%+v, %v", document, err)
	}
}
