package baseline

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller/platform"
)

// today is a Friday.
var today = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// history is a platform that counts sessions of a day and less, by location and day.
type history struct {
	exclusive bool
	sessions  map[string]map[string]int // location, day
	after     int                       // requests until it fails; below 0 for ever

	mu    sync.Mutex
	asked []string
}

var errGone = errors.New("the platform is gone")

func (h *history) count(_ context.Context, location, from, before string) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.after == 0 {
		return 0, errGone
	}
	h.after--
	h.asked = append(h.asked, location+" "+from)
	for id, days := range h.sessions {
		for day, sessions := range days {
			if (location == "" || id == location) && (h.exclusive && day > from && day < before || !h.exclusive && day >= from && day <= before) {
				n += sessions
			}
		}
	}
	return n, nil
}

// fortnights is a history of so many days in which location x has 10 sessions on weekdays,
// 24 on Saturdays and 31 on Sundays, and y.z a third of that.
func fortnights(days int) map[string]map[string]int {
	all := map[string]map[string]int{"x": {}, "y.z": {}}
	for k := range days {
		day := today.AddDate(0, 0, -k)
		n := 10
		switch day.Weekday() {
		case time.Saturday:
			n = 24
		case time.Sunday:
			n = 31
		}
		all["x"][day.Format(time.DateOnly)], all["y.z"][day.Format(time.DateOnly)] = n, n/3
	}
	return all
}

func learn(t *testing.T, js jetstream.JetStream, h *history, days int) (*Book, error) {
	t.Helper()
	b := New(Settings{Days: days, Now: func() time.Time { return today }, Every: time.Hour})
	places := []string{"x", "y.z"}
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() { failed <- b.Learn(ctx, js, "my.account", func() []string { return places }, h.count) }()
	breath := time.NewTicker(2 * time.Millisecond)
	defer breath.Stop()
	defer cancel()
	for {
		select {
		case err := <-failed:
			return b, err
		case <-breath.C:
			if known, of := b.Progress("my.account", places); known == of {
				cancel()
				return b, <-failed
			}
		}
	}
}

// TestWeekdaysAreTheHistorys, whichever way the platform's days count, over failures and
// restarts, with no request twice.
func TestWeekdaysAreTheHistorys(t *testing.T) {
	want := [7]float64{10, 10, 10, 10, 10, 24, 31}
	for _, exclusive := range []bool{false, true} {
		js := natstest.New(t).JetStream()
		h := &history{exclusive: exclusive, sessions: fortnights(60), after: 40}
		if _, err := learn(t, js, h, 28); !errors.Is(err, errGone) {
			t.Fatal(err)
		}
		h.after = -1
		b, err := learn(t, js, h, 28)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := b.Days("my.account", "x"); !ok || got != want {
			t.Errorf("exclusive %v: %v, %v", exclusive, got, ok)
		}
		if got, ok := b.Days("my.account", "y.z"); !ok || got != [7]float64{3, 3, 3, 3, 3, 8, 10} {
			t.Errorf("exclusive %v: the other location: %v", exclusive, got)
		}
		sorted := slices.Sorted(slices.Values(h.asked))
		if again := len(sorted) - len(slices.Compact(sorted)); again > 0 || len(h.asked) > 2*29+2 {
			t.Errorf("exclusive %v: %d requests, %d of them repeated", exclusive, len(h.asked), again)
		}
		h.asked = nil
		if _, err := learn(t, js, h, 28); err != nil || len(h.asked) > 0 {
			t.Errorf("exclusive %v: all was known, and %q was asked (%v)", exclusive, h.asked, err)
		}
	}
}

// TestOpeningIsNoQuietTime: days before a location had its first session do not count.
func TestOpeningIsNoQuietTime(t *testing.T) {
	h := &history{sessions: fortnights(21), after: -1}
	b, err := learn(t, natstest.New(t).JetStream(), h, 90)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := b.Days("my.account", "x"); !ok || got != [7]float64{10, 10, 10, 10, 10, 24, 31} {
		t.Errorf("%v, %v", got, ok)
	}
	if _, ok := b.Days("my.account", "nowhere"); ok {
		t.Error("a location that nothing is known of")
	}
}

// TestRubbishIsLearntAnew: what other hands wrote into the bucket stops nobody's learning,
// though no platform answers a day that is none.
func TestRubbishIsLearntAnew(t *testing.T) {
	t.Parallel()
	js := natstest.New(t).JetStream()
	bucket, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: DefaultBucket})
	if err != nil {
		t.Fatal(err)
	}
	h := &history{sessions: fortnights(60), after: -1}
	for _, rubbish := range []string{`{"before":"some day","counts":[1]}`, `{"before":"2026-04-29","counts":[9,-4]}`, "rubbish"} {
		if _, err := bucket.PutString(t.Context(), token("my.account")+"."+token("y.z"), rubbish); err != nil {
			t.Fatal(err)
		}
		h.asked = nil
		b, err := learn(t, js, h, 28)
		if got, ok := b.Days("my.account", "y.z"); err != nil || !ok || got != [7]float64{3, 3, 3, 3, 3, 8, 10} {
			t.Errorf("%s: %v, %v, %v", rubbish, got, ok, err)
		}
		for _, asked := range h.asked {
			if _, err := time.Parse(time.DateOnly, asked[strings.LastIndexByte(asked, ' ')+1:]); err != nil {
				t.Errorf("%s: the platform was asked for %q", rubbish, asked)
			}
		}
	}
}

// TestHistoryIsTheSimulators: by the real client over HTTP, against what the simulator
// says happened.
func TestHistoryIsTheSimulators(t *testing.T) {
	truth := &simulator.Recorder{}
	cfg := simulator.Config{Seed: 7, HasCount: true, RateLimit: 1e6, Truth: truth.Record, History: 30 * 24 * time.Hour, Locations: []simulator.Location{
		{ID: "x", MeanOnline: 3}, {ID: "y.z", MeanOnline: 1},
	}}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	now := today.AddDate(0, 0, -16)
	sim := simulator.New(cfg, func() time.Time { return now })
	for ; !now.After(today); now = now.Add(12 * time.Hour) {
		sim.Advance()
	}
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	client, err := platform.New(platform.Config{BaseURL: server.URL, Token: "any"})
	if err != nil {
		t.Fatal(err)
	}
	js := natstest.New(t).JetStream()
	b := New(Settings{Days: 8, Now: func() time.Time { return today }})
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	err = b.Learn(ctx, js, "a", func() []string { return []string{"x"} }, func(ctx context.Context, location, from, before string) (int, error) {
		n, _, err := client.Count(ctx, platform.Query{LocationID: location, StartDate: from, EndDate: before})
		if asked++; asked == 1+9 { // one for the boundary
			cancel() // what is asked for now is not kept
		}
		return n, err
	})
	if err != nil {
		t.Fatal(err)
	}
	got, ok := New(Settings{}).Days("a", "x")
	if ok {
		t.Fatalf("an empty book knows %v", got)
	}
	var want [7]float64 // of the week before the day before yesterday
	for _, f := range truth.All() {
		if age := today.Truncate(24*time.Hour).AddDate(0, 0, -2).Sub(f.Time); f.Kind == simulator.TruthStart && f.Location == "x" && age > 0 && age <= 7*24*time.Hour {
			want[(int(f.Time.Weekday())+6)%7]++
		}
	}
	if got, ok = b.Days("a", "x"); !ok {
		t.Fatalf("nothing was learnt from %d requests", asked)
	}
	for d := range want {
		// Who came before midnight and stayed beyond the counts' end is not in them.
		if want[d] < 20 || got[d] > want[d] || got[d] < 0.9*want[d] {
			t.Errorf("weekday %d: %v sessions a day, the simulator has %v", d, got[d], want[d])
		}
	}
}
