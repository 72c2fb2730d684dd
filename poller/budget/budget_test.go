package budget

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// TestNeverOverTheLimit: however long answers take, whether they are waited for or not, and
// however often the process is killed and started again, no 60 s of the server's clock hold
// more requests than the limit.
func TestNeverOverTheLimit(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		path := filepath.Join(dir, time.Duration(n).String())
		limit := rapid.IntRange(1, 20).Draw(t, "limit")
		open := func(now time.Time) (*Budget, *Log) {
			log, err := OpenLog(path, limit)
			if err != nil {
				t.Fatal(err)
			}
			return New(limit, log, now), log
		}
		now := noon
		b, log := open(now)
		var counted []time.Time
		type request struct {
			came     time.Time
			ended    Ended
			answered bool
		}
		var underWay []request
		pass := func(to time.Time) {
			slices.SortFunc(underWay, func(a, b request) int { return a.came.Compare(b.came) })
			for len(underWay) > 0 && !underWay[0].came.After(to) {
				underWay[0].ended(underWay[0].came, underWay[0].answered)
				underWay = underWay[1:]
			}
			now = to
		}
		for range rapid.IntRange(1, 150).Draw(t, "requests") {
			for at := b.Next(now); at.After(now); at = b.Next(now) {
				pass(at)
			}
			ended, _ := b.Take(now)
			trip := time.Duration(rapid.IntRange(0, 3000).Draw(t, "trip, ms")) * time.Millisecond
			share := rapid.Float64Range(0, 1).Draw(t, "counted at")
			killed := rapid.IntRange(0, 9).Draw(t, "killed") == 0
			answered := !killed && rapid.IntRange(0, 4).Draw(t, "given up") > 0
			held := trip
			if !answered {
				held += queued
			}
			counted = append(counted, now.Add(time.Duration(share*float64(held))))
			if !killed && len(underWay) < 3 && rapid.Bool().Draw(t, "beside the next") {
				underWay = append(underWay, request{now.Add(trip), ended, answered})
				continue
			}
			pass(now.Add(trip))
			if killed {
				// Before the end was noted, or after.
				if rapid.Bool().Draw(t, "noted") {
					ended(now, false)
				}
				if err := log.Close(); err != nil {
					t.Fatal(err)
				}
				underWay = nil // The server counts them all the same.
				now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "away, s")) * time.Second)
				b, log = open(now)
				continue
			}
			ended(now, answered)
		}
		log.Close()
		slices.SortFunc(counted, time.Time.Compare)
		first := 0
		for i, at := range counted {
			for at.Sub(counted[first]) > Window {
				first++
			}
			if i-first+1 > limit {
				t.Fatalf("%d requests from %v to %v, the limit is %d", i-first+1, counted[first], at, limit)
			}
		}
	})
}

// TestBudgetIsUsed: with work to do, at least 98 % of the limit, one answer in a
// hundred being 2 s late.
func TestBudgetIsUsed(t *testing.T) {
	b := New(60, nil, noon)
	now, sent := noon, 0
	const hours = 3
	for now.Sub(noon) < hours*time.Hour {
		for at := b.Next(now); at.After(now); at = b.Next(now) {
			now = at
		}
		ended, _ := b.Take(now)
		sent++
		trip := time.Duration(50+sent*37%150) * time.Millisecond
		if sent%100 == 0 {
			trip = 2 * time.Second
		}
		now = now.Add(trip)
		ended(now, true)
	}
	if want := hours * 3600 * 98 / 100; sent < want {
		t.Errorf("%d requests in %d h, want at least %d", sent, hours, want)
	}
}

// TestHighBudgetIsUsed: at 5 ms from request to request, though timers wake who waits a
// millisecond late, and once in a while something takes the processor for longer; and what
// goes out at once to make up for that exceeds it in no minute.
func TestHighBudgetIsUsed(t *testing.T) {
	const limit, minutes = 12_000, 5
	b := New(limit, nil, noon)
	now, sent := noon, 0
	var counted []time.Time // by the platform, between request and answer
	for now.Sub(noon) < minutes*time.Minute {
		for at := b.Next(now); at.After(now); at = b.Next(now) {
			now = at.Add(time.Duration(sent*37%1500) * time.Microsecond)
		}
		if sent%1000 == 0 {
			now = now.Add(80 * time.Millisecond)
		}
		ended, at := b.Take(now)
		if ended == nil {
			t.Fatalf("no request at %v, which was said to be free; the next one at %v", now, at)
		}
		sent++
		ended(now.Add(3*time.Millisecond), true) // others go out meanwhile
		counted = append(counted, now.Add(time.Duration(sent%4)*time.Millisecond))
	}
	slices.SortFunc(counted, time.Time.Compare)
	for i := range counted[limit:] {
		if took := counted[i+limit].Sub(counted[i]); took < Window {
			t.Fatalf("%d requests within %v, up to %v", limit+1, took, counted[i+limit])
		}
	}
	if want := minutes * limit * 98 / 100; sent < want {
		t.Errorf("%d requests in %d min, want at least %d", sent, minutes, want)
	}
}

func TestRefusalShrinksTheBudgetForAWhile(t *testing.T) {
	b := New(60, nil, noon)
	b.Refused(noon, 30*time.Second)
	if at := b.Next(noon); at.Before(noon.Add(30 * time.Second)) {
		t.Errorf("a request may go out at %v, before the wait is over", at)
	}
	if _, limit := b.Used(noon); limit >= 60 || limit < 1 {
		t.Errorf("the limit is %d after a refusal", limit)
	}
	if _, limit := b.Used(noon.Add(10 * time.Minute)); limit != 60 {
		t.Errorf("the limit is %d ten minutes later, want 60", limit)
	}
}

func TestPlatformsLowerLimitIsKept(t *testing.T) {
	b := New(60, nil, noon)
	b.Allowed(noon, 30)
	if _, limit := b.Used(noon); limit != 30 {
		t.Errorf("the limit is %d, want the platform's 30", limit)
	}
	b.Allowed(noon, -1)
	if _, limit := b.Used(noon); limit != 30 {
		t.Errorf("an answer without the header made the limit %d", limit)
	}
}

// TestDamagedLogCountsAsFull: nothing is known, so nothing goes out for a window.
func TestDamagedLogCountsAsFull(t *testing.T) {
	for name, content := range map[string][]byte{"rubbish": []byte("rubbish"), "another size": make([]byte, 4096)} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "requests")
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			log, err := OpenLog(path, 60)
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			if at := New(60, log, noon).Next(noon); at.Before(noon.Add(Window)) {
				t.Errorf("a request may go out at %v", at)
			}
		})
	}
}

// TestClaimedRequestIsKept for who made the claim, and lapses.
func TestClaimedRequestIsKept(t *testing.T) {
	b := New(60, nil, noon)
	ended, _ := b.Take(noon)
	ended(noon, true)
	at := b.Next(noon)
	b.Claim(noon)
	if later := b.Next(noon); later.Sub(at) < 900*time.Millisecond {
		t.Errorf("the claimed request at %v is offered to others at %v", at, later)
	}
	if taken, _ := b.Take(at); taken != nil {
		t.Error("somebody else took the claimed request")
	}
	taken, _ := b.TakeClaimed(at)
	if taken == nil {
		t.Fatal("the claim was not honoured")
	}
	taken(at, true)
	if again, free := b.TakeClaimed(at); again != nil || free.Sub(at) < 900*time.Millisecond {
		t.Errorf("two requests at once, the next at %v", free)
	}
	b.Claim(at)
	lapsed := at.Add(5 * time.Second)
	if free := b.Next(lapsed); !free.Equal(lapsed) {
		t.Errorf("a claim that nobody took holds others back to %v", free)
	}
}
