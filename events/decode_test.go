package events

import (
	"encoding/json"
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

// reference decodes as the struct tags say, with the standard library, and
// without the checks of Decode.
func reference(body []byte) (Event, error) {
	var w struct {
		ID      string    `json:"id"`
		Source  string    `json:"source"`
		Type    string    `json:"type"`
		Subject string    `json:"subject"`
		Time    time.Time `json:"time"`
		Data    Data      `json:"data"`
	}
	s := &w.Data.Session
	s.DurationSeconds, s.Downloaded, s.Uploaded = UnknownSeconds, UnknownBytes, UnknownBytes
	if err := json.Unmarshal(body, &w); err != nil {
		return Event{}, err
	}
	account, err := url.PathUnescape(strings.TrimPrefix(w.Source, "guestflow/"))
	if err != nil {
		return Event{}, err
	}
	kind := strings.TrimSuffix(strings.TrimPrefix(w.Type, "guestflow.session."), ".v1")
	e := Event{ID: w.ID, Account: account, Kind: Kind(kind), Time: w.Time.UTC(), Data: w.Data}
	d := &e.Data
	s = &d.Session
	for figure, rounding := range map[*Bytes]*int64{&s.Downloaded: &d.Observed.Rounding.DownloadedBytes, &s.Uploaded: &d.Observed.Rounding.UploadedBytes} {
		if figure.Known() {
			figure.Error = *rounding
		} else {
			*rounding = UnknownBytes.Error
		}
	}
	s.StartedAt, s.EndedAt = s.StartedAt.UTC(), s.EndedAt.UTC()
	d.Observed.At, d.Observed.NotYetAt = d.Observed.At.UTC(), d.Observed.NotYetAt.UTC()
	if d.Previous != nil && d.Previous.StartedAt != nil {
		t := d.Previous.StartedAt.UTC()
		d.Previous.StartedAt = &t
	}
	return e, nil
}

const minimal = `{"specversion":"1.0","id":"i","source":"guestflow/a","type":"guestflow.session.started.v1","subject":"s",` +
	`"data":{"revision":1,"session":{"id":"s","location_id":"l"}}}`

func TestDecodeRefusesWhatIdentityNeeds(t *testing.T) {
	if _, err := Decode([]byte(minimal)); err != nil {
		t.Fatalf("the minimal event: %v", err)
	}
	for _, c := range []struct{ name, old, new, field, reason string }{
		{"other version", `"1.0"`, `"0.3"`, "specversion", "1.0"},
		{"no version", `"specversion":"1.0",`, ``, "specversion", "1.0"},
		{"empty id", `"id":"i"`, `"id":""`, "id", "missing or empty"},
		{"null id", `"id":"i"`, `"id":null`, "id", "missing or empty"},
		{"id as number", `"id":"i"`, `"id":7`, "id", "not a string"},
		{"capital ID is another field", `"id":"i"`, `"ID":"i"`, "id", "missing or empty"},
		{"other source", `guestflow/a`, `elsewhere/a`, "source", "guestflow/"},
		{"no account", `guestflow/a`, `guestflow/`, "source", "missing or empty"},
		{"bad escape in account", `guestflow/a`, `guestflow/%zz`, "source", "percent-escape"},
		{"account that is no text", `guestflow/a`, `guestflow/%ff`, "source", "percent-escape"},
		{"other type", `guestflow.session.started`, `com.example.started`, "type", "guestflow.session."},
		{"other kind", `session.started`, `session.merged`, "type", "unknown kind"},
		{"other contract version", `.v1`, `.v2`, "type", "version 1"},
		{"no session id", `"id":"s"`, `"id":""`, "data.session.id", "missing or empty"},
		{"no location", `,"location_id":"l"`, ``, "data.session.location_id", "missing or empty"},
		{"no data", `"data"`, `"data_"`, "data.session.id", "missing or empty"},
		{"data null", `"data":`, `"data":null,"x":`, "data.session.id", "missing or empty"},
		{"data as text", `"data":`, `"data":"x","x":`, "data", "not an object"},
		{"session as list", `"session":`, `"session":[],"x":`, "data.session", "not an object"},
		{"revision 0", `"revision":1`, `"revision":0`, "data.revision", "less than 1"},
		{"no revision", `"revision":1,`, ``, "data.revision", "missing"},
		{"revision as fraction", `"revision":1`, `"revision":1.5`, "data.revision", "not an integer"},
		{"revision with leading zero", `"revision":1`, `"revision":01`, "data.revision", "not an integer"},
		{"revision too large", `"revision":1`, `"revision":9223372036854775808`, "data.revision", "64 bits"},
		{"revision far too large", `"revision":1`, `"revision":99999999999999999999999`, "data.revision", "64 bits"},
		{"subject of another session", `"subject":"s"`, `"subject":"t"`, "subject", "data.session.id"},
		{"no subject", `"subject":"s",`, ``, "subject", "data.session.id"},
		{"bad time", `"subject"`, `"time":"2017-01-05","subject"`, "time", "RFC 3339"},
		{"time before year 0", `"subject"`, `"time":"0000-01-01T00:00:00+01:00","subject"`, "time", "years"},
		{"online as text", `"location_id"`, `"online":"yes","location_id"`, "data.session.online", "boolean"},
		{"rounding as number", `"revision"`, `"observed":{"rounding":5},"revision"`, "data.observed.rounding", "object"},
		{"negative rounding", `"revision"`, `"observed":{"rounding":{"uploaded_bytes":-1}},"revision"`, "data.observed.rounding.uploaded_bytes", "negative"},
		{"id twice", `"id":"i"`, `"id":"i","id":"j"`, "id", "twice"},
		{"id twice, once escaped", `"id":"i"`, `"id":"i","\u0069d":"j"`, "id", "twice"},
		{"half a surrogate pair", `"id":"i"`, `"id":"\ud800"`, "id", "escape"},
		{"control character", `"id":"i"`, "\"id\":\"i\n\"", "id", "control"},
		{"invalid UTF-8", `"id":"i"`, "\"id\":\"\xff\"", "", "UTF-8"},
		{"trailing bytes", `}}}`, `}}}x`, "", "followed by more"},
		{"trailing comma", `"location_id":"l"}`, `"location_id":"l",}`, "data.session", "without a name"},
		{"cut off", `}}}`, ``, "", ""},
		{"empty", minimal, ``, "", "not a JSON object"},
		{"list", minimal, `[]`, "", "not a JSON object"},
		{"null", minimal, `null`, "", "not a JSON object"},
		{"bad extension", `"id":"i"`, `"id":"i","ext":[1,]`, "ext", "JSON value"},
		{"deep extension", `"id":"i"`, `"id":"i","ext":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "ext", "deeply"},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := strings.Replace(minimal, c.old, c.new, 1)
			if body == minimal {
				t.Fatal("the case changes nothing")
			}
			e, err := Decode([]byte(body))
			var field *FieldError
			if !errors.Is(err, ErrNotEvent) || !errors.As(err, &field) {
				t.Fatalf("decoded %v with error %v, want a FieldError that is ErrNotEvent", e, err)
			}
			if c.name != "cut off" && field.Field != c.field || !strings.Contains(field.Reason, c.reason) {
				t.Errorf("error %q names field %q; want field %q and %q", err, field.Field, c.field, c.reason)
			}
			if !reflect.DeepEqual(e, Event{}) {
				t.Errorf("an event came with the error: %v", e)
			}
		})
	}
}

func TestDecodeSkipsWhatItDoesNotKnow(t *testing.T) {
	want, err := Decode([]byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	const junk = `"x":{"a":[1,-2.5e+3,0,"\u00e9\n",true,false,null,{},[],{"b":[[]]}]},"y" : null , "Data":7,"traceparent":"00-1",`
	for _, at := range []string{`"specversion"`, `"revision"`, `"location_id"`} {
		e, err := Decode([]byte(strings.Replace(minimal, at, junk+at, 1)))
		if err != nil {
			t.Errorf("before %s: %v", at, err)
		} else if !reflect.DeepEqual(e, want) {
			t.Errorf("before %s: decoded %v, want %v", at, e, want)
		}
	}
}

func TestDecodeReadsTimesAsUTC(t *testing.T) {
	body := strings.Replace(minimal, `"subject"`, `"time":"2017-01-05T09:50:55.123456789+03:00","subject"`, 1)
	e, err := Decode([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2017, 1, 5, 6, 50, 55, 123456789, time.UTC); e.Time != want {
		t.Errorf("time %v, want %v", e.Time, want)
	}
}

func TestDecodeReadsEveryEscape(t *testing.T) {
	body := strings.Replace(minimal, `"location_id":"l"`,
		`"location_id":"l","access_code":"\"\\\/\b\f\n\r\t\u00E9\u2603\ud83d\ude00z"`, 1)
	e, err := Decode([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if want := "\"\\/\b\f\n\r\té☃😀z"; e.Data.Session.AccessCode != want {
		t.Errorf("read %q, want %q", e.Data.Session.AccessCode, want)
	}
}

func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	for _, c := range []struct {
		field  string
		damage func(*Event)
	}{
		{"id", func(e *Event) { e.ID = "" }},
		{"id", func(e *Event) { e.ID = "\xff" }},
		{"source", func(e *Event) { e.Account = "" }},
		{"source", func(e *Event) { e.Account = "\xff" }},
		{"type", func(e *Event) { e.Kind = "merged" }},
		{"data.session.id", func(e *Event) { e.Data.Session.ID = "" }},
		{"data.session.id", func(e *Event) { e.Data.Session.ID = "a\xffb" }},
		{"data.session.location_id", func(e *Event) { e.Data.Session.LocationID = "" }},
		{"data.revision", func(e *Event) { e.Data.Revision = 0 }},
		{"time", func(e *Event) { e.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }},
		{"data.session.started_at", func(e *Event) { e.Data.Session.StartedAt = time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC) }},
	} {
		e := sample()
		c.damage(&e)
		body, err := Encode(e)
		var field *FieldError
		if !errors.Is(err, ErrNotEvent) || !errors.As(err, &field) || field.Field != c.field {
			t.Errorf("%s: error %v, want one that names the field", c.field, err)
		}
		if body != nil {
			t.Errorf("%s: bytes came with the error: %s", c.field, body)
		}
	}
}

func TestEncodeReplacesInvalidTextOutsideOfIdentity(t *testing.T) {
	e := sample()
	e.Data.Session.AccessCode = "a\xff\xfeb"
	body, err := Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	if want := "a\uFFFD\uFFFDb"; got.Data.Session.AccessCode != want {
		t.Errorf("access code %q, want %q", got.Data.Session.AccessCode, want)
	}
}

// FuzzDecode: what Decode accepts is JSON, says the same to the standard
// library, and survives Encode.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(minimal))
	for _, e := range samples() {
		body, err := Encode(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := Decode(body)
		if err != nil {
			if !errors.Is(err, ErrNotEvent) {
				t.Fatalf("error %v is not ErrNotEvent", err)
			}
			return
		}
		if !json.Valid(body) {
			t.Fatalf("accepted what is not JSON: %q", body)
		}
		again, err := Encode(e)
		if err != nil {
			t.Fatalf("cannot encode what was decoded: %v", err)
		}
		back, err := Decode(again)
		if err != nil || !reflect.DeepEqual(back, e) {
			t.Fatalf("came back as %v (error %v), want %v", back, err, e)
		}
		if want, err := reference(again); err != nil || !reflect.DeepEqual(want, e) {
			t.Fatalf("the standard library reads %v (error %v), Decode %v", want, err, e)
		}
		if hasOtherCase(body) {
			return // the standard library takes "ID" for "id"; Decode does not
		}
		if want, err := reference(body); err != nil || !reflect.DeepEqual(want, e) {
			t.Fatalf("the standard library reads %v (error %v), Decode %v", want, err, e)
		}
	})
}

// hasOtherCase reports whether body may have a key that equals a known one but
// for its case: after the first letter of each key, so to say, it looks for
// anything but lower case.
func hasOtherCase(body []byte) bool {
	var found bool
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, v := range v {
				for _, n := range append(attributeNames[:], scalarNames...) {
					found = found || k != n && strings.EqualFold(k, n)
				}
				walk(v)
			}
		case []any:
			for _, v := range v {
				walk(v)
			}
		}
	}
	var v any
	if json.Unmarshal(body, &v) == nil {
		walk(v)
	}
	return found
}

var scalarNames = []string{
	"specversion", "id", "source", "type", "subject", "time", "data", "revision", "episode", "session", "previous",
	"change", "observed", "online", "started_at", "ended_at", "duration_seconds", "downloaded_bytes", "uploaded_bytes",
	"reset", "at", "not_yet_at", "end", "proof", "rounding", "backfilled", "guest", "username", "name", "email",
}

func TestNamesAreTheTagsOfTheTypes(t *testing.T) {
	seen := map[name]bool{unknown: true}
	for _, n := range append(attributeNames[:], scalarNames...) {
		if got := nameOf([]byte(n)); seen[got] {
			t.Errorf("%q is unknown or the same as another", n)
		} else {
			seen[got] = true
		}
	}
	for i, n := range attributeNames {
		if at, ok := nameOf([]byte(n)).attribute(); !ok || at != i {
			t.Errorf("%q is attribute %d, want %d", n, at, i)
		}
	}
}
