package visit

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/visits"
)

var epoch = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

// testRules have a group of two locations.
func testRules() Rules {
	return Rules{Gap: 30 * time.Minute, Lateness: 2 * time.Minute, Stays: []time.Duration{time.Hour, 10 * time.Minute}, Groups: map[string][]string{"mall": {"m1", "m2"}}, Memory: 5000 * time.Hour}
}

// lapsingRules tell of guests who do not come back, too.
func lapsingRules() Rules {
	rules := testRules()
	rules.Lapsed = 4 * time.Hour
	return rules
}

// told is an event and when it was seen, in seconds from the epoch.
type told struct {
	at int
	n  int // ties keep the order of telling
	e  events.Event
}

// teller makes the events of sessions, each with its revisions.
type teller struct {
	list  []told
	state map[string]events.State
}

func newTeller() *teller { return &teller{state: map[string]events.State{}} }

func sec(n int) time.Time { return epoch.Add(time.Duration(n) * time.Second) }

// tell adds an event of a session that happened at one second and was seen at another.
func (t *teller) tell(kind events.Kind, s events.Session, happened, seen, notYet int) {
	was := t.state[s.ID]
	e := events.Event{Account: events.DefaultAccount, Kind: kind, Time: sec(happened), Data: events.Data{Revision: was.Revision + 1, Episode: was.Episode, Session: s}}
	if kind == events.Resumed {
		e.Data.Episode++
	}
	e.Data.Session.Online = kind != events.Ended
	if was.Revision > 0 {
		e.Data.Previous = s.Replaced(&was.Session)
		if down := s.Downloaded.Value - was.Session.Downloaded.Value; down != 0 {
			e.Data.Change = &events.Change{DownloadedBytes: down}
		}
	}
	e.Data.Observed.At = sec(seen)
	if notYet > 0 {
		e.Data.Observed.NotYetAt = sec(notYet)
	}
	if kind == events.Ended {
		e.Data.Observed.End = events.EndInferred
		if happened != seen {
			e.Data.Observed.End = events.EndReported
		}
	}
	e = e.Sealed()
	t.state[s.ID] = events.StateOf(e)
	t.list = append(t.list, told{seen, len(t.list), e})
}

// messages are the events in the order of being seen.
func (t *teller) messages() []Message {
	slices.SortStableFunc(t.list, func(x, y told) int { return cmp.Or(cmp.Compare(x.at, y.at), cmp.Compare(x.n, y.n)) })
	var out []Message
	for i, e := range t.list {
		out = append(out, Message{Sequence: uint64(i + 1), Stored: sec(e.at), Event: e.e})
	}
	return out
}

// stretch is a session's time at one place.
type stretch struct {
	guest, place, session, mac string
	from, to                   int
	bytes                      int64
}

// crowd makes the sessions of guests at random, their events, and the stretches that a
// reader of these events can know of.
func crowd(r *rand.Rand, guests, sessions int) (*teller, []stretch) {
	t := newTeller()
	var all []stretch
	locations := []string{"a", "b", "m1", "m2"}
	for n := range sessions {
		guest := r.IntN(guests)
		s := events.Session{
			ID: fmt.Sprint("s", n), GuestID: fmt.Sprint("g", guest), DeviceMAC: fmt.Sprintf("02:00:00:00:%02x:%02x", guest, r.IntN(2)),
			LocationID: locations[r.IntN(len(locations))], Downloaded: events.Bytes{}, Uploaded: events.UnknownBytes, DurationSeconds: events.UnknownSeconds,
		}
		from := 60 + r.IntN(48*3600)
		to := from + 60 + r.IntN(2*3600)
		s.StartedAt = sec(from)
		seen := from + r.IntN(60)
		t.tell(events.Started, s, from, seen, 0)
		current := stretch{guest: s.GuestID, place: placeName(s.LocationID), session: s.ID, mac: s.DeviceMAC, from: from}
		for at := seen + 1 + r.IntN(1200); at < to; at += 1 + r.IntN(1200) {
			if r.IntN(4) > 0 {
				s.Downloaded.Value += int64(1 + r.IntN(1000))
				current.bytes = s.Downloaded.Value - sum(all, s.ID)
				t.tell(events.Traffic, s, at, at, at-30)
				continue
			}
			s.LocationID = locations[r.IntN(len(locations))]
			if s.LocationID == t.state[s.ID].Session.LocationID {
				continue
			}
			t.tell(events.Updated, s, at, at, at-30)
			if p := placeName(s.LocationID); p != current.place {
				current.to = at
				all = append(all, current)
				current.place, current.from, current.bytes = p, at, 0
			}
		}
		end := max(to, seen+1)
		s.Downloaded.Value += int64(r.IntN(1000))
		current.bytes = s.Downloaded.Value - sum(all, s.ID)
		if r.IntN(2) == 0 {
			t.tell(events.Ended, s, end, end+1+r.IntN(60), end-10) // reported
			current.to = end
		} else {
			current.to = end + r.IntN(60)
			t.tell(events.Ended, s, current.to, current.to, max(seen, end-10))
		}
		all = append(all, current)
	}
	return t, all
}

func sum(all []stretch, session string) (n int64) {
	for _, s := range all {
		if s.session == session {
			n += s.bytes
		}
	}
	return n
}

func placeName(location string) string {
	if location == "m1" || location == "m2" {
		return "mall"
	}
	return location
}

// want is what a visit must look like.
type want struct {
	guest, place      string
	from, to          time.Time
	sessions, devices int64
	bytes             int64
}

// expected joins stretches by the definition of a visit, without any of the reducer's
// means.
func expected(all []stretch, gap int) map[string]want {
	byGuest := map[[2]string][]stretch{}
	for _, s := range all {
		k := [2]string{s.guest, s.place}
		byGuest[k] = append(byGuest[k], s)
	}
	out := map[string]want{}
	for k, list := range byGuest {
		slices.SortFunc(list, func(x, y stretch) int { return cmp.Compare(x.from, y.from) })
		for i := 0; i < len(list); {
			to, n := list[i].to, i
			sessions, devices, bytes := map[string]bool{}, map[string]bool{}, int64(0)
			for ; n < len(list) && list[n].from <= to+gap; n++ {
				to = max(to, list[n].to)
				sessions[list[n].session], devices[list[n].mac] = true, true
				bytes += list[n].bytes
			}
			w := want{k[0], k[1], sec(list[i].from), sec(to), int64(len(sessions)), int64(len(devices)), bytes}
			out[fmt.Sprint(w.guest, w.place, w.from)] = w
			i = n
		}
	}
	return out
}

// fold runs a reducer over everything and then far beyond its end.
func fold(r *Reducer, list []Message) []Output {
	var out []Output
	for _, m := range list {
		out = append(out, r.Apply(m)...)
	}
	return append(out, r.Tick(events.DefaultAccount, epoch.Add(1000*time.Hour))...)
}

// foldLive is fold while the clock goes on.
func foldLive(r *Reducer, list []Message) []Output {
	var out []Output
	at := epoch
	for _, m := range list {
		for ; at.Before(m.Stored); at = at.Add(time.Minute) {
			out = append(out, r.Tick(events.DefaultAccount, at)...)
		}
		out = append(out, r.Apply(m)...)
	}
	return append(out, r.Tick(events.DefaultAccount, epoch.Add(1000*time.Hour))...)
}

// checked holds the events of visits against the contract, and returns the ended visits.
func checked(t testing.TB, out []Output) map[string]visits.Event {
	t.Helper()
	last, ids, ended := map[string]visits.Event{}, map[string]bool{}, map[string]visits.Event{}
	for _, o := range out {
		e, v := o.Event, o.Event.Data.Visit
		before, known := last[v.ID]
		switch {
		case ids[e.ID]:
			t.Errorf("event %s comes twice", e.ID)
		case e.Data.Revision != before.Data.Revision+1:
			t.Errorf("visit %s: revision %d after %d", v.ID, e.Data.Revision, before.Data.Revision)
		case known != (e.Kind != visits.Started):
			t.Errorf("visit %s: %s, known %v", v.ID, e.Kind, known)
		case before.Kind == visits.Lapsed, (before.Kind == visits.Ended) != (e.Kind == visits.Lapsed):
			t.Errorf("visit %s: %s after %s", v.ID, e.Kind, before.Kind)
		case e.Time.After(e.Data.Observed.At):
			t.Errorf("visit %s: %s is known at %s, before it happens at %s", v.ID, e.Kind, e.Data.Observed.At, e.Time)
		}
		ids[e.ID], last[v.ID] = true, e
		if e.Kind == visits.Ended {
			ended[fmt.Sprint(v.GuestID, v.Place, v.StartedAt)] = e
		}
		body, err := visits.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := visits.Decode(body); err != nil || back.ID != e.ID {
			t.Fatalf("%s: %v", body, err)
		}
	}
	return ended
}
