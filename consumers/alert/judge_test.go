package alert

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events/alerts"
)

// noon is a Friday's in UTC.
var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func parsed(t *testing.T, text string) Rules {
	t.Helper()
	rules, err := Parse([]byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// story lets a judge look once a minute, and tells what came of it.
type story struct {
	t     *testing.T
	judge *Judge
	now   time.Time
}

// look returns "kind rule location" of what was due, comma-separated.
func (s *story) look(venues ...Venue) string {
	s.t.Helper()
	var told []string
	for _, e := range s.judge.Look(s.now, venues) {
		if _, err := alerts.Encode(e); err != nil {
			s.t.Fatal(err)
		}
		s.judge.Take(e)
		told = append(told, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", e.Kind, e.Data.Alert.Rule, e.Data.Alert.LocationID, e.Data.Alert.Reason)))
	}
	s.now = s.now.Add(time.Minute)
	return strings.Join(told, ", ")
}

func (s *story) at(id string, devices, margin int) Venue {
	return Venue{Account: "a", Location: id, LookedAt: s.now, Devices: devices, Online: devices, Fewer: margin, More: margin}
}

func begin(t *testing.T, rules string) *story {
	t.Helper()
	return &story{t: t, judge: NewJudge(parsed(t, rules)), now: noon}
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// TestWholeIntervalMustBeBeyondTheThreshold, for as long as the rule says, both ways.
func TestWholeIntervalMustBeBeyondTheThreshold(t *testing.T) {
	s := begin(t, "alerts: [{name: full, above: 80, clear: 70, hold: 2m}]")
	for _, step := range []struct {
		what            string
		devices, margin int
		want            string
	}{
		{"below", 70, 0, ""}, {"may be below", 82, 3, ""}, {"beyond", 84, 3, ""}, {"for a minute", 84, 3, ""},
		{"not for a look", 79, 0, ""}, {"again", 90, 0, ""}, {"for a minute", 90, 0, ""}, {"for two", 90, 0, "raised full x"},
		{"still", 99, 0, ""}, {"between the thresholds", 75, 0, ""}, {"may be above", 68, 3, ""},
		{"back", 66, 3, ""}, {"for a minute", 66, 3, ""}, {"up for a look", 71, 0, ""},
		{"back", 60, 0, ""}, {"for a minute", 60, 0, ""}, {"for two", 60, 0, "cleared full x over"}, {"and that was all", 60, 0, ""},
	} {
		expect(t, step.what, s.look(s.at("x", step.devices, step.margin)), step.want)
	}
}

// TestNothingRestsOnOldFigures: neither an alert nor its end.
func TestNothingRestsOnOldFigures(t *testing.T) {
	s := begin(t, "{stale: 3m, alerts: [{name: full, above: 80, hold: 0s}, {name: empty, below: 5, hold: 0s}, {name: silent, silent: 1, hold: 0s}]}")
	old := s.at("x", 99, 0)
	for range 5 {
		s.now = s.now.Add(time.Minute)
	}
	expect(t, "old figures", s.look(old), "")
	never := s.at("x", 0, 0)
	never.LookedAt = time.Time{}
	expect(t, "no look at all", s.look(never), "")
	expect(t, "young figures", s.look(s.at("x", 99, 0)), "raised full x")
	gone := s.at("x", 0, 0)
	s.now = s.now.Add(10 * time.Minute)
	expect(t, "an end on old figures", s.look(gone), "")
}

func TestHoursAreThoseOfTheZone(t *testing.T) {
	s := begin(t, `{zone: Europe/Istanbul, alerts: [{name: full, above: 10, hold: 0s, hours: ["fri 15:01-01:00"]}]}`)
	expect(t, "15:00 in Istanbul", s.look(s.at("x", 20, 0)), "")
	expect(t, "15:01", s.look(s.at("x", 20, 0)), "raised full x")
	s.now = time.Date(2026, 5, 1, 21, 59, 0, 0, time.UTC)
	expect(t, "00:59 of Saturday", s.look(s.at("x", 20, 0)), "")
	expect(t, "01:00", s.look(s.at("x", 20, 0)), "cleared full x closed")
	s.now = s.now.Add(-7 * 24 * time.Hour)
	s.now = s.now.Add(24 * time.Hour)
	expect(t, "Saturday afternoon", s.look(s.at("x", 20, 0)), "")
}

func TestBusierThanUsual(t *testing.T) {
	s := begin(t, "alerts: [{name: busy, busier: 1.5, at_least: 10, hold: 0s}]")
	venue := func(online int, usual float64, basis string) Venue {
		v := s.at("x", online, 0)
		v.Usual, v.Basis = usual, basis
		return v
	}
	expect(t, "nothing known", s.look(venue(100, 0, "")), "")
	expect(t, "few", s.look(venue(9, 2, "observed")), "")
	expect(t, "a third more", s.look(venue(40, 30, "observed")), "")
	expect(t, "half as many again", s.look(venue(45, 30, "share")), "raised busy x")
	expect(t, "somewhat fewer", s.look(venue(38, 30, "share")), "")
	expect(t, "nearly as usual", s.look(venue(37, 30, "share")), "cleared busy x over")
}

// TestSilentVenue: only where guests are expected, and where it is not silent everywhere.
func TestSilentVenue(t *testing.T) {
	s := begin(t, "alerts: [{name: silent, silent: 5, hold: 2m}]")
	estate := func(online ...int) (all []Venue) {
		for i, n := range online {
			v := s.at(fmt.Sprint(i), n, 1)
			v.Usual, v.Basis = 10, "observed"
			if i == 1 {
				v.Usual = 2 // a place where few come
			}
			all = append(all, v)
		}
		return all
	}
	for range 4 {
		expect(t, "all silent: no fault of one", s.look(estate(0, 0, 0, 0, 0)...), "")
	}
	expect(t, "one silent", s.look(estate(0, 0, 9, 12, 7)...), "")
	expect(t, "one silent", s.look(estate(0, 0, 9, 12, 7)...), "")
	expect(t, "one silent for two minutes", s.look(estate(0, 0, 9, 12, 7)...), "raised silent 0")
	expect(t, "others silent, too", s.look(estate(0, 0, 0, 0, 0)...), "")
	expect(t, "a guest", s.look(estate(1, 0, 9, 12, 7)...), "")
	s.look(estate(1, 0, 9, 12, 7)...)
	expect(t, "a guest for two minutes", s.look(estate(1, 0, 9, 12, 7)...), "cleared silent 0 over")
}

func TestRulesThatGoClearTheirAlerts(t *testing.T) {
	s := begin(t, "alerts: [{name: full, above: 10, hold: 0s}, {name: full2, above: 10, hold: 0s, locations: [x]}]")
	if got := s.look(s.at("x", 20, 0), s.at("y", 20, 0)); strings.Count(got, "raised") != 3 {
		t.Errorf("%s", got)
	}
	expect(t, "a location that is not in the figures", s.look(s.at("y", 20, 0)), "")
	s.judge.Use(parsed(t, "alerts: [{name: full, below: 3}, {name: full2, above: 10, locations: [z]}]"))
	if got := s.look(s.at("x", 20, 0), s.at("y", 20, 0)); strings.Count(got, "cleared") != 3 || strings.Count(got, "removed") != 3 {
		t.Errorf("%s", got)
	}
	if len(s.judge.Raised()) != 0 {
		t.Errorf("left: %v", s.judge.Raised())
	}
}

// TestRestartsRepeatNothing: a judge who forgets its timers at any time, and knows of the
// stream alone, keeps the order raised, cleared, raised of each alert, and ids are new.
func TestRestartsRepeatNothing(t *testing.T) {
	rules := parsed(t, "alerts: [{name: full, above: 60, clear: 50, hold: 2m}, {name: empty, below: 20, clear: 30, hold: 1m}]")
	random := rand.New(rand.NewPCG(19, 6))
	var stream []alerts.Event
	s := &story{t: t, judge: NewJudge(rules), now: noon}
	counts := []int{30, 60, 45}
	for range 10_000 {
		if random.IntN(40) == 0 {
			s.judge = NewJudge(rules)
			for _, e := range stream {
				s.judge.Take(e)
			}
		}
		var venues []Venue
		for i := range counts {
			counts[i] = max(0, min(90, counts[i]+random.IntN(9)-4))
			venues = append(venues, s.at(fmt.Sprint(i), counts[i], random.IntN(4)))
		}
		for _, e := range s.judge.Look(s.now, venues) {
			stream = append(stream, e)
			s.judge.Take(e)
		}
		s.now = s.now.Add(time.Minute)
		if len(stream) > 200 {
			break
		}
	}
	ids, open := map[string]bool{}, map[string]alerts.Event{}
	for _, e := range stream {
		a := &e.Data.Alert
		k := a.Rule + " " + a.LocationID
		before, raised := open[k]
		switch {
		case ids[e.ID]:
			t.Fatalf("the id %s comes twice", e.ID)
		case raised == (e.Kind == alerts.Raised):
			t.Fatalf("%s of %s while raised is %v", e.Kind, k, raised)
		case raised && before.Data.Alert.ID != a.ID:
			t.Fatalf("%s was raised as %s and cleared as %s", k, before.Data.Alert.ID, a.ID)
		case e.Kind == alerts.Raised && a.Rule == "full" && float64(a.Low) < a.Threshold:
			t.Fatalf("raised on %d to %d", a.Low, a.High)
		}
		ids[e.ID] = true
		if delete(open, k); e.Kind == alerts.Raised {
			open[k] = e
		}
	}
	if len(stream) < 100 {
		t.Fatalf("only %d events: the test shows little", len(stream))
	}
}

// TestHoldIsSeen: nothing counts as held while nobody looked, or by another rule.
func TestHoldIsSeen(t *testing.T) {
	t.Parallel()
	s := begin(t, "alerts: [{name: full, above: 10, hold: 10m}]")
	expect(t, "the hold begins", s.look(s.at("x", 20, 0)), "")
	s.now = s.now.Add(time.Hour)
	expect(t, "an hour in which nobody looked", s.look(s.at("x", 20, 0)), "")
	s.judge.Use(parsed(t, "alerts: [{name: full, below: 30, hold: 10m}]"))
	s.now = s.now.Add(4 * time.Minute)
	expect(t, "another rule of the name", s.look(s.at("x", 20, 0)), "")
	s.now = s.now.Add(4 * time.Minute)
	expect(t, "of which ten minutes are not over", s.look(s.at("x", 20, 0)), "")
	s.now = s.now.Add(4 * time.Minute)
	expect(t, "and now they are", s.look(s.at("x", 20, 0)), "raised full x")
}
