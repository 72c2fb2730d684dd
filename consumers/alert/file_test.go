package alert

import (
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events/alerts"
)

func TestExampleFile(t *testing.T) {
	rules, err := Load("examples/alerts.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(rules.Rules) != 4 || rules.Stale != 5*time.Minute {
		t.Fatalf("%+v", rules)
	}
	for i, want := range []string{
		"full: raised at 80 devices or more for 2m0s, cleared below 70",
		"empty-in-the-evening: raised at 5 devices or less for 10m0s, cleared at 8 or more",
		"busier-than-usual: raised at 1.5 times the usual sessions online, 20 or more, for 10m0s, cleared below 1.25 times",
		"silent: raised where nobody is online for 30m0s while 5 sessions are usual, cleared by a guest",
	} {
		if got := rules.Rules[i].String(); got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
	full, evening := rules.Rules[0], rules.Rules[1]
	if full.What != alerts.Above || full.Threshold != 80 || full.Clear != 70 || full.Figure != "devices" || full.Hold != 2*time.Minute {
		t.Errorf("%+v", full)
	}
	if len(evening.Hours.Spans) != 2 || len(evening.Hours.Spans[0].Days) != 5 || !evening.covers(&Venue{Location: "the bar"}) || evening.covers(&Venue{Location: "hall"}) {
		t.Errorf("%+v", evening)
	}
}

func TestFaultsOfTheFileAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		"alarms: []":         `line 1: alarms: unknown field "alarms"`,
		"zone: Mars/Olympus": "line 1: zone: \"Mars/Olympus\" is no time zone",
		"stale: 0s":          "use a duration",
		"[1]":                "must be a mapping",
		"alerts:\n  - {name: a, above: 5, clear: 6}":         "line 2: alert \"a\": clear: 6 is not on the other side of 5",
		"alerts: [{name: a, below: 5, clear: 4}]":            "is not on the other side",
		"alerts: [{name: a}]":                                "say what it watches for",
		"alerts: [{above: 3}]":                               "give it a name",
		"alerts: [{name: a, above: many}]":                   "alert \"a\": above:",
		"alerts: [{name: a, above: 3, below: 2}]":            "there is above already",
		"alerts: [{name: a, busier: 0.9}]":                   "give a factor above 1",
		"alerts: [{name: a, busier: 2, figure: guests}]":     "leave figure out",
		"alerts: [{name: a, above: 5, clear: 0}]":            "clear: 0 is never fallen below",
		"alerts: [{name: a, busier: 2, clear: -1}]":          "clear: -1 is never fallen below",
		"alerts: [{name: a, busier: 2, at_least: -3}]":       "only busier has it, with 0 or more",
		"alerts: [{name: a, above: 20, at_least: 30}]":       "only busier has it, with 0 or more",
		"alerts: [{name: a, above: 2, figure: cats}]":        "use online, devices or guests",
		"alerts: [{name: a, silent: 2, clear: 1}]":           "the first guest clears it",
		"alerts: [{name: a, above: 2, hours: [always]}]":     "is no time of the week",
		"alerts: [{name: a, above: 2, hours: [mon 9-17]}]":   "is no time of the week",
		"alerts: [{name: a, above: 2, hold: soon}]":          "use a duration",
		"alerts: [{name: a, above: 2, locations: ['[']}]":    "is no pattern",
		"alerts: [{name: a, above: 2, holds: 2m}]":           "did you mean",
		"alerts: [{name: a, above: 2}, {name: a, above: 3}]": "is on line 1 already",
	} {
		_, err := Parse([]byte(text), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n  gives %v\n  want %s", text, err, want)
		}
	}
	if _, err := Parse([]byte("alerts: [{name: a, above: many}]"), nil); strings.Contains(err.Error(), "too small") {
		t.Errorf("one fault gives two errors: %v", err)
	}
	if _, err := Load("examples/nothing.yaml", nil); err == nil || !strings.Contains(err.Error(), "nothing.yaml") {
		t.Errorf("a missing file: %v", err)
	}
	if rules, err := Parse(nil, nil); err != nil || len(rules.Rules) != 0 {
		t.Errorf("an empty file: %+v, %v", rules, err)
	}
}
