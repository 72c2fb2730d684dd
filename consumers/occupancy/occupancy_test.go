package occupancy

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/guestflow/guestflow/events"
)

// plain is the same knowledge in the plainest form: the last event of each
// session, and every arrival, departure and stay.
type plain struct {
	sessions map[string]events.State
	entered  map[string]time.Time
	arrived  map[string][]time.Time
	departed map[string][]time.Time
}

func newPlain() *plain {
	return &plain{map[string]events.State{}, map[string]time.Time{}, map[string][]time.Time{}, map[string][]time.Time{}}
}

func (p *plain) apply(e events.Event) {
	d := &e.Data.Session
	was := p.sessions[d.ID]
	at := e.Time
	switch {
	case e.Kind == events.Started || e.Kind == events.Resumed:
		p.arrived[d.LocationID] = append(p.arrived[d.LocationID], at)
	case e.Kind == events.Ended:
		p.departed[was.Session.LocationID] = append(p.departed[was.Session.LocationID], maxTime(at, p.entered[d.ID]))
	case was.Tracked() && was.Session.LocationID != d.LocationID:
		at = maxTime(at, p.entered[d.ID])
		p.departed[was.Session.LocationID] = append(p.departed[was.Session.LocationID], at)
		p.arrived[d.LocationID] = append(p.arrived[d.LocationID], at)
	}
	switch {
	case e.Kind == events.Discovered:
		p.entered[d.ID] = e.Data.Observed.At // and not gone before that, whatever is reported
	case e.Kind.Arrival() || was.Session.LocationID != d.LocationID:
		p.entered[d.ID] = at
	}
	p.sessions[d.ID] = events.StateOf(e)
}

func maxTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func (p *plain) view(location string, now time.Time) (v Location) {
	devices, guests := map[string]bool{}, map[string]bool{}
	for id, s := range p.sessions {
		if !s.Session.Online || s.Session.LocationID != location {
			continue
		}
		v.Online++
		if s.Session.DeviceMAC == "" {
			devices["session "+id] = true
		} else {
			devices[s.Session.DeviceMAC] = true
		}
		if s.Session.GuestID != "" {
			guests[s.Session.GuestID] = true
		}
	}
	v.Devices, v.Guests = len(devices), len(guests)
	count := func(list []time.Time) (w Windows) {
		for _, at := range list {
			age := now.Sub(at)
			if age >= 0 && age < 5*time.Minute {
				w.M5++
			}
			if age >= 0 && age < 15*time.Minute {
				w.M15++
			}
			if age >= 0 && age < time.Hour {
				w.M60++
			}
		}
		return w
	}
	v.Arrivals, v.Departures = count(p.arrived[location]), count(p.departed[location])
	return v
}

func TestOccupancyEqualsThePlainCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := newVenue(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(1, 5).Draw(t, "locations"), rapid.IntRange(1, 40).Draw(t, "aim"))
		v.stored = time.Duration(rapid.IntRange(-7200, 7200).Draw(t, "server ahead")) * time.Second
		o, p := NewOccupancy(Limits{Ended: 48 * time.Hour}), newPlain()
		for range rapid.IntRange(1, 400).Draw(t, "events") {
			m := v.next(time.Duration(rapid.IntRange(0, 30).Draw(t, "step")) * time.Second)
			o.Apply(m)
			p.apply(m.Event)
		}
		now := o.PlatformTime(v.now.Add(v.stored))
		if !now.Equal(v.now) {
			t.Fatalf("the platform's time is %s, taken for %s", v.now, now)
		}
		for _, got := range o.Locations(nil, now, 0) {
			want := p.view(got.ID, now)
			if got.Online != want.Online || got.Devices != want.Devices || got.Guests != want.Guests ||
				got.Arrivals != want.Arrivals || got.Departures != want.Departures {
				t.Fatalf("%s\ngot  %+v\nwant %+v", got.ID, got, want)
			}
		}
		if c := o.Counters(); c.Gaps+c.Disordered+c.Duplicates != 0 {
			t.Fatalf("a stream in order counted %+v", c)
		}
	})
}

func TestRestartAtEverySequenceGivesEqualState(t *testing.T) {
	limits := Limits{History: time.Hour, Stays: 30 * time.Minute, Ended: 10 * time.Minute}
	list := newVenue(3, 4, 25).messages(350, 14*time.Second)
	whole := NewOccupancy(limits)
	var checkpoints [][]byte
	for _, m := range list {
		body, err := json.Marshal(whole.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		checkpoints = append(checkpoints, body)
		whole.Apply(m)
	}
	want := whole.Snapshot()
	now := whole.ObservedAt().Add(3 * time.Minute)
	for i, body := range checkpoints {
		var s Snapshot
		if err := json.Unmarshal(body, &s); err != nil {
			t.Fatal(err)
		}
		o, err := Restore(limits, s)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list[max(0, i-5):] { // the stream may be read from earlier on
			o.Apply(m)
		}
		if got := o.Snapshot(); !reflect.DeepEqual(got, want) {
			t.Fatalf("restart before message %d: state differs\ngot  %+v\nwant %+v", i, got, want)
		}
		if got, want := o.Locations(nil, now, 60), whole.Locations(nil, now, 60); !reflect.DeepEqual(got, want) {
			t.Fatalf("restart before message %d: answers differ\ngot  %+v\nwant %+v", i, got, want)
		}
	}
}

// TestGuestStaysWithTheSession: only the start names the guest; what follows keeps the name,
// a restart too, until the session is another guest's.
func TestGuestStaysWithTheSession(t *testing.T) {
	v := newVenue(9, 1, 2)
	start := v.start()
	start.Event.Data.Guest = &events.Guest{Name: "Ada Example", Email: "ada@example.com"}
	traffic := v.change(0, events.Traffic)
	o := NewOccupancy(Limits{})
	o.Apply(start)
	o.Apply(traffic)
	o, err := Restore(Limits{}, o.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	guest := func() [2]string {
		list, _, _ := o.Sessions(Place{v.account, "loc-00"}, "", 10)
		return [2]string{list[0].GuestName, list[0].GuestEmail}
	}
	if got, want := guest(), [2]string{"Ada Example", "ada@example.com"}; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	other := v.change(0, events.Updated)
	other.Event.Data.Session.GuestID = "guest-of-another-name"
	o.Apply(other)
	if got := guest(); got != [2]string{} {
		t.Errorf("another guest is shown as %q", got)
	}
}

func TestRestoreRefusesWhatItCannotRead(t *testing.T) {
	for name, s := range map[string]Snapshot{
		"another version":  {Version: snapshotVersion + 1},
		"missing location": {Version: snapshotVersion, Accounts: []accountSnapshot{{Sessions: []sessionSnapshot{{ID: "a", Location: "gone"}}}}},
	} {
		if _, err := Restore(Limits{}, s); err == nil {
			t.Errorf("%s: restored", name)
		}
	}
}

// feed applies events whose revision, session and times a test sets.
type feed struct {
	o        *Occupancy
	sequence uint64
}

func (f *feed) apply(e events.Event) {
	f.sequence++
	if e.Data.Observed.At.IsZero() {
		e.Data.Observed.At = e.Time
	}
	f.o.Apply(Message{Sequence: f.sequence, Stored: e.Data.Observed.At, Event: e})
}

func eventOf(id, location string, revision int64, kind events.Kind, at time.Time) events.Event {
	return events.Event{Kind: kind, Time: at, Data: events.Data{
		Revision: revision,
		Session:  events.Session{ID: id, LocationID: location, DeviceMAC: "mac of " + id, GuestID: "guest of " + id, StartedAt: epoch, Online: kind != events.Ended},
	}}
}

func (f *feed) at(t *testing.T, location string, now time.Time) Location {
	t.Helper()
	v, ok := f.o.Location(Place{Location: location}, now, 30)
	if !ok {
		t.Fatalf("location %s is not known", location)
	}
	return v
}

func minutes(n int) time.Time { return epoch.Add(time.Duration(n) * time.Minute) }

// TestTimeOfNobodysClockMovesNothing: whoever may write to one account's subjects cannot set
// the clock of all.
func TestTimeOfNobodysClockMovesNothing(t *testing.T) {
	f := &feed{o: NewOccupancy(Limits{})}
	f.apply(eventOf("a", "bar", 1, events.Started, minutes(0)))
	odd := eventOf("odd", "bar", 1, events.Started, minutes(70_000*60))
	odd.Account, odd.Data.Observed.At = "other", odd.Time
	f.sequence++
	f.o.Apply(Message{Sequence: f.sequence, Stored: minutes(1), Event: odd})
	f.apply(eventOf("b", "bar", 1, events.Started, minutes(2)))
	f.apply(eventOf("a", "bar", 2, events.Ended, minutes(3)))
	v := f.at(t, "bar", minutes(4))
	if v.Arrivals.M5 != 2 || v.Departures.M5 != 1 || v.Dwell.Stays != 1 || f.o.ObservedAt() != minutes(3) {
		t.Errorf("%+v, observed at %v", v, f.o.ObservedAt())
	}
	if now := f.o.PlatformTime(minutes(4)); now != minutes(4) {
		t.Errorf("it is %v, want %v", now, minutes(4))
	}
}

func TestMoveTakesTheSessionAlong(t *testing.T) {
	f := &feed{o: NewOccupancy(Limits{})}
	f.apply(eventOf("a", "bar", 1, events.Started, minutes(0)))
	f.apply(eventOf("a", "pool", 2, events.Updated, minutes(10)))
	now := minutes(12)
	bar, pool := f.at(t, "bar", now), f.at(t, "pool", now)
	if bar.Online != 0 || pool.Online != 1 || bar.Devices != 0 || pool.Guests != 1 {
		t.Errorf("bar %+v, pool %+v", bar, pool)
	}
	if bar.Departures.M5 != 1 || pool.Arrivals.M5 != 1 || bar.Dwell != (Dwell{1, 600, 600}) {
		t.Errorf("bar %+v, pool %+v", bar, pool)
	}
	total := f.o.Totals(nil, now, 0)[0]
	if total.Online != 1 || total.Arrivals != (Windows{0, 1, 1}) || total.Departures != (Windows{}) {
		t.Errorf("within the account a move is no arrival and no departure: %+v", total)
	}
	f.apply(eventOf("a", "pool", 3, events.Ended, minutes(30)))
	if d := f.at(t, "pool", minutes(30)).Dwell; d.P50Seconds != 1200 {
		t.Errorf("stay at the pool was 20 minutes: %+v", d)
	}
	if d := f.o.Totals(nil, minutes(30), 0)[0].Dwell; d.P50Seconds != 1800 {
		t.Errorf("the whole stay was 30 minutes: %+v", d)
	}
}

func TestDiscoveredIsNoArrival(t *testing.T) {
	f := &feed{o: NewOccupancy(Limits{})}
	e := eventOf("a", "bar", 1, events.Discovered, epoch)
	e.Data.Observed.At = minutes(20)
	f.apply(e)
	v := f.at(t, "bar", minutes(22))
	if v.Online != 1 || v.Arrivals != (Windows{}) {
		t.Errorf("%+v", v)
	}
	if want := []int{1, 1, 1}; !slices.Equal(v.Recent, want) {
		t.Errorf("the curve begins with the look at minute 20: %v", v.Recent)
	}
}

func TestWindowsCountByTheTimeAtTheSource(t *testing.T) {
	f := &feed{o: NewOccupancy(Limits{})}
	e := eventOf("a", "bar", 1, events.Started, minutes(0))
	e.Data.Observed.At = minutes(9) // seen late
	f.apply(e)
	f.apply(eventOf("b", "bar", 1, events.Started, minutes(10)))
	for _, c := range []struct {
		now  int
		want Windows
	}{{10, Windows{1, 2, 2}}, {14, Windows{1, 2, 2}}, {15, Windows{0, 1, 2}}, {60, Windows{0, 0, 1}}, {70, Windows{}}} {
		if got := f.at(t, "bar", minutes(c.now)).Arrivals; got != c.want {
			t.Errorf("at minute %d: %+v, want %+v", c.now, got, c.want)
		}
	}
	if got, want := f.at(t, "bar", minutes(11)).Recent, []int{1, 2, 2}; !slices.Equal(got, want) {
		t.Errorf("curve %v, want %v", got, want)
	}
}

func TestLateEndCorrectsTheCurveWhereItBelongs(t *testing.T) {
	f := &feed{o: NewOccupancy(Limits{})}
	f.apply(eventOf("a", "bar", 1, events.Started, minutes(0)))
	e := eventOf("a", "bar", 2, events.Ended, minutes(2))
	e.Data.Observed.At = minutes(5)
	f.apply(e)
	h, _ := f.o.History(Place{Location: "bar"}, minutes(5), 60)
	if want := []int{1, 1, 0, 0, 0, 0}; !slices.Equal(h.Online, want) || !h.From.Equal(epoch) {
		t.Errorf("from %s: %v, want %v", h.From, h.Online, want)
	}
}

func TestDuplicatesAreIgnoredAndGapsTolerated(t *testing.T) {
	f := &feed{o: NewOccupancy(Limits{})}
	f.apply(eventOf("a", "bar", 1, events.Started, minutes(0)))
	f.apply(eventOf("a", "bar", 2, events.Ended, minutes(1)))
	f.apply(eventOf("a", "bar", 1, events.Started, minutes(0))) // once more
	f.apply(eventOf("b", "bar", 4, events.Traffic, minutes(2))) // its start is lost
	f.apply(eventOf("c", "bar", 7, events.Ended, minutes(3)))   // all of it is lost
	v := f.at(t, "bar", minutes(3))
	if v.Online != 1 || v.Arrivals.M5 != 1 || v.Departures.M5 != 2 {
		t.Errorf("%+v", v)
	}
	if got, want := f.o.Counters(), (Counters{Events: 4, Duplicates: 1, Gaps: 2}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	f.o.Apply(Message{Sequence: 2, Event: eventOf("d", "bar", 1, events.Started, minutes(4))})
	if f.o.Counters().Events != 4 {
		t.Error("a message that is not newer was applied")
	}
}

func TestResumedContinuesAfterItsEnd(t *testing.T) {
	f := &feed{o: NewOccupancy(Limits{})}
	f.apply(eventOf("a", "bar", 1, events.Started, minutes(0)))
	f.apply(eventOf("a", "bar", 2, events.Ended, minutes(5)))
	e := eventOf("a", "bar", 3, events.Resumed, minutes(0)) // dated by its first start
	e.Data.Episode, e.Data.Observed.At = 1, minutes(8)
	f.apply(e)
	if got, want := f.at(t, "bar", minutes(8)).Recent, []int{1, 1, 1, 1, 1, 1, 1, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("curve %v, want %v: it cannot have been online twice", got, want)
	}
	if c := f.o.Counters(); c.Events != 3 || c.Disordered+c.Gaps != 0 {
		t.Errorf("%+v", c)
	}
}

func TestDwellIsExactForTheLatestStays(t *testing.T) {
	var s stays
	for i := range int64(StaySample + 100) {
		s.add(1000, 1000-i, 0)
	}
	// The latest are 900 … 389.
	if len(s.sorted) != StaySample || s.quantile(0.5) != 644 || s.quantile(0.9) != 849 || s.quantile(1) != 900 {
		t.Errorf("%d stays, p50 %d, p90 %d, longest %d", len(s.sorted), s.quantile(0.5), s.quantile(0.9), s.quantile(1))
	}
	s.add(5000, 7, 2000)
	if len(s.sorted) != 1 || s.quantile(0.5) != 7 {
		t.Errorf("stays before the window remain: %v", s.sorted)
	}
}

// TestDwellIsOfTheLatestEnds: the history becomes known after what is newer.
func TestDwellIsOfTheLatestEnds(t *testing.T) {
	var s stays
	for i := range int64(StaySample) {
		s.add(100_000+i, 60, 0)
	}
	for i := range int64(StaySample) {
		s.add(90_000-i, 7200, 0) // of a backfill, newest first
	}
	if len(s.sorted) != StaySample || s.quantile(1) != 60 {
		t.Errorf("%d stays up to %d s: those of the history took the places of later ones", len(s.sorted), s.quantile(1))
	}
	for i := range int64(StaySample) {
		s.add(200_000+i, 30, 150_000)
	}
	s.add(100_000, 7200, 150_000)
	if len(s.sorted) != StaySample || s.quantile(1) != 30 {
		t.Errorf("%d stays up to %d s, want the later ones alone", len(s.sorted), s.quantile(1))
	}
	s = stays{}
	for _, at := range []int64{3000, 1000} {
		s.add(at, at, 0)
	}
	s.add(4000, 4000, 2000)
	if len(s.sorted) != 2 || s.quantile(0) != 3000 {
		t.Errorf("stays %v: one before the window remains behind a later one", s.sorted)
	}
}

func TestEndedSessionsAreForgottenInTime(t *testing.T) {
	f := &feed{o: NewOccupancy(Limits{Ended: time.Minute})}
	for i := range 50 {
		id := string(rune('A' + i))
		f.apply(eventOf(id, "bar", 1, events.Started, minutes(i)))
		f.apply(eventOf(id, "bar", 2, events.Ended, minutes(i)))
	}
	if ended := &f.o.accounts[""].ended; len(ended.tombs) > 3 || len(ended.last) > 3 {
		t.Errorf("%d of 50 ended sessions are remembered", len(ended.tombs))
	}
}

func TestSessionsArePagedWithoutLossOrRepeat(t *testing.T) {
	v := newVenue(5, 1, 60)
	o := NewOccupancy(Limits{})
	for _, m := range v.messages(500, time.Second) {
		o.Apply(m)
	}
	p := o.Places("")[0]
	seen := map[string]bool{}
	var last time.Time
	for after := ""; ; {
		page, next, ok := o.Sessions(p, after, 7)
		if !ok || len(page) == 0 || len(page) > 7 {
			t.Fatalf("page of %d after %q", len(page), after)
		}
		for _, s := range page {
			if seen[s.ID] || !last.IsZero() && s.EnteredAt.After(last) {
				t.Fatalf("%s comes twice or out of order", s.ID)
			}
			seen[s.ID], last = true, s.EnteredAt
		}
		if after = next; next == "" {
			break
		}
	}
	if len(seen) != len(v.online) {
		t.Errorf("%d of %d sessions", len(seen), len(v.online))
	}
}
