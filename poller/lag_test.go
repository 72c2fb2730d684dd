package poller_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/poller/plan"
)

// TestAnswersThatGoBackInTimeAreNoNews: reads are spread over a database and a replica that
// lags behind, so that who has come is absent from the next answer, who has left is shown
// again, and figures fall. That ends nobody, brings nobody back, and resets nothing; nor is
// the history given up for it. When something had not happened yet is told right as well,
// once the lag has shown.
func TestAnswersThatGoBackInTimeAreNoNews(t *testing.T) {
	for _, c := range []struct {
		name    string
		planner func() plan.Strategy
		order   simulator.Order
		lag     time.Duration
		largest float64
	}{
		{"newest first, 1 s", adaptive, simulator.NewestFirst, time.Second, 15},
		{"newest first, 5 s", adaptive, simulator.NewestFirst, 5 * time.Second, 310},
		{"newest first, 40 s", adaptive, simulator.NewestFirst, 40 * time.Second, 15},
		{"oldest first, 5 s", adaptive, simulator.OldestFirst, 5 * time.Second, 310},
		{"oldest first, 90 s", adaptive, simulator.OldestFirst, 90 * time.Second, 310},
		{"no order, 5 s", adaptive, simulator.Moving, 5 * time.Second, 110},
		{"one location after another, 8 s", roundRobin, simulator.NewestFirst, 8 * time.Second, 110},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := town()
			cfg.Order, cfg.Ties, cfg.ReplicaLag, cfg.ChangeProbability = c.order, true, c.lag, 0
			cfg.Locations[0].MeanOnline, cfg.RebootsPerHour = c.largest, 2
			l := newLab(t, cfg, c.planner)
			l.poller.ProvenEnds = true
			l.run(15 * time.Minute)
			l.check(simulator.Checker{Until: l.clock.Now().Add(-4 * time.Minute), Lag: 5*time.Second + c.lag, Passes: 20}, simulator.WrongTime)
			left := make(map[string]time.Time)
			for _, x := range l.truth.All() {
				if x.Kind == simulator.TruthEnd {
					left[x.Session] = x.Time
				}
			}
			for _, e := range l.events() {
				if d := e.Data.Change; d != nil && d.Reset {
					t.Errorf("the figures of %s fell: %+v", e.Data.Session.ID, d)
				}
				before := e.Data.Observed.NotYetAt.Sub(left[e.Data.Session.ID])
				if e.Kind == events.Ended && e.Time.Sub(l.began) > 5*time.Minute && before > 2*time.Second {
					t.Errorf("%s was online %v after its end", e.Data.Session.ID, before)
				}
			}
			if strings.Contains(l.log.String(), "cannot be used") {
				t.Error("the history was given up")
			}
			if told := strings.Contains(l.log.String(), "go back in time"); !told && c.lag > time.Second {
				t.Error("the operator was not told")
			}
		})
	}
}

// TestAnswersThatGoBackBeyondARestartAreNoNews: guestflow is started again and again within
// the lag of a replica that answers every other request.
func TestAnswersThatGoBackBeyondARestartAreNoNews(t *testing.T) {
	for _, lag := range []time.Duration{6 * time.Second, 40 * time.Second} {
		for _, largest := range []float64{15, 310} {
			t.Run(fmt.Sprint(lag, ", largest ", largest), func(t *testing.T) {
				t.Parallel()
				cfg := town()
				cfg.Order, cfg.Ties, cfg.ReplicaLag, cfg.ChangeProbability = simulator.NewestFirst, true, lag, 0
				cfg.Locations[0].MeanOnline = largest
				l := newLab(t, cfg, adaptive)
				l.run(5 * time.Minute) // the lag is found out
				early, back, fell := 0, 0, 0
				l.looked = func(r poller.Report) {
					for i := range r.Changes {
						if d := r.Changes[i].Data.Change; d != nil && d.Reset {
							fell++
						}
					}
				}
				for range 40 {
					if err := l.store.Close(); err != nil {
						t.Fatal(err)
					}
					l.open()
					l.pass(2 * time.Second)
					l.limit = 15 // what a request log would leave
					l.run(20 * time.Second)
				}
				left := make(map[string]time.Time)
				for _, x := range l.truth.All() {
					if x.Kind == simulator.TruthEnd {
						left[x.Session] = x.Time
					}
				}
				for _, e := range l.events() {
					at, gone := left[e.Data.Session.ID]
					switch {
					case e.Kind == events.Ended && (!gone || at.After(e.Data.Observed.At)):
						early++
					case e.Kind == events.Resumed:
						back++
					}
				}
				if early+back+fell > 0 {
					t.Errorf("%d false ends, %d came back, the figures of %d fell", early, back, fell)
				}
			})
		}
	}
}

// TestCountersThatBeginAnewAreNoLag: they are told of soon, where one session's do, and
// where all do at once.
func TestCountersThatBeginAnewAreNoLag(t *testing.T) {
	const anew = time.Minute
	for name, c := range map[string]struct {
		n    int
		soon time.Duration
	}{"one": {1, 15 * time.Second}, "all": {20, 2*time.Minute + 5*time.Second}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			guests := heap(20)
			l := newLab(t, town(), adaptive)
			l.scripted("newest", guests)
			answer := l.intercept
			l.intercept = func(r *http.Request) *http.Response {
				at := l.clock.Now().Sub(l.began)
				for i := range guests {
					guests[i].kB = 20_000 + 300*int(at.Seconds())
					if i < c.n && at >= anew {
						guests[i].kB = 1 + 300*int((at-anew).Seconds())
					}
				}
				return answer(r)
			}
			told := 0
			l.looked = func(r poller.Report) {
				for i := range r.Changes {
					if d := r.Changes[i].Data.Change; d != nil && d.Reset {
						if told++; r.At.Sub(l.began) > anew+c.soon {
							t.Errorf("%s began to count anew, and that was told %v later", r.Changes[i].Data.Session.ID, r.At.Sub(l.began)-anew)
						}
					}
				}
			}
			l.run(5 * time.Minute)
			if told != c.n {
				t.Errorf("told of %d, want %d", told, c.n)
			}
			if strings.Contains(l.log.String(), "go back in time") {
				t.Error("that counts as lag")
			}
		})
	}
}

// TestLateAnswersAreNoLag: answers overtake each other, and the later one may be the older.
func TestLateAnswersAreNoLag(t *testing.T) {
	for seed := range uint64(4) {
		cfg := town()
		cfg.Seed, cfg.Speed, cfg.RebootsPerHour = seed, 60, 0
		rng := rand.New(rand.NewPCG(seed, 0))
		cfg.Latency = func(uint64) time.Duration { return time.Duration(rng.IntN(8000)) * time.Millisecond }
		l := newLab(t, cfg, adaptive)
		l.run(10 * time.Minute)
		if strings.Contains(l.log.String(), "go back in time") {
			t.Errorf("seed %d: they count as lag", seed)
		}
	}
}
