package visit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events/visits"
	"github.com/guestflow/guestflow/internal/simulator"
)

// truthRules have short gaps, so that half an hour has many visits.
func truthRules() Rules {
	return Rules{
		Gap: 4 * time.Minute, Lateness: 2 * time.Minute, Stays: []time.Duration{10 * time.Minute},
		Groups: map[string][]string{"mall": {"venue.00", "venue.01", "venue.02"}}, Memory: 1000 * time.Hour, Lapsed: 20 * time.Minute,
	}
}

// detection is the longest time that a change may take to be seen in this journey.
const detection = 90 * time.Second

func truthPlace(location string) string {
	if slices.Contains(truthRules().Groups["mall"], location) {
		return "mall"
	}
	return location
}

// presence is a session's time at a place, as it really was.
type presence struct {
	from, to time.Time
	before   bool // it was there before anybody looked
}

// presences returns who was where when, by guest and place.
func presences(truth []simulator.Truth, began, now time.Time) map[[2]string][]presence {
	type session struct {
		guest, place string
		from         time.Time
	}
	there, out := map[string]session{}, map[[2]string][]presence{}
	leave := func(id string, at time.Time) {
		s := there[id]
		k := [2]string{s.guest, s.place}
		out[k] = append(out[k], presence{s.from, at, s.from.Before(began)})
		delete(there, id)
	}
	for _, t := range truth {
		switch t.Kind {
		case simulator.TruthStart, simulator.TruthResume:
			there[t.Session] = session{t.Guest, truthPlace(t.Location), t.Time}
		case simulator.TruthMove:
			if s := there[t.Session]; s.place != truthPlace(t.Location) {
				leave(t.Session, t.Time)
				there[t.Session] = session{s.guest, truthPlace(t.Location), t.Time}
			}
		case simulator.TruthEnd:
			leave(t.Session, t.Time)
		}
	}
	for id := range there {
		leave(id, now.Add(1000*time.Hour))
	}
	return out
}

// span is a visit as it really was.
type span struct {
	from, to time.Time
	before   bool
}

// spans joins presences into visits; clear is false where the detection of an end or of a
// whole session may make another visit of them.
func spans(list []presence, gap time.Duration) (out []span, clear bool) {
	slices.SortFunc(list, func(x, y presence) int { return x.from.Compare(y.from) })
	clear = true
	for _, p := range list {
		if p.to.Sub(p.from) < detection {
			clear = false
		}
		if n := len(out); n > 0 {
			silence := p.from.Sub(out[n-1].to)
			if silence > gap-time.Second && silence < gap+detection {
				clear = false
			}
			if silence <= gap {
				if p.to.After(out[n-1].to) {
					out[n-1].to = p.to
				}
				continue
			}
		}
		out = append(out, span(p))
	}
	return out, clear
}

// TestVisitsEqualTheTruth: forty minutes of about 150 sessions at 12 venues, as they
// come, change, roam, go and come back at four times the usual pace, while every part is
// ended and started again at random, sometimes several at once.
func TestVisitsEqualTheTruth(t *testing.T) {
	j := newTravel(t)
	r := rand.New(rand.NewPCG(1, 8))
	steps := []func(){
		func() {},
		func() { j.endService(); j.Poll(30 * time.Second); j.startService() },
		func() { j.StopPolling(); j.Pass(15 * time.Second); j.StartPolling() },
		func() { j.StopNATS(); j.Poll(40 * time.Second); j.StartNATS() },
		func() { // the service ends in an outage, and so without a checkpoint of its end
			j.StopNATS()
			j.endService()
			j.Poll(20 * time.Second)
			j.StartNATS()
			j.startService()
		},
		func() {
			j.endService()
			j.StopPolling()
			j.StopNATS()
			j.Pass(20 * time.Second)
			j.StartNATS()
			j.StartPolling()
			j.startService()
		},
		func() {
			j.endService()
			if err := j.JS.DeleteStream(t.Context(), "OBJ_"+DefaultState); err != nil {
				t.Log(err) // there was none yet
			}
			j.startService()
		},
	}
	for j.Now().Sub(epoch) < 40*time.Minute {
		j.Poll(time.Minute)
		steps[r.IntN(len(steps))]()
		j.Poll(30 * time.Second)
		j.settle()
	}
	// All that ended until now becomes certain.
	cut := j.Now()
	for j.Now().Before(cut.Add(truthRules().Gap + truthRules().Lateness + 2*detection)) {
		j.Poll(20 * time.Second)
		j.settle()
	}
	looking := j.Now()
	until(t, "every end is decided", func() bool {
		j.Pass(time.Second)
		return j.Now().Sub(looking) > 3*time.Minute
	})
	j.judge(cut)
}

// judge compares the stream of visits with what really happened, up to a time.
func (j *travel) judge(cut time.Time) {
	j.t.Helper()
	tr := &trial{t: j.t, js: j.JS}
	out := tr.stored()
	checked(j.t, out)
	type made struct {
		from, to time.Time
		last     visits.Event
	}
	got, told := map[[2]string][]made{}, tally{}
	index := map[string]int{}
	for _, o := range out {
		v := o.Event.Data.Visit
		k := [2]string{v.GuestID, v.Place}
		if o.Event.Kind == visits.Started {
			index[v.ID] = len(got[k])
			got[k] = append(got[k], made{from: v.StartedAt, last: o.Event})
			continue
		}
		m := &got[k][index[v.ID]]
		m.last = o.Event
		if o.Event.Kind == visits.Counted {
			told["counted"]++
		}
		m.from = v.StartedAt // revised where an earlier session showed later
		if o.Event.Kind == visits.Ended {
			m.to = v.EndedAt
		}
	}
	compared, skipped := 0, 0
	for k, list := range presences(j.Truth.All(), epoch, j.Now()) {
		for _, m := range got[k] {
			j.certain(list, m.last, told)
		}
		real, clear := spans(list, truthRules().Gap)
		all := len(real)
		// Who left before anybody looked is not in the stream; who left just then may be.
		real = slices.DeleteFunc(real, func(s span) bool { return s.to.Before(epoch) })
		if len(real) == 0 {
			continue
		}
		if !clear || real[0].to.Before(epoch.Add(detection)) || real[len(real)-1].to.After(cut) && real[len(real)-1].from.After(cut.Add(-detection)) {
			skipped++
			continue
		}
		have := got[k]
		slices.SortFunc(have, func(x, y made) int { return x.from.Compare(y.from) })
		if len(have) != len(real) {
			j.t.Errorf("%s: %d visits, want %d\ngot  %v\nwant %v", k, len(have), len(real), have, real)
			continue
		}
		for i, w := range real {
			compared++
			if v, want := have[i].last.Data.Visit, int64(all-len(real)+i+1); v.Number != 0 && v.Number != want {
				j.t.Errorf("%s: visit at %v is number %d, want %d of %v", k, v.StartedAt, v.Number, want, list)
			}
			if early, late := have[i].from.Sub(w.from) < -time.Second, have[i].from.Sub(w.from) > detection; early || late && !w.before {
				j.t.Errorf("%s: began at %v, want %v", k, have[i].from, w.from)
			}
			if w.to.After(cut) {
				continue
			}
			if d := have[i].to.Sub(w.to); d < -time.Second || d > detection {
				j.t.Errorf("%s: ended at %v, want %v", k, have[i].to, w.to)
			}
		}
	}
	j.t.Logf("%d visits compared; %d guests at a place left out, since an end that is seen late could join or part their visits", compared, skipped)
	j.t.Logf("told of the visits: %v", told)
	for _, at := range []string{"first yes", "first no", "number 1", "number 2", "lapsed", "counted"} {
		if told[at] < 5 {
			j.t.Errorf("%d times %s: too little to mean anything", told[at], at)
		}
	}
	if compared < 300 || skipped > compared/2 {
		j.t.Errorf("%d visits compared, %d left out: too little to mean anything", compared, skipped)
	}
}

// tally counts what was told.
type tally map[string]int

// certain holds what is said of a visit as certain against all that the guest did at its
// place.
func (j *travel) certain(list []presence, last visits.Event, told tally) {
	j.t.Helper()
	v := &last.Data.Visit
	told["first "+string(v.First)]++
	told[fmt.Sprint("number ", v.Number)]++
	told[string(last.Kind)]++
	before := func(least time.Duration) bool {
		return slices.ContainsFunc(list, func(p presence) bool { return p.to.Before(v.StartedAt.Add(-least)) })
	}
	switch {
	case v.First == visits.Yes && before(truthRules().Gap+detection):
		j.t.Errorf("%s at %s from %v is no first visit: %v", v.GuestID, v.Place, v.StartedAt, list)
	case v.First == visits.No && !before(0):
		j.t.Errorf("%s at %s from %v is the first visit: %v", v.GuestID, v.Place, v.StartedAt, list)
	case v.Number == 1 && v.First != visits.Yes, v.Number > 1 && (v.First != visits.No || v.DaysSinceLast == nil):
		j.t.Errorf("%+v contradicts itself", v)
	}
	if last.Kind != visits.Lapsed {
		return
	}
	lapsed := v.EndedAt.Add(truthRules().Lapsed)
	if slices.ContainsFunc(list, func(p presence) bool {
		return p.from.After(v.EndedAt) && p.from.Before(lapsed.Add(-detection)) && p.to.Sub(p.from) > detection
	}) {
		j.t.Errorf("%s at %s did come back after %v: %v", v.GuestID, v.Place, v.EndedAt, list)
	}
}
