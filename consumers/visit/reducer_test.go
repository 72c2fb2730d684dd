package visit

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/visits"
)

// TestVisitsAreThoseOfTheDefinition: of random crowds, whatever the order in which their
// sessions became known.
func TestVisitsAreThoseOfTheDefinition(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		told, all := crowd(r, 1+r.IntN(8), 10+r.IntN(120))
		list := told.messages()
		reducer := NewReducer(lapsingRules())
		out := foldLive(reducer, list)
		got, want := checked(t, out), expected(all, 1800)
		returns(t, seed, out, want)
		if len(got) != len(want) {
			t.Errorf("seed %d: %d visits, want %d", seed, len(got), len(want))
		}
		for k, w := range want {
			e, ok := got[k]
			v := e.Data.Visit
			if !ok || !v.EndedAt.Equal(w.to) || v.Sessions != w.sessions || v.Devices != w.devices || v.DownloadedBytes != w.bytes {
				t.Errorf("seed %d: visit %+v, want %+v", seed, v, w)
			}
		}
		stays(t, seed, out)
		if n, present := reducer.Open(); n+present+len(reducer.accounts[events.DefaultAccount].index) != 0 {
			t.Errorf("seed %d: %d open, %d present, %d in the index after all are over", seed, n, present, len(reducer.accounts[events.DefaultAccount].index))
		}
		if t.Failed() {
			return
		}
	}
}

// TestTimeOfNobodysClockKeepsNoVisitOpen: an event from far ahead is none of the time that
// the stream tells.
func TestTimeOfNobodysClockKeepsNoVisitOpen(t *testing.T) {
	told := newTeller()
	s := events.Session{ID: "s", GuestID: "g", LocationID: "a", Online: true, StartedAt: sec(0)}
	told.tell(events.Started, s, 0, 5, 0)
	odd := events.Session{ID: "odd", GuestID: "other", LocationID: "a", Online: true, StartedAt: sec(1 << 30)}
	told.tell(events.Started, odd, 1<<30, 1<<30, 0)
	s.Online, s.EndedAt = false, sec(600)
	told.tell(events.Ended, s, 600, 605, 600)
	list := told.messages()
	list[1], list[2] = list[2], list[1]
	list[1].Sequence, list[1].Stored, list[2].Sequence = 2, sec(10), 3
	ended := 0
	for _, o := range fold(NewReducer(Rules{}), list) {
		if o.Event.Kind == visits.Ended {
			ended++
		}
	}
	if ended != 1 {
		t.Errorf("%d visits ended", ended)
	}
}

// returns checks which visits are said to be first ones, how long after the last one they
// came, and that exactly those guests lapsed who did not come back in time.
func returns(t *testing.T, seed uint64, out []Output, all map[string]want) {
	t.Helper()
	lapsed := map[string]bool{}
	for _, o := range out {
		v := &o.Event.Data.Visit
		if o.Event.Kind == visits.Lapsed {
			lapsed[v.ID] = true
		}
	}
	for _, o := range out {
		v := &o.Event.Data.Visit
		if o.Event.Kind != visits.Ended {
			continue
		}
		last, back, late := time.Time{}, false, false
		due := v.EndedAt.Add(lapsingRules().Lapsed)
		for _, w := range all {
			if w.guest != v.GuestID || w.place != v.Place || w.from.Equal(v.StartedAt) {
				continue
			}
			if w.to.Before(v.StartedAt) && w.to.After(last) {
				last = w.to
			}
			back = back || w.from.After(v.EndedAt) && !w.from.After(due)
			late = late || w.from.After(due) && w.from.Before(due.Add(5*time.Minute)) // before it was certain
		}
		if lapsed[v.ID] == back && !late || lapsed[v.ID] && back {
			t.Errorf("seed %d: visit until %s: came back in time %v, lapsed %v", seed, v.EndedAt, back, lapsed[v.ID])
		}
		first, days := visits.Unknown, int64(-1)
		if !last.IsZero() {
			first, days = visits.No, int64(v.StartedAt.Sub(last)/(24*time.Hour))
		}
		if v.First != first || v.Number != 0 || (v.DaysSinceLast != nil) != (days >= 0) || days >= 0 && *v.DaysSinceLast != days {
			t.Errorf("seed %d: visit from %s, the last until %s: %+v", seed, v.StartedAt, last, v)
		}
	}
}

// stays checks that exactly the thresholds which a visit surely reached were published.
func stays(t *testing.T, seed uint64, out []Output) {
	reached := map[string][]int64{}
	for _, o := range out {
		v := o.Event.Data.Visit
		switch o.Event.Kind {
		case visits.Stayed:
			reached[v.ID] = append(reached[v.ID], o.Event.Data.ThresholdSeconds)
		case visits.Ended:
			certain := v.EndedAt
			if at := o.Event.Data.Observed.NotYetAt; !at.IsZero() {
				certain = at
			}
			var want []int64
			for _, s := range []int64{600, 3600} {
				if certain.Sub(v.StartedAt) >= time.Duration(s)*time.Second {
					want = append(want, s)
				}
			}
			if !slices.Equal(reached[v.ID], want) {
				t.Errorf("seed %d: visit from %s to %s, surely to %s: stays %v, want %v", seed, v.StartedAt, v.EndedAt, certain, reached[v.ID], want)
			}
		}
	}
}

// TestRestoredReducerGoesOnExactly: at every place, over the JSON of a checkpoint.
func TestRestoredReducerGoesOnExactly(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 2))
		told, _ := crowd(r, 1+r.IntN(8), 40)
		list := told.messages()
		var want []Output
		whole := NewReducer(lapsingRules())
		for _, m := range list {
			want = append(append(want, whole.Apply(m)...), answered(whole)...)
		}
		want = append(want, whole.Tick(events.DefaultAccount, epoch.Add(1000*time.Hour))...)
		checked(t, want)
		reducer := NewReducer(lapsingRules())
		var got []Output
		for _, m := range list {
			got = append(append(got, reducer.Apply(m)...), answered(reducer)...)
			if r.IntN(3) > 0 {
				continue
			}
			text, err := json.Marshal(reducer.Snapshot())
			if err != nil {
				t.Fatal(err)
			}
			var s Snapshot
			if err := json.Unmarshal(text, &s); err != nil {
				t.Fatal(err)
			}
			if reducer, err = Restore(lapsingRules(), s); err != nil {
				t.Fatal(err)
			}
			if again, err := json.Marshal(reducer.Snapshot()); err != nil || string(again) != string(text) {
				t.Fatalf("restored as another state: %v\n%s\n%s", err, text, again)
			}
		}
		got = append(got, reducer.Tick(events.DefaultAccount, epoch.Add(1000*time.Hour))...)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: %d events, want %d, or others", seed, len(got), len(want))
		}
	}
}

// answered gives a reducer an answer to what it wants to know: another one after each
// event, the same whenever it is asked.
func answered(r *Reducer) []Output {
	list := r.Wants(events.DefaultAccount)
	if r.Sequence()%3 > 0 || len(list) == 0 {
		return nil
	}
	w := slices.MinFunc(list, func(x, y Want) int { return strings.Compare(x.Visit, y.Visit) })
	says := []Saying{Whole, Before, Here}[r.Sequence()/3%3]
	return r.Answer(events.DefaultAccount, Answer{Visit: w.Visit, Says: says, Asked: w.Asked})
}

// TestHistoryHasTheSameVisits: where sessions are known only after they are over, in the
// order of their starts, a guest who is here at the time changes nothing.
func TestHistoryHasTheSameVisits(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 6))
		_, all := crowd(r, 6, 80)
		slices.SortFunc(all, func(x, y stretch) int { return x.from - y.from })
		teller, now := newTeller(), 100*3600
		for i := range 6 {
			s := events.Session{ID: fmt.Sprint("here", i), GuestID: fmt.Sprint("g", i), LocationID: "a", DurationSeconds: events.UnknownSeconds}
			teller.tell(events.Started, s, now, now, 0)
		}
		for i, w := range all {
			location := w.place
			if location == "mall" {
				location = "m1"
			}
			all[i].session = fmt.Sprint("h", i) // one that moved is known by its last place alone
			s := events.Session{ID: all[i].session, GuestID: w.guest, DeviceMAC: w.mac, LocationID: location, StartedAt: sec(w.from), DurationSeconds: events.UnknownSeconds}
			seen := now + i
			teller.tell(events.Started, s, w.from, seen, 0)
			teller.list[len(teller.list)-1].e.Data.Observed.Backfilled = true
			s.Downloaded.Value = w.bytes
			teller.tell(events.Ended, s, w.to, seen, 0)
			teller.list[len(teller.list)-1].e.Data.Observed.Backfilled = true
		}
		reducer := NewReducer(testRules())
		got := checked(t, fold(reducer, teller.messages()))
		want := expected(all, 1800)
		if len(got) != len(want) {
			t.Errorf("seed %d: %d visits, want %d", seed, len(got), len(want))
		}
		for k, w := range want {
			v := got[k].Data.Visit
			if !v.EndedAt.Equal(w.to) || v.Sessions != w.sessions || v.Devices != w.devices || v.DownloadedBytes != w.bytes || v.Arrival != visits.Backfilled {
				t.Errorf("seed %d: visit %+v, want %+v", seed, v, w)
			}
		}
		a := reducer.accounts[events.DefaultAccount]
		if n, present := reducer.Open(); n != 6 || present != 6 || len(a.history) != 0 || len(a.backfill) != 0 {
			t.Errorf("seed %d: %d open, %d present, %d of the past, %d begun", seed, n, present, len(a.history), len(a.backfill))
		}
	}
}

// TestTicksChangeNothingButTheTime: with a tick after every event, each at the time that
// the event knows of, the visits are the same.
func TestTicksChangeNothingButTheTime(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	told, _ := crowd(r, 6, 100)
	list := told.messages()
	want := checked(t, fold(NewReducer(testRules()), list))
	reducer := NewReducer(testRules())
	var out []Output
	for _, m := range list {
		out = append(out, reducer.Apply(m)...)
		if at := m.Event.Data.Observed.At; reducer.Due(m.Event.Account, at) {
			out = append(out, reducer.Tick(m.Event.Account, at)...)
		}
	}
	out = append(out, reducer.Tick(events.DefaultAccount, epoch.Add(1000*time.Hour))...)
	got := checked(t, out)
	for k, w := range want {
		w.Data.Observed.At = time.Time{}
		g := got[k]
		g.Data.Observed.At = time.Time{}
		if !reflect.DeepEqual(g, w) {
			t.Errorf("with ticks %+v\nwithout %+v", g, w)
		}
	}
}

// story is told in lines: "<kind> <session> <guest> <device> <location> <happened>[ <seen>]",
// times in minutes, "-" for nothing.
func story(t *testing.T, lines string) []Message {
	t.Helper()
	teller := newTeller()
	for line := range strings.Lines(strings.TrimSpace(lines)) {
		var kind, session, guest, device, location string
		var happened, seen int
		n, _ := fmt.Sscan(strings.TrimSpace(line), &kind, &session, &guest, &device, &location, &happened, &seen)
		if n < 6 {
			t.Fatalf("line %q", line)
		}
		if n == 6 {
			seen = happened
		}
		s := events.Session{ID: session, LocationID: location, StartedAt: sec(60 * happened), Downloaded: events.UnknownBytes, Uploaded: events.UnknownBytes, DurationSeconds: events.UnknownSeconds}
		if was, ok := teller.state[session]; ok {
			s = was.Session
			s.LocationID = location
		}
		if s.GuestID = ""; guest != "-" {
			s.GuestID = guest
		}
		if s.DeviceMAC = ""; device != "-" {
			s.DeviceMAC = device
		}
		backfilled := strings.HasPrefix(kind, "+")
		teller.tell(events.Kind(strings.TrimPrefix(kind, "+")), s, 60*happened, 60*seen, 0)
		teller.list[len(teller.list)-1].e.Data.Observed.Backfilled = backfilled
	}
	return teller.messages()
}

// told renders visit events in lines.
func lines(out []Output) string {
	var b strings.Builder
	minute := func(at time.Time) int { return int(at.Sub(epoch) / time.Minute) }
	for _, o := range out {
		e, v := o.Event, o.Event.Data.Visit
		who := v.GuestID
		if who == "" {
			who = v.DeviceMAC
		}
		fmt.Fprintf(&b, "%s %s:%s at %s from %d", e.Kind, v.Identity, who, v.Place, minute(v.StartedAt))
		switch e.Kind {
		case visits.Started:
			fmt.Fprintf(&b, " %s", v.Arrival)
		case visits.Stayed:
			fmt.Fprintf(&b, " for %d", e.Data.ThresholdSeconds/60)
		case visits.Ended:
			fmt.Fprintf(&b, " to %d, %d sessions, %d devices, %s", minute(v.EndedAt), v.Sessions, v.Devices, strings.Join(v.Locations, "+"))
		}
		fmt.Fprintf(&b, " (%d)\n", minute(e.Data.Observed.At))
	}
	return b.String()
}

func TestStories(t *testing.T) {
	for name, tc := range map[string]struct{ story, want string }{
		"a profile of 60 minutes splits nothing": {`
			started s1 ann d1 a 0
			ended   s1 ann d1 a 60 61
			started s2 ann d1 a 61 62
			ended   s2 ann d1 a 90 91
			started x  bob d9 a 125
			started y  bob d9 a 128`, `
			started guest:ann at a from 0 seen (0)
			stayed guest:ann at a from 0 for 10 (61)
			stayed guest:ann at a from 0 for 60 (61)
			started guest:bob at a from 125 seen (125)
			ended guest:ann at a from 0 to 90, 2 sessions, 1 devices, a (128)`},
		"a silence longer than the gap ends a visit at once when the guest is back": {`
			started s1 ann d1 a 0
			ended   s1 ann d1 a 5
			started s2 ann d1 a 36`, `
			started guest:ann at a from 0 seen (0)
			ended guest:ann at a from 0 to 5, 1 sessions, 1 devices, a (36)
			started guest:ann at a from 36 seen (36)`},
		"a device without a guest is found again, and gets its guest later": {`
			started s1 -   d1 a 0
			ended   s1 -   d1 a 5
			started s2 ann d1 a 10
			ended   s2 ann d1 a 15
			started s3 ann d2 a 20
			started s4 -   d2 b 21
			ended   s3 ann d2 a 22
			started s5 -   d1 a 23`, `
			started device:d1 at a from 0 seen (0)
			stayed guest:ann at a from 0 for 10 (20)
			started device:d2 at b from 21 seen (21)`},
		"a device that two guests share is two guests": {`
			started s1 ann d1 a 0
			ended   s1 ann d1 a 1
			started s2 bob d1 a 2`, `
			started guest:ann at a from 0 seen (0)
			started guest:bob at a from 2 seen (2)`},
		"who has neither is one visit a session": {`
			started s1 - - a 0
			started s2 - - a 0`, `
			started session: at a from 0 seen (0)
			started session: at a from 0 seen (0)`},
		"going about a group is not leaving, going elsewhere is": {`
			started s1 ann d1 m1 0
			updated s1 ann d1 m2 1
			ended   s1 ann d1 m2 2
			started s2 ann d1 m1 3
			updated s2 ann d1 b 4
			started x  bob d9 a 5
			started y  bob d9 a 37
			started z  bob d9 a 40`, `
			started guest:ann at mall from 0 seen (0)
			started guest:ann at b from 4 seen (4)
			started guest:bob at a from 5 seen (5)
			stayed guest:ann at b from 4 for 10 (40)
			stayed guest:bob at a from 5 for 10 (40)
			ended guest:ann at mall from 0 to 4, 2 sessions, 1 devices, m1+m2 (40)`},
		"a session that learns its guest joins the guest's visit": {`
			started s1 ann d1 a 0
			started s2 -   d2 a 1
			updated s2 ann d2 a 2`, `
			started guest:ann at a from 0 seen (0)
			started device:d2 at a from 1 seen (1)`},
		"who was there before is no arrival": {`
			discovered s1 ann d1 a 0 20`, `
			started guest:ann at a from 0 discovered (20)
			stayed guest:ann at a from 0 for 10 (20)`},
		"what the history has belongs to its time": {`
			started  s1 ann d1 a 0
			ended    s1 ann d1 a 5
			+started s2 ann d1 a 20 61
			+ended   s2 ann d1 a 40 61
			started  s3 ann d1 a 60 61`, `
			started guest:ann at a from 0 seen (0)
			stayed guest:ann at a from 0 for 10 (61)`},
		"what the history has of before is a visit of its own": {`
			started  s3 ann d1 a 100
			+started s2 ann d1 a 20 101
			+ended   s2 ann d1 a 40 101
			+started s1 ann d2 a 10 102
			+ended   s1 ann d2 a 15 102
			+started s0 ann d1 b 10 102
			+ended   s0 ann d1 b 15 102
			started  x  bob d9 a 103
			started  y  bob d9 a 104`, `
			started guest:ann at a from 100 seen (100)
			started guest:ann at a from 20 backfilled (101)
			stayed guest:ann at a from 20 for 10 (101)
			started guest:ann at b from 10 backfilled (102)
			started guest:bob at a from 103 seen (103)
			ended guest:ann at a from 10 to 40, 2 sessions, 2 devices, a (104)
			ended guest:ann at b from 10 to 15, 1 sessions, 1 devices, b (104)`},
		"a session that comes back counts once": {`
			started s1 ann d1 a 0
			ended   s1 ann d1 a 5
			resumed s1 ann d1 a 10
			ended   s1 ann d1 a 12 13
			started x  bob d9 a 50
			started y  bob d9 a 50`, `
			started guest:ann at a from 0 seen (0)
			stayed guest:ann at a from 0 for 10 (13)
			started guest:bob at a from 50 seen (50)`},
	} {
		t.Run(name, func(t *testing.T) {
			reducer := NewReducer(testRules())
			var out []Output
			for _, m := range story(t, tc.story) {
				out = append(out, reducer.Apply(m)...)
			}
			want := strings.ReplaceAll(strings.TrimSpace(tc.want), "\t", "") + "\n"
			if got := lines(out); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

// TestGroupsAreOfAnAccountWhereTheySaySo: the locations of one account are one place, those of
// the same ids in another are not.
func TestGroupsAreOfAnAccountWhereTheySaySo(t *testing.T) {
	t.Parallel()
	list := story(t, `
		started s1 ann d1 m1 0
		updated s1 ann d1 m2 1
		ended   s1 ann d1 m2 2
		started s2 ann d1 m1 3
		ended   s2 ann d1 m1 4
		started x  bob d9 a 50`)
	everywhere, own, other := testRules(), testRules(), testRules()
	own.Groups, own.Grouped = nil, []Grouped{{events.DefaultAccount, "m1", "mall"}, {events.DefaultAccount, "m2", "mall"}}
	other.Groups, other.Grouped = nil, []Grouped{{"other", "m1", "mall"}, {"other", "m2", "mall"}}
	want := foldLive(NewReducer(everywhere), list)
	if got := foldLive(NewReducer(own), list); !reflect.DeepEqual(got, want) || len(got) == 0 {
		t.Errorf("of the account: %+v, want %+v", got, want)
	}
	for _, o := range foldLive(NewReducer(other), list) {
		if v := o.Event.Data.Visit; v.Group != "" || v.Place == "mall" {
			t.Errorf("of another account: %+v", v)
		}
	}
}

// TestChangedThresholdsRepeatNoStay: of a visit that is under way, those are told that are
// longer than what was told already.
func TestChangedThresholdsRepeatNoStay(t *testing.T) {
	list := story(t, `
		started s1 g1 d1 a 0
		traffic s1 g1 d1 a 70
		ended s1 g1 d1 a 200 201`)
	minutes := func(all ...int) (stays []time.Duration) {
		for _, n := range all {
			stays = append(stays, time.Duration(n)*time.Minute)
		}
		return stays
	}
	for _, tc := range []struct {
		before, after []time.Duration
		want          []int64
	}{
		{minutes(60), minutes(10, 60), nil},
		{minutes(60), minutes(10, 60, 120), []int64{120}},
		{minutes(10, 60), minutes(60, 120), []int64{120}},
		{minutes(10, 60), minutes(90), []int64{90}},
		{nil, minutes(10, 90), []int64{10, 90}},
		{minutes(10, 60, 90), minutes(10, 60), nil},
	} {
		rules := testRules()
		rules.Stays = tc.before
		r := NewReducer(rules)
		for _, m := range list[:2] {
			r.Apply(m)
		}
		r.Tick(events.DefaultAccount, sec(60*75))
		text, err := json.Marshal(r.Snapshot())
		var s Snapshot
		if err == nil {
			err = json.Unmarshal(text, &s)
		}
		rules.Stays = tc.after
		if err == nil {
			r, err = Restore(rules, s)
		}
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		told := func(out []Output) {
			for _, o := range out {
				if o.Event.Kind == visits.Stayed {
					got = append(got, o.Event.Data.ThresholdSeconds/60)
				}
			}
		}
		for minute := 76; minute < 150; minute++ {
			told(r.Tick(events.DefaultAccount, sec(60*minute)))
		}
		told(r.Apply(list[2]))
		if !slices.Equal(got, tc.want) {
			t.Errorf("%v, then %v: stays of %v minutes are told, want %v", tc.before, tc.after, got, tc.want)
		}
	}
}
