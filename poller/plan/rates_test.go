package plan

import (
	"math"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// busy lets a location with so many sessions live for some time, an event of each
// kind a minute each time perMinute says so.
func busy(l *learned, from time.Time, minutes, online int, perMinute float64) time.Time {
	for range minutes {
		from = from.Add(time.Minute)
		l.pass(from)
		l.count(counts{Starts: perMinute, Ends: perMinute, Sessions: 60 * float64(online)})
	}
	return from
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got/want-1) > tolerance {
		t.Errorf("%s: %.3g, want about %.3g", what, got, want)
	}
}

// TestBurstIsFollowedAndForgotten: what a match's end does to the rates is gone
// within some half-lives, and leaves what is usual alone.
func TestBurstIsFollowedAndForgotten(t *testing.T) {
	location := &Location{ID: "arena", Online: 400, learned: learned{at: noon}}
	r := &Rates{began: noon, learned: learned{at: noon}}
	both := func(from time.Time, minutes, online int, perMinute float64) time.Time {
		busy(&r.learned, from, minutes, online, perMinute)
		to := busy(&location.learned, from, minutes, online, perMinute)
		r.Pass(to, 400)
		return to
	}
	now := both(noon, 5*24*60, 400, 8)
	usual := 8.0 / 400 / 60
	near(t, "rate before", r.HazardAt(location), usual, 0.05)
	now = both(now, 1, 400, 5000)
	if rate := r.HazardAt(location); rate < 5*usual {
		t.Errorf("a burst leaves the rate at %.3g", rate)
	}
	near(t, "what is usual after the burst", location.learned.usually.hazard(usual), usual, 0.2)
	both(now, 200, 400, 8)
	near(t, "rate hours later", r.HazardAt(location), usual, 0.15)
}

// TestNewLocationBeginsWithTheAccount, and a quiet one keeps to what is usual
// there.
func TestNewLocationBeginsWithTheAccount(t *testing.T) {
	r := &Rates{began: noon, learned: learned{at: noon}}
	now := busy(&r.learned, noon, 24*60, 1000, 1000.0/20)
	r.Pass(now, 1000)
	near(t, "rate of a new location", r.HazardAt(&Location{Online: 10}), 1.0/1200, 0.05)
	near(t, "arrivals at a new location", r.StartsAt(&Location{Online: 10}), 10.0/1200, 0.05)

	hotel := &Location{Online: 50, learned: learned{at: noon}}
	busy(&hotel.learned, noon, 24*60, 50, 50.0/480)
	hotel.learned.lately = counts{} // as after a restart
	near(t, "rate of a hotel among cafés", r.HazardAt(hotel), 1.0/480/60, 0.1)
	near(t, "arrivals at the hotel", r.StartsAt(hotel), 50.0/480/60, 0.1)
}

// TestHoursOfTheDay: who has seen mornings expects one, when little was seen of
// it yet.
func TestHoursOfTheDay(t *testing.T) {
	r := &Rates{began: noon, learned: learned{at: noon}}
	r.Pass(noon, 200)
	perMinute := func(at time.Time) float64 {
		if at.Hour() == 8 {
			return 20
		}
		return 2
	}
	now := noon
	for range 5 * 24 * 60 {
		now = now.Add(time.Minute)
		r.Pass(now, 200)
		c := counts{Starts: perMinute(now), Ends: 2, Sessions: 60 * 200}
		r.learned.count(c)
		r.day.Hours[now.UTC().Hour()].add(1, c)
	}
	at := func(hour int) float64 {
		later := *r
		later.learned.lately = counts{}
		later.learned.at = now.Truncate(24 * time.Hour).Add(time.Duration(24+hour) * time.Hour)
		later.Pass(later.learned.at, 200)
		return later.starts
	}
	near(t, "arrivals at 8", at(8), 20.0/60, 0.25)
	near(t, "arrivals at 15", at(15), 2.0/60, 0.25)
}

// TestTenure: visits of one length end when that is reached.
func TestTenure(t *testing.T) {
	var l stays
	for range 200 {
		l.learn(5*time.Minute, 0, 1)
		l.learn(40*time.Minute, 3, 1)
	}
	if young, old := l.factor(5*time.Minute), l.factor(40*time.Minute); young > 0.3 || old < 2.5 {
		t.Errorf("factors %.2f and %.2f", young, old)
	}
	if f := l.factor(10 * time.Hour); f != 1 {
		t.Errorf("factor %.2f where nothing was seen", f)
	}
}
