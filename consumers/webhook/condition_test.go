package webhook

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

func TestConditionKnowsEveryFieldOfTheEvent(t *testing.T) {
	t.Parallel()
	knowsEveryField(t, sessionTopic, reflect.TypeFor[events.Data]())
}

func knowsEveryField(t *testing.T, topic *topic, data reflect.Type) {
	t.Helper()
	var check func(prefix string, of reflect.Type)
	check = func(prefix string, of reflect.Type) {
		for i := range of.NumField() {
			f := of.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			typ := f.Type
			if typ.Kind() == reflect.Pointer {
				typ = typ.Elem()
			}
			if typ.Kind() == reflect.Struct && typ != reflect.TypeFor[time.Time]() && typ != reflect.TypeFor[events.Bytes]() {
				check(prefix+name+".", typ)
				continue
			}
			if _, err := topic.condition(prefix+name+" == "+prefix+name, nil); err != nil {
				t.Errorf("%s%s: %v", prefix, name, err)
			}
		}
	}
	check("", data)
}

// TestConditionErrorsSayWhatWasMeant: in the words of the event, not of Go.
func TestConditionErrorsSayWhatWasMeant(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		`session.locaton_id == "x"`:        "column 9: session has no field locaton_id; did you mean location_id?",
		`sesion.location_id == "x"`:        "column 1: unknown name sesion; did you mean session?",
		`guest["emial"] != ""`:             "column 6: guest has no field emial; did you mean email?",
		`observed.rounding.colour == 1`:    "observed.rounding has no field colour; known are downloaded_bytes, uploaded_bytes",
		`kind = "started"`:                 `column 6: "=" does not compare; write ==`,
		`kind === "started"`:               `column 8: "=" does not compare; write ==`,
		`kind == "a" AND revision == 1`:    `column 13: "AND" is not known; write and, or, not`,
		`kind == 3`:                        "column 6: invalid operation: == (mismatched types text and number)",
		`session == guest`:                 "column 9: invalid operation: == (mismatched types object session and object guest)",
		`session.started_at > "2026"`:      `(mismatched types time and text); write a time as date("2026-01-31T00:00:00Z")`,
		`session.duration_seconds`:         "column 1: expected true or false, but got number; compare something",
		`previous.duration_seconds == "x"`: "(mismatched types number and text)",
		`kind.foo == 1`:                    "type text has no field foo",
		`nothing`:                          "unknown name nothing; known are id, account, kind, time, groups, revision, episode, session, guest, previous, change, observed",
	} {
		_, err := sessionTopic.condition(source, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", source, err, want)
		}
		for _, foreign := range []string{"webhook.", "int64", "string", "time.Time", "bool"} {
			if err != nil && strings.Contains(err.Error(), foreign) {
				t.Errorf("%s: the error speaks Go: %v", source, err)
			}
		}
	}
}

// TestConditionOnWhatIsAbsentIsRefused: it would never hold, in silence.
func TestConditionOnWhatIsAbsentIsRefused(t *testing.T) {
	t.Parallel()
	l := loader{absent: Absent{"guest": "set GUESTS=true", "session.device_mac": "set MAC=keep"}, env: os.LookupEnv, read: os.ReadFile}
	file := func(condition string) []byte {
		return []byte("endpoints:\n  - {name: a, url: https://example.com, secrets: [" + testSecret + "], condition: '" + condition + "'}")
	}
	for condition, want := range map[string]string{
		`guest.email != ""`:    "condition: guest.email is in no event: set GUESTS=true",
		`guest?.email != ""`:   "guest.email is in no event",
		`guest["email"] != ""`: "guest.email is in no event",
		`kind == "started" && (let x = guest; x.name != "")`: "guest is in no event",
		`session.device_mac != ""`:                           "session.device_mac is in no event: set MAC=keep",
	} {
		if _, err := l.parse(file(condition)); err == nil || !strings.Contains(err.Error(), `line 2: endpoint "a": `) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", condition, err, want)
		}
	}
	for _, condition := range []string{`session.guest_id != ""`, `kind == "guest"`, `session.device_ip != ""`} {
		if _, err := l.parse(file(condition)); err != nil {
			t.Errorf("%s: %v", condition, err)
		}
	}
}

func TestConditionDecides(t *testing.T) {
	t.Parallel()
	e := sample(events.Traffic, "s1", 2)
	e.Data.Session.DurationSeconds = 600
	e.Data.Session.Downloaded = events.Bytes{Value: 5000, Error: 5}
	was := "old"
	e.Data.Previous = &events.Previous{LocationID: &was}
	bare := sample(events.Started, "s1", 1)
	bare.Data.Guest, bare.Data.Observed.Guest = &events.Guest{Name: "Ada Example", Email: "ada@example.com"}, events.GuestConfirmed
	for source, want := range map[string][2]bool{
		`session.duration_seconds >= 600`:                                      {true, false},
		`kind == "traffic" && account == "acme"`:                               {true, false},
		`kind in ["started", "resumed"]`:                                       {false, true},
		`change.downloaded_bytes > 0`:                                          {true, false},
		`previous.location_id == "old"`:                                        {true, false},
		`previous.location_id != nil`:                                          {true, false},
		`previous.device_ip == nil`:                                            {true, true},
		`session.downloaded_bytes == 5000`:                                     {true, false},
		`session.location_id startsWith "hotel"`:                               {true, true},
		`guest.email != ""`:                                                    {false, true},
		`guest.name startsWith "Ada" && guest.username == ""`:                  {false, true},
		`guest.email endsWith "@example.com" && observed.guest == "confirmed"`: {false, true},
		`revision == 1`:                                                        {false, true},
		`observed.at > date("2026-01-01T00:00:00Z")`:                           {true, true},
		`observed.rounding.downloaded_bytes == 0 && episode < 1`:               {true, true},
	} {
		c, err := sessionTopic.condition(source, nil)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		for i, ev := range []events.Event{e, bare} {
			if got, err := c.match(sessionTopic.about(&ev)); err != nil || got != want[i] {
				t.Errorf("%s on %s: %v, %v; want %v", source, ev.Kind, got, err, want[i])
			}
		}
	}
	c, err := sessionTopic.condition("previous.duration_seconds > 5", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.match(sessionTopic.about(&bare)); got || err == nil || !strings.Contains(err.Error(), "column") || strings.Contains(err.Error(), "\n") {
		t.Errorf("comparison with an absent number: %v, %v; want false and one line with the column", got, err)
	}
}
