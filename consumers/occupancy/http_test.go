package occupancy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/guestflow/guestflow/events"
)

// filled returns a service that was fed without a server, at a time that stands
// still.
func filled(t testing.TB, settings Settings, list []Message) *Service {
	t.Helper()
	now := list[len(list)-1].Event.Data.Observed.At.Add(30 * time.Second)
	settings.Now = func() time.Time { return now }
	settings.Log = quickSettings().Log
	s := New(settings)
	s.feed.restart("e1")
	s.status.Epoch = "e1"
	for _, m := range list {
		s.take(m, encoded(t, m.Event), m.Event.ID, 0, true)
	}
	s.live()
	return s
}

type pipelines []Pipeline

func (p pipelines) Pipelines() []Pipeline { return p }

func schemaOf(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	body, err := embedded.ReadFile("web/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("openapi.json#/components/schemas/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestAnswersAreAsDocumented(t *testing.T) {
	list := newVenue(21, 3, 12).messages(120, 11*time.Second)
	days := func(p Place) ([7]float64, bool) {
		return [7]float64{10, 10, 12, 12, 20, 40, 36}, p.Account == "default"
	}
	s := filled(t, Settings{Days: days, Pipelines: pipelines{{Account: "default", State: "polling", BudgetUsed: 0.98, BudgetPerMinute: 60, StalenessSeconds: 12.5, LastError: "429"}}}, list)
	all, b := beside(t, Settings{})
	for _, c := range []struct{ path, schema, file string }{
		{"/v1/locations?recent=5", "Locations", "locations.json"},
		{"/v1/locations/loc-01", "Location", "location.json"},
		{"/v1/locations/loc-01/sessions?limit=2", "Sessions", "sessions.json"},
		{"/v1/locations/loc-01/history?minutes=10", "History", "history.json"},
		{"/v1/locations/loc-01/week", "Week", "week.json"},
		{"/v1/health", "Health", "health.json"},
		{"/v1/visits", "Visits", "visits.json"},
		{"/v1/alerts", "Alerts", "alerts.json"},
		{"/v1/webhooks", "Endpoints", "endpoints.json"},
		{"/v1/webhooks/crm/dead", "DeadLetters", "dead_letters.json"},
		{"/v1/sessions/" + b.of.Data.Session.ID + "/story", "Stories", "stories.json"},
		{"/v1/locations/nowhere", "Problem", "missing.json"},
		{"/v1/locations?recent=-1", "Problem", "bad_number.json"},
		{"/v1/locations/loc-01/sessions?after=x", "Problem", "bad_cursor.json"},
		{"/v1/stream?kind=gone", "Problem", "bad_kind.json"},
		{"/v1/stream?last_event_id=x", "Problem", "bad_event_id.json"},
		{"/v1/none", "Problem", "bad_path.json"},
	} {
		h := s.Handler()
		if slices.Contains([]string{"Visits", "Alerts", "Endpoints", "DeadLetters", "Stories"}, c.schema) {
			h = all.Handler()
		}
		w := get(t, h, c.path)
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(w.Body.Bytes()))
		if err != nil {
			t.Fatalf("%s: %v", c.path, err)
		}
		if err := schemaOf(t, c.schema).Validate(value); err != nil {
			t.Errorf("%s is not as documented: %v\n%s", c.path, err, w.Body)
		}
		var out bytes.Buffer
		fmt.Fprintf(&out, "%d %s\n", w.Code, w.Header().Get("Content-Type"))
		if err := json.Indent(&out, w.Body.Bytes(), "", " "); err != nil {
			t.Fatal(err)
		}
		golden(t, c.file, append(out.Bytes(), '\n'))
	}
}

func TestEveryPathIsDocumented(t *testing.T) {
	body, err := embedded.ReadFile("web/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	doc := decode[struct{ Paths map[string]any }](t, body)
	s, b := beside(t, Settings{})
	names := strings.NewReplacer("sessions/{id}", "sessions/"+b.of.Data.Session.ID, "{id}", "loc-00", "{kind}", "ended", "{name}", "crm")
	for path := range doc.Paths {
		switch path {
		case "/v1/stream": // it does not end
		case "/v1/webhooks/{name}/redeliver": // it changes something
		default:
			if w := get(t, s.Handler(), names.Replace(path)); w.Code != http.StatusOK {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
	}
	if len(doc.Paths) != 17 {
		t.Errorf("%d paths are documented", len(doc.Paths))
	}
}

func TestETagSavesTheBody(t *testing.T) {
	v := newVenue(23, 2, 10)
	s := filled(t, Settings{}, v.messages(40, time.Second))
	h := s.Handler()
	first := get(t, h, "/v1/locations")
	tag := first.Header().Get("ETag")
	for _, header := range []string{tag, "W/" + tag, `"other", ` + tag} {
		if w := get(t, h, "/v1/locations", "If-None-Match", header); w.Code != http.StatusNotModified || w.Body.Len() > 0 {
			t.Errorf("If-None-Match %s: %d with %d bytes", header, w.Code, w.Body.Len())
		}
	}
	if age := first.Header().Get("Age"); age != "30" {
		t.Errorf("Age %q, want 30: the last event was half a minute ago", age)
	}
	m := v.start()
	s.take(m, encoded(t, m.Event), "", 0, true)
	if w := get(t, h, "/v1/locations", "If-None-Match", tag); w.Code != http.StatusOK {
		t.Errorf("changed, and still %d", w.Code)
	}
}

// personal are the values of an event that only a bearer of the token may see.
func personal(m Message) []string {
	s := m.Event.Data.Session
	return []string{s.GuestID, s.DeviceMAC, s.DeviceIP, s.AccessCode, s.DeviceDescription}
}

// TestGuestNeedsTheToken: who arrived, by name and e-mail, is in the feed and among the
// sessions of a bearer alone, and nowhere else.
func TestGuestNeedsTheToken(t *testing.T) {
	list := newVenue(26, 1, 4).messages(1, time.Second)
	for i := range list {
		list[i].Event.Data.Guest = &events.Guest{Username: "C6D144DE", Name: "Ada Example", Email: "ada@example.com"}
		list[i].Event.Data.Observed.Guest = events.GuestConfirmed
	}
	h := filled(t, Settings{Token: "s3cret"}, list).Handler()
	for authorization, clear := range map[string]bool{"": false, "Bearer s3cret": true} {
		feed := firstMessages(t, h, "/v1/stream?replay=10", 2, "Authorization", authorization)
		elsewhere := ""
		for _, path := range []string{"/v1/locations", "/v1/locations/loc-00", "/v1/locations/loc-00/history"} {
			elsewhere += get(t, h, path, "Authorization", authorization).Body.String()
		}
		sessions := get(t, h, "/v1/locations/loc-00/sessions", "Authorization", authorization).Body.String()
		for _, v := range []string{"Ada Example", "ada@example.com"} {
			if strings.Contains(sessions, v) != clear {
				t.Errorf("with %q, %q is shown among the sessions: %t", authorization, v, !clear)
			}
		}
		for _, v := range []string{"C6D144DE", "Ada", "ada@example.com", "confirmed"} {
			if strings.Contains(feed, v) != clear || strings.Contains(elsewhere, v) {
				t.Errorf("with %q, %q is shown: in the feed %t, elsewhere %t", authorization, v, strings.Contains(feed, v), strings.Contains(elsewhere, v))
			}
		}
	}
}

func TestPersonalDataNeedsTheToken(t *testing.T) {
	list := newVenue(24, 1, 4).messages(1, time.Second)
	for _, c := range []struct {
		name          string
		settings      Settings
		authorization string
		status        int
		clear         bool
	}{
		{"no token set", Settings{}, "", 200, false},
		{"no token set, one sent", Settings{}, "Bearer anything", 200, false},
		{"unmasked", Settings{Unmasked: true}, "", 200, true},
		{"not sent", Settings{Token: "s3cret"}, "", 200, false},
		{"right", Settings{Token: "s3cret"}, "Bearer s3cret", 200, true},
		{"right, other case of the scheme", Settings{Token: "s3cret"}, "bearer s3cret", 200, true},
		{"wrong", Settings{Token: "s3cret"}, "Bearer s3cre", 401, false},
		{"a proxy's scheme", Settings{Token: "s3cret"}, "Basic dXNlcjpwYXNz", 200, false},
		{"a proxy's scheme, private", Settings{Token: "s3cret", Private: true}, "Basic dXNlcjpwYXNz", 401, false},
		{"a proxy's scheme and the token", Settings{Token: "s3cret", Private: true}, "Basic dXNlcjpwYXNz\ns3cret", 200, true},
		{"a proxy's scheme and a wrong token", Settings{Token: "s3cret"}, "Basic dXNlcjpwYXNz\ns3cre", 401, false},
		{"a proxy's bearer and the token", Settings{Token: "s3cret"}, "Bearer another\ns3cret", 200, true},
		{"the token alone", Settings{Token: "s3cret", Private: true}, "\ns3cret", 200, true},
		{"private", Settings{Token: "s3cret", Private: true}, "", 401, false},
		{"private, right", Settings{Token: "s3cret", Private: true}, "Bearer s3cret", 200, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := filled(t, c.settings, list).Handler()
			authorization, token, _ := strings.Cut(c.authorization, "\n")
			headers := []string{"Authorization", authorization, "Guestflow-Token", token}
			w := get(t, h, "/v1/locations/loc-00/sessions", headers...)
			if w.Code != c.status {
				t.Fatalf("status %d, want %d", w.Code, c.status)
			}
			events := firstMessages(t, h, "/v1/stream?replay=10", 2, headers...)
			for _, v := range personal(list[0]) {
				if got := strings.Contains(w.Body.String(), `"`+v+`"`); got != c.clear {
					t.Errorf("%q shown in sessions: %v, want %v", v, got, c.clear)
				}
				if got := strings.Contains(events, `"`+v+`"`); got != c.clear {
					t.Errorf("%q shown in the stream: %v, want %v", v, got, c.clear)
				}
			}
		})
	}
}

func TestMaskHidesPreviousValuesToo(t *testing.T) {
	v := newVenue(25, 1, 4)
	m := v.start()
	was, is := m.Event.Data.Session, m.Event.Data.Session
	is.GuestID, is.YasID, is.DeviceMAC, is.DeviceIP, is.DeviceDescription, is.AccessCode = "g", "y", "m", "i", "d", "a"
	was.YasID = "8f627d10-1abc"
	e := m.Event
	e.Kind, e.Data.Revision, e.Data.Session, e.Data.Previous = events.Updated, 2, is, is.Replaced(&was)
	body := string(encoded(t, Masked(e)))
	for _, v := range append(personal(m), was.YasID) {
		if strings.Contains(body, `"`+v+`"`) {
			t.Errorf("%q is shown in %s", v, body)
		}
	}
	if !strings.Contains(body, `"device_mac":"•••`+was.DeviceMAC[len(was.DeviceMAC)-2:]) {
		t.Errorf("the end of an address tells two apart: %s", body)
	}
}

func TestNoAnswerBeforeTheStateIsWhole(t *testing.T) {
	h := New(Settings{}).Handler()
	if w := get(t, h, "/v1/locations"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := get(t, h, "/v1/health"); w.Code != http.StatusOK {
		t.Errorf("health: %d", w.Code)
	}
}

func TestOtherOriginsAreRefusedUnlessConfigured(t *testing.T) {
	list := newVenue(26, 1, 3).messages(5, time.Second)
	for _, c := range []struct {
		origins []string
		want    string
	}{{nil, ""}, {[]string{"https://other.example"}, ""}, {[]string{"https://board.example"}, "https://board.example"}, {[]string{"*"}, "https://board.example"}} {
		h := filled(t, Settings{Origins: c.origins}, list).Handler()
		w := get(t, h, "/v1/locations", "Origin", "https://board.example")
		if got := w.Header().Get("Access-Control-Allow-Origin"); got != c.want {
			t.Errorf("origins %v: allowed %q, want %q", c.origins, got, c.want)
		}
		r := httptest.NewRequest(http.MethodOptions, "/v1/stream", nil)
		r.Header.Set("Origin", "https://board.example")
		r.Header.Set("Access-Control-Request-Method", "GET")
		p := httptest.NewRecorder()
		h.ServeHTTP(p, r)
		if got := p.Header().Get("Access-Control-Allow-Headers") != ""; got != (c.want != "") {
			t.Errorf("origins %v: preflight answered %v", c.origins, p.Header())
		}
	}
}

func TestLocationOfSeveralAccountsNeedsTheAccount(t *testing.T) {
	a, b := newVenue(27, 1, 3), newVenue(28, 1, 3)
	b.account = "second"
	list := append(a.messages(3, time.Second), b.messages(3, time.Second)...)
	for i := range list {
		list[i].Sequence = uint64(i + 1)
	}
	h := filled(t, Settings{}, list).Handler()
	if w := get(t, h, "/v1/locations/loc-00"); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "second") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w := get(t, h, "/v1/locations/loc-00?account=second")
	if got := decode[Location](t, w.Body.Bytes()); got.Account != "second" {
		t.Errorf("%+v", got)
	}
}

func TestThePageLoadsNothingFromElsewhere(t *testing.T) {
	h := New(Settings{}).Handler()
	for _, path := range []string{"/", "/app.css", "/app.js", "/beside.js", "/curves.js", "/figures.js", "/rows.js", "/stream.js", "/worker.js", "/icon.svg", "/openapi.json"} {
		w := get(t, h, path)
		if w.Code != http.StatusOK || w.Header().Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
		for _, word := range []string{"://", "innerHTML", " style=", " onclick="} {
			text := strings.ReplaceAll(w.Body.String(), "http://www.w3.org/2000/svg", "")
			if strings.Contains(text, word) {
				t.Errorf("%s contains %q", path, word)
			}
		}
	}
	if w := get(t, h, "/secret"); w.Code != http.StatusNotFound {
		t.Errorf("/secret: %d", w.Code)
	}
}
