package webhook

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/visits"
)

// arrival is a session event with a guest.
func arrival(session string) events.Event {
	e := sample(events.Started, session, 1)
	e.Data.Session.DeviceMAC, e.Data.Session.DeviceIP = "02:00:00:00:00:01", "10.0.0.1"
	e.Data.Guest = &events.Guest{Username: "C6D144DE", Name: "Ada Example", Email: "ada@example.com"}
	e.Data.Observed.Guest = events.GuestConfirmed
	return e.Sealed()
}

// TestNobodyGetsNamesUnasked: in no form, and not by a replay either.
func TestNobodyGetsNamesUnasked(t *testing.T) {
	t.Parallel()
	b := withVisits(t)
	r := newReceiver(t, accept)
	tr := newTrial(t, b,
		endpointYAML("plain", r.URL), endpointYAML("data", r.URL, "format: data"), endpointYAML("binary", r.URL, "format: cloudevents-binary"),
		endpointYAML("judging", r.URL, `condition: guest.email != ""`), endpointYAML("others", r.URL, "fields: [-session.device_mac]"),
		endpointYAML("visits", r.URL, "stream: visits"))
	tr.start(b)
	b.publish(arrival("s"))
	v := visitEvent(visits.Started, "v", 1)
	v.Data.Guest = arrival("s").Data.Guest
	b.publishVisits(v.Sealed())
	untilTaken(t, r, 6)
	if report, err := tr.Replay(b.ctx, ReplayRequest{Endpoint: "plain", Since: sampleTime}); err != nil || report.Delivered != 1 {
		t.Errorf("replay: %+v, %v", report, err)
	}
	for _, got := range r.taken() {
		for _, secret := range []string{"Ada", "ada@", "C6D144DE", `"guest":{`} {
			if strings.Contains(string(got.body), secret) {
				t.Errorf("an endpoint that asks for nothing gets %s: %s", secret, got.body)
			}
		}
	}
}

// TestEndpointGetsTheFieldsItAsksFor, and all others as they were.
func TestEndpointGetsTheFieldsItAsksFor(t *testing.T) {
	t.Parallel()
	document, err := events.Encode(arrival("s"))
	if err != nil {
		t.Fatal(err)
	}
	// What this version does not know stays, in its place and with its figures.
	document = []byte(strings.Replace(string(document), `"data":{`, `"data":{"later":{"n":1.10,"guest":{"kept":true}},`, 1))
	for fields, want := range map[string]string{
		"guest":                      string(document),
		"guest.email":                strings.Replace(string(document), `"username":"C6D144DE","name":"Ada Example",`, "", 1),
		"guest, -guest.username":     strings.Replace(string(document), `"username":"C6D144DE",`, "", 1),
		"guest, -session.device_mac": strings.Replace(string(document), `"device_mac":"02:00:00:00:00:01",`, "", 1),
		"-session.device_ip":         without(without(string(document), `"device_ip":"10.0.0.1",`), `,"guest":{"username":"C6D144DE","name":"Ada Example","email":"ada@example.com"}`),
		"guest, -guest.username, -guest.name, -guest.email": without(string(document), `,"guest":{"username":"C6D144DE","name":"Ada Example","email":"ada@example.com"}`),
	} {
		cfg, err := parse(t, "endpoints:\n  - GOOD\n    fields: ["+fields+"]")
		if err != nil {
			t.Errorf("%s: %v", fields, err)
			continue
		}
		got, err := cfg.Endpoints[0].cutting.cut(document)
		if err != nil || string(got) != want || !json.Valid(got) {
			t.Errorf("%s: %v\n%s\nwant\n%s", fields, err, got, want)
		}
	}
}

func without(text, part string) string {
	if !strings.Contains(text, part) {
		panic(text + " has no " + part)
	}
	return strings.Replace(text, part, "", 1)
}

// TestAFormerValueGoesWithItsField: an event of change tells both.
func TestAFormerValueGoesWithItsField(t *testing.T) {
	t.Parallel()
	cfg, err := parse(t, "endpoints:\n  - GOOD\n    fields: [-session.device_ip, -previous.location_id]")
	if err != nil {
		t.Fatal(err)
	}
	e, ip := sample(events.Updated, "s", 2), "10.0.0.1"
	e.Data.Session.DeviceIP, e.Data.Previous = "10.0.0.2", &events.Previous{DeviceIP: &ip}
	document, err := events.Encode(e.Sealed())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := cfg.Endpoints[0].cutting.cut(document); err != nil || strings.Contains(string(got), "10.0.0.") {
		t.Errorf("%v: %s", err, got)
	}
}

// TestBodyIsWhatTheEntryMakesOfTheEvent, also of a replay, and of every kind.
func TestBodyIsWhatTheEntryMakesOfTheEvent(t *testing.T) {
	t.Parallel()
	b := withVisits(t)
	r := newReceiver(t, accept)
	tr := newTrial(t, b,
		endpointYAML("json", r.URL, `body: '{"mail": guest.email, "at": time, "who": {"name": guest.name ?? ""}, "minutes": session.duration_seconds / 60, "html": "<b>&"}'`),
		endpointYAML("text", r.URL, "content_type: text/plain; charset=utf-8", `body: 'kind + " " + session.id'`),
		endpointYAML("visit", r.URL, "stream: visits", `body: '{"place": visit.place, "sessions": visit.sessions}'`))
	tr.start(b)
	b.publish(arrival("s"))
	b.publishVisits(visitEvent(visits.Ended, "v", 3))
	untilTaken(t, r, 3)
	if report, err := tr.Replay(b.ctx, ReplayRequest{Endpoint: "text", Since: sampleTime}); err != nil || report.Delivered != 1 {
		t.Errorf("replay: %+v, %v", report, err)
	}
	bodies := map[string]int{}
	for _, got := range r.taken() {
		bodies[got.header.Get("Content-Type")+" "+string(got.body)]++
	}
	for want, n := range map[string]int{
		`application/json {"at":"2026-05-01T12:00:01Z","html":"<b>&","mail":"ada@example.com","minutes":0,"who":{"name":"Ada Example"}}`: 1,
		"text/plain; charset=utf-8 started s":               2,
		`application/json {"place":"hotel-1","sessions":1}`: 1,
	} {
		if bodies[want] != n {
			t.Errorf("%d times %s, want %d; have %v", bodies[want], want, n, bodies)
		}
	}
}

// TestContentIsCheckedWhenTheFileIsRead: against the events' fields, and samples of all
// kinds that the endpoint may get.
func TestContentIsCheckedWhenTheFileIsRead(t *testing.T) {
	t.Parallel()
	for lines, want := range map[string]string{
		`fields: [guest.emial]`:                           `fields: no field "guest.emial"; did you mean guest.email?`,
		`fields: [session.id]`:                            `fields: session.id is in every event: only the fields of guest need to be asked for; write -session.id to leave it out`,
		`fields: [-session.id]`:                           `fields: what is left is no event: `,
		`fields: [-session.mac]`:                          `fields: no field "session.mac"`,
		"fields: [guest]\n    body: '{}'":                 `fields: body says itself what is sent; remove one of both`,
		"format: data\n    body: '{}'":                    `format: body makes the whole body; remove one of both`,
		`body: '{"a": sesion.id}'`:                        `body: column 7: unknown name sesion; did you mean session?`,
		`body: '{"a": session.id'`:                        `body: column `,
		`body: '{"n": previous.duration_seconds + 1}'`:    `body: with a sample of the kind started: column `,
		`body: 'nil'`:                                     `body: with a sample of the kind started: it gives nothing`,
		"stream: visits\n    body: '{\"a\": session.id}'": `body: column 7: unknown name session`,
	} {
		if _, err := parse(t, "endpoints:\n  - GOOD\n    "+lines); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", lines, err, want)
		}
	}
	for _, lines := range []string{
		"kinds: [traffic]\n    body: '{\"n\": previous.downloaded_bytes + 1}'",
		"condition: kind == \"traffic\"\n    body: '{\"n\": previous.downloaded_bytes + 1}'",
		`body: '{"n": (previous.duration_seconds ?? 0) + 1}'`,
	} {
		if _, err := parse(t, "endpoints:\n  - GOOD\n    "+lines); err != nil {
			t.Errorf("%s: %v", lines, err)
		}
	}
}

// TestFieldsThatNobodyHasAreAnError: as in conditions.
func TestFieldsThatNobodyHasAreAnError(t *testing.T) {
	t.Parallel()
	absent := Absent{"guest": "set GUESTFLOW_GUESTS=true"}
	for _, lines := range []string{`fields: [guest.email]`, `fields: [guest]`, `body: '{"a": guest.email}'`} {
		l := loader{absent: absent}
		if _, err := l.parse([]byte("endpoints:\n  - name: a\n    url: https://example.com\n    secrets: [" + testSecret + "]\n    " + lines)); err == nil || !strings.Contains(err.Error(), "is in no event: set GUESTFLOW_GUESTS=true") {
			t.Errorf("%s: %v", lines, err)
		}
	}
}
