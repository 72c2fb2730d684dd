package occupancy

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// TestGapsAreSettled: after a gap each session is what its next event says, and one
// of which nothing is heard is taken for gone, and comes back if it was not.
func TestGapsAreSettled(t *testing.T) {
	f := &feed{o: NewOccupancy(Limits{})}
	for _, id := range []string{"stays", "left", "silent", "returns"} {
		f.apply(eventOf(id, "bar", 1, events.Started, minutes(0)))
	}
	if v := f.at(t, "bar", minutes(1)); v.Online != 4 || v.Uncertain != 0 {
		t.Fatalf("before the gap: %+v", v)
	}
	f.o.Miss(f.sequence + 3)
	f.sequence += 3
	online := func(now, online, uncertain int) {
		t.Helper()
		if v := f.at(t, "bar", minutes(now)); v.Online != online || v.Uncertain != uncertain || f.o.Uncertain() != uncertain {
			t.Errorf("after %d minutes %d online, %d uncertain; want %d and %d", now, v.Online, v.Uncertain, online, uncertain)
		}
	}
	online(1, 4, 4)
	f.apply(eventOf("stays", "bar", 2, events.Traffic, minutes(5)))
	f.apply(eventOf("left", "bar", 3, events.Ended, minutes(6))) // its revision 2 was among the missing
	f.apply(eventOf("new", "bar", 1, events.Started, minutes(7)))
	online(7, 4, 2)
	f.apply(eventOf("stays", "bar", 3, events.Traffic, minutes(64)))
	online(64, 4, 2)
	f.apply(eventOf("stays", "bar", 4, events.Traffic, minutes(65)))
	online(65, 2, 0)
	f.apply(eventOf("returns", "bar", 2, events.Traffic, minutes(70)))
	f.apply(eventOf("stays", "bar", 5, events.Traffic, minutes(200)))
	online(200, 3, 0)
	if c := f.o.Counters(); c.Missing != 3 || c.Settled != 2 {
		t.Errorf("%+v", c)
	}
	if v := f.at(t, "bar", minutes(200)); v.Departures.M60 != 0 {
		t.Errorf("a session of which nothing is known departed: %+v", v)
	}
	h, _ := f.o.History(Place{Location: "bar"}, minutes(200), 24*60)
	for _, at := range []struct{ minute, online int }{{1, 4}, {7, 2}, {64, 2}, {70, 3}, {200, 3}} {
		if got := h.Online[at.minute]; got != at.online {
			t.Errorf("the curve has %d online in minute %d, want %d", got, at.minute, at.online)
		}
	}
}

// TestRevisionsShowWhatSequencesDoNot: a stream that lost its tail goes on with the
// sequences of what it lost.
func TestRevisionsShowWhatSequencesDoNot(t *testing.T) {
	f := &feed{o: NewOccupancy(Limits{})}
	f.apply(eventOf("a", "bar", 1, events.Started, minutes(0)))
	f.apply(eventOf("b", "bar", 1, events.Started, minutes(0)))
	f.apply(eventOf("a", "bar", 2, events.Traffic, minutes(1)))
	f.apply(eventOf("a", "bar", 5, events.Traffic, minutes(2)))
	if v := f.at(t, "bar", minutes(2)); v.Online != 2 || v.Uncertain != 1 {
		t.Errorf("%+v", v)
	}
	f.apply(eventOf("b", "bar", 2, events.Traffic, minutes(3)))
	if v := f.at(t, "bar", minutes(3)); v.Online != 2 || v.Uncertain != 0 {
		t.Errorf("%+v", v)
	}
}

// TestGapsOutliveTheCheckpoint: a restart goes on alike at each event.
func TestGapsOutliveTheCheckpoint(t *testing.T) {
	whole := &feed{o: NewOccupancy(Limits{})}
	parts := &feed{o: NewOccupancy(Limits{})}
	for i := range 200 {
		var e events.Event
		switch id := fmt.Sprint(i % 7); {
		case i < 7:
			e = eventOf(id, "bar", 1, events.Started, minutes(i))
		case i%7 < 2:
			e = eventOf(id, "bar", int64(i/7+1), events.Traffic, minutes(i))
		default:
			continue
		}
		for _, f := range []*feed{whole, parts} {
			if i == 21 {
				f.o.Miss(f.sequence + 1)
				f.sequence++
			}
			f.apply(e)
		}
		again, err := Restore(Limits{}, parts.o.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		parts.o = again
		if got, want := parts.o.Snapshot(), whole.o.Snapshot(); !reflect.DeepEqual(got, want) {
			t.Fatalf("after %d: %+v\nwant %+v", i, got, want)
		}
	}
	if c := whole.o.Counters(); c.Settled != 5 {
		t.Errorf("%+v", c)
	}
}

// crowd are the events of 30 sessions that come, of which the last 26 leave, and of
// the others' traffic until two hours later.
func crowdEvents() (come, leave, later []Message) {
	add := func(list *[]Message, id, revision int, kind events.Kind, minute int) {
		e := eventOf(fmt.Sprint(id), "bar", int64(revision), kind, minutes(minute))
		e.Account = events.DefaultAccount
		e.Data.Observed.At = e.Time
		*list = append(*list, Message{Event: e.Sealed()})
	}
	for i := range 30 {
		add(&come, i, 1, events.Started, 0)
	}
	for i := 4; i < 30; i++ {
		add(&leave, i, 2, events.Ended, 10)
	}
	for m := 11; m < 131; m++ {
		add(&later, m%4, m/4, events.Traffic, m)
	}
	return come, leave, later
}

// TestLostMessagesLeaveNoDrift, whichever way they were lost: the counts are right
// in the end, and say that they are uncertain before.
func TestLostMessagesLeaveNoDrift(t *testing.T) {
	purge := func(options ...jetstream.StreamPurgeOpt) func(*testing.T, jetstream.Stream, []Message) {
		return func(t *testing.T, s jetstream.Stream, _ []Message) {
			if err := s.Purge(t.Context(), options...); err != nil {
				t.Fatal(err)
			}
		}
	}
	each := func(t *testing.T, s jetstream.Stream, list []Message) {
		for _, m := range list {
			if err := s.DeleteMsg(t.Context(), m.Sequence); err != nil {
				t.Fatal(err)
			}
		}
	}
	one := func(t *testing.T, s jetstream.Stream, list []Message) { each(t, s, list[3:4]) }
	for _, c := range []struct {
		name    string
		lose    func(*testing.T, jetstream.Stream, []Message) // the ends, after they were stored
		running bool                                          // from before the ends
		account string
		missing uint64
		online  int // before later events come
	}{
		{"ends purged by subject, read from the start", purge(jetstream.WithPurgeSubject("guest.sessions.*.*.ended")), false, "", 26, 30},
		{"ends deleted one by one, read from the start", each, false, "", 26, 30},
		{"one end deleted, read from the start", one, false, "", 1, 5},
		{"one end deleted, one account read", one, false, events.DefaultAccount, 1, 5},
		{"all purged, read from the checkpoint", purge(), true, "", 26, 30},
		{"all purged, one account read from the checkpoint", purge(), true, events.DefaultAccount, 26, 30},
	} {
		t.Run(c.name, func(t *testing.T) {
			js := connect(t, startServer(t, t.TempDir(), -1))
			stream := makeStream(t, js)
			settings := quickSettings()
			settings.Account = c.account
			come, leave, later := crowdEvents()
			publish(t, js, come...)
			if c.running {
				s, stop := running(t, js, settings)
				until(t, "live", reaches(s, 30))
				stop()
			}
			publish(t, js, leave...)
			c.lose(t, stream, leave)
			publish(t, js, later[0])
			s, _ := running(t, js, settings)
			until(t, "live", reaches(s, later[0].Sequence))
			counters, uncertain := s.Gaps()
			if counters.Missing != c.missing || uncertain == 0 {
				t.Errorf("%d uncertain, counted %+v; want %d missing", uncertain, counters, c.missing)
			}
			body := get(t, s.Handler(), "/v1/locations/bar").Body.String()
			if want := fmt.Sprintf(`"online":%d,"uncertain":%d,`, c.online, uncertain); !strings.Contains(strings.Join(strings.Fields(body), ""), want) {
				t.Errorf("%s does not hold %s", body, want)
			}
			publish(t, js, later[1:]...)
			until(t, "all is read", reaches(s, later[len(later)-1].Sequence))
			s.mu.RLock()
			l, _ := s.state.Location(Place{Account: events.DefaultAccount, Location: "bar"}, minutes(131), 0)
			s.mu.RUnlock()
			if l.Online != 4 || l.Uncertain != 0 {
				t.Errorf("%d online, %d uncertain in the end; 4 are online", l.Online, l.Uncertain)
			}
		})
	}
}
