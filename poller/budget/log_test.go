package budget

import (
	"path/filepath"
	"testing"
	"testing/synctest"
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

// TestTimeAgesRequests: so it does where time is simulated, which no clock of the system is.
func TestTimeAgesRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 3
		path := filepath.Join(t.TempDir(), "requests")
		for range 2 {
			log, err := OpenLog(path, limit)
			if err != nil {
				t.Fatal(err)
			}
			b := New(limit, log, time.Now())
			if used, _ := b.Used(time.Now()); used != 0 {
				t.Errorf("%d requests of the last minute, want none", used)
			}
			for range limit {
				time.Sleep(time.Until(b.Next(time.Now()))) // virtual
				ended, _ := b.Take(time.Now())
				ended(time.Now(), true)
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(Window + Margin) // virtual
		}
	})
}
