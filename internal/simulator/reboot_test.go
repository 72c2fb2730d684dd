package simulator

import (
	"reflect"
	"testing"
	"time"
)

// rebooting lives through some hours and returns the starts and ends.
func rebooting(cfg Config, hours int) (*Simulator, []Truth) {
	var told []Truth
	c := newClock()
	cfg.LivesOnly = true
	cfg.Truth = func(x Truth) {
		if x.Time.After(noon) && (x.Kind == TruthStart || x.Kind == TruthEnd) {
			told = append(told, x)
		}
	}
	s := New(cfg, c.now)
	for range hours * 60 {
		c.add(time.Minute)
		s.Advance()
	}
	return s, told
}

func TestRebootBringsEverybodyBackInOneSecond(t *testing.T) {
	cfg := estate(even(4, 60))
	cfg.RebootsPerHour = 3
	s, told := rebooting(cfg, 12)
	type outage struct {
		at       time.Time
		location string
	}
	gone := map[outage][]Truth{}
	for _, x := range told {
		if x.Kind == TruthEnd {
			k := outage{x.Time, x.Location}
			gone[k] = append(gone[k], x)
		}
	}
	reboots, back, stayed := 0, 0, 0
	for k, all := range gone {
		if len(all) < 2 {
			continue
		}
		reboots++
		again := map[string]Truth{}
		for _, x := range told {
			if since := x.Time.Sub(k.at); x.Kind == TruthStart && x.Location == k.location && since > 0 && since <= 2*time.Second {
				again[x.MAC] = x
			}
		}
		var second time.Time
		for _, x := range all {
			stayed++
			now, ok := again[x.MAC]
			if !ok {
				continue // would have left just then
			}
			back++
			if now.Guest != x.Guest || now.Session == x.Session {
				t.Errorf("%+v came back as %+v", x, now)
			}
			if at := now.Time.Truncate(time.Second); second.IsZero() {
				second = at
			} else if !at.Equal(second) {
				t.Errorf("starts at %v and %v", second, at)
			}
		}
	}
	// 4 venues × 12 h × 3, give or take four standard deviations.
	if reboots < 96 || reboots > 192 {
		t.Errorf("%d reboots, want about 144", reboots)
	}
	if back < stayed*99/100 {
		t.Errorf("%d of %d came back", back, stayed)
	}
	if n := s.Count(Query{Online: Online}); n < 190 || n > 290 {
		t.Errorf("%d online, want about 240", n)
	}
}

func TestRebootsDoNotDependOnTheList(t *testing.T) {
	var want []Truth
	for _, order := range []Order{NewestFirst, OldestFirst, ByID, Unordered, Shuffled, Moving} {
		cfg := small()
		cfg.RebootsPerHour, cfg.Order, cfg.Ties = 5, order, order == OldestFirst
		_, told := rebooting(cfg, 2)
		if want == nil {
			want = told
		}
		if !reflect.DeepEqual(told, want) {
			t.Errorf("another population in order %v", order)
		}
	}
}
