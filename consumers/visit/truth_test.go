package visit

import (
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
		Groups: map[string][]string{"mall": {"venue.00", "venue.01", "venue.02"}},
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
	}
	got := map[[2]string][]made{}
	index := map[string]int{}
	for _, o := range out {
		v := o.Event.Data.Visit
		k := [2]string{v.GuestID, v.Place}
		if o.Event.Kind == visits.Started {
			index[v.ID] = len(got[k])
			got[k] = append(got[k], made{from: v.StartedAt})
			continue
		}
		m := &got[k][index[v.ID]]
		m.from = v.StartedAt // revised where an earlier session showed later
		if o.Event.Kind == visits.Ended {
			m.to = v.EndedAt
		}
	}
	compared, skipped := 0, 0
	for k, list := range presences(j.Truth.All(), epoch, j.Now()) {
		real, clear := spans(list, truthRules().Gap)
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
	if compared < 300 || skipped > compared/2 {
		j.t.Errorf("%d visits compared, %d left out: too little to mean anything", compared, skipped)
	}
}
