package simulator

import (
	"bytes"
	"fmt"
	"math"
	"net/http/httptest"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

func TestRequestsDoNotChangeThePopulation(t *testing.T) {
	run := func(ask bool) ([]Truth, string) {
		c, cfg := newClock(), small()
		var truth []Truth
		cfg.Truth = func(x Truth) {
			if x.Kind != TruthServed && x.Kind != TruthLimited {
				truth = append(truth, x)
			}
		}
		s := New(cfg, c.now)
		for i := range 600 {
			step := 3 * time.Second
			if ask {
				s.List(Query{MAC: "no", Page: i})
				s.Count(Query{Location: "north"})
				c.add(step / 3)
				s.Advance()
				step -= step / 3
			}
			c.add(step)
		}
		s.Advance()
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", "/sessions?per_page=100", nil))
		return truth, w.Body.String()
	}
	quiet, body := run(false)
	asked, bodyAsked := run(true)
	if len(quiet) < 1000 {
		t.Fatalf("only %d records: nothing happened", len(quiet))
	}
	if !reflect.DeepEqual(quiet, asked) || body != bodyAsked {
		t.Fatal("requests changed what happened")
	}
}

func TestTruthTellsTheStateAtAnyTime(t *testing.T) {
	for name, edit := range map[string]func(*Config){
		"plain":    func(*Config) {},
		"reboots":  func(cfg *Config) { cfg.RebootsPerHour = 6 },
		"moving":   func(cfg *Config) { cfg.Order = Moving },
		"all that": func(cfg *Config) { cfg.RebootsPerHour, cfg.Order, cfg.StartGrain = 6, Moving, time.Minute },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := small()
			edit(&cfg)
			truthTellsTheState(t, cfg)
		})
	}
}

// truthTellsTheState holds the log against the lists: alone, it must give the same
// sessions and figures.
func truthTellsTheState(t *testing.T, cfg Config) {
	c := newClock()
	cfg.Bursts = []Burst{{At: 5 * time.Minute, Over: time.Minute, Location: 0, Arrivals: 50, Leave: 0.5}}
	type state struct {
		online         bool
		location, ip   string
		profile        string
		down, up       int64
		last           time.Time
		starts, resume int
	}
	known := map[string]*state{}
	kinds := map[TruthKind]int{}
	cfg.Truth = func(x Truth) {
		kinds[x.Kind]++
		if x.Session == "" {
			return
		}
		st := known[x.Session]
		if st == nil {
			st = &state{}
			known[x.Session] = st
		}
		switch x.Kind {
		case TruthStart:
			st.starts++
			st.online = true
		case TruthResume:
			st.online = true
		case TruthEnd:
			st.online = false
		}
		if x.Kind != TruthTraffic {
			st.location, st.ip, st.profile = x.Location, x.IP, x.Profile
		}
		// What was before the simulator's start may be told out of order.
		if x.Time.After(noon) && x.Time.Before(st.last) || st.starts != 1 {
			t.Errorf("%s of %s at %v comes after %v", x.Kind, x.Session, x.Time, st.last)
		}
		if x.Downloaded < st.down && x.Time.After(noon) {
			t.Errorf("%s: counter fell from %d to %d", x.Session, st.down, x.Downloaded)
		}
		st.down, st.up, st.last = max(st.down, x.Downloaded), max(st.up, x.Uploaded), x.Time
	}
	s := New(cfg, c.now)
	for range 120 {
		c.add(10 * time.Second)
		online := 0
		for page := 1; ; page++ {
			records, more := s.List(Query{Online: Online, Page: page, PerPage: 100})
			for _, r := range records {
				st := known[r.ID]
				if st == nil || !st.online || st.location != r.LocationID || st.ip != r.DeviceIP || st.profile != r.ServiceProfile {
					t.Fatalf("listed %+v, truth %+v", r, st)
				}
				if d := r.Downloaded.Value - st.down; d > r.Downloaded.Error || -d > r.Downloaded.Error {
					t.Fatalf("%s: shows %+v, truth %d", r.ID, r.Downloaded, st.down)
				}
				online++
			}
			if !more {
				break
			}
		}
		want := 0
		for _, st := range known {
			if st.online {
				want++
			}
		}
		if online != want || s.Count(Query{Online: Online}) != want {
			t.Fatalf("%d listed, %d counted, truth %d", online, s.Count(Query{Online: Online}), want)
		}
	}
	for _, k := range []TruthKind{TruthStart, TruthEnd, TruthTraffic, TruthUpdate, TruthMove, TruthResume, TruthServed} {
		if kinds[k] == 0 {
			t.Errorf("no %s in 20 minutes", k)
		}
	}
}

func TestSteadyStateFromTheStart(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(*Config)
		want float64
	}{
		{"plain", func(*Config) {}, 600},
		{"several devices", func(c *Config) { c.DevicesPerGuest = 2.5 }, 600},
		{"roaming", func(c *Config) { c.RoamProbability = 0.5 }, 600},
		{"resuming", func(c *Config) { c.ResumeProbability = 0.4 }, 600},
		{"moving", func(c *Config) { c.MoveProbability = 0.5 }, 600},
		{"hastened", func(c *Config) { c.Speed = 20 }, 600},
		{"by arrivals", func(c *Config) {
			for i := range c.Locations {
				c.Locations[i].MeanOnline, c.Locations[i].ArrivalsPerHour = 0, 40
			}
		}, 600},
	} {
		t.Run(tc.name, func(t *testing.T) {
			start, later, n := 0.0, 0.0, 2
			for seed := range n {
				cfg := estate(even(20, 30))
				cfg.Seed = uint64(seed)
				tc.edit(&cfg)
				c := newClock()
				s := New(cfg, c.now)
				start += float64(s.Count(Query{Online: Online})) / float64(n)
				c.add(time.Duration(float64(90*time.Minute) / max(cfg.Speed, 1)))
				later += float64(s.Count(Query{Online: Online})) / float64(n)
			}
			// Poisson: the mean of two has a standard deviation of about 17 (more
			// with several devices).
			for _, got := range []float64{start, later} {
				if math.Abs(got-tc.want) > 60 {
					t.Errorf("%.0f online at the start, %.0f later, want about %.0f", start, later, tc.want)
				}
			}
		})
	}
}

func TestRhythmMovesArrivalsWithTheHour(t *testing.T) {
	cfg := estate(even(20, 30))
	cfg.Rhythm = slices.Repeat([]float64{0.1}, 24)
	cfg.Rhythm[13] = 3
	cfg.Stay = Stay{Mean: 10 * time.Minute}
	c := newClock()
	s := New(cfg, c.now)
	night := s.Count(Query{Online: Online})
	c.add(115 * time.Minute)
	if peak := s.Count(Query{Online: Online}); peak < 10*max(night, 1) {
		t.Errorf("%d at noon, %d in the busy hour", night, peak)
	}
}

func TestBurstComesAndGoes(t *testing.T) {
	cfg := estate(even(3, 20))
	cfg.Stay = Stay{Mean: 10 * time.Hour}
	cfg.Bursts = []Burst{
		{At: time.Minute, Over: time.Minute, Location: 1, Arrivals: 5000},
		{At: 5 * time.Minute, Over: time.Minute, Location: 1, Leave: 1},
	}
	c := newClock()
	s := New(cfg, c.now)
	q := Query{Online: Online, Location: cfg.Locations[1].ID}
	before := s.Count(q)
	c.add(2*time.Minute + time.Second)
	if n := s.Count(q); n < before+4900 {
		t.Errorf("%d after 5,000 arrivals at %d", n, before)
	}
	c.add(4*time.Minute + time.Second)
	if n := s.Count(q); n > 5 {
		t.Errorf("%d stayed", n)
	}
}

func TestHistoryKeepsAndForgets(t *testing.T) {
	cfg := small()
	cfg.History, cfg.HistoryBefore = 30*time.Minute, 10*time.Minute
	c := newClock()
	s := New(cfg, c.now)
	if s.Count(Query{Online: Offline}) == 0 {
		t.Error("no history at the start")
	}
	s.Count(Query{MAC: "builds the lookup"})
	c.add(2 * time.Hour)
	n := s.Count(Query{Online: Offline})
	for page := 1; ; page++ {
		records, more := s.List(Query{Online: Offline, Page: page, PerPage: 100})
		for _, r := range records {
			if age := c.now().Sub(r.EndedAt); r.Online || age > cfg.History+time.Second {
				t.Fatalf("%+v ended %v ago", r, age)
			}
			if same, _ := s.List(Query{MAC: r.DeviceMAC, Online: Offline}); !slices.ContainsFunc(same, func(o events.Session) bool { return o.ID == r.ID }) {
				t.Fatalf("not found by its device: %+v", r)
			}
		}
		n -= len(records)
		if !more {
			break
		}
	}
	if n != 0 {
		t.Errorf("pages and count differ by %d", n)
	}
	if all, online, offline := s.Count(Query{}), s.Count(Query{Online: Online}), s.Count(Query{Online: Offline}); all != online+offline {
		t.Errorf("%d in all, %d online, %d offline", all, online, offline)
	}
}

func TestAddressesAreUniqueUntilThePoolIsSmall(t *testing.T) {
	for pool, wantShared := range map[int]bool{0: false, 16: true} {
		cfg := small()
		cfg.IPPool = pool
		c := newClock()
		s := New(cfg, c.now)
		c.add(time.Hour)
		seen, shared := map[string]bool{}, false
		for page := 1; page <= 2; page++ {
			records, _ := s.List(Query{Online: Online, Page: page, PerPage: 100})
			for _, r := range records {
				shared = shared || seen[r.DeviceIP]
				seen[r.DeviceIP] = true
			}
		}
		if shared != wantShared {
			t.Errorf("pool %d: shared addresses %t", pool, shared)
		}
	}
}

func TestSpeedShortensLifeAndKeepsTheClock(t *testing.T) {
	cfg := small()
	cfg.Speed, cfg.ClockSkew = 60, time.Hour
	c := newClock()
	var mean, n float64
	began := map[string]time.Time{}
	cfg.Truth = func(x Truth) {
		switch x.Kind {
		case TruthStart:
			began[x.Session] = x.Time
		case TruthEnd:
			mean += x.Time.Sub(began[x.Session]).Seconds()
			n++
		case TruthResume:
			began[x.Session] = x.Time
		}
	}
	s := New(cfg, c.now)
	c.add(5 * time.Minute)
	records, _ := s.List(Query{})
	if newest := c.now().Add(time.Hour).Sub(records[0].StartedAt); newest < 0 || newest > 10*time.Second {
		t.Errorf("the newest session is %v old on the platform's clock", newest)
	}
	if mean /= n; mean < 8 || mean > 12 {
		t.Errorf("mean stay %.1f s over %v sessions, want 10 s", mean, n)
	}
}

func TestSameSeedSameBytes(t *testing.T) {
	run := func(seed uint64) string {
		c, cfg := newClock(), small()
		cfg.Seed = seed
		cfg.Order = Shuffled
		cfg.Faults = []Fault{{Kind: FaultDamaged, Percent: 20}, {Kind: FaultServer, Percent: 10}, {Kind: FaultNext, Percent: 30}}
		var log, out bytes.Buffer
		l := NewLog(&log)
		cfg.Truth = l.Record
		s := New(cfg, c.now)
		for i := range 50 {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest("GET", fmt.Sprintf("/sessions?page=%d", i%7), nil))
			fmt.Fprintln(&out, w.Code, w.Header(), w.Body)
			c.add(7 * time.Second)
		}
		if err := l.Flush(); err != nil {
			t.Fatal(err)
		}
		return log.String() + out.String()
	}
	if first, second := run(1), run(1); first != second {
		t.Error("the same seed gave other bytes")
	}
	if run(1) == run(2) {
		t.Error("another seed gave the same bytes")
	}
}
