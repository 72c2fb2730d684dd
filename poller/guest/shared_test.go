package guest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/store"
)

// deskClock stands still unless it is told otherwise.
type deskClock struct{ at time.Time }

func (c *deskClock) Now() time.Time { return c.at }
func (c *deskClock) Sleep(_ context.Context, d time.Duration) error {
	c.at = c.at.Add(d)
	return nil
}

// waiting are held events, and what became of them.
type waiting struct {
	held []store.Held
	done map[string]store.Amendment // by session id
}

func (w *waiting) Holding() <-chan struct{}    { return nil }
func (w *waiting) Held() ([]store.Held, error) { return slices.Clone(w.held), nil }
func (w *waiting) Amend(all []store.Amendment) (int, error) {
	for _, a := range all {
		w.held = slices.DeleteFunc(w.held, func(h store.Held) bool {
			if h.Seq == a.Seq {
				w.done[h.Event.Data.Session.ID] = a
			}
			return h.Seq == a.Seq
		})
	}
	return len(all), nil
}

type (
	outcomes []Outcome
	answers  func(ips []string) []platform.Guest
)

func (o *outcomes) LookedUp(time.Duration, error) {}
func (o *outcomes) Identified(g Outcome)          { *o = append(*o, g) }

func (a answers) Guests(_ context.Context, ips []string) ([]platform.Guest, platform.Meta, error) {
	return a(ips), platform.Meta{Limit: -1}, nil
}

// TestAddressOfTwoLiveSessionsNamesNobody: two sessions at one private address, in
// two venues, began within a second of each other; the platform describes one of
// them, and it would be taken for either.
func TestAddressOfTwoLiveSessionsNamesNobody(t *testing.T) {
	clock := &deskClock{noon}
	session := func(id, location string, began time.Duration) events.Session {
		return events.Session{ID: id, LocationID: location, GuestID: "guest of " + id, DeviceIP: "192.168.1.5", Online: true, StartedAt: noon.Add(began)}
	}
	a, b, c := session("a", "harbour", -80*time.Second), session("b", "station", -81*time.Second), session("c", "harbour", -20*time.Second)
	w := &waiting{done: make(map[string]store.Amendment)}
	arrive := func(s events.Session) {
		h := store.Held{Seq: uint64(len(w.done) + len(w.held) + 1), SeenFrom: clock.at.Add(-100 * time.Millisecond), Until: clock.at.Add(5 * time.Second)}
		h.Event.Kind, h.Event.Data.Session, h.Event.Data.Observed.At = events.Started, s, clock.at
		w.held = append(w.held, h)
	}
	seconds := int64(80)
	var told outcomes
	g := &Lookup{
		Store: w, Clock: clock, Budget: budget.New(60, nil, noon), Observer: &told, Sightings: NewSightings(),
		Platform: answers(func(ips []string) []platform.Guest {
			return []platform.Guest{{IP: ips[0], Name: "Eve Example", Duration: seconds}}
		}),
	}
	step := func() {
		t.Helper()
		for range 3 {
			if _, err := g.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
			clock.at = clock.at.Add(200 * time.Millisecond)
		}
	}
	g.Sightings.Show([]events.Session{a}, clock.at)
	g.Sightings.Show([]events.Session{b}, clock.at)
	arrive(a)
	step()
	arrive(b)
	step()
	if len(w.done) != 2 || w.done["a"].Guest != nil || w.done["b"].Guest != nil || !slices.Equal(told, outcomes{Shared, Shared}) {
		t.Fatalf("%+v %v", w.done, told)
	}
	// Both end; whoever comes later is alone there.
	g.Sightings.Gone("b")
	offline := a
	offline.Online = false
	g.Sightings.Show([]events.Session{offline}, clock.at)
	c.StartedAt, seconds = clock.at.Add(-20*time.Second), 20
	g.Sightings.Show([]events.Session{c}, clock.at)
	arrive(c)
	step()
	if w.done["c"].Guest == nil || w.done["c"].Sure != events.GuestConfirmed {
		t.Errorf("%+v %v", w.done["c"], told)
	}
}

// TestOneGuestTwiceIsStillTheirs: a device that came back before its old session
// was seen to end.
func TestOneGuestTwiceIsStillTheirs(t *testing.T) {
	s := NewSightings()
	at := func(id, guest string) events.Session {
		return events.Session{ID: id, GuestID: guest, DeviceIP: "10.0.0.1", Online: true}
	}
	s.Show([]events.Session{at("old", "g"), at("new", "g")}, noon)
	if s.shared("new", "g", "10.0.0.1") {
		t.Error("a guest's own session is in the way")
	}
	s.Show([]events.Session{at("other", "h")}, noon)
	if !s.shared("new", "g", "10.0.0.1") || !s.shared("other", "h", "10.0.0.1") {
		t.Error("another guest at the address is not seen")
	}
}

// TestNeighboursAreCountedRight against looking at all of them.
func TestNeighboursAreCountedRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := newNeighbours()
		truth := make(map[string]resident)
		name := func(prefix string, most int) string {
			return fmt.Sprint(prefix, rapid.IntRange(0, most).Draw(t, prefix))
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			id := name("s", 6)
			if rapid.Bool().Draw(t, "leaves") {
				n.leave(id)
				delete(truth, id)
				continue
			}
			r := resident{name("a", 2), name("g", 2)}
			if r.guest == "g0" {
				r.guest = ""
			}
			if r.address == "a0" {
				r.address = ""
			}
			n.stay(id, r.guest, r.address)
			delete(truth, id)
			if r.address != "" {
				truth[id] = r
			}
		}
		for id, r := range truth {
			want := false
			for other, o := range truth {
				want = want || other != id && o.address == r.address && (o.guest == "" || o.guest != r.guest)
			}
			if got := n.shared(id, r.guest, r.address); got != want {
				t.Fatalf("%s %+v: shared %t, want %t: %+v", id, r, got, want, truth)
			}
		}
		if len(truth) == 0 && len(n.sessions)+len(n.count)+len(n.same) > 0 {
			t.Fatalf("left behind: %+v", n)
		}
	})
}

func TestTooManyNeighboursNameNobody(t *testing.T) {
	n := newNeighbours()
	for i := range mostResidents + 10 {
		n.stay(fmt.Sprint(i), "", fmt.Sprint("10.", i))
	}
	if len(n.sessions) != mostResidents || !n.shared("0", "", "10.0") {
		t.Errorf("%d are remembered", len(n.sessions))
	}
	n.leave("0")
	if n.shared("1", "", "10.1") {
		t.Error("it stays so when there are fewer")
	}
}
