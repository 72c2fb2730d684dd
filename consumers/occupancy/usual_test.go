package occupancy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

// visited puts one session of an hour into an Occupancy.
func visited(o *Occupancy, n int, location string, from time.Time, backfilled bool) {
	id := fmt.Sprintf("%s-%d", location, n)
	s := events.Session{ID: id, LocationID: location, Online: true, StartedAt: from}
	e := events.Event{Account: "a", Kind: events.Started, Time: from}
	e.Data.Revision, e.Data.Session, e.Data.Observed = 1, s, events.Observed{At: from, Backfilled: backfilled}
	o.Apply(Message{o.Sequence() + 1, from, e})
	e.Kind, e.Time, e.Data.Revision = events.Ended, from.Add(time.Hour), 2
	e.Data.Session.Online, e.Data.Session.EndedAt, e.Data.Observed.At = false, e.Time, e.Time
	o.Apply(Message{o.Sequence() + 1, e.Time, e})
}

// TestUsualIsThatOfTheHourOfTheWeek: as soon as anything can be said, and the better the
// more was seen.
func TestUsualIsThatOfTheHourOfTheWeek(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Istanbul") // three hours ahead
	if err != nil {
		t.Fatal(err)
	}
	o := NewOccupancy(Limits{Zone: zone})
	monday := time.Date(2026, 5, 4, 0, 0, 0, 0, zone)
	days := func(p Place) ([7]float64, bool) { return [7]float64{6, 6, 6, 6, 6, 12, 12}, true }
	p := Place{"a", "x"}
	n := 0
	visits := func(day, hour, count int) {
		for range count {
			n++
			visited(o, n, "x", monday.AddDate(0, 0, day).Add(time.Duration(hour)*time.Hour), false)
		}
	}
	week := func(day, hour int) Week {
		w, ok := o.Week(p, monday.AddDate(0, 0, day).Add(time.Duration(hour)*time.Hour), days)
		if !ok {
			t.Fatal("no such place")
		}
		return w
	}
	visits(0, 10, 2)
	for _, id := range []string{"x", "y"} { // one of two is online here
		e := events.Event{Account: "a", Kind: events.Started, Time: monday.Add(12 * time.Hour)}
		e.Data.Revision, e.Data.Session = 1, events.Session{ID: "there" + id, LocationID: id, Online: true, StartedAt: e.Time}
		e.Data.Observed.At = e.Time
		o.Apply(Message{o.Sequence() + 1, e.Time, e})
	}
	if w := week(0, 12); w.Now == nil || *w.Now != (Usual{1, "share"}) || w.Hours[10] != nil || w.Zone != "Europe/Istanbul" {
		t.Errorf("after two hours: %+v", w.Now)
	}
	if w, _ := o.Week(p, monday.Add(12*time.Hour), nil); w.Now != nil || w.Days != nil {
		t.Errorf("without any history: %+v", w)
	}
	visits(1, 10, 4)
	// A day and a half from ten on hold two times ten o'clock, with six visits; on Saturdays
	// half as many again come as the mean of the week.
	if w := week(1, 22); *w.Hours[10] != 2.3 || *w.Hours[5*24+10] != 4.7 || *w.Hours[11] != 0 || w.Now.Basis != "hour" {
		t.Errorf("after a day and a half: %v, %v on Saturday, %+v", *w.Hours[10], *w.Hours[5*24+10], w.Now)
	}
	for day := 7; day < 28; day += 7 {
		visits(day, 10, 4)
	}
	if w := week(28, 10); *w.Hours[10] != 3.5 || *w.Hours[24+10] != 1 || *w.Now != (Usual{3.5, "observed"}) {
		t.Errorf("after four weeks: %v, %v on Tuesday, %+v", *w.Hours[10], *w.Hours[34], w.Now)
	}
	// The history of half a year counts as what was seen does, and halves when it is long.
	visited(o, 1, "x", monday.AddDate(0, 0, -7*30).Add(10*time.Hour), true)
	if w := week(28, 10); w.Now.Online > 0.6 || !w.Since.Before(monday.AddDate(0, 0, -200)) {
		t.Errorf("with history: %+v since %v", w.Now, w.Since)
	}
	visits(35, 10, 4)
	if w := week(36, 10); w.Since.Before(monday.AddDate(0, 0, -120)) {
		t.Errorf("what was long ago counts as before: since %v", w.Since)
	}
	again, err := Restore(Limits{Zone: zone}, o.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	restored, _ := again.Week(p, monday.AddDate(0, 0, 36), days)
	if was, _ := o.Week(p, monday.AddDate(0, 0, 36), days); !reflect.DeepEqual(restored, was) {
		t.Errorf("restored: %+v, was %+v", restored, was)
	}
}

// TestIntervalHoldsTheTruth: of people who come and go by chance, in 98 of 100 cases at
// least, at every age of the look; and it is no wider than it must be.
func TestIntervalHoldsTheTruth(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 19))
	poisson := func(mean float64) (n int) {
		for left := mean - random.ExpFloat64(); left > 0; left -= random.ExpFloat64() {
			n++
		}
		return n
	}
	for _, perHour := range []float64{0.2, 3, 40, 900} {
		for _, age := range []time.Duration{5 * time.Second, time.Minute, 10 * time.Minute} {
			mean := perHour * age.Hours()
			held, wide := 0, 0.0
			const tries = 3000
			for range tries {
				bound := most(poisson(perHour), time.Hour, age)
				if poisson(mean) <= bound {
					held++
				}
				wide += float64(bound) / tries
			}
			if share := float64(held) / tries; share < 0.98 {
				t.Errorf("%v an hour, %v old: %.3f of the intervals hold the truth", perHour, age, share)
			}
			if widest := 1.5 + 1.2*mean + 4*math.Sqrt(mean); wide > widest {
				t.Errorf("%v an hour, %v old: up to %.1f more, on average; %.1f would do", perHour, age, wide, widest)
			}
		}
	}
}

// TestFiguresSayHowOldTheyAre, by the look where that is known, else by what was heard.
func TestFiguresSayHowOldTheyAre(t *testing.T) {
	list := newVenue(21, 3, 12).messages(120, 11*time.Second)
	last := list[len(list)-1].Event.Data.Observed.At
	ages := func(p Place) (time.Duration, bool) { return 10 * time.Minute, p.Location == "loc-01" }
	now, figures, ok := filled(t, Settings{LookAge: ages}, list).Figures()
	if !ok || len(figures) != 3 {
		t.Fatalf("%v, %v", figures, ok)
	}
	for _, f := range figures {
		age := now.Sub(f.LookedAt).Round(time.Second)
		if f.Location == "loc-01" && age != 10*time.Minute || f.Location != "loc-01" && !f.LookedAt.Equal(last.Truncate(time.Second)) {
			t.Errorf("%s was looked at %v ago", f.Location, age)
		}
		if f.Location == "loc-01" && (f.More < 2 || f.Fewer < 1) {
			t.Errorf("ten minutes old, and %d fewer or %d more", f.Fewer, f.More)
		}
	}
	if _, _, ok := New(Settings{}).Figures(); ok {
		t.Error("figures before the stream was read")
	}
}

// TestAPlaceOfWhichNothingWasToldHasFigures: nobody is there, and it is known who is expected.
func TestAPlaceOfWhichNothingWasToldHasFigures(t *testing.T) {
	list := newVenue(22, 3, 30).messages(200, 11*time.Second)
	account := list[0].Event.Account
	days := func(p Place) ([7]float64, bool) { return [7]float64{5, 5, 5, 5, 5, 5, 5}, p.Location != "unknown" }
	settings := Settings{Days: days, LookAge: func(p Place) (time.Duration, bool) { return time.Minute, p.Location == "mute" }}
	before := map[string]Figure{}
	_, figures, _ := filled(t, settings, list).Figures()
	online := 0
	for _, f := range figures {
		before[f.Location] = f
		online += f.Online
	}
	settings.Watched = func() []Watched {
		return []Watched{{Place{account, "mute"}, "Mute bar"}, {Place{account, "loc-01"}, ""}, {Place{account, "unknown"}, ""}, {Place{"another", "mute"}, ""}}
	}
	now, figures, ok := filled(t, settings, list).Figures()
	if !ok || len(figures) != 5 || online < 8 {
		t.Fatalf("%+v, %v, %d online", figures, ok, online)
	}
	for _, f := range figures {
		switch f.Location {
		case "mute":
			if f.Online+f.Devices+f.Guests+f.Fewer != 0 || f.Name != "Mute bar" || now.Sub(f.LookedAt).Round(time.Second) != time.Minute ||
				f.Usual == nil || *f.Usual != usualOf(float64(online)/4, "share") {
				t.Errorf("%+v, usual is %+v of %d online", f, f.Usual, online)
			}
		case "unknown":
			if f.Usual != nil {
				t.Errorf("%+v", f)
			}
		default:
			if was := before[f.Location]; was.Online != f.Online || f.Usual == nil || *f.Usual != usualOf(float64(online)/4, "share") {
				t.Errorf("%+v, %+v", f, f.Usual)
			}
		}
	}
}

// TestCurveGoesBackAsFarAsTheHistory: where sessions that had ended before tracking began
// are published, the curve begins with them, and counts who was found online from when they
// came on.
func TestCurveGoesBackAsFarAsTheHistory(t *testing.T) {
	o := NewOccupancy(Limits{})
	begin := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	found := events.Event{Account: "a", Kind: events.Discovered, Time: begin.Add(-90 * time.Minute)}
	found.Data.Revision, found.Data.Session = 1, events.Session{ID: "there", LocationID: "x", Online: true, StartedAt: found.Time}
	found.Data.Observed.At = begin
	o.Apply(Message{1, begin, found})
	p := Place{"a", "x"}
	if h, _ := o.History(p, begin, 240); len(h.Online) != 1 || h.Online[0] != 1 {
		t.Errorf("without history: %+v", h)
	}
	for i, ago := range []time.Duration{2, 3, 4} { // of an hour each
		visited(o, i, "x", begin.Add(-ago*time.Hour), true)
	}
	h, _ := o.History(p, begin, 240)
	at := func(ago time.Duration) int { return h.Online[len(h.Online)-1-int(ago/time.Minute)] }
	if want := begin.Add(-3 * time.Hour); !h.From.Equal(want) {
		t.Errorf("it begins at %v, want %v: an hour after the oldest, since stays last that long", h.From, want)
	}
	if at(150*time.Minute) != 1 || at(80*time.Minute) != 2 || at(30*time.Minute) != 1 || at(0) != 1 {
		t.Errorf("counts: %v", h.Online)
	}
}
