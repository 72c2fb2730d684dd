package budget

import (
	"path/filepath"
	"testing"
	"time"
)

// TestClockThatIsSetAgesNoRequest: setting the machine's clock permits nothing, whether
// somebody runs meanwhile or not.
func TestClockThatIsSetAgesNoRequest(t *testing.T) {
	const limit = 60
	for name, step := range map[string]time.Duration{"ahead": 5 * time.Minute, "back": -5 * time.Minute} {
		for _, running := range []bool{true, false} {
			path := filepath.Join(t.TempDir(), name)
			var set time.Duration
			open := func(now time.Time) (*Budget, *Log) {
				log, err := OpenLog(path, limit)
				if err != nil {
					t.Fatal(err)
				}
				log.ahead = func() time.Duration { return time.Hour + set }
				return New(limit, log, now), log
			}
			now := noon
			b, log := open(now)
			send := func() {
				for at := b.Next(now); at.After(now); at = b.Next(now) {
					now = at
				}
				ended, _ := b.Take(now)
				ended(now, true)
			}
			for range 20 {
				send()
			}
			if running {
				set = step
				now = now.Add(step)
				log.record(20, exchange{sent: now, answered: now})
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			want := 21
			if !running {
				set = step
				now = now.Add(step)
				want = 20
			}
			b, log = open(now)
			if used, _ := b.Used(now); used != want {
				t.Errorf("clock set %s, somebody running: %t: %d requests of the last minute are known, want %d", name, running, used, want)
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
