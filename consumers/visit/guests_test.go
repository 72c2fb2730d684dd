package visit

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

// regular has a guest with one device.
func regular(guest, session, location string) events.Session {
	return events.Session{ID: session, GuestID: guest, DeviceMAC: "02:00:00:00:00:01", LocationID: location, DurationSeconds: events.UnknownSeconds}
}

// onlyWant is the only visit of which is to be asked.
func onlyWant(t *testing.T, r *Reducer) Want {
	t.Helper()
	list := r.Wants(events.DefaultAccount)
	if len(list) != 1 {
		t.Fatalf("%d visits are asked about: %+v", len(list), list)
	}
	return list[0]
}

// shown are kind, number, first and days of visit events.
func shown(out []Output) (text string) {
	for _, o := range out {
		v := &o.Event.Data.Visit
		text += fmt.Sprintf("%s %d %s", o.Event.Kind, v.Number, v.First)
		if v.DaysSinceLast != nil {
			text += fmt.Sprintf(" after %d", *v.DaysSinceLast)
		}
		text += "; "
	}
	return text
}

// stays3 has a guest come three times, a day apart, an hour each, then others come and go
// for as long as seconds say.
func stays3() *teller {
	t := newTeller()
	for n := range 3 {
		from := n*26*3600 + 60
		s := regular("g", fmt.Sprint("s", n), "a")
		t.tell(events.Started, s, from, from, 0)
		for at := from + 100; at < from+26*3600; at += 100 {
			t.tell(events.Started, regular("", fmt.Sprint("o", at), "b"), at, at, 0)
		}
		t.tell(events.Ended, s, from+3600, from+3600, from+3590)
	}
	return t
}

// TestAnsweredOnceNumbersAllVisits: where the platform has no other sessions of the guest,
// the numbers of all later visits follow without asking again.
func TestAnsweredOnceNumbersAllVisits(t *testing.T) {
	r := NewReducer(testRules())
	var got string
	for _, m := range stays3().messages() {
		for _, o := range r.Apply(m) {
			if o.Event.Data.Visit.GuestID == "g" {
				got += shown([]Output{o})
			}
		}
		if m.Sequence == 1 {
			w := onlyWant(t, r)
			if w.Sessions != 1 || w.Here != 1 || !w.First || w.Guest != "g" || len(w.Locations) != 1 || w.Locations[0] != "a" {
				t.Errorf("asks for %+v", w)
			}
			got += shown(r.Answer(events.DefaultAccount, Answer{Visit: w.Visit, Says: Whole, Asked: w.Asked}))
		}
		if n := len(r.Wants(events.DefaultAccount)); n > 0 {
			t.Fatalf("%d visits are asked about after event %d", n, m.Sequence)
		}
	}
	want := "started 0 unknown; counted 1 yes; stayed 1 yes; ended 1 yes; " +
		"started 2 no after 1; stayed 2 no after 1; ended 2 no after 1; started 3 no after 1; stayed 3 no after 1; ended 3 no after 1; "
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestSilenceLeavesNumbersOpen: who knows whether the guest was there while nobody looked.
func TestSilenceLeavesNumbersOpen(t *testing.T) {
	r := NewReducer(testRules())
	told := newTeller()
	told.tell(events.Started, regular("g", "s0", "a"), 60, 60, 0)
	told.tell(events.Ended, regular("g", "s0", "a"), 120, 120, 110)
	told.tell(events.Started, regular("g", "s1", "a"), 9000, 9000, 0)
	list := told.messages()
	r.Apply(list[0])
	w := onlyWant(t, r)
	r.Answer(events.DefaultAccount, Answer{Visit: w.Visit, Says: Whole, Asked: w.Asked})
	r.Apply(list[1])
	if got := shown(r.Apply(list[2])); got != "ended 1 yes; started 0 no after 0; " {
		t.Errorf("after a silence: %s", got)
	}
	w = onlyWant(t, r)
	if w.First || w.Sessions != 2 {
		t.Errorf("asks for %+v", w)
	}
	if got := shown(r.Answer(events.DefaultAccount, Answer{Visit: w.Visit, Says: Whole, Asked: w.Asked})); got != "counted 2 no after 0; " {
		t.Errorf("answered: %s", got)
	}
	if got := shown(r.Answer(events.DefaultAccount, Answer{Visit: w.Visit, Says: Before, Asked: w.Asked})); got != "" {
		t.Errorf("answered twice: %s", got)
	}
}

// TestWhatCountsNothingIsNotAsked: sessions that passed from guest to guest, that moved, or
// that name nobody, make no numbers.
func TestWhatCountsNothingIsNotAsked(t *testing.T) {
	r := NewReducer(testRules())
	told := newTeller()
	told.tell(events.Started, regular("", "s0", "a"), 60, 60, 0)
	told.tell(events.Started, regular("g", "s1", "a"), 70, 70, 0) // the same device
	told.tell(events.Started, regular("h", "s2", "b"), 80, 80, 0)
	told.tell(events.Updated, regular("h", "s2", "c"), 90, 90, 85)
	told.tell(events.Updated, regular("i", "s2", "c"), 95, 95, 90)
	for _, m := range told.messages() {
		r.Apply(m)
	}
	for _, w := range r.Wants(events.DefaultAccount) {
		if mixed := w.Guest != "g"; w.Here != -1 || w.Mixed != mixed {
			t.Errorf("asks for %+v", w)
		}
	}
}

// TestPlatformsCountsAreBelieved only as far as they prove something.
func TestPlatformsCountsAreBelieved(t *testing.T) {
	whole := Horizon{Declared: true}
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	want := Want{Guest: "g", Started: at, Locations: []string{"a"}, Sessions: 2, Here: 1, First: true, Seen: true}
	for name, tc := range map[string]struct {
		all, before, here int
		change            func(*Want, *Horizon)
		says              Saying
		asked             int
	}{
		"no other session":                {all: 2, says: Whole, asked: 1},
		"one from long ago":               {all: 3, before: 1, here: 2, says: Before, asked: 8},
		"one elsewhere":                   {all: 3, here: 1, says: Here, asked: 3},
		"one that is not known yet":       {all: 3, here: 2, asked: 3},
		"fewer than there were":           {all: 1, here: 1, asked: 2},
		"a history that may be short":     {all: 2, here: 1, change: func(_ *Want, h *Horizon) { *h = Horizon{} }, asked: 1},
		"a short one that tells":          {all: 2, before: 1, change: func(_ *Want, h *Horizon) { *h = Horizon{} }, says: Before, asked: 7},
		"sessions of others":              {all: 2, here: 1, change: func(w *Want, _ *Horizon) { w.Mixed, w.Here = true, -1 }, asked: 1},
		"a location that sessions change": {all: 3, here: 1, change: func(w *Want, _ *Horizon) { w.Here = -1 }, asked: 2},
		"a number alone":                  {all: 3, before: 1, change: func(w *Want, _ *Horizon) { w.First = false }, asked: 1},
		"a visit that was under way":      {all: 3, before: 1, here: 2, change: func(w *Want, _ *Horizon) { w.Seen = false }, asked: 2},
		"a group":                         {all: 3, before: 0, change: func(w *Want, _ *Horizon) { w.Locations, w.Here = []string{"a", "b"}, -1 }, asked: 3},
	} {
		w, h, asked := want, whole, 0
		if tc.change != nil {
			tc.change(&w, &h)
		}
		says, err := w.ask(func(of Counted) (int, error) {
			asked++
			switch {
			case of == Counted{}:
				return 100, nil
			case of == Counted{LocationID: "a"}:
				return 50, nil
			case of.GuestID != "g":
				t.Errorf("%s: asks for %+v", name, of)
			case of.EndedBefore == "2006-04-16":
				return 0, nil
			case of.EndedBefore == "2026-04-29" && of.LocationID != "":
				return tc.before, nil
			case of.LocationID != "":
				return tc.here, nil
			}
			return tc.all, nil
		}, &h, time.Hour)
		if err != nil || says != tc.says || asked != tc.asked {
			t.Errorf("%s: %q after %d requests (%v), want %q after %d", name, says, asked, err, tc.says, tc.asked)
		}
	}
}

// ledger is what a platform has counted, with the filters that it does not know.
type ledger struct {
	rows    []row
	ignores string // of "guest", "location" and "end"
}

// row is a session; who is online has no end, or the one that the platform writes instead.
type row struct{ guest, location, ended string }

func (l ledger) count(of Counted) (n int, err error) {
	for _, r := range l.rows {
		guest := of.GuestID == "" || of.GuestID == r.guest || strings.Contains(l.ignores, "guest")
		location := of.LocationID == "" || of.LocationID == r.location || strings.Contains(l.ignores, "location")
		end := of.EndedBefore == "" || r.ended != "" && r.ended < of.EndedBefore || strings.Contains(l.ignores, "end")
		if guest && location && end {
			n++
		}
	}
	return n, nil
}

// TestFiltersThatDoNothingProveNothing: of a guest who is here for the first time, a platform
// that takes no notice of a filter, or writes a date for the end that is to come, has earlier
// sessions all the same.
func TestFiltersThatDoNothingProveNothing(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	here, others := row{guest: "g", location: "a"}, []row{{"h", "a", "2026-04-02"}, {"g", "b", "2026-04-03"}, {"i", "b", "2026-04-04"}}
	for name, tc := range map[string]struct {
		ledger
		says Saying
	}{
		"nobody else":              {ledger{rows: []row{here}}, ""},
		"others":                   {ledger{rows: append(others, here)}, Here},
		"once before":              {ledger{rows: append(others, here, row{"g", "a", "2026-04-01"})}, Before},
		"once before, nobody else": {ledger{rows: []row{here, {"g", "a", "2026-04-01"}}}, ""}, // as where guests are ignored
		"guests are ignored":       {ledger{append(others, here), "guest"}, ""},
		"locations are ignored":    {ledger{append(others, here), "location"}, ""},
		"days are ignored":         {ledger{append(others, here), "end"}, ""},
		"all are ignored":          {ledger{append(others, here), "guest location end"}, ""},
		"an end in the year 0":     {ledger{rows: append(others, row{"g", "a", "0000-00-00"})}, ""},
		"an end in 1970":           {ledger{rows: append(others, row{"g", "a", "1970-01-01"})}, ""},
		"one, and once before":     {ledger{rows: append(others, row{"g", "a", "1970-01-01"}, row{"g", "a", "2026-04-01"})}, Before},
	} {
		var h Horizon
		if err := h.look(at, tc.count); err != nil {
			t.Fatal(err)
		}
		w := Want{Guest: "g", Started: at, Locations: []string{"a"}, Elsewhere: true, Sessions: 1, Here: 1, First: true, Seen: true}
		says, err := w.ask(tc.count, &h, 10*24*time.Hour)
		if err != nil || says != tc.says {
			t.Errorf("%s: the counts are said to show %q (%v), want %q", name, says, err, tc.says)
		}
		if whole := h.Whole(10 * 24 * time.Hour); whole && (strings.Contains(tc.ignores, "end") || strings.Contains(name, "one") || strings.Contains(name, "an end")) {
			t.Errorf("%s: the history counts as whole: %+v", name, h)
		}
	}
}

// TestHistoryIsWholeWhereItIsSeenToStay: or where it goes back as far as guests are
// remembered; not where sessions were seen to go.
func TestHistoryIsWholeWhereItIsSeenToStay(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	opened, kept := now.AddDate(0, 0, -40), 0 // kept: days; 0 for ever
	requests := 0
	count := func(of Counted) (int, error) {
		requests++
		day, err := time.Parse(time.DateOnly, of.EndedBefore)
		if err != nil {
			return 0, err
		}
		from := opened
		if least := now.AddDate(0, 0, -kept); kept > 0 && least.After(from) {
			from = least
		}
		return max(0, int(day.Sub(from)/time.Hour)), nil // one an hour
	}
	var h Horizon
	hours := func(n int) {
		for range n {
			now = now.Add(time.Hour)
			if err := h.look(now, count); err != nil {
				t.Fatal(err)
			}
		}
	}
	hours(1)
	if requests > 30 || h.Whole(365*24*time.Hour) || !h.Whole(30*24*time.Hour) {
		t.Errorf("after %d requests: %+v", requests, h)
	}
	requests = 0
	hours(13 * 24)
	if h.Whole(365*24*time.Hour) || requests != 13*24 {
		t.Errorf("after 13 days and %d requests: %+v", requests, h)
	}
	hours(24)
	if !h.Whole(365 * 24 * time.Hour) {
		t.Errorf("after 14 days: %+v", h)
	}
	kept = 50 // what is older is deleted from now on
	hours(24)
	if h.Whole(365*24*time.Hour) || !h.Forgets || !h.Whole(30*24*time.Hour) {
		t.Errorf("sessions have gone: %+v", h)
	}
	hours(30 * 24)
	if h.Whole(365*24*time.Hour) || !h.Whole(30*24*time.Hour) {
		t.Errorf("a month later: %+v", h)
	}
	opened = now
	h = Horizon{}
	hours(1)
	if h.Day != "" || h.Whole(time.Hour) {
		t.Errorf("of an account without history: %+v", h)
	}
}
