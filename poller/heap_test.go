package poller_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/long"
	"github.com/guestflow/guestflow/poller/plan"
)

// What follows was seen where a platform's list has no ORDER BY: the rows of
// PostgreSQL stand as they were written last, those of MariaDB by another key.
// Nobody ever leaves in these tests, so each end is false.

// heap is n sessions of a location whose rows stand by start.
func heap(n int) []visitor {
	guests := make([]visitor, n)
	for i := range guests {
		guests[i] = visitor{id: fmt.Sprintf("a%03d", i), location: "L1", from: -time.Hour + time.Duration(i)*5*time.Second, row: i, kB: 1}
	}
	return guests
}

// stays runs a list in order of rows for five minutes, and expects no end.
func stays(t *testing.T, planner func() plan.Strategy, guests []visitor, write func(at time.Duration)) {
	t.Helper()
	l := newLab(t, town(), planner)
	l.poller.ProvenEnds = true
	l.scripted("row", guests)
	answer := l.intercept
	l.intercept = func(r *http.Request) *http.Response {
		write(l.clock.Now().Sub(l.began))
		return answer(r)
	}
	l.run(5 * time.Minute)
	ends, known := 0, 0
	for _, e := range l.events() {
		switch {
		case e.Kind == events.Ended:
			if ends++; ends == 1 {
				t.Errorf("session %s ended %v after the beginning", e.Data.Session.ID, e.Data.Observed.At.Sub(l.began))
			}
		case e.Kind.Arrival():
			known++
		}
	}
	if ends > 0 || known != len(guests) {
		t.Errorf("%d false ends; %d of %d sessions are known", ends, known, len(guests))
	}
}

var planners = map[string]func() plan.Strategy{"adaptive": adaptive, "round robin": roundRobin}

// TestRowsThatMoveWhenTheyAreWrittenEndNobody: a table that was loaded in the order of
// starts looks sorted until its rows are written.
func TestRowsThatMoveWhenTheyAreWrittenEndNobody(t *testing.T) {
	for name, planner := range planners {
		for _, n := range long.Of([]int{150, 480}, []int{150, 250, 480}) {
			for _, every := range long.Of([]time.Duration{time.Second, 20 * time.Second}, []time.Duration{time.Second, 5 * time.Second, 20 * time.Second, time.Minute}) {
				t.Run(fmt.Sprint(name, " ", n, " ", every), func(t *testing.T) {
					t.Parallel()
					guests, rng, written := heap(n), rand.New(rand.NewPCG(7, 0)), 0
					stays(t, planner, guests, func(at time.Duration) {
						for ; time.Duration(written)*every < at; written++ {
							g := &guests[rng.IntN(n)]
							g.row, g.kB = n+written, g.kB+1
						}
					})
				})
			}
		}
	}
}

// TestTheBusiestRowsAtTheEndAreNoEvidence: the guests who came last are active, and
// their rows stand at the end whatever the order. Now and then another one is.
func TestTheBusiestRowsAtTheEndAreNoEvidence(t *testing.T) {
	for name, planner := range planners {
		for _, busy := range long.Of([]int{1, 5}, []int{1, 2, 5, 20}) {
			t.Run(fmt.Sprint(name, " ", busy), func(t *testing.T) {
				t.Parallel()
				const n = 250
				guests, rng, written := heap(n), rand.New(rand.NewPCG(7, 0)), 0
				stays(t, planner, guests, func(at time.Duration) {
					for ; time.Duration(written)*time.Second < at; written++ {
						g := &guests[n-1-rng.IntN(busy)]
						if written%45 == 44 {
							g = &guests[rng.IntN(n)]
						}
						g.row, g.kB = n+written, g.kB+1
					}
				})
			})
		}
	}
}

// TestRowsThatMovedBeforeEndNobody: some were written before, none is now.
func TestRowsThatMovedBeforeEndNobody(t *testing.T) {
	for name, planner := range planners {
		for _, moved := range long.Of([]int{1, 3, 15}, []int{1, 2, 3, 8, 15, 40}) {
			t.Run(fmt.Sprint(name, " ", moved), func(t *testing.T) {
				t.Parallel()
				guests := heap(150)
				for i := range moved {
					guests[(i*41+1)%150].row = 150 + i*7%moved
				}
				stays(t, planner, guests, func(time.Duration) {})
			})
		}
	}
}

// TestARowOfAnEarlierStartEndsNobody: a location rebooted, and a row that was written
// later has a start a second before all of them.
func TestARowOfAnEarlierStartEndsNobody(t *testing.T) {
	for name, planner := range planners {
		for _, at := range []int{120, 200, 250, 300} {
			t.Run(fmt.Sprint(name, " ", at), func(t *testing.T) {
				t.Parallel()
				guests := heap(310)
				for i := range guests {
					guests[i].from = -10*time.Minute + max(0, time.Duration(i-at+50)*time.Second)
				}
				guests[at].from = -10*time.Minute - time.Second
				stays(t, planner, guests, func(time.Duration) {})
			})
		}
	}
}
