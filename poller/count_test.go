package poller_test

import (
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
)

// TestCensus: the platform's count is compared with what is known, now and then.
func TestCensus(t *testing.T) {
	const hint = "GUESTFLOW_API_SHARED_LIMIT"
	for _, c := range []struct {
		name   string
		change func(*lab, *simulator.Config)
		asked  int
		known  bool
		hinted bool
	}{
		{"counted", func(*lab, *simulator.Config) {}, 3, true, false},
		{"held ends are no sessions online", func(l *lab, _ *simulator.Config) { l.figuresWait = 30 * time.Second }, 3, true, false},
		{"one limit, and configured so", func(l *lab, cfg *simulator.Config) { l.shared, cfg.SharedLimit = true, true }, 3, true, false},
		{"one limit that nobody configured", func(_ *lab, cfg *simulator.Config) { cfg.SharedLimit = true }, 3, true, true},
		{"no count", func(_ *lab, cfg *simulator.Config) { cfg.HasCount = false }, 1, false, false},
		{"some locations", func(l *lab, _ *simulator.Config) { l.locations = []string{"a", "b"} }, 0, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := town()
			cfg.Speed = 1
			var settings lab
			c.change(&settings, &cfg)
			l := newLab(t, cfg, adaptive)
			l.figuresWait, l.shared, l.locations = settings.figuresWait, settings.shared, settings.locations
			l.reopen()
			l.run(11 * time.Minute)
			census := l.poller.Status(l.clock.Now()).Plan.Count
			if known := !census.At.IsZero(); known != c.known || l.asked[platform.Count] != c.asked {
				t.Errorf("%+v after %d requests", census, l.asked[platform.Count])
			}
			if d := census.Counted - census.Known; c.known && (census.Counted < 100 || d < -3 || d > 3) {
				t.Errorf("the platform counts %d online, %d were known", census.Counted, census.Known)
			}
			if n := strings.Count(l.log.String(), hint); n > 1 || c.hinted != (n == 1) {
				t.Errorf("%d hints:\n%s", n, l.log)
			}
		})
	}
}

// TestNothingWaitsForTheCensus: a platform that fails to count is swept all the
// same.
func TestNothingWaitsForTheCensus(t *testing.T) {
	t.Parallel()
	cfg := town()
	var err error
	if cfg.Faults, err = simulator.ParseFaults([]string{"5xx:30m/count"}); err != nil {
		t.Fatal(err)
	}
	l := newLab(t, cfg, adaptive)
	l.run(20 * time.Minute)
	if n := l.looks[plan.Count]; n < 3 || n > 5 {
		t.Errorf("%d counts", n)
	}
	if n := l.asked[platform.Sessions]; n < 19*60 {
		t.Errorf("%d requests for sessions", n)
	}
	l.check(simulator.Checker{Until: l.clock.Now().Add(-time.Minute)})
}
