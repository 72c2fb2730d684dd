package plan

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// askingTrack has sessions of various rates, seen at various times of the last round.
func askingTrack(n int, rate, age func(i int) float64) (*Track, time.Time) {
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	t := NewTrack(now.Add(-time.Hour))
	l := &Location{ID: "l"}
	for i := range n {
		e := t.Rows.NewRow(fmt.Sprint(i), l, now.Add(-time.Duration(i)*time.Second), now.Add(-seconds(age(i))))
		e.rate = rate(i)
		t.Rows.Insert(&e)
		t.Rows.Ask(&e, true)
	}
	return t, now
}

func nobody(func(*Row) bool) {}

// The choice is that of a walk over all sessions, whatever happened since the last one.
func TestBestAreTheBest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 700).Draw(t, "sessions")
		draw := rapid.Custom(func(t *rapid.T) [2]float64 {
			return [2]float64{rapid.Float64Range(1e-5, 1e-2).Draw(t, "rate"), rapid.Float64Range(0, 100).Draw(t, "age")}
		})
		of := rapid.SliceOfN(draw, n, n).Draw(t, "of")
		track, now := askingTrack(n, func(i int) float64 { return of[i][0] }, func(i int) float64 { return of[i][1] })
		for e := range track.Rows.All() {
			track.Rows.Ask(e, e.ID[0] != '7')
		}
		skip := func(e *Row) bool { return len(e.ID) == 2 }
		var asking Asking
		for range rapid.IntRange(1, 4).Draw(t, "choices") {
			room := rapid.IntRange(1, 100).Draw(t, "room")
			want, most := bestOf(track, now, room, skip)
			rows, gain := asking.Best(now, track, room, nil, nobody, skip)
			if len(rows) != want || gain < most*(1-1e-9) || gain > most*(1+1e-9) {
				t.Fatalf("%d sessions that bring %v, want %d that bring %v", len(rows), gain, want, most)
			}
			now = now.Add(seconds(rapid.Float64Range(0, 60).Draw(t, "pause")))
			share := rapid.IntRange(1, 10).Draw(t, "seen")
			for e := range track.Rows.All() {
				if len(e.ID)%share == 0 {
					e.see(track, now)
				}
			}
		}
	})
}

// bestOf walks over all: how many can be chosen, and what the best bring.
func bestOf(t *Track, now time.Time, room int, skip func(*Row) bool) (n int, gain float64) {
	var all []float64
	for e := range t.Rows.All() {
		if age := now.Sub(e.Seen).Seconds(); age >= leastAge && e.askable && !skip(e) {
			all = append(all, e.rate*age*age/2)
		}
	}
	slices.Sort(all)
	slices.Reverse(all)
	all = all[:min(room, len(all))]
	for _, g := range all {
		gain += g
	}
	return len(all), gain
}

// see shows a session, and leaves its rate as it is.
func (e *Row) see(t *Track, now time.Time) {
	e.Seen, e.at = now, t.Rows.Seconds(now)
	e.noted()
}

// BenchmarkBest is a choice of 100 of 100,000 sessions, of which each second a page and
// those who were chosen are seen.
func BenchmarkBest(b *testing.B) {
	const n = 100_000
	for name, rate := range map[string]func(i int) float64{
		"equal":           func(int) float64 { return 1. / 2700 },
		"some stay short": func(i int) float64 { return map[bool]float64{true: 1. / 1200, false: 1. / 28800}[i*7919%7 == 0] },
		"all mixed":       func(i int) float64 { return 1. / float64(1200+i*7919%27600) },
	} {
		b.Run(name, func(b *testing.B) {
			track, now := askingTrack(n, rate, func(i int) float64 { return 2 + float64(i)/200 })
			var asking Asking
			var spent time.Duration
			at := 0
			for b.Loop() {
				now = now.Add(time.Second)
				began := time.Now()
				rows, _ := asking.Best(now, track, 100, nil, nobody, func(*Row) bool { return false })
				spent += time.Since(began)
				if len(rows) != 100 {
					b.Fatal(len(rows))
				}
				for _, e := range rows {
					e.see(track, now)
				}
				for range 100 {
					at = (at + 1) % n
					if e := track.Rows.blocks[at/64%len(track.Rows.blocks)].rows; len(e) > 0 {
						e[at%len(e)].see(track, now)
					}
				}
			}
			b.ReportMetric(float64(spent.Microseconds())/float64(b.N), "µs/choice")
		})
	}
}
