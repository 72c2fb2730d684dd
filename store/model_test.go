package store

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/guestflow/guestflow/events"
)

// model is what a store must hold, in the plainest form.
type model struct {
	*rapid.T
	dir   func() string
	clock *clock
	o     Options
	s     *Store

	states map[string]events.State // online and ended
	marks  map[string]LocationMark
	log    []events.Event // entry n at n-1
	taken  uint64
	cursor Cursor
	held   []hold
	values map[string]string
}

var (
	modelIDs       = []string{"a", "b", "c", "d", "e", "f"}
	modelLocations = []string{"here", "there", "else"}
)

// TestStoreDoesWhatTheModelSays compares a store with a model over random
// sequences of all that can be done to it, restarts and crashes included.
func TestStoreDoesWhatTheModelSays(t *testing.T) {
	files := 0
	root := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		c := newClock()
		m := &model{
			T: rt, clock: c, o: Options{Now: c.Now, NoSync: true, OutboxMaxBytes: 12_000, SentRetention: time.Minute, EndedRetention: 1000 * time.Hour, HoldArrivals: 40 * time.Second},
			states: map[string]events.State{},
			marks:  map[string]LocationMark{}, values: map[string]string{},
			dir: func() string {
				files++
				d := filepath.Join(root, fmt.Sprint(files))
				if err := os.Mkdir(d, 0o700); err != nil {
					rt.Fatal(err)
				}
				return d
			},
		}
		m.open(filepath.Join(m.dir(), "default.db"))
		defer func() { _ = m.s.Close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"commit":  m.commit,
			"take":    m.take,
			"amend":   m.amend,
			"ack":     m.ack,
			"rewind":  m.rewind,
			"put":     m.put,
			"reopen":  m.reopen,
			"crash":   m.crash,
			"advance": func(t *rapid.T) { c.advance(time.Duration(rapid.IntRange(0, 90).Draw(t, "seconds")) * time.Second) },
			"":        m.compare,
		})
	})
}

func (m *model) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

func (m *model) open(path string) {
	s, err := Open(path, m.o)
	m.must(err)
	m.s, m.taken, m.held = s, uint64(len(m.log)), nil
}

// grow draws the next change of a session.
func (m *model) grow(t *rapid.T, id string, old events.State) events.Event {
	now := m.clock.Now()
	location := rapid.SampledFrom(modelLocations).Draw(t, "location")
	switch {
	case !old.Tracked():
		return arrival(id, location, now)
	case !old.Session.Online:
		return resumed(old, now)
	}
	switch rapid.IntRange(0, 9).Draw(t, "what") {
	case 0, 1:
		return ended(old, now)
	case 2:
		return moved(old, location, now)
	default:
		return traffic(old, rapid.Int64Range(1, 1000).Draw(t, "bytes"), now)
	}
}

func (m *model) commit(t *rapid.T) {
	var c Commit
	caller := maps.Clone(m.states) // what the caller knows, without merges
	for range rapid.IntRange(0, 6).Draw(t, "changes") {
		id := rapid.SampledFrom(modelIDs).Draw(t, "id")
		change := m.grow(t, id, caller[id])
		caller[id] = events.StateOf(change)
		c.Changes = append(c.Changes, change)
	}
	if rapid.Bool().Draw(t, "mark") {
		c.Locations = []LocationMark{{
			ID: rapid.SampledFrom(modelLocations).Draw(t, "marked"), Name: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name"),
			TrackedSince: time.Unix(1e9, 0).UTC(), SeenAt: m.clock.Now(),
		}}
	}
	next := *m
	next.states, next.marks = maps.Clone(m.states), maps.Clone(m.marks)
	next.log, next.held = slices.Clone(m.log), slices.Clone(m.held)
	next.apply(c)
	err := m.s.Commit(c)
	before, after := m.unsent(), next.unsent()
	full := after > before && after > m.o.OutboxMaxBytes && before > 0
	if full != errors.Is(err, ErrOutboxFull) {
		t.Fatalf("%d bytes unsent, %d after the commit: error is %v", before, after, err)
	}
	if full {
		return
	}
	m.must(err)
	m.states, m.marks, m.log, m.held = next.states, next.marks, next.log, next.held
}

// apply is what a commit means.
func (m *model) apply(c Commit) {
	for _, e := range c.Changes {
		id := e.Data.Session.ID
		if e.Data.Revision != m.states[id].Revision+1 {
			e.Data.Revision = m.states[id].Revision + 1
			e = e.Sealed()
		}
		last := -1
		for i := range m.log {
			if m.log[i].Data.Session.ID == id {
				last = i
			}
		}
		merged := false
		if last >= 0 && uint64(last) >= m.taken {
			var one events.Event
			if one, merged = events.Merge(m.log[last], e); merged {
				m.log[last], e = one, one
			}
		}
		if !merged {
			m.log = append(m.log, e)
			if e.Kind.Arrival() {
				m.held = append(m.held, hold{seq: uint64(len(m.log)), until: m.clock.Now().Add(m.o.HoldArrivals)})
			}
		}
		m.states[id] = events.StateOf(e)
	}
	for _, mark := range c.Locations {
		m.marks[mark.ID] = mark
	}
}

// unsent is the size of the documents after the cursor.
func (m *model) unsent() (n int64) {
	for _, e := range m.log[m.cursor.OutboxSeq:] {
		body, err := events.Encode(e)
		m.must(err)
		n += int64(len(body))
	}
	return n
}

func (m *model) take(t *rapid.T) {
	after := rapid.Uint64Range(m.cursor.OutboxSeq, uint64(len(m.log))).Draw(t, "after")
	limit := rapid.IntRange(0, 5).Draw(t, "max")
	entries, err := m.s.Take(after, limit)
	m.must(err)
	last := len(m.log)
	if m.expire(); len(m.held) > 0 {
		last = int(m.held[0].seq) - 1
	}
	if want := max(0, min(limit, last-int(after))); len(entries) != want {
		t.Fatalf("took %d entries, want %d", len(entries), want)
	}
	m.match(entries, after)
	if n := uint64(len(entries)); n > 0 {
		m.taken = max(m.taken, after+n)
	}
}

// expire drops the holds that are over.
func (m *model) expire() {
	m.held = slices.DeleteFunc(m.held, func(h hold) bool { return !h.until.After(m.clock.Now()) || h.seq <= m.taken })
}

func (m *model) amend(t *rapid.T) {
	seq := rapid.Uint64Range(0, uint64(len(m.log))+1).Draw(t, "amended")
	var guest *events.Guest
	if rapid.Bool().Draw(t, "guest") {
		guest = ada
	}
	m.expire()
	want := 0
	if i := slices.IndexFunc(m.held, func(h hold) bool { return h.seq == seq }); i >= 0 {
		m.held = slices.Delete(m.held, i, i+1)
		if guest != nil {
			want = 1
			d := &m.log[seq-1].Data
			d.Guest, d.Observed.Guest = guest, events.GuestLikely
		}
	}
	if n, err := m.s.Amend([]Amendment{{Seq: seq, Guest: guest, Sure: events.GuestLikely}}); err != nil || n != want {
		t.Fatalf("completed %d, error %v; want %d", n, err, want)
	}
}

func (m *model) match(entries []Entry, after uint64) {
	m.Helper()
	for i, e := range entries {
		want := m.log[after+uint64(i)]
		body, err := events.Encode(want)
		m.must(err)
		if e.Seq != after+uint64(i)+1 || e.ID != want.ID || string(e.Body) != string(body) || e.Kind != want.Kind ||
			e.SessionID != want.Data.Session.ID || e.LocationID != want.Data.Session.LocationID || e.Revision != want.Data.Revision {
			m.Fatalf("entry is %+v\n%s\nwant\n%s", e, e.Body, body)
		}
	}
}

func (m *model) ack(t *rapid.T) {
	seq := rapid.Uint64Range(m.cursor.OutboxSeq, uint64(len(m.log))).Draw(t, "acked")
	m.cursor = Cursor{OutboxSeq: seq, StreamSeq: seq + 100, StreamCreated: time.Unix(1e9, 0).UTC(), At: m.clock.Now()}
	m.must(m.s.Acked(m.cursor))
	m.cursor = m.s.Cursor() // At stays where nothing else changed.
	if m.cursor.OutboxSeq != seq {
		t.Fatalf("cursor is %d, want %d", m.cursor.OutboxSeq, seq)
	}
	m.taken = max(m.taken, seq)
}

func (m *model) rewind(t *rapid.T) {
	seq := rapid.Uint64Range(0, m.cursor.OutboxSeq).Draw(t, "back")
	err := m.s.Rewind(seq)
	if errors.Is(err, ErrCursor) {
		return // trimmed
	}
	m.must(err)
	m.cursor.OutboxSeq = seq
}

func (m *model) put(t *rapid.T) {
	k, v := rapid.SampledFrom([]string{"k", "l"}).Draw(t, "key"), rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "value")
	m.must(m.s.Put(k, []byte(v)))
	m.values[k] = v
}

func (m *model) reopen(*rapid.T) {
	m.must(m.s.Close())
	m.open(m.s.path)
}

// crash goes on from what the file holds at this moment.
func (m *model) crash(t *rapid.T) {
	path := filepath.Join(m.dir(), "copy.db")
	m.must(copyFile(m.s.path, path))
	m.must(m.s.Close())
	m.open(path)
	got := m.s.Cursor()
	if got.OutboxSeq > m.cursor.OutboxSeq {
		t.Fatalf("the cursor was %d, and is %d after a crash", m.cursor.OutboxSeq, got.OutboxSeq)
	}
	m.cursor = got
	// When a location was seen last may be lost; that it is tracked may not.
	infos, err := m.s.Locations()
	m.must(err)
	for _, l := range infos {
		if mark, ok := m.marks[l.ID]; ok {
			if l.SeenAt.After(mark.SeenAt) {
				t.Fatalf("location %s was seen at %v, and at %v after a crash", l.ID, mark.SeenAt, l.SeenAt)
			}
			mark.SeenAt = l.SeenAt
			m.marks[l.ID] = mark
		}
	}
}

// compare reads everything there is to read.
func (m *model) compare(t *rapid.T) {
	m.must(m.s.Invariants())
	found, err := m.s.Find(append(modelIDs, "nobody"))
	m.must(err)
	if !reflect.DeepEqual(found, m.states) {
		t.Fatalf("states are\n%+v, want\n%+v", found, m.states)
	}
	online := map[string]events.State{}
	for _, id := range modelLocations {
		want := location{LocationInfo: LocationInfo{ID: id, Name: m.marks[id].Name, TrackedSince: m.marks[id].TrackedSince, SeenAt: m.marks[id].SeenAt}}
		for _, sid := range modelIDs {
			if st := m.states[sid]; st.Session.Online && st.Session.LocationID == id {
				want.Sessions = append(want.Sessions, st)
				online[sid] = st
			}
		}
		want.Online = len(want.Sessions)
		got, err := locate(m.s, id)
		m.must(err)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("location is\n%+v, want\n%+v", got, want)
		}
	}
	all := map[string]events.State{}
	m.must(m.s.All(func(st events.State) bool { all[st.Session.ID] = st; return true }))
	if !reflect.DeepEqual(all, online) {
		t.Fatalf("online are\n%+v, want\n%+v", all, online)
	}
	for k, v := range m.values {
		if got, err := m.s.Get(k); err != nil || string(got) != v {
			t.Fatalf("value %s is %q, error %v; want %q", k, got, err, v)
		}
	}
	box := m.s.Outbox()
	if n := uint64(len(m.log)) - m.cursor.OutboxSeq; box.Depth != n || box.Bytes != m.unsent() || box.Last != uint64(len(m.log)) {
		t.Fatalf("outbox is %+v, want %d unsent of %d bytes", box, n, m.unsent())
	}
}
