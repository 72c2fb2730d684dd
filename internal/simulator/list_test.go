package simulator

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/guestflow/guestflow/events"
)

// everything reads all sessions of the truth's view, by brute force.
func (s *Simulator) everything() []*session {
	s.pop.unpack()
	var v view
	v.add(0, &s.pop.account.lists[0].online, 0)
	v.add(1, &s.pop.account.lists[0].ended, 0)
	var all []*session
	for _, e := range v.append(nil, 0, v.len()) {
		if e.s == nil {
			e.s = s.pop.recall(e.num)
		}
		all = append(all, e.s)
	}
	return all
}

func TestListsAgreeWithBruteForce(t *testing.T) {
	type variant struct {
		order            Order
		grain            time.Duration
		honours, exclude bool
		archive          time.Duration
	}
	made := map[variant]*Simulator{} // reading does not change it
	rapid.Check(t, func(t *rapid.T) {
		cfg := small()
		cfg.Order = Order(rapid.IntRange(0, int(Moving)).Draw(t, "order"))
		cfg.StartGrain = rapid.SampledFrom([]time.Duration{0, 5 * time.Minute}).Draw(t, "start grain")
		cfg.LastSessionFirst = rapid.Bool().Draw(t, "honours last_session_first")
		cfg.ExclusiveDates = rapid.Bool().Draw(t, "exclusive dates")
		cfg.Archive, cfg.ArchiveSpeed = rapid.SampledFrom([]time.Duration{0, 30 * time.Hour}).Draw(t, "archive"), 0.1
		if cfg.Archive > 0 {
			cfg.History = 24 * time.Hour // some of it is forgotten
		}
		v := variant{cfg.Order, cfg.StartGrain, cfg.LastSessionFirst, cfg.ExclusiveDates, cfg.Archive}
		s := made[v]
		if s == nil {
			c := newClock()
			c.add(11*time.Hour + 40*time.Minute) // midnight lies within the history
			s = New(cfg, c.now)
			c.add(45 * time.Minute)
			s.Advance()
			made[v] = s
		}
		all := s.everything()
		some := all[rapid.IntRange(0, len(all)-1).Draw(t, "some session")].rec

		q := Query{PerPage: rapid.IntRange(-1, 130).Draw(t, "per page"), Online: Presence(rapid.IntRange(0, 2).Draw(t, "online"))}
		q.LastFirst = Toggle(rapid.IntRange(0, 2).Draw(t, "last first"))
		pick := func(name string, p *string, v string) {
			if rapid.IntRange(0, 3).Draw(t, name) == 0 {
				*p = v
			}
		}
		pick("location", &q.Location, some.LocationID)
		pick("guest", &q.Guest, some.GuestID)
		pick("mac", &q.MAC, some.DeviceMAC)
		pick("yas", &q.Yas, some.YasID)
		midnight := noon.Add(12 * time.Hour)
		if rapid.Bool().Draw(t, "has start") {
			q.StartDay = midnight.AddDate(0, 0, rapid.IntRange(-2, 1).Draw(t, "start"))
		}
		if rapid.IntRange(0, 2).Draw(t, "has end") == 0 {
			q.EndDay = midnight.AddDate(0, 0, rapid.IntRange(-2, 1).Draw(t, "end"))
		}

		want := slices.DeleteFunc(slices.Clone(all), func(x *session) bool { return !wanted(x, q, cfg.ExclusiveDates) })
		order := cfg.Order
		if cfg.LastSessionFirst && q.LastFirst != Absent {
			order = map[Toggle]Order{True: NewestFirst, False: OldestFirst}[q.LastFirst]
		}
		if less := sortedBy(order); less != nil {
			slices.SortFunc(want, less)
		}
		var got []string
		for q.Page = 1; ; q.Page++ {
			records, more := s.List(q)
			if size := s.cfg.pageSize(q.PerPage); len(records) > size || more && len(records) != size {
				t.Fatalf("%d on a page of %d, more %t", len(records), size, more)
			}
			for _, r := range records {
				got = append(got, r.ID)
			}
			if !more {
				break
			}
		}
		ids := make([]string, len(want))
		for i, x := range want {
			ids[i] = x.rec.ID
		}
		if s.Count(q) != len(ids) {
			t.Fatalf("count %d, want %d", s.Count(q), len(ids))
		}
		if order == Unordered || order == Shuffled {
			if order == Unordered && q.PerPage > 0 {
				again, _ := s.List(Query{PerPage: q.PerPage, Online: q.Online, Location: q.Location, Guest: q.Guest, MAC: q.MAC, Yas: q.Yas, StartDay: q.StartDay, EndDay: q.EndDay, LastFirst: q.LastFirst})
				for i, r := range again {
					if r.ID != got[i] {
						t.Fatalf("the order is not stable at %d", i)
					}
				}
				slices.Sort(got)
			} else if order == Shuffled {
				return // each page is of another order
			} else {
				slices.Sort(got)
			}
			slices.Sort(ids)
		}
		if !slices.Equal(got, ids) {
			t.Fatalf("%+v\ngot  %v\nwant %v", q, got, ids)
		}
	})
}

// wanted is the documented meaning of the filters.
func wanted(x *session, q Query, exclusive bool) bool {
	r := &x.rec
	date := func(t time.Time) string { return t.UTC().Format(time.DateOnly) }
	if !q.StartDay.IsZero() {
		if c := cmp.Compare(date(r.StartedAt), date(q.StartDay)); c < 0 || exclusive && c == 0 {
			return false
		}
	}
	if !q.EndDay.IsZero() {
		if c := cmp.Compare(date(r.EndedAt), date(q.EndDay)); x.online || c > 0 || exclusive && c == 0 {
			return false
		}
	}
	return (q.Location == "" || q.Location == r.LocationID) && (q.Guest == "" || q.Guest == r.GuestID) &&
		(q.MAC == "" || q.MAC == r.DeviceMAC) && (q.Yas == "" || q.Yas == r.YasID) &&
		(q.Online == Any || (q.Online == Online) == x.online)
}

func sortedBy(o Order) func(a, b *session) int {
	oldest := func(a, b *session) int {
		return cmp.Or(a.rec.StartedAt.Compare(b.rec.StartedAt), cmp.Compare(a.rec.ID, b.rec.ID))
	}
	switch o {
	case NewestFirst:
		return func(a, b *session) int { return oldest(b, a) }
	case OldestFirst:
		return oldest
	case ByID:
		return func(a, b *session) int { return cmp.Compare(a.rec.ID, b.rec.ID) }
	case Moving:
		return func(a, b *session) int {
			return cmp.Or(cmp.Compare(a.updated, b.updated), cmp.Compare(a.rec.ID, b.rec.ID))
		}
	}
	return nil
}

func TestShuffledIsAPermutationAtEachRequest(t *testing.T) {
	cfg := estate([]float64{60})
	cfg.Order = Shuffled
	s := New(cfg, newClock().now)
	read := func() []string {
		records, more := s.List(Query{Online: Online, PerPage: 100})
		if more {
			t.Fatal("more than a page")
		}
		ids := make([]string, len(records))
		for i, r := range records {
			ids[i] = r.ID
		}
		return ids
	}
	a, b := read(), read()
	if slices.Equal(a, b) {
		t.Error("twice the same order")
	}
	slices.Sort(a)
	slices.Sort(b)
	if !slices.Equal(a, b) || len(slices.Compact(a)) != s.Count(Query{Online: Online}) {
		t.Error("not a permutation")
	}
}

func TestEqualStartsTie(t *testing.T) {
	cfg := small()
	cfg.StartGrain = 5 * time.Minute
	s := New(cfg, newClock().now)
	records, _ := s.List(Query{Online: Online, PerPage: 100})
	keys := map[time.Time]int{}
	for _, r := range records {
		if r.StartedAt.Unix()%300 != 0 {
			t.Fatalf("started at %v", r.StartedAt)
		}
		keys[r.StartedAt]++
	}
	if len(keys) > len(records)/2 {
		t.Errorf("%d starts of %d sessions", len(keys), len(records))
	}
}

// TestListsDriftWhilePaging: one that ends between two pages moves all behind it
// up by one place, so that a live session is skipped at the border.
func TestListsDriftWhilePaging(t *testing.T) {
	for _, order := range []Order{NewestFirst, OldestFirst, ByID, Unordered, Moving} {
		t.Run(order.String(), func(t *testing.T) {
			cfg := estate([]float64{450})
			cfg.Order = order
			c := newClock()
			s := New(cfg, c.now)
			skipped := 0
			for range 60 {
				seen := map[string]bool{}
				for page, more := 1, true; more; page++ {
					var records []events.Session
					records, more = s.List(Query{Online: Online, Page: page, PerPage: 100})
					for _, r := range records {
						seen[r.ID] = true
					}
					c.add(2 * time.Second)
				}
				for _, x := range s.everything() {
					if x.online && x.start < c.now().Add(-time.Minute).UnixNano() {
						if !seen[x.rec.ID] {
							skipped++
						}
					}
				}
			}
			if skipped == 0 {
				t.Error("no live session was ever skipped: the lists do not drift")
			}
		})
	}
}

func TestDirectListLogsWhatItServed(t *testing.T) {
	cfg := small()
	var served []Truth
	cfg.Truth = func(x Truth) {
		if x.Kind == TruthServed {
			served = append(served, x)
		}
	}
	s := New(cfg, newClock().now)
	records, more := s.List(Query{Location: "south", Page: 2, PerPage: 7})
	if len(served) != 1 || served[0].Query != "location_id=south" || served[0].Page != 2 || served[0].PerPage != 7 || served[0].More != more {
		t.Fatalf("%+v", served)
	}
	for _, r := range records {
		if r.Online != slices.Contains(served[0].Online, r.ID) {
			t.Errorf("%s online %t", r.ID, r.Online)
		}
	}
}
