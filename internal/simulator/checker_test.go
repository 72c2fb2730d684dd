package simulator

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

// observe polls s for a while and makes the stream that a faultless poller would.
// All pages are read at one instant, so absence is proof.
func observe(s *Simulator, c *clock, rounds int, every time.Duration) []events.Event {
	var stream []events.Event
	known := map[string]events.State{}
	var before time.Time
	for range rounds {
		at := s.Now()
		seen := map[string]events.Session{}
		for page, more := 1, true; more; page++ {
			var records []events.Session
			records, more = s.List(Query{Online: Online, Page: page, PerPage: 100})
			for _, r := range records {
				seen[r.ID] = r
			}
		}
		publish := func(k events.Kind, now events.Session, edit func(*events.Event)) {
			st := known[now.ID]
			e := events.Event{Account: "a", Kind: k, Time: at, Data: events.Data{
				Revision: st.Revision + 1, Episode: st.Episode, Session: now, Previous: now.Replaced(&st.Session),
				Observed: events.Observed{At: at, NotYetAt: before},
			}}
			if edit != nil {
				edit(&e)
			}
			e = e.Sealed()
			stream = append(stream, e)
			known[now.ID] = events.StateOf(e)
		}
		for _, id := range sorted(seen) {
			now, st := seen[id], known[id]
			switch {
			case !st.Tracked() && before.IsZero():
				publish(events.Discovered, now, nil)
			case !st.Tracked():
				publish(events.Started, now, nil)
			case !st.Session.Online:
				publish(events.Resumed, now, func(e *events.Event) { e.Data.Episode++ })
			default:
				p := now.Replaced(&st.Session)
				if p == nil {
					continue
				}
				kind := events.Traffic
				if p.LocationID != nil || p.DeviceIP != nil || p.ServiceProfile != nil {
					kind = events.Updated
				}
				publish(kind, now, nil)
			}
		}
		for _, id := range sorted(known) {
			if _, ok := seen[id]; !ok && known[id].Session.Online {
				now := known[id].Session
				now.Online = false
				publish(events.Ended, now, func(e *events.Event) { e.Data.Observed.End = events.EndInferred })
			}
		}
		before = at
		c.add(every)
	}
	return stream
}

func observed(t *testing.T) (truth []Truth, stream []events.Event) {
	t.Helper()
	c, cfg := newClock(), small()
	cfg.ClockSkew = 3 * time.Minute
	var r Recorder
	cfg.Truth = r.Record
	stream = observe(New(cfg, c.now), c, 250, 5*time.Second)
	truth = r.All()
	for _, k := range events.Kinds() {
		if !slices.ContainsFunc(stream, func(e events.Event) bool { return e.Kind == k }) {
			t.Fatalf("the run has no %s", k)
		}
	}
	return truth, stream
}

func TestCheckerAcceptsAFaultlessStream(t *testing.T) {
	truth, stream := observed(t)
	r := Checker{}.Check(truth, stream)
	if !r.OK() || r.Served < 200 || r.Passes != 250 || r.Ends < 100 || r.Events != len(stream) {
		t.Fatal(r)
	}
	if !strings.Contains(r.String(), "no violation") {
		t.Error(r)
	}
}

// The platform may show a start before it happened, and the same guests come back
// under new ids: a stream that believes it is right all the same.
func TestCheckerAcceptsCutStartsAndReboots(t *testing.T) {
	c, cfg := newClock(), small()
	cfg.StartGrain, cfg.RebootsPerHour = time.Minute, 12
	var r Recorder
	cfg.Truth = r.Record
	stream := observe(New(cfg, c.now), c, 250, 5*time.Second)
	early := 0
	for i := range stream {
		e := &stream[i]
		if !e.Kind.Arrival() || e.Kind == events.Resumed {
			continue
		}
		e.Time = e.Data.Session.StartedAt
		if o := &e.Data.Observed; o.NotYetAt.After(e.Time) {
			o.NotYetAt = e.Time
			early++
		}
		*e = e.Sealed()
	}
	if report := (Checker{}).Check(r.All(), stream); !report.OK() || early < 50 {
		t.Errorf("%d starts shown before the look that did not have them; %v", early, report)
	}
}

func TestCheckerFindsEachCorruption(t *testing.T) {
	truth, good := observed(t)
	// find returns the index of the n-th event of a kind.
	find := func(s []events.Event, k events.Kind, n int) int {
		for i := range s {
			if s[i].Kind == k {
				if n--; n < 0 {
					return i
				}
			}
		}
		t.Fatalf("not enough %s", k)
		return 0
	}
	// drop takes out event i and closes the gap in the revisions.
	drop := func(s []events.Event, i int) []events.Event {
		gone := s[i]
		s = slices.Delete(s, i, i+1)
		for j := i; j < len(s); j++ {
			if s[j].Data.Session.ID == gone.Data.Session.ID {
				s[j].Data.Revision--
				if gone.Kind == events.Resumed {
					s[j].Data.Episode--
				}
			}
		}
		return s
	}
	// last reports whether event i is its session's last.
	last := func(s []events.Event, i int) bool {
		return !slices.ContainsFunc(s[i+1:], func(e events.Event) bool { return e.Data.Session.ID == s[i].Data.Session.ID })
	}
	findLast := func(s []events.Event, k events.Kind) int {
		for n := 0; ; n++ {
			if i := find(s, k, n); last(s, i) {
				return i
			}
		}
	}
	for _, tc := range []struct {
		name    string
		want    Violation
		corrupt func([]events.Event) []events.Event
	}{
		{"whole session missing", Lost, func(s []events.Event) []events.Event {
			id := s[find(s, events.Started, 3)].Data.Session.ID
			return slices.DeleteFunc(s, func(e events.Event) bool { return e.Data.Session.ID == id })
		}},
		{"resume missing", Lost, func(s []events.Event) []events.Event {
			i := find(s, events.Resumed, 0)
			id := s[i].Data.Session.ID
			return append(s[:i:i], slices.DeleteFunc(slices.Clone(s[i:]), func(e events.Event) bool { return e.Data.Session.ID == id })...)
		}},
		{"end missing", EndMissing, func(s []events.Event) []events.Event { return drop(s, findLast(s, events.Ended)) }},
		{"event twice", DuplicateID, func(s []events.Event) []events.Event {
			return append(s, s[find(s, events.Traffic, 9)])
		}},
		{"revision twice", DuplicateRevision, func(s []events.Event) []events.Event {
			e := s[find(s, events.Traffic, 9)]
			e.Data.Session.Downloaded.Value++
			return append(s, e.Sealed())
		}},
		{"revision missing", OutOfOrder, func(s []events.Event) []events.Event {
			i := find(s, events.Traffic, 9)
			return slices.Delete(s, i, i+1)
		}},
		{"two swapped", OutOfOrder, func(s []events.Event) []events.Event {
			i := find(s, events.Traffic, 0)
			for j := i + 1; j < len(s); j++ {
				if s[j].Data.Session.ID == s[i].Data.Session.ID {
					s[i], s[j] = s[j], s[i]
					return s
				}
			}
			t.Fatal("nothing to swap with")
			return s
		}},
		{"traffic after end", OutOfOrder, func(s []events.Event) []events.Event {
			e := s[findLast(s, events.Ended)]
			e.Kind, e.Data.Revision, e.Data.Session.Online = events.Traffic, e.Data.Revision+1, true
			return append(s, e.Sealed())
		}},
		{"ended while online", FalseEnd, func(s []events.Event) []events.Event {
			i := findLast(s, events.Traffic)
			s[i].Kind, s[i].Data.Session.Online = events.Ended, false
			return s
		}},
		{"resumed and never left", FalseResume, func(s []events.Event) []events.Event {
			for i := range s {
				e := s[i]
				if e.Kind != events.Started || !last(s, i) {
					continue
				}
				end, back := e, e
				end.Kind, end.Data.Revision, end.Data.Session.Online = events.Ended, 2, false
				back.Kind, back.Data.Revision, back.Data.Episode = events.Resumed, 3, 1
				return slices.Insert(s, i+1, end.Sealed(), back.Sealed())
			}
			t.Fatal("no session with one event")
			return s
		}},
		{"figure off", WrongFigures, func(s []events.Event) []events.Event {
			b := &s[find(s, events.Traffic, 5)].Data.Session.Downloaded
			b.Value += 2*b.Error + 1
			return s
		}},
		{"figure of the step before", WrongFigures, func(s []events.Event) []events.Event {
			// A figure is fine when it was shown, and wrong a minute later.
			i := find(s, events.Traffic, 20)
			s[i].Data.Session.Downloaded.Value = *s[i].Data.Previous.DownloadedBytes
			s[i].Data.Session.Downloaded.Error = 0
			return s
		}},
		{"error too large", WrongFigures, func(s []events.Event) []events.Event {
			s[find(s, events.Traffic, 5)].Data.Session.Uploaded.Error = 1 << 40
			return s
		}},
		{"start seen too early", WrongTime, func(s []events.Event) []events.Event {
			o := &s[find(s, events.Started, 5)].Data.Observed
			o.At = o.At.Add(-time.Minute)
			return s
		}},
		{"start not yet at too late", WrongTime, func(s []events.Event) []events.Event {
			o := &s[find(s, events.Started, 5)].Data.Observed
			o.NotYetAt = o.At.Add(10 * time.Second)
			return s
		}},
		{"end not yet at too late", WrongTime, func(s []events.Event) []events.Event {
			o := &s[find(s, events.Ended, 5)].Data.Observed
			o.NotYetAt = o.At.Add(10 * time.Second)
			return s
		}},
		{"wrong address", WrongAttribute, func(s []events.Event) []events.Event {
			s[find(s, events.Started, 5)].Data.Session.DeviceIP = "192.0.2.1"
			return s
		}},
		{"moved elsewhere", WrongAttribute, func(s []events.Event) []events.Event {
			for n := 0; ; n++ {
				if d := &s[find(s, events.Updated, n)].Data; d.Previous.LocationID != nil {
					d.Session.LocationID = "atlantis"
					return s
				}
			}
		}},
		{"update of nothing", WrongAttribute, func(s []events.Event) []events.Event {
			s[find(s, events.Updated, 0)].Data.Previous = nil
			return s
		}},
		{"somebody else", WrongGuest, func(s []events.Event) []events.Event {
			s[find(s, events.Started, 5)].Data.Guest = &events.Guest{Username: "EVE", Name: "Eve Example"}
			return s
		}},
		{"made up", Unknown, func(s []events.Event) []events.Event {
			e := s[0]
			e.Data.Session.ID = "nobody"
			return append(s, e.Sealed())
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := Checker{}.Check(truth, tc.corrupt(slices.Clone(good)))
			if r.Counts[tc.want] == 0 || len(r.Samples) == 0 {
				t.Errorf("want %s, got %v", tc.want, r)
			}
			// One corruption may show in two ways, but not everywhere.
			if total := len(r.Samples); total > 6 {
				t.Errorf("one corruption, %d samples: %v", total, r)
			}
			if !strings.Contains(r.String(), string(tc.want)) {
				t.Errorf("the report does not name it: %v", r)
			}
		})
	}
}

func TestWhatWasServedAroundAKillDoesNotCount(t *testing.T) {
	truth, stream := observed(t)
	// A process that was killed half-way and lost everything after that.
	half := stream[len(stream)/2].Data.Observed.At
	cut := slices.DeleteFunc(slices.Clone(stream), func(e events.Event) bool { return !e.Data.Observed.At.Before(half) })
	if r := (Checker{}).Check(truth, cut); r.Counts[Lost] == 0 || r.Counts[EndMissing] == 0 {
		t.Errorf("half of the stream is missing: %v", r)
	}
	kill := Interval{half.Add(-time.Second), half.Add(24 * time.Hour)}
	if r := (Checker{Kills: []Interval{kill}}).Check(truth, cut); !r.OK() {
		t.Errorf("what was served during the kill counts: %v", r)
	}
	if r := (Checker{Until: half.Add(-time.Second)}).Check(truth, cut); !r.OK() {
		t.Errorf("what was served after Until counts: %v", r)
	}
}

func TestPassNeedsEveryPage(t *testing.T) {
	at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	serve := func(s, page int, more bool, query string) Truth {
		return Truth{Kind: TruthServed, Time: at(s), Query: query, Page: page, PerPage: 100, More: more}
	}
	const q = "location_id=north&online=true"
	truth := []Truth{
		serve(1, 1, true, q), serve(2, 2, true, q), serve(3, 3, false, q), // a pass
		serve(4, 1, true, q), serve(5, 3, false, q), // page 2 is missing …
		serve(6, 1, true, q), serve(7, 2, true, q), // … and comes late: a pass
		serve(8, 3, false, q), serve(9, 2, true, q), serve(10, 1, true, q), // backwards: a pass
		serve(11, 1, true, q), serve(20, 2, false, q), // a kill in between
		serve(21, 1, false, q+"&guest_id=x"), serve(22, 1, false, "online=false"),
		serve(23, 1, false, "online=true"),
	}
	c := Checker{Kills: []Interval{{at(12), at(15)}}}
	got := c.passes(truth)
	want := []pass{{at(1), at(3)}, {at(5), at(7)}, {at(8), at(10)}}
	if !slices.Equal(got["north"], want) || !slices.Equal(got[""], []pass{{at(23), at(23)}}) || len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

// TestABriefAbsenceIsATrueEnd: it came, left and was back, all within the slack of
// the clocks.
func TestABriefAbsenceIsATrueEnd(t *testing.T) {
	at := func(ms int) time.Time { return noon.Add(time.Duration(ms) * time.Millisecond) }
	truth := []Truth{
		{Kind: TruthStart, Time: at(0), Session: "s", Location: "north"},
		{Kind: TruthEnd, Time: at(600), Session: "s", Location: "north"},
		{Kind: TruthResume, Time: at(1500), Session: "s", Location: "north"},
	}
	var stream []events.Event
	add := func(k events.Kind, online bool, ms, notYet int) {
		e := events.Event{Account: "a", Kind: k, Time: at(ms), Data: events.Data{
			Revision: int64(len(stream) + 1), Session: events.Session{ID: "s", LocationID: "north", Online: online},
			Observed: events.Observed{At: at(ms), NotYetAt: at(notYet)},
		}}
		if k == events.Ended {
			e.Data.Observed.End = events.EndInferred
		}
		stream = append(stream, e.Sealed())
	}
	add(events.Started, true, 100, -900)
	add(events.Ended, false, 1000, 100)
	if r := (Checker{}).Check(truth, stream); r.Counts[FalseEnd]+r.Counts[WrongTime] != 0 {
		t.Error(r)
	}
	if r := (Checker{}).Check(truth[:1], stream); r.Counts[FalseEnd] != 1 {
		t.Errorf("it never left: %v", r)
	}
}
