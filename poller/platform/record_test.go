package platform

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

// documented has the documented shape, and values of our own.
const documented = `{
"data": [
{
"id": "sEs510nAAAA",
"location_id": "lOc4t10nBBB",
"location_name": "Harbour Café",
"guest_device_description": "WebKit",
"guest_device_mac": "02:00:5e:10:00:7f",
"guest_device_ip": "172.16.4.9",
"access_code": "",
"login_type_name": "Registration",
"service_profile_name": "Two hours",
"total_duration": "26:03:04",
"downloaded_data": "12.34 MB",
"uploaded_data": "567.89 kB",
"connection_status": "Offline",
"connection_status_value": 0,
"start_time": "2026-03-01T23:30:00+03:00",
"start_time_formatted": "2026-03-01 11:30 PM",
"end_time": "2026-03-02T22:33:04+00:00",
"end_time_formatted": "2026-03-03 1:33 AM",
"guest_id": "gUe5tCCCCCC",
"yas_id": "00000000-1111-4222-8333-444444444444"
}
],
"links": {
"first": "[[BaseUrl]]/sessions?page=1",
"last": null,
"prev": null,
"next": "[[BaseUrl]]/sessions?page=2"
},
"meta": {
"current_page": 1,
"from": 1,
"path": "[[BaseUrl]]/sessions",
"per_page": 10,
"to": 10
}
}`

func decode(t testing.TB, body string, q Query) Page {
	t.Helper()
	page, err := client(t, "https://api.example.com/api/v1", nil).DecodePage([]byte(body), q)
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return page
}

// one decodes a page whose one record has id and location, and fields besides.
func one(t testing.TB, fields string, q Query) events.Session {
	t.Helper()
	page := decode(t, `{"data":[{"id":"s","location_id":"l"`+fields+`}]}`, q)
	if len(page.Sessions) != 1 || len(page.Skipped) != 0 || page.Records != 1 {
		t.Fatalf("%s: %+v", fields, page)
	}
	return page.Sessions[0]
}

func TestDocumentedPageIsRead(t *testing.T) {
	page := decode(t, documented, Query{})
	want := events.Session{
		ID: "sEs510nAAAA", LocationID: "lOc4t10nBBB", LocationName: "Harbour Café",
		GuestID: "gUe5tCCCCCC", YasID: "00000000-1111-4222-8333-444444444444",
		DeviceMAC: "02:00:5e:10:00:7f", DeviceIP: "172.16.4.9", DeviceDescription: "WebKit",
		LoginType: "Registration", ServiceProfile: "Two hours",
		StartedAt:       time.Date(2026, 3, 1, 20, 30, 0, 0, time.UTC),
		EndedAt:         time.Date(2026, 3, 2, 22, 33, 4, 0, time.UTC),
		DurationSeconds: 26*3600 + 3*60 + 4,
		Downloaded:      events.Bytes{Value: 12_340_000, Error: 10_000},
		Uploaded:        events.Bytes{Value: 567_890, Error: 10},
	}
	if len(page.Sessions) != 1 || page.Sessions[0] != want {
		t.Errorf("%+v\nwant %+v", page.Sessions, want)
	}
	if page.Records != 1 || len(page.Skipped) != 0 || page.PerPage != 10 || page.Number != 1 || !page.More || page.Suspicious != "" {
		t.Errorf("%+v", page)
	}
}

func TestOneBadFieldCostsThatFieldAlone(t *testing.T) {
	bare := events.Session{ID: "s", LocationID: "l", Downloaded: events.UnknownBytes, Uploaded: events.UnknownBytes, DurationSeconds: events.UnknownSeconds, Online: true}
	on := true
	for _, name := range []string{
		"location_name", "guest_device_description", "guest_device_mac", "guest_device_ip", "access_code", "login_type_name",
		"service_profile_name", "total_duration", "downloaded_data", "uploaded_data", "connection_status",
		"connection_status_value", "start_time", "end_time", "guest_id", "yas_id", "start_time_formatted", "brand_new",
	} {
		for _, value := range []string{`null`, `""`, `"  "`, `[]`, `{}`, `[{"id":"x"}]`, `{"id":"x","location_id":"y"}`, `false`, `-1.5`} {
			if name == "connection_status_value" && value == "false" {
				continue // that one means something
			}
			got := one(t, fmt.Sprintf(`,%q:%s`, name, value), Query{Online: &on})
			if got != bare {
				t.Errorf("%s %s: %+v", name, value, got)
			}
		}
	}
	if got := one(t, "", Query{Online: &on}); got != bare {
		t.Errorf("missing fields: %+v", got)
	}
	for field, fits := range map[string]func(events.Session) bool{
		`"downloaded_data":0`:                 func(s events.Session) bool { return s.Downloaded == events.Bytes{} },
		`"downloaded_data":1234`:              func(s events.Session) bool { return s.Downloaded == events.Bytes{Value: 1234} },
		`"downloaded_data":1e999`:             func(s events.Session) bool { return s.Downloaded == events.UnknownBytes },
		`"uploaded_data":"9e99 PB"`:           func(s events.Session) bool { return s.Uploaded == events.UnknownBytes },
		`"total_duration":"soon"`:             func(s events.Session) bool { return s.DurationSeconds == events.UnknownSeconds },
		`"start_time":"yesterday"`:            func(s events.Session) bool { return s.StartedAt.IsZero() },
		`"guest_device_mac":"02-00-5E-1-0-7"`: func(s events.Session) bool { return s.DeviceMAC == "02-00-5E-1-0-7" },
		`"guest_device_ip":"::ffff:10.0.0.1"`: func(s events.Session) bool { return s.DeviceIP == "10.0.0.1" },
		`"guest_id":12345`:                    func(s events.Session) bool { return s.GuestID == "12345" },
		`"location_name":"a\u00e9\n"`:         func(s events.Session) bool { return s.LocationName == "aé" },
		`"location_name":"a` + "\xff" + `b"`:  func(s events.Session) bool { return s.LocationName == "a\uFFFDb" },
		`"location_name":"a\ud800b"`:          func(s events.Session) bool { return s.LocationName == "a\uFFFDb" },
	} {
		if s := one(t, ","+field, Query{Online: &on}); !fits(s) {
			t.Errorf("%s: %+v", field, s)
		}
	}
}

func TestRecordsWithoutIdentityAreSkippedAndCounted(t *testing.T) {
	long := strings.Repeat("x", maxID)
	for record, reason := range map[string]string{
		`null`: "not an object", `"gone"`: "not an object", `7`: "not an object", `[]`: "not an object", `true`: "not an object",
		`{}`: "id empty", `{"location_id":"l"}`: "id empty", `{"id":null,"location_id":"l"}`: "id empty",
		`{"id":"","location_id":"l"}`: "id empty", `{"id":" ","location_id":"l"}`: "id empty",
		`{"id":["a"],"location_id":"l"}`: "id empty", `{"id":1.5,"location_id":"l"}`: "id empty", `{"id":true,"location_id":"l"}`: "id empty",
		`{"id":"a"}`: "location_id empty", `{"id":"a","location_id":null}`: "location_id empty", `{"id":"a","location_id":{}}`: "location_id empty",
		`{"id":"` + long + `x","location_id":"l"}`:   "id longer than 256 bytes",
		`{"id":"a","location_id":"` + long + `x"}`:   "location_id longer than 256 bytes",
		`{"id":"a\u0000","location_id":"l"}`:         "id contains NUL",
		`{"id":"a","location_id":"\u0000l"}`:         "location_id contains NUL",
		`{"id":"a` + "\xff" + `","location_id":"l"}`: "id is not valid UTF-8",
		`{"id":"a","location_id":"l` + "\xc3" + `"}`: "location_id is not valid UTF-8",
		`{"id":"a\udc00","location_id":"l"}`:         "id is not valid UTF-8",
	} {
		page := decode(t, `{"data":[{"id":"1","location_id":"l"},`+record+`,{"id":"2","location_id":"l"}]}`, Query{})
		if len(page.Sessions) != 2 || page.Sessions[0].ID != "1" || page.Sessions[1].ID != "2" || page.Records != 3 ||
			len(page.Skipped) != 1 || page.Skipped[0].Reason != reason {
			t.Errorf("%s: %+v %+v, want %q", record, page.Sessions, page.Skipped, reason)
		}
	}
	page := decode(t, `{"data":[{"id":"`+long+`","location_id":77},{"id":18446744073709551616,"location_id":-3}]}`, Query{})
	if len(page.Sessions) != 2 || page.Sessions[0].ID != long || page.Sessions[0].LocationID != "77" ||
		page.Sessions[1].ID != "18446744073709551616" || page.Sessions[1].LocationID != "-3" {
		t.Errorf("%+v %+v", page.Sessions, page.Skipped)
	}
}

func TestRepeatedRecordsAreKept(t *testing.T) {
	page := decode(t, `{"data":[{"id":"a","location_id":"l"},{"id":"a","location_id":"l"},{"id":"a","location_id":"m"}]}`, Query{})
	if len(page.Sessions) != 3 || page.Records != 3 || page.Sessions[2].LocationID != "m" {
		t.Errorf("%+v", page)
	}
}

func TestPresenceComesFromTheSurestSource(t *testing.T) {
	yes, no := true, false
	const ended = `,"end_time":"2026-03-02T22:33:04Z"`
	for _, tc := range []struct {
		fields string
		query  *bool
		want   bool
	}{
		{`,"connection_status_value":1`, nil, true}, {`,"connection_status_value":0`, nil, false},
		{`,"connection_status_value":"1"`, nil, true}, {`,"connection_status_value":"0"`, nil, false},
		{`,"connection_status_value":true`, nil, true}, {`,"connection_status_value":false`, nil, false},
		// The value is surer than the text, the text than the query.
		{`,"connection_status":"Offline","connection_status_value":1`, &no, true},
		{`,"connection_status_value":0,"connection_status":"Online"`, &yes, false},
		{`,"connection_status":"Online"`, &no, true}, {`,"connection_status":"ONLINE"`, nil, true},
		{`,"connection_status":"Offline"`, &yes, false}, {`,"connection_status":"offline"`, nil, false},
		{`,"connection_status_value":7,"connection_status":"Offline"`, &yes, false},
		{``, &yes, true}, {``, &no, false}, {`,"connection_status":null`, &yes, true},
		// A word that nobody knows proves no end.
		{`,"connection_status":"Çevrimiçi"`, &yes, true}, {`,"connection_status":"Çevrimiçi"`, &no, false},
		// Nothing else known: a session is over once it has an end.
		{``, nil, true}, {ended, nil, false}, {`,"connection_status":"?"` + ended, nil, false},
		{`,"connection_status_value":null`, nil, true}, {ended, &yes, true},
	} {
		if got := one(t, tc.fields, Query{Online: tc.query}); got.Online != tc.want {
			t.Errorf("%s: online %t", tc.fields, got.Online)
		}
	}
}

func TestNestingIsBounded(t *testing.T) {
	c := client(t, "http://h", nil)
	const deep = 1_000_000
	for _, body := range []string{
		strings.Repeat("[", deep), strings.Repeat(`{"data":`, deep), `{"x":` + strings.Repeat("[", deep),
		`{"data":[` + strings.Repeat("[", deep), `{"data":[{"id":` + strings.Repeat("[", deep),
		`{"data":[{"id":` + strings.Repeat("[", deep) + strings.Repeat("]", deep) + `}]}`,
		`{"links":` + strings.Repeat(`{"next":`, deep), `{"meta":` + strings.Repeat(`{"per_page":`, deep),
	} {
		if _, err := c.DecodePage([]byte(body), Query{}); err == nil {
			t.Errorf("%.30s… was taken", body)
		}
		if _, err := decodeGuests([]byte(body), []string{"10.0.0.1"}); err == nil {
			t.Errorf("%.30s… was taken for guests", body)
		}
		if _, err := decodeLocations([]byte(body)); err == nil {
			t.Errorf("%.30s… was taken for locations", body)
		}
	}
	// As deep as any real record: read.
	if got := one(t, `,"new":`+strings.Repeat("[", 500)+strings.Repeat("]", 500), Query{}); got.ID != "s" {
		t.Errorf("%+v", got)
	}
}

func TestTextsAreCutBetweenCharacters(t *testing.T) {
	for _, c := range []string{"x", "é", "€", "😀"} {
		s := one(t, `,"location_name":"`+strings.Repeat(c, 2000)+`"`, Query{})
		if n := len(s.LocationName); n > longestText || n <= longestText-len(c) || strings.Trim(s.LocationName, c) != "" {
			t.Errorf("%d bytes of %s are kept: …%q", n, c, s.LocationName[n-6:])
		}
	}
}

func TestSharedTextsAreBounded(t *testing.T) {
	var n interner
	for i := range mostTexts + 10 {
		if s := fmt.Sprint("t", i); n.of(s) != s {
			t.Fatalf("%s came back as another", s)
		}
	}
	if len(n.texts) != mostTexts {
		t.Errorf("%d texts are kept", len(n.texts))
	}
	var long interner
	if s := strings.Repeat("x", maxID+1); long.of(s) != s || len(long.texts) != 0 {
		t.Errorf("a text of %d bytes is kept", maxID+1)
	}
}
