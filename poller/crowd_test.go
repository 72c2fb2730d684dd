package poller

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/store"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// crowd is the platform's list of online sessions while people come and go. With
// ties, starts are whole minutes, and those of one minute stand in another order in
// each query.
type crowd struct {
	t      *rapid.T
	order  string // newest, oldest, id or shuffled; "newest, ties" and "oldest, ties"
	online []events.Session
	gone   []events.Session // the history, as far as it is asked for
	next   int
	now    time.Time

	queries uint64
}

var sortedOrders = []string{"newest", "oldest", "newest, ties", "oldest, ties"}

func newCrowd(t *rapid.T, order string, n int) *crowd {
	c := &crowd{t: t, order: order, now: noon}
	for range n {
		c.arrive()
	}
	return c
}

func (c *crowd) arrive() {
	c.next++
	c.now = c.now.Add(time.Second)
	// Ids say nothing about time.
	s := events.Session{ID: fmt.Sprintf("%08x", uint32(c.next)*2654435761), LocationID: "hall", GuestID: "g", StartedAt: c.now, Online: true}
	s.Downloaded = events.Bytes{Value: 1}
	if strings.HasSuffix(c.order, "ties") {
		s.StartedAt = c.now.Truncate(time.Minute)
	}
	c.online = append(c.online, s)
}

// leave ends a session that is drawn.
func (c *crowd) leave() {
	if len(c.online) < 2 {
		return
	}
	i := rapid.IntRange(0, len(c.online)-1).Draw(c.t, "who leaves")
	c.gone = append(c.gone, c.online[i])
	c.online = slices.Delete(c.online, i, i+1)
}

// comeBack resumes one under its id and start.
func (c *crowd) comeBack() {
	if len(c.gone) == 0 {
		return
	}
	i := rapid.IntRange(0, len(c.gone)-1).Draw(c.t, "who returns")
	c.online = append(c.online, c.gone[i])
	c.gone = slices.Delete(c.gone, i, i+1)
}

func (c *crowd) churn(most int) {
	for range rapid.IntRange(0, most).Draw(c.t, "arrivals") {
		c.arrive()
	}
	for range min(len(c.online), rapid.IntRange(0, most).Draw(c.t, "ends")) {
		c.leave()
	}
}

// query sorts a list for one query.
func (c *crowd) query(sessions []events.Session) []events.Session {
	sessions = slices.Clone(sessions)
	salt := uint64(0)
	if c.order == "shuffled" || strings.HasSuffix(c.order, "ties") {
		salt = rapid.Uint64().Draw(c.t, "order of equal rows")
	}
	if c.queries++; c.order == "shuffled" {
		salt += c.queries
	}
	row := make(map[string]uint64, len(sessions))
	for i := range sessions {
		h := fnv.New64a()
		_ = binary.Write(h, binary.LittleEndian, salt) // a hash takes everything
		h.Write([]byte(sessions[i].ID))
		row[sessions[i].ID] = h.Sum64()
	}
	slices.SortFunc(sessions, func(a, b events.Session) int {
		ties := cmp.Compare(row[a.ID], row[b.ID])
		switch {
		case strings.HasPrefix(c.order, "newest"):
			return cmp.Or(b.StartedAt.Compare(a.StartedAt), ties)
		case strings.HasPrefix(c.order, "oldest"):
			return cmp.Or(a.StartedAt.Compare(b.StartedAt), ties)
		case c.order == "shuffled":
			return ties
		}
		return cmp.Compare(a.ID, b.ID)
	})
	return sessions
}

// page is one of the list of online sessions.
func (c *crowd) page(w plan.Window) platform.Page { return paged(c.query(c.online), w) }

func paged(list []events.Session, w plan.Window) platform.Page {
	from, to := min(w.Start(), len(list)), min(w.End(), len(list))
	return platform.Page{Sessions: list[from:to], Records: to - from, PerPage: w.Size, More: to < len(list), Number: w.Number}
}

func ids(sessions []events.Session) map[string]bool {
	set := make(map[string]bool, len(sessions))
	for i := range sessions {
		set[sessions[i].ID] = true
	}
	return set
}

// instant is the moment of an answer that takes no time.
func instant(t time.Time) timing { return timing{t, t, t, t} }

// stopped is a clock that a test moves.
type stopped struct{ now time.Time }

func (s *stopped) Now() time.Time                             { return s.now }
func (s *stopped) Sleep(context.Context, time.Duration) error { return nil }

// shelf is a store in memory that keeps what was published.
type shelf struct {
	states map[string]events.State
	values map[string][]byte
	marks  map[string]store.LocationMark
	events []events.Event
}

func newShelf() *shelf {
	return &shelf{states: make(map[string]events.State), values: make(map[string][]byte), marks: make(map[string]store.LocationMark)}
}

func (s *shelf) Get(key string) ([]byte, error)     { return s.values[key], nil }
func (s *shelf) Put(key string, value []byte) error { s.values[key] = value; return nil }

func (s *shelf) State(id string) (events.State, bool, error) {
	st, ok := s.states[id]
	return st, ok, nil
}

func (s *shelf) Locations() ([]store.LocationInfo, error) {
	var all []store.LocationInfo
	for _, m := range s.marks {
		all = append(all, store.LocationInfo{ID: m.ID, TrackedSince: m.TrackedSince, SeenAt: m.SeenAt})
	}
	return all, nil
}

func (s *shelf) All(f func(events.State) bool) error {
	for _, state := range s.states {
		if state.Session.Online && !f(state) {
			break
		}
	}
	return nil
}

func (s *shelf) Commit(c store.Commit) error {
	for _, e := range c.Changes {
		state := events.StateOf(e)
		if old := s.states[state.Session.ID]; state.Revision != old.Revision+1 {
			return fmt.Errorf("session %s: revision %d after %d", state.Session.ID, state.Revision, old.Revision)
		}
		s.states[state.Session.ID] = state
		s.events = append(s.events, e)
	}
	for _, m := range c.Locations {
		s.marks[m.ID] = m
	}
	return nil
}

// ends returns the ids of the sessions that have ended, since the last call.
func (s *shelf) ends() []string {
	var ended []string
	for _, e := range s.events {
		if e.Kind == events.Ended {
			ended = append(ended, e.Data.Session.ID)
		}
	}
	s.events = nil
	return ended
}

// tester is a test, or one try of a property.
type tester interface {
	Helper()
	Fatal(args ...any)
}

// counter is a poller whose answers a test hands it.
type counter struct {
	*Poller
	t     tester
	clock *stopped
	shelf *shelf
}

func newCounter(t tester, s *shelf, now time.Time) *counter {
	t.Helper()
	c := &counter{t: t, clock: &stopped{now}, shelf: s}
	c.Poller = New(Settings{Account: "lab", Rules: diff.Rules{TrafficMinBytes: 1 << 40}, Store: s, Clock: c.clock, Strategy: &plan.Adaptive{}, Budgets: make(map[platform.Endpoint]*budget.Budget)})
	for _, e := range platform.Endpoints() {
		c.Budgets[e] = budget.New(60, nil, now)
	}
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// answer hands the poller an answer, in which every row was written since the last
// second, and returns whose end it published.
func (c *counter) answer(ev evidence) []string {
	c.t.Helper()
	ev.sessions = slices.Clone(ev.sessions)
	for i := range ev.sessions {
		ev.sessions[i].Downloaded.Value = ev.sent.Unix()
	}
	c.clock.now = ev.came
	if err := c.take(context.Background(), ev); err != nil {
		c.t.Fatal(err)
	}
	return c.shelf.ends()
}

// accountPage is a page of the account's list as evidence.
func accountPage(page platform.Page, w plan.Window, m timing) evidence {
	return evidence{timing: m, sessions: page.Sessions, skipped: page.Skipped, scope: ofAccount, first: w.Number == 1, last: ends(page, w)}
}
