package poller_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/long"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/poller/plan"
)

// What these tests hold against guestflow was seen on platforms built like the
// documented one, over PostgreSQL and MariaDB.

// TestTiesEndNobody: rows of equal start stand in another order in each window, and
// in the same wrong one each time that is asked for. The list counts as sorted all
// the same, and arrivals are read at its end.
func TestTiesEndNobody(t *testing.T) {
	for _, c := range []struct {
		name    string
		planner func() plan.Strategy
		order   simulator.Order
		grain   time.Duration
		reboots float64
		largest float64
		sorted  bool
	}{
		{"newest first, minutes", adaptive, simulator.NewestFirst, time.Minute, 0, 310, true},
		{"oldest first, minutes", adaptive, simulator.OldestFirst, time.Minute, 0, 310, true},
		{"newest first, reboots", adaptive, simulator.NewestFirst, time.Second, 4, 90, true},
		{"oldest first, reboots", adaptive, simulator.OldestFirst, time.Second, 4, 90, true},
		{"one location after another", roundRobin, simulator.NewestFirst, 10 * time.Minute, 0, 310, false},
		{"moving rows", adaptive, simulator.Moving, time.Second, 0, 90, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := town()
			cfg.Speed, cfg.Order, cfg.Ties, cfg.StartGrain, cfg.RebootsPerHour = 1, c.order, true, c.grain, c.reboots
			cfg.Locations[0].MeanOnline = c.largest
			l := newLab(t, cfg, c.planner)
			l.poller.ProvenEnds = true
			l.run(long.Of(10*time.Minute, 20*time.Minute))
			clear(l.looks)
			l.run(5 * time.Minute)
			if order := l.poller.Status(l.clock.Now()).Plan.Order; c.sorted && order != c.order.String()+" first" {
				t.Errorf("the order is %q", order)
			}
			if n := l.looks[plan.Probe]; c.sorted && n < 40 {
				t.Errorf("%d probes in 5 minutes", n)
			}
			if strings.Contains(l.log.String(), "not sorted") && c.sorted {
				t.Error("the list was taken for one without order")
			}
			l.check(simulator.Checker{Until: l.clock.Now().Add(-2 * time.Minute), Slack: c.grain, Passes: 8})
		})
	}
}

// TestASurveyShowsASessionWhoseEndIsHeld: it never ended, or has come back.
func TestASurveyShowsASessionWhoseEndIsHeld(t *testing.T) {
	for seed := range long.Of[uint64](1, 4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			cfg := town()
			cfg.Seed, cfg.Speed, cfg.ResumeProbability, cfg.HasLocations = seed, 12, 0.9, false
			l := newLab(t, cfg, adaptive)
			l.poller.Rediscovery, l.figuresWait = 20*time.Second, figuresWait
			l.run(15 * time.Minute)
			if l.looks[plan.Survey] < 30 || l.looks[plan.Figures] == 0 {
				t.Errorf("looks %v", l.looks)
			}
			l.check(simulator.Checker{Until: l.clock.Now().Add(-time.Minute), Passes: 8})
		})
	}
}

// TestAnUnreadableRecordTakesNothingWithIt: the other sessions begin and end as
// ever.
func TestAnUnreadableRecordTakesNothingWithIt(t *testing.T) {
	for _, field := range []string{"location_id", "id"} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			cfg := town()
			cfg.Locations = []simulator.Location{{ID: "hall", Name: "Hall", MeanOnline: 80}, {ID: "bar", Name: "Bar", MeanOnline: 2}}
			cfg.Unreadable = []simulator.Unreadable{{Field: field, First: 1}}
			l := newLab(t, cfg, adaptive)
			l.run(time.Minute)
			since := l.clock.Now()
			l.run(10 * time.Minute)
			if l.skipped == 0 {
				t.Fatal("no record was skipped: the test shows nothing")
			}
			ended, open := l.endings(since, l.clock.Now().Add(-30*time.Second))
			if ended < 20 || open > ended/20 {
				t.Errorf("of %d sessions that ended, %d are online still", ended, open)
			}
			started, discovered := 0, 0
			for _, e := range l.events() {
				switch {
				case e.Data.Observed.At.Before(since):
				case e.Kind == events.Started:
					started++
				case e.Kind == events.Discovered:
					discovered++
				}
			}
			if started < 20 || discovered > 1 {
				t.Errorf("%d sessions started, %d were discovered", started, discovered)
			}
		})
	}
}

// TestDayFiltersOfAnyZoneHideNobody: where a day ends at another time, and "after" it
// does not include it, the history is asked for so that it has everybody.
func TestDayFiltersOfAnyZoneHideNobody(t *testing.T) {
	for _, hours := range []int{-8, 0, 13} {
		t.Run(fmt.Sprint(hours), func(t *testing.T) {
			t.Parallel()
			cfg := town()
			cfg.Order, cfg.ExclusiveDates, cfg.DayZone = simulator.OldestFirst, true, time.FixedZone("", hours*3600)
			cfg.Locations = append(cfg.Locations[:3:3], simulator.Location{
				ID: "gate", Name: "Gate", MeanOnline: 10, Stay: simulator.Stay{Mean: 30 * time.Second, Sigma: 0.5},
			})
			l := newLab(t, cfg, adaptive)
			l.run(5 * time.Minute)
			since := l.clock.Now()
			l.pass(3 * time.Minute)
			l.restart()
			clear(l.looks)
			l.run(10 * time.Minute)
			total := 0
			for _, n := range l.looks {
				total += n
			}
			if n := l.looks[plan.Probe]; n == 0 || n > total/3 {
				t.Errorf("%d probes of %d looks", n, total)
			}
			l.checkHistory(since, l.clock.Now().Add(-time.Minute))
		})
	}
}

// TestRestartsForgetNoBound: a change is not said to have come before the stream's
// own last word on the session, less the time that an answer may take.
func TestRestartsForgetNoBound(t *testing.T) {
	t.Parallel()
	cfg := town()
	cfg.Speed = 1
	l := newLab(t, cfg, adaptive)
	l.run(5 * time.Minute)
	for range 4 {
		l.pass(2 * time.Minute)
		l.restart()
		l.run(40 * time.Second)
	}
	last := make(map[string]time.Time)
	ends := 0
	for _, e := range l.events() {
		id, o := e.Data.Session.ID, e.Data.Observed
		if e.Kind == events.Ended && o.End != events.EndReported {
			ends++
			if before := last[id].Add(-15 * time.Second); o.NotYetAt.Before(before) {
				t.Errorf("session %s had not ended at %v, and an event of %v showed it", id, o.NotYetAt, last[id])
			}
		}
		last[id] = o.At
	}
	if ends < 20 {
		t.Errorf("only %d ends", ends)
	}
}

// visitor is a session of a platform that a test writes itself.
type visitor struct {
	id, location string
	from, to     time.Duration // since the beginning; zero to is online to the end
	// row is where it stands in a list in order of rows: a database without ORDER BY.
	row int
	kB  int // downloaded; zero is 1 MB
}

// scripted answers requests from a list in some order: newest, oldest, row or id. The
// guests may be changed while it does.
func (l *lab) scripted(order string, guests []visitor) {
	online := func(g visitor, at time.Duration) bool { return g.from <= at && (g.to == 0 || at < g.to) }
	l.intercept = func(r *http.Request) *http.Response {
		at, q := l.clock.Now().Sub(l.began), r.URL.Query()
		answer := func(data any, more bool) *http.Response {
			next := any(nil)
			if more {
				next = "http://platform.test/api/sessions?page=2"
			}
			b, err := json.Marshal(map[string]any{"data": data, "links": map[string]any{"next": next}, "meta": map[string]any{"per_page": q.Get("per_page")}})
			if err != nil {
				l.t.Fatal(err)
			}
			return &http.Response{StatusCode: http.StatusOK, Request: r, Header: http.Header{
				"Content-Type": {"application/json"}, "Date": {l.clock.Now().UTC().Format(http.TimeFormat)},
			}, Body: io.NopCloser(strings.NewReader(string(b)))}
		}
		switch {
		case strings.HasSuffix(r.URL.Path, "/locations"):
			return answer([]map[string]any{{"id": "L1", "name": "One"}, {"id": "L2", "name": "Two"}}, false)
		case !strings.HasSuffix(r.URL.Path, "/sessions"):
			return &http.Response{StatusCode: http.StatusNotFound, Request: r, Header: http.Header{}, Body: http.NoBody}
		}
		list := slices.DeleteFunc(slices.Clone(guests), func(g visitor) bool {
			return g.from > at || q.Get("online") != "" && !online(g, at) ||
				q.Get("location_id") != "" && q.Get("location_id") != g.location || q.Get("guest_id") != "" && q.Get("guest_id") != g.id
		})
		slices.SortStableFunc(list, func(a, b visitor) int {
			switch order {
			case "newest":
				return cmp.Compare(b.from, a.from)
			case "oldest":
				return cmp.Compare(a.from, b.from)
			case "row":
				return cmp.Compare(a.row, b.row)
			}
			return cmp.Compare(a.id, b.id)
		})
		page, _ := strconv.Atoi(q.Get("page"))
		size, _ := strconv.Atoi(q.Get("per_page"))
		from := min(max(0, page-1)*size, len(list))
		to := min(from+size, len(list))
		records := []map[string]any{}
		for _, g := range list[from:to] {
			record := map[string]any{
				"id": g.id, "location_id": g.location, "guest_id": g.id, "start_time": l.began.Add(g.from).Format(time.RFC3339), "end_time": nil,
				"connection_status": "Online", "connection_status_value": 1, "total_duration": "00:01:00", "downloaded_data": "1 MB", "uploaded_data": "1 MB",
			}
			if g.kB > 0 {
				record["downloaded_data"] = fmt.Sprintf("%d kB", g.kB)
			}
			if !online(g, at) {
				record["end_time"], record["connection_status"], record["connection_status_value"] = l.began.Add(g.to).Format(time.RFC3339), "Offline", 0
			}
			records = append(records, record)
		}
		return answer(records, to < len(list))
	}
}

// seen says when the events of a kind were committed, by session, since the
// beginning.
func (l *lab) seen(kinds ...events.Kind) map[string]time.Duration {
	at := make(map[string]time.Duration)
	l.looked = func(r poller.Report) {
		for i := range r.Changes {
			if e := &r.Changes[i]; slices.Contains(kinds, e.Kind) {
				at[e.Data.Session.ID] = r.At.Sub(l.began)
			}
		}
	}
	return at
}

// TestSmallEstatesAreQuick: whoever tries guestflow with their own phone sees it come
// and go within seconds, from the first minute on.
func TestSmallEstatesAreQuick(t *testing.T) {
	const (
		soon  = 5 * time.Second
		comes = 20 * time.Second
		goes  = 80 * time.Second
	)
	for _, order := range []string{"newest", "oldest", "id"} {
		for name, planner := range map[string]func() plan.Strategy{"adaptive": adaptive, "round robin": roundRobin} {
			for before := range 4 {
				for after := range before + 1 {
					t.Run(fmt.Sprintf("%s, %s, %d to %d", order, name, before, after), func(t *testing.T) {
						t.Parallel()
						// One more comes to those who are there, and leaves with some of them.
						guests := []visitor{{id: "phone", location: "L1", from: comes, to: goes}}
						for i := range before {
							g := visitor{id: fmt.Sprint("guest", i), location: fmt.Sprint("L", i%2+1), from: -time.Duration(i) * time.Minute}
							if i >= after {
								g.to = goes
							}
							guests = append(guests, g)
						}
						l := newLab(t, town(), planner)
						l.scripted(order, guests)
						l.run(10 * time.Second)
						ended, came := l.seen(events.Ended), make(map[string]time.Duration)
						l.run(goes - 10*time.Second)
						for _, e := range l.events() {
							if e.Kind == events.Started {
								came[e.Data.Session.ID] = e.Data.Observed.At.Sub(l.began)
							}
						}
						if at, ok := came["phone"]; !ok || at > comes+soon {
							t.Errorf("it came after %v, which was seen after %v", comes, at)
						}
						l.run(30 * time.Second)
						for _, g := range guests {
							if at, ok := ended[g.id]; ok != (g.to > 0) || ok && (at < goes || at > goes+soon) {
								t.Errorf("%s left after %v, which was seen after %v", g.id, g.to, at)
							}
						}
					})
				}
			}
		}
	}
}

// TestOneLocationsListSaysNothingOfAnother: all but one guest of a location leave, and
// somebody comes to another one.
func TestOneLocationsListSaysNothingOfAnother(t *testing.T) {
	for _, n := range []int{20, 90, 150} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			guests := []visitor{{id: "late", location: "L2", from: 5*time.Minute + 45*time.Second}}
			for i := range n {
				g := visitor{id: fmt.Sprintf("guest%d", i*7919%1000), location: "L1", from: -time.Duration(i) * time.Second}
				if i > 0 {
					g.to = 5 * time.Minute
				}
				guests = append(guests, g)
			}
			l := newLab(t, town(), adaptive)
			l.scripted("id", guests)
			l.run(5 * time.Minute)
			started, ended := l.seen(events.Started), 0
			l.run(2 * time.Minute)
			if at, ok := started["late"]; !ok || at > guests[0].from+6*time.Second {
				t.Errorf("the arrival was seen after %v; looks %v", at-guests[0].from, l.looks)
			}
			for _, e := range l.events() {
				if e.Kind == events.Ended {
					ended++
				}
			}
			if ended != n-1 {
				t.Errorf("%d ends, want %d", ended, n-1)
			}
		})
	}
}
