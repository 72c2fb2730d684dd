package occupancy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/alerts"
	"github.com/guestflow/guestflow/events/visits"
)

// besides are the parts that other packages bring, as far as the interface needs them.
type besides struct {
	of, told events.Event
	sent     []string
}

func (b *besides) Endpoints(context.Context) ([]Endpoint, error) {
	return []Endpoint{
		{Name: "crm", Host: "crm.example.com", Stream: "sessions", State: "failing", Waiting: 12, OldestWaiting: epoch, Delivered: 40, LastSuccess: epoch, Failures: 3, LastFailure: epoch.Add(time.Minute), LastError: "status 503 Service Unavailable", DeadLetters: 1},
		{Name: "new", Host: "new.example.com", Stream: "visits", State: "idle", Well: true},
	}, nil
}

func (b *besides) DeadLetters(_ context.Context, endpoint string, most int) ([]DeadLetter, error) {
	if endpoint != "crm" {
		return nil, fmt.Errorf("%w: no endpoint %s", ErrUnknown, endpoint)
	}
	return []DeadLetter{{Sequence: 7, EventID: "e7", Kind: "started", Location: "loc-00", Session: "s7", DiedAt: epoch, Tries: 5, Status: 422, Reason: "status 422 Unprocessable Entity"}}[:min(most, 1)], nil
}

func (b *besides) Redeliver(_ context.Context, endpoint string, sequence uint64) (delivered, failed int, err error) {
	if endpoint != "crm" {
		return 0, 0, fmt.Errorf("%w: no endpoint %s", ErrUnknown, endpoint)
	}
	b.sent = append(b.sent, fmt.Sprint(endpoint, sequence))
	return 1, 0, nil
}

func (b *besides) Story(_ context.Context, account, session string, since time.Time, hide func(events.Event) (events.Event, bool)) ([]Story, error) {
	e, shown := hide(b.of)
	if shown {
		b.told = e
	}
	if !shown || session == "other" || account != "" && account != e.Account {
		return nil, fmt.Errorf("%w: session %s", ErrUnknown, session)
	}
	return []Story{{Account: e.Account, SessionID: session, Events: []Chapter{{
		Sequence: 1, StoredAt: e.Time, Revision: 1, Kind: string(e.Kind), Location: e.Data.Session.LocationID,
		Text: e.Data.Session.DeviceMAC, Known: []string{"seen since " + since.Format(time.RFC3339)}, Webhooks: []string{"crm: delivered"},
	}}}}, nil
}

func visit(id, location string, at time.Time, first visits.Certainty, number int64) visits.Event {
	e := visits.Event{Account: events.DefaultAccount, Kind: visits.Started, Time: at}
	e.Data = visits.Data{Revision: 1, Visit: visits.Visit{
		ID: id, Place: location, LocationID: location, Locations: []string{location}, Identity: visits.ByGuest, GuestID: "g" + id,
		Number: number, First: first, Arrival: visits.Seen, StartedAt: at, Devices: 1, Sessions: 1,
	}, Observed: visits.Observed{At: at}}
	return e.Sealed()
}

func raisedAlert() []alerts.Event {
	usual := 12.5
	return []alerts.Event{alerts.Event{Account: events.DefaultAccount, Kind: alerts.Raised, Time: epoch, Data: alerts.Data{Revision: 1, Alert: alerts.Alert{
		Rule: "full", What: alerts.Busier, Figure: "devices", LocationID: "loc-00", LocationName: "Café 00", Since: epoch, RaisedAt: epoch,
		Value: 40, Low: 38, High: 43, LookedAt: epoch, Threshold: 25, Usual: &usual, Basis: "observed",
	}}}.Sealed()}
}

// beside returns a service with all that is told beside who is where.
func beside(t *testing.T, settings Settings) (*Service, *besides) {
	t.Helper()
	list := newVenue(31, 2, 6).messages(30, time.Second)
	b := &besides{of: list[0].Event}
	settings.Visits, settings.Webhooks, settings.Stories, settings.Alerts = visits.DefaultStream, b, b, raisedAlert
	s := filled(t, settings, list)
	s.visits.day = newVisitDay(time.UTC, epoch)
	for _, e := range []visits.Event{visit("a", "loc-00", epoch, visits.Yes, 1), visit("b", "loc-01", epoch, visits.Unknown, 0)} {
		s.visits.day.take(e, epoch)
	}
	return s, b
}

// TestVisitsOfTodayAreCounted: each once, as what is known of it in the end, and none of
// another day.
func TestVisitsOfTodayAreCounted(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Istanbul")
	if err != nil {
		t.Fatal(err)
	}
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, zone)
	d := newVisitDay(zone, noon)
	known := visit("c", "x", noon, visits.Unknown, 0)
	counted := known
	counted.Kind, counted.Data.Revision, counted.Data.Visit.First, counted.Data.Visit.Number = visits.Counted, 2, visits.No, 4
	counted.Data.Visit.LocationID = "y" // gone there meanwhile
	ended := visit("d", "y", noon, visits.Yes, 1)
	ended.Kind = visits.Ended
	for _, e := range []visits.Event{
		visit("a", "x", noon, visits.Yes, 1), visit("b", "y", noon, visits.No, 2), known, counted.Sealed(), ended.Sealed(),
		visit("late", "x", noon.AddDate(0, 0, -1), visits.Yes, 1), visit("none", "x", noon, "", 0),
	} {
		d.take(e, noon)
	}
	want := []VisitCount{{"default", "x", 3, 1, 1, 1}, {"default", "y", 1, 0, 1, 0}}
	if a := d.answer(access{}); !slices.Equal(a.Locations, want) || !slices.Equal(a.Totals, []VisitCount{{"default", "", 4, 1, 2, 1}}) || a.Date != "2026-05-04" {
		t.Errorf("%+v, want %+v", a, want)
	}
	d.take(visit("e", "x", noon.Add(13*time.Hour), visits.Yes, 1), noon.Add(13*time.Hour))
	if a := d.answer(access{}); a.Date != "2026-05-05" || a.Totals[0].Visits != 1 {
		t.Errorf("on the next day: %+v", a)
	}
	if d.turn(noon.AddDate(0, 0, 2)); len(d.answer(access{}).Totals) != 0 {
		t.Error("a day on which nobody came has visits")
	}
}

// TestNoVisitTurnsTheDay: only the page's clock does, and visits that began a little ahead
// of it are counted once it is there.
func TestNoVisitTurnsTheDay(t *testing.T) {
	zone, err := time.LoadLocation("Pacific/Auckland")
	if err != nil {
		t.Fatal(err)
	}
	// The clocks there go back in the night to come: the day after has 25 hours.
	night := time.Date(2026, 4, 4, 23, 59, 50, 0, zone)
	d := newVisitDay(zone, night)
	d.take(visit("a", "x", night, visits.Yes, 1), night)
	known := visit("b", "x", night.Add(time.Minute), visits.Unknown, 0)
	counted := known
	counted.Kind, counted.Data.Revision, counted.Data.Visit.First, counted.Data.Visit.Number = visits.Counted, 2, visits.No, 4
	for _, e := range []visits.Event{
		known, counted.Sealed(), visit("c", "y", night.AddDate(0, 0, 2), visits.Yes, 1), visit("d", "y", night.AddDate(70, 0, 0), visits.Yes, 1),
	} {
		d.take(e, night)
	}
	if a := d.answer(access{}); a.Date != "2026-04-04" || !slices.Equal(a.Locations, []VisitCount{{"default", "x", 1, 1, 0, 0}}) {
		t.Errorf("after visits of later days: %+v", a)
	}
	morning := night.Add(time.Hour)
	d.take(visit("e", "x", morning, visits.Yes, 1), morning)
	if a := d.answer(access{}); a.Date != "2026-04-05" || !slices.Equal(a.Locations, []VisitCount{{"default", "x", 2, 1, 1, 0}}) {
		t.Errorf("on the next day: %+v", a)
	}
}

// TestVisitsAreCountedFromTheirStream: also where that is made later, and those from before
// the service began.
func TestVisitsAreCountedFromTheirStream(t *testing.T) {
	t.Parallel()
	js := connect(t, startServer(t, t.TempDir(), -1))
	makeStream(t, js)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: visits.DefaultStream, Subjects: []string{visits.Subjects{}.All()}, Storage: jetstream.MemoryStorage}); err != nil {
		t.Fatal(err)
	}
	publishVisit := func(e visits.Event) {
		body, err := visits.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), visits.Subjects{}.Of(e), body); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	publishVisit(visit("a", "x", now, visits.Yes, 1))
	settings := quickSettings()
	settings.Visits, settings.Now = visits.DefaultStream, func() time.Time { return now }
	s, _ := running(t, js, settings)
	total := func(n int) func() bool {
		return func() bool {
			w := get(t, s.Handler(), "/v1/visits")
			if w.Code != http.StatusOK {
				return false
			}
			totals := decode[visitsAnswer](t, w.Body.Bytes()).Totals
			return len(totals) == 1 && totals[0].Visits == n
		}
	}
	until(t, "the visit from before", total(1))
	publishVisit(visit("b", "x", now, visits.Unknown, 0))
	until(t, "the next visit", total(2))
}

// TestRedeliveringNeedsTheToken or, where there is none, this machine, and no other site's
// page.
func TestRedeliveringNeedsTheToken(t *testing.T) {
	const all = `{"all": true}`
	for _, c := range []struct {
		name, token, from, host string
		headers                 map[string]string
		path, body              string
		want                    int
	}{
		{name: "from here", body: all, want: 200},
		{name: "one", body: `{"sequence": 7}`, want: 200},
		{name: "none", body: `{}`, want: 400},
		{name: "both", body: `{"sequence": 7, "all": true}`, want: 400},
		{name: "nonsense", body: `all`, want: 400},
		{name: "unknown", path: "/v1/webhooks/other/redeliver", body: all, want: 404},
		{name: "from elsewhere", from: "192.0.2.7:4000", body: all, want: 403},
		{name: "a name that resolves to here", host: "evil.example", body: all, want: 403},
		{name: "another site's page", headers: map[string]string{"Origin": "https://evil.example"}, body: all, want: 403},
		{name: "another site's page, by a browser of today", headers: map[string]string{"Sec-Fetch-Site": "cross-site"}, body: all, want: 403},
		{name: "this page", headers: map[string]string{"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}, body: all, want: 200},
		{name: "no token, from here", token: "s3cret", body: all, want: 403},
		{name: "wrong token", token: "s3cret", headers: map[string]string{"Guestflow-Token": "s3cre"}, body: all, want: 401},
		{name: "token", token: "s3cret", from: "192.0.2.7:4000", host: "guests.example", headers: map[string]string{"Guestflow-Token": "s3cret"}, body: all, want: 200},
		{name: "token, another site's page", token: "s3cret", headers: map[string]string{"Guestflow-Token": "s3cret", "Origin": "https://evil.example"}, body: all, want: 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, b := beside(t, Settings{Token: c.token, Origins: []string{"*"}})
			r := httptest.NewRequest(http.MethodPost, "/v1/webhooks/crm/redeliver", strings.NewReader(c.body))
			r.RemoteAddr, r.Host = "127.0.0.1:4000", "127.0.0.1:8080"
			if c.from != "" {
				r.RemoteAddr = c.from
			}
			if c.host != "" {
				r.Host = c.host
			}
			if c.path != "" {
				r.URL.Path = c.path
			}
			for name, value := range c.headers {
				r.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			if w.Code != c.want || (len(b.sent) > 0) != (c.want == 200) {
				t.Errorf("%d %s, sent %q; want %d", w.Code, w.Body, b.sent, c.want)
			}
		})
	}
}

// TestStoryIsMaskedWithoutTheToken, and says what it cannot tell.
func TestStoryIsMaskedWithoutTheToken(t *testing.T) {
	s, b := beside(t, Settings{Token: "s3cret"})
	session := &b.of.Data.Session
	at := "/v1/sessions/" + session.ID + "/story?since=2026-03-02T08:00:00Z"
	for token, clear := range map[string]bool{"": false, "s3cret": true} {
		w := get(t, s.Handler(), at, "Guestflow-Token", token)
		if w.Code != http.StatusOK || strings.Contains(w.Body.String(), session.DeviceMAC) != clear || !strings.Contains(w.Body.String(), "2026-03-02T08:00:00Z") {
			t.Errorf("with %q: %d %s", token, w.Code, w.Body)
		}
	}
	for path, want := range map[string]int{"/v1/sessions/other/story": 404, at + "&account=other": 404, "/v1/sessions/x/story?since=yesterday": 400} {
		if w := get(t, s.Handler(), path); w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}

// TestWhatIsNotThereSaysHowToHaveIt.
func TestWhatIsNotThereSaysHowToHaveIt(t *testing.T) {
	h := filled(t, Settings{}, newVenue(32, 1, 3).messages(5, time.Second)).Handler()
	for path, remedy := range map[string]string{
		"/v1/visits": "GUESTFLOW_VISITS", "/v1/alerts": "GUESTFLOW_ALERTS_FILE", "/v1/webhooks": "GUESTFLOW_WEBHOOKS_FILE",
		"/v1/webhooks/crm/dead": "GUESTFLOW_WEBHOOKS_FILE", "/v1/sessions/x/story": "stories",
	} {
		if w := get(t, h, path); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), remedy) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	health := decode[healthAnswer](t, get(t, h, "/v1/health").Body.Bytes())
	if len(health.Parts) != 0 || health.MayRedeliver {
		t.Errorf("%+v", health)
	}
	w := httptest.NewRecorder()
	if failed(w, errors.New("NATS is away")); w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestGroupsTokenShowsNothingBesideOfOthers: visits, alerts and stories are those of its
// locations, and webhooks, which get events of all, nobody's.
func TestGroupsTokenShowsNothingBesideOfOthers(t *testing.T) {
	s, b := beside(t, Settings{Groups: groupsFile(t, countryTokens)})
	h := s.Handler()
	was := "loc-02"
	b.of.Data.Session.LocationID, b.of.Data.Previous = "loc-00", &events.Previous{LocationID: &was}
	story := "/v1/sessions/" + b.of.Data.Session.ID + "/story"
	visitsOf := func(path, token string) (total int, ids []string) {
		all := decode[visitsAnswer](t, get(t, h, path, bearer(token)...).Body.Bytes())
		for _, c := range all.Totals {
			total += c.Visits
		}
		for _, c := range all.Locations {
			ids = append(ids, c.ID)
		}
		return total, ids
	}
	s.visits.day.take(visit("c", "loc-02", epoch, visits.Yes, 1), epoch)
	for _, c := range []struct {
		path, token string
		ids         []string
	}{
		{"/v1/visits", northToken, []string{"loc-00", "loc-01"}}, {"/v1/visits", southToken, []string{"loc-01", "loc-02"}},
		{"/v1/visits", everyToken, []string{"loc-00", "loc-01", "loc-02"}}, {"/v1/visits?group=south", everyToken, []string{"loc-01", "loc-02"}},
	} {
		if total, ids := visitsOf(c.path, c.token); total != len(c.ids) || !slices.Equal(ids, c.ids) {
			t.Errorf("%s with %s: %d visits at %v, want one at each of %v", c.path, c.token, total, ids, c.ids)
		}
	}
	for token, want := range map[string]bool{northToken: true, southToken: false} {
		if shown := strings.Contains(get(t, h, "/v1/alerts", bearer(token)...).Body.String(), "loc-00"); shown != want {
			t.Errorf("the alert of loc-00 is shown with %s: %t", token, shown)
		}
		w := get(t, h, story, bearer(token)...)
		if shown := w.Code == http.StatusOK; shown != want || strings.Contains(w.Body.String(), "crm") {
			t.Errorf("the story of loc-00 with %s: %d %s", token, w.Code, w.Body)
		}
		for _, path := range []string{"/v1/webhooks", "/v1/webhooks/crm/dead"} {
			if w := get(t, h, path, bearer(token)...); w.Code != http.StatusNotFound {
				t.Errorf("%s with %s: %d %s", path, token, w.Code, w.Body)
			}
		}
		r := httptest.NewRequest(http.MethodPost, "/v1/webhooks/crm/redeliver", strings.NewReader(`{"all": true}`))
		r.RemoteAddr, r.Host = "127.0.0.1:4000", "127.0.0.1:8080"
		r.Header.Set("Authorization", "Bearer "+token)
		sent := httptest.NewRecorder()
		if h.ServeHTTP(sent, r); sent.Code != http.StatusNotFound || len(b.sent) > 0 {
			t.Errorf("redelivered with %s: %d %s", token, sent.Code, sent.Body)
		}
		health := decode[healthAnswer](t, get(t, h, "/v1/health", bearer(token)...).Body.Bytes())
		if slices.Contains(health.Parts, "webhooks") || health.MayRedeliver {
			t.Errorf("health with %s: %v", token, health.Parts)
		}
	}
	if *b.told.Data.Previous.LocationID != "" {
		t.Error("a story says from which location somebody came that may not be seen")
	}
	for _, path := range []string{"/v1/visits", "/v1/alerts", "/v1/webhooks", story} {
		if w := get(t, h, path); w.Code != http.StatusUnauthorized {
			t.Errorf("%s without a token: %d", path, w.Code)
		}
	}
	if w := get(t, h, "/v1/alerts?group=south", bearer(northToken)...); w.Code != http.StatusNotFound {
		t.Errorf("another's group: %d", w.Code)
	}
}
