package occupancy

import (
	"maps"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/simulator"
)

// crowd is who is online where: session by location.
type crowd map[string]string

// shown asks the interface for every location and every session.
func (j *travel) shown() (crowd, []Location) {
	j.t.Helper()
	h := j.service.Handler()
	all := crowd{}
	list := decode[locationsAnswer](j.t, get(j.t, h, "/v1/locations").Body.Bytes()).Locations
	for _, l := range list {
		path := "/v1/locations/" + l.ID + "/sessions?limit=7"
		for after := ""; ; {
			page := decode[sessionsAnswer](j.t, get(j.t, h, path+after).Body.Bytes())
			for _, s := range page.Sessions {
				all[s.ID] = l.ID
			}
			if page.Next == "" {
				break
			}
			after = "&after=" + page.Next
		}
	}
	return all, list
}

// counted counts who is online by the last event of each session.
func counted(stream []events.Event) (crowd, map[string]Location) {
	last := make(map[string]events.Session)
	for _, e := range stream {
		last[e.Data.Session.ID] = e.Data.Session
	}
	all, figures := crowd{}, make(map[string]Location)
	devices, guests := make(map[[2]string]bool), make(map[[2]string]bool)
	for id, s := range last {
		l := figures[s.LocationID]
		if s.Online {
			all[id] = s.LocationID
			l.Online++
			devices[[2]string{s.LocationID, s.DeviceMAC}] = true
			guests[[2]string{s.LocationID, s.GuestID}] = true
		}
		figures[s.LocationID] = l
	}
	for k := range devices {
		l := figures[k[0]]
		l.Devices++
		figures[k[0]] = l
	}
	for k := range guests {
		l := figures[k[0]]
		l.Guests++
		figures[k[0]] = l
	}
	return all, figures
}

// detection is the longest time that a change may take to be seen here: the outage
// of everything takes half of it.
const detection = time.Minute

// compare holds what the service shows against the stream, and both against what
// really happened.
func (j *travel) compare(stream []events.Event) {
	j.t.Helper()
	shown, list := j.shown()
	want, figures := counted(stream)
	if !maps.Equal(shown, want) {
		j.t.Errorf("the service shows other sessions than the stream has: %d, want %d", len(shown), len(want))
	}
	for _, l := range list {
		if w := figures[l.ID]; l.Online != w.Online || l.Devices != w.Devices || l.Guests != w.Guests {
			j.t.Errorf("%s: %d online, %d devices, %d guests, want %d, %d, %d", l.ID, l.Online, l.Devices, l.Guests, w.Online, w.Devices, w.Guests)
		}
		until(j.t, "the bucket says the same of "+l.ID, func() bool { return j.bucket(l) == l.Online })
	}

	truth := j.Truth.All()
	counts := make(map[simulator.TruthKind]int)
	if report := (simulator.Checker{Until: j.Sim.Now()}).Check(truth, stream); !report.OK() {
		j.t.Error(report)
	}
	present, since, served := crowd{}, make(map[string]time.Time), make(map[string]time.Time)
	returned := make(map[string]bool) // and so not told of right after the end
	for _, t := range truth {
		counts[t.Kind]++
		switch t.Kind {
		case simulator.TruthStart, simulator.TruthResume:
			present[t.Session], since[t.Session] = t.Location, t.Time
			returned[t.Session] = t.Kind == simulator.TruthResume
		case simulator.TruthEnd:
			delete(present, t.Session)
			since[t.Session] = t.Time
		case simulator.TruthServed:
			for _, id := range t.Online {
				served[id] = t.Time
			}
		case simulator.TruthLimited:
			j.t.Error("the platform refused a request")
		}
	}
	late := 0
	for id, place := range present {
		if shown[id] == place {
			continue
		}
		late++
		if age := j.Sim.Now().Sub(since[id]); age > detection || !returned[id] && !served[id].Before(since[id]) {
			j.t.Errorf("session %s is at %q since %v, and shown at %q", id, place, age, shown[id])
		}
	}
	for id, place := range shown {
		if _, online := present[id]; !online {
			late++
			if age := j.Sim.Now().Sub(since[id]); age > detection {
				j.t.Errorf("session %s is gone since %v, and shown at %q", id, age, place)
			}
		}
	}
	j.t.Logf("%v: %d events, %d online, %d shown, %d changes not seen yet", j.Now().Sub(epoch), len(stream), len(present), len(shown), late)
	if len(present) < 150 || counts[simulator.TruthResume] == 0 || counts[simulator.TruthUpdate] == 0 || late > len(present)/10 {
		j.t.Errorf("of %d sessions, %d differ: too little to mean anything, or too much", len(present), late)
	}
}

// bucket is what the bucket has as online at a location; -1 while it has nothing.
func (j *travel) bucket(l Location) int {
	store, err := j.JS.KeyValue(j.t.Context(), "guest-occupancy")
	if err != nil {
		return -1
	}
	entry, err := store.Get(j.t.Context(), Key(Place{Account: l.Account, Location: l.ID}))
	if err != nil {
		return -1
	}
	return decode[Location](j.t, entry.Value()).Online
}

// TestOccupancyEqualsTheTruth: half an hour of 250 sessions at 12 locations, as
// they come, change, roam, go and come back at thrice the usual pace. Between the
// checkpoints every part is ended and started again, at some of them several at
// once.
func TestOccupancyEqualsTheTruth(t *testing.T) {
	j := newTravel(t)
	minute := func() { j.t.Helper(); j.Poll(time.Minute) }
	restartService := func() { j.endOcc(); minute(); j.startService(); minute() }
	restartPolling := func() { minute(); j.StopPolling(); j.StartPolling(); minute() }
	restartNATS := func() { j.StopNATS(); minute(); j.StartNATS(); minute() }
	everything := func() {
		j.endOcc()
		j.StopPolling()
		j.StopNATS()
		j.Pass(30 * time.Second) // nobody looks
		j.StartNATS()
		j.StartPolling()
		j.startService()
		minute()
		minute()
	}
	serviceEndsInAnOutage := func() { // and so without a checkpoint of its end
		minute()
		j.StopNATS()
		j.endOcc()
		minute()
		j.StartNATS()
		j.startService()
	}
	pollingEndsInAnOutage := func() {
		j.StopNATS()
		minute()
		j.StopPolling()
		j.StartPolling()
		minute()
		j.StartNATS()
	}
	checkpointIsLost := func() {
		j.endOcc()
		minute()
		for _, name := range []string{"OBJ_guest-occupancy-state", "KV_guest-occupancy"} {
			if err := j.JS.DeleteStream(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		j.startService()
		minute()
	}
	steps := []struct {
		name string
		do   func()
	}{
		{"nothing", func() { minute(); minute() }},
		{"service restarted", restartService},
		{"polling restarted", restartPolling},
		{"NATS restarted", restartNATS},
		{"service ends in an outage", serviceEndsInAnOutage},
		{"polling ends in an outage", pollingEndsInAnOutage},
		{"everything restarted", everything},
		{"checkpoint lost", checkpointIsLost},
	}
	for i := 0; j.Now().Sub(epoch) < 30*time.Minute; i++ {
		s := steps[i%len(steps)]
		s.do()
		stream := j.settle()
		j.compare(stream)
		if t.Failed() {
			t.Fatalf("at checkpoint %d: %s", i+1, s.name)
		}
	}
}
