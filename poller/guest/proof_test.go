package guest

import (
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/store"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// TestOnlyTheSessionsOwnConnectionProves: times are seconds; the list showed the
// session at 100 for certain, and was answered at 100.1; the look-up went from 101
// to 101.1.
func TestOnlyTheSessionsOwnConnectionProves(t *testing.T) {
	at := func(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }
	const none = -1
	for _, c := range []struct {
		name                   string
		kind                   events.Kind
		started, total, notYet float64 // of the session; total is the duration of its record
		said                   int64   // the duration of the answer
		ahead                  time.Duration
		want                   match
	}{
		{"same start", events.Started, 80, 20, 70, 21, 0, proven},
		{"a second more by rounding", events.Started, 80, 20, 70, 20, 0, proven},
		{"platform's clock is ahead", events.Started, 80 + 3600, 20, none, 21, time.Hour, proven},
		{"long before tracking", events.Discovered, -5000, 5100, none, 5101, 0, proven},
		{"start unknown, duration fits", events.Discovered, none, 20, none, 21, 0, proven},
		{"start shown coarsely, duration fits", events.Discovered, -200, 20, none, 21, 0, proven},
		{"resumed, duration is that of all stretches", events.Resumed, -5000, 300, 90, 301, 0, proven},
		{"resumed, duration is that of this stretch", events.Resumed, -5000, 300, 90, 5, 0, proven},
		{"passed on after the poll", events.Started, 80, 20, 70, 0, 0, another},
		{"passed on after the poll, long session", events.Discovered, -5000, 5100, none, 1, 0, another},
		{"resumed within the second, as a successor would", events.Resumed, -5000, 300, 70, 0, 0, coarse},
		{"no duration in the answer", events.Started, 80, 20, 70, 0, 0, another},
		{"another venue, older", events.Started, 80, 20, 70, 90, 0, another},
		{"another venue, much older", events.Started, 80, 20, 70, 90000, 0, another},
		{"another venue, older by seconds", events.Started, 80, 20, 70, 24, 0, another},
		{"resumed, older than the session", events.Resumed, 80, 10, 90, 50, 0, another},
		{"just started", events.Started, 99, 0, 98, 1, 0, coarse},
		{"just started, a successor would look the same", events.Started, 99, 1, 98, 1, 0, coarse},
		{"nothing known of the session", events.Discovered, none, 0, none, 20, 0, younger},
		{"address changed within the session", events.Discovered, 20, 80, none, 40, 0, younger},
	} {
		h := store.Held{SeenFrom: at(100)}
		h.Event.Kind = c.kind
		s, o := &h.Event.Data.Session, &h.Event.Data.Observed
		if c.started != none {
			s.StartedAt = at(c.started)
		}
		if c.notYet != none {
			o.NotYetAt = at(c.notYet).Add(c.ahead)
		}
		s.DurationSeconds, o.At = int64(c.total), at(100.1).Add(c.ahead)
		clock := func(local time.Time) (earliest, latest time.Time) { return local.Add(c.ahead), local.Add(c.ahead) }
		if got := connectionOf(c.said, at(101), at(101.1)).matches(&h, clock); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// TestNoSuccessorIsProven: whoever gets the address after the session was shown at
// it, at whatever fractions of a second.
func TestNoSuccessorIsProven(t *testing.T) {
	same := func(local time.Time) (earliest, latest time.Time) { return local, local }
	for age := time.Duration(0); age < 4*time.Second; age += 130 * time.Millisecond {
		for gap := time.Millisecond; gap < 3*time.Second; gap += 70 * time.Millisecond {
			for delay := time.Duration(0); delay < 3*time.Second; delay += 110 * time.Millisecond {
				began := noon.Add(time.Duration(age+gap) % time.Second) // any fraction
				h := store.Held{SeenFrom: began.Add(age)}
				h.Event.Data.Session = events.Session{StartedAt: began.Truncate(time.Second), DurationSeconds: int64(age / time.Second)}
				h.Event.Data.Observed.At = h.SeenFrom.Add(time.Millisecond)
				successor := h.SeenFrom.Add(gap)
				answered := successor.Add(delay)
				c := connectionOf(int64(answered.Sub(successor)/time.Second), answered.Add(-50*time.Millisecond), answered.Add(50*time.Millisecond))
				if c.matches(&h, same) == proven {
					t.Fatalf("age %v, gap %v, delay %v: a successor is taken for the session", age, gap, delay)
				}
			}
		}
	}
}

func TestSightingNeedsTheAddressForOneself(t *testing.T) {
	a := events.Session{ID: "a", DeviceIP: "10.0.0.1", Online: true}
	b := events.Session{ID: "b", DeviceIP: "10.0.0.1", Online: true}
	moved, gone := a, a
	moved.DeviceIP, gone.Online = "10.0.0.2", false
	for _, c := range []struct {
		name  string
		sent  time.Duration
		shown []events.Session
		want  sight
	}{
		{"there", time.Second, []events.Session{a}, there},
		{"asked before the answer", -time.Second, []events.Session{a}, unseen},
		{"elsewhere", time.Second, []events.Session{moved}, unseen},
		{"gone", time.Second, []events.Session{gone}, unseen},
		{"with another", time.Second, []events.Session{a, b}, crowded},
		{"another alone", time.Second, []events.Session{b}, crowded},
		{"another, asked before the answer", -time.Second, []events.Session{b}, crowded},
		{"others", time.Second, []events.Session{{ID: "c", DeviceIP: "10.0.0.3", Online: true}}, unseen},
	} {
		s := NewSightings()
		s.want("a", "10.0.0.1", noon)
		s.Show(c.shown, noon.Add(c.sent))
		if got := s.of("a"); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	s := NewSightings()
	s.want("a", "10.0.0.1", noon)
	s.want("b", "10.0.0.1", noon)
	s.Show([]events.Session{a, b}, noon)
	if s.of("a") != crowded || s.of("b") != crowded {
		t.Errorf("two that are wanted share an address: %d and %d", s.of("a"), s.of("b"))
	}
	s.drop("a")
	s.Show([]events.Session{a}, noon)
	if s.of("a") != unseen {
		t.Error("what is not wanted any more was noted")
	}
}
