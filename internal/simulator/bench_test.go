package simulator

import (
	"testing"
	"time"
)

// BenchmarkAdvance lives through simulated hours of 1,000 venues and 12,000
// online; the figure per hour includes making the population.
func BenchmarkAdvance(b *testing.B) {
	for _, truth := range []bool{false, true} {
		name := "plain"
		if truth {
			name = "truth"
		}
		b.Run(name, func(b *testing.B) {
			cfg := estate(logNormal(1000, 1, 12000))
			n := 0
			if truth {
				cfg.Truth = func(Truth) { n++ }
			}
			for b.Loop() {
				c := newClock()
				s := New(cfg, c.now)
				for range 3 * 3600 {
					c.add(time.Second)
					s.Advance()
				}
			}
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/3, "s/simulated-hour")
			b.ReportMetric(float64(n)/float64(b.N), "truths/op")
		})
	}
}

// BenchmarkArchive makes five weeks of the demo's history.
func BenchmarkArchive(b *testing.B) {
	b.ReportAllocs()
	sessions := 0
	for b.Loop() {
		sessions = New(Demo(), newClock().now).Count(Query{Online: Offline})
	}
	b.ReportMetric(float64(sessions), "sessions")
}

// BenchmarkCount counts as the learning of what is usual does.
func BenchmarkCount(b *testing.B) {
	cfg := Demo()
	s := New(cfg, newClock().now)
	q := Query{Location: cfg.Locations[0].ID, StartDay: noon.AddDate(0, 0, -30), EndDay: noon.AddDate(0, 0, -2)}
	for b.Loop() {
		s.Count(q)
	}
}

func BenchmarkList(b *testing.B) {
	c := newClock()
	for _, v := range []struct {
		name  string
		order Order
		grain time.Duration // with ties, unless zero
	}{
		{"newest", NewestFirst, 0}, {"ties", NewestFirst, time.Second}, {"ties of a minute", NewestFirst, time.Minute},
		{"id", ByID, 0}, {"shuffled", Shuffled, 0},
	} {
		cfg := estate(logNormal(1000, 1, 12000))
		cfg.Order, cfg.StartGrain, cfg.Ties = v.order, v.grain, v.grain > 0
		s := New(cfg, c.now)
		c.add(3 * time.Hour)
		s.Advance()
		for _, q := range []struct {
			name string
			Query
		}{
			{"sweep", Query{Online: Online, PerPage: 100}},
			{"venue", Query{Online: Online, PerPage: 100, Location: cfg.Locations[999].ID}},
			{"arrivals", Query{PerPage: 100, StartDay: noon}},
		} {
			b.Run(v.name+"/"+q.name, func(b *testing.B) {
				dst, _ := s.List(q.Query)
				for b.Loop() {
					q.Page = q.Page%100 + 1
					dst, _ = s.AppendList(dst[:0], q.Query)
				}
			})
		}
	}
}
