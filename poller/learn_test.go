package poller

import (
	"math"
	"testing"
	"time"
)

// busy lets a place with so many sessions live for some time, an event of each
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
	place := &Place{ID: "arena", Online: 400, learned: learned{at: noon}}
	e := &Estate{Online: 400, learned: learned{at: noon}}
	both := func(from time.Time, minutes, online int, perMinute float64) time.Time {
		busy(&e.learned, from, minutes, online, perMinute)
		to := busy(&place.learned, from, minutes, online, perMinute)
		e.rates(to)
		return to
	}
	now := both(noon, 5*24*60, 400, 8)
	usual := 8.0 / 400 / 60
	near(t, "rate before", e.hazard(place), usual, 0.05)
	now = both(now, 1, 400, 5000)
	if rate := e.hazard(place); rate < 5*usual {
		t.Errorf("a burst leaves the rate at %.3g", rate)
	}
	near(t, "what is usual after the burst", place.learned.usually.hazard(usual), usual, 0.2)
	both(now, 200, 400, 8)
	near(t, "rate hours later", e.hazard(place), usual, 0.15)
}

// TestNewLocationBeginsWithTheAccount, and a quiet one keeps to what is usual
// there.
func TestNewLocationBeginsWithTheAccount(t *testing.T) {
	e := &Estate{Online: 1000, learned: learned{at: noon}}
	now := busy(&e.learned, noon, 24*60, 1000, 1000.0/20)
	e.rates(now)
	near(t, "rate of a new location", e.hazard(&Place{Online: 10}), 1.0/1200, 0.05)
	near(t, "arrivals at a new location", e.arrivalsAt(&Place{Online: 10}), 10.0/1200, 0.05)

	hotel := &Place{Online: 50, learned: learned{at: noon}}
	busy(&hotel.learned, noon, 24*60, 50, 50.0/480)
	hotel.learned.lately = counts{} // as after a restart
	near(t, "rate of a hotel among cafés", e.hazard(hotel), 1.0/480/60, 0.1)
	near(t, "arrivals at the hotel", e.arrivalsAt(hotel), 50.0/480/60, 0.1)
}

// TestHoursOfTheDay: who has seen mornings expects one, when little was seen of
// it yet.
func TestHoursOfTheDay(t *testing.T) {
	e := &Estate{Online: 200, learned: learned{at: noon}}
	e.rates(noon)
	perMinute := func(at time.Time) float64 {
		if at.Hour() == 8 {
			return 20
		}
		return 2
	}
	now := noon
	for range 5 * 24 * 60 {
		now = now.Add(time.Minute)
		e.rates(now)
		c := counts{Starts: perMinute(now), Ends: 2, Sessions: 60 * 200}
		e.learned.count(c)
		e.day.Hours[now.UTC().Hour()].add(1, c)
	}
	at := func(hour int) float64 {
		later := *e
		later.learned.lately = counts{}
		later.learned.at = now.Truncate(24 * time.Hour).Add(time.Duration(24+hour) * time.Hour)
		later.rates(later.learned.at)
		return later.arrivals
	}
	near(t, "arrivals at 8", at(8), 20.0/60, 0.25)
	near(t, "arrivals at 15", at(15), 2.0/60, 0.25)
}

// TestTenure: visits of one length end when that is reached.
func TestTenure(t *testing.T) {
	var l tenure
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
