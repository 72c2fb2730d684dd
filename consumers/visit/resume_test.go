package visit

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/forgotten"
	"github.com/guestflow/guestflow/events/visits"
)

// lookingUntil are a service's settings under which the time goes on by a minute whenever it
// is asked, up to one.
func (tr *trial) lookingUntil(minute int) Settings {
	settings, now := tr.settings(), 11
	settings.LookedAt = func(string) time.Time {
		now = min(now+1, minute)
		return sec(60 * now)
	}
	return settings
}

// untilSaved waits for a checkpoint behind a session event.
func (tr *trial) untilSaved(sequence uint64) {
	tr.t.Helper()
	s := New(tr.settings())
	until(tr.t, "a checkpoint has every event", func() bool {
		c, err := s.load(tr.t.Context(), tr.js)
		return err == nil && c != nil && c.Snapshot.Sequence == sequence
	})
}

// TestTimeGoesOnInASilenceAfterARestart: the last guest of the evening has left, the service
// is restarted, and nobody comes before the morning.
func TestTimeGoesOnInASilenceAfterARestart(t *testing.T) {
	t.Parallel()
	for name, looks := range map[string]bool{"looked at here": true, "looked at elsewhere": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t, story(t, `
				started s1 g1 d1 a 0
				ended s1 g1 d1 a 10`))
			s, stop := tr.start()
			tr.publish(2)
			until(t, "every event is in", tr.reached(s))
			tr.untilSaved(2)
			stop()
			settings := tr.settings()
			if !looks {
				settings.LookedAt = nil
				later := time.Duration(0)
				settings.Now = func() time.Time { later += 20 * time.Second; return time.Now().Add(later) }
			}
			s, stop = tr.startWith(settings)
			tr.over.Store(true)
			until(t, "the visit is over", func() bool { st := s.Status(); return st.Live && st.Open == 0 })
			stop()
			checked(t, tr.stored())
		})
	}
}

// twoAccounts has one guest who leaves, and another in another account.
func twoAccounts(t *testing.T) *trial {
	t.Helper()
	list := story(t, `
		started s1 g1 d1 a 0
		ended s1 g1 d1 a 10
		started s2 g2 d2 b 11
		traffic s2 g2 d2 b 45
		traffic s2 g2 d2 b 46`)
	for i := range list[2:] {
		e := &list[2+i].Event
		e.Account = "other"
		*e = e.Sealed()
	}
	tr := newTrial(t, list)
	_, err := tr.js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: visits.DefaultStream, Subjects: []string{visits.Subjects{}.All()}, Duplicates: 100 * time.Millisecond, // what comes twice is refused for no longer
	})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// TestPausedProcessSavesNoStateThatLacksWhatWasPublished: another one decided meanwhile.
func TestPausedProcessSavesNoStateThatLacksWhatWasPublished(t *testing.T) {
	t.Parallel()
	tr := twoAccounts(t)
	paused, resume := tr.startWith(tr.lookingUntil(11))
	tr.publish(3)
	until(t, "every event is in", tr.reached(paused))
	s, stop := tr.startWith(tr.lookingUntil(60))
	until(t, "one visit is over", func() bool { st := s.Status(); return st.Live && st.Open == 1 })
	stop()
	tr.publish(2)
	tr.untilSaved(5)
	resume()
	s, stop = tr.startWith(tr.lookingUntil(120))
	until(t, "time went on", func() bool { st := s.Status(); return st.Live && st.Open == 1 })
	stop()
	checked(t, tr.stored())
}

// TestStepThatACheckpointLacksIsTaken: it was published while a process that had read more
// saved its state.
func TestStepThatACheckpointLacksIsTaken(t *testing.T) {
	t.Parallel()
	tr := twoAccounts(t)
	tr.publish(5)
	states := [2]*Reducer{NewReducer(testRules()), NewReducer(testRules())}
	var out []Output
	for i, m := range tr.list {
		states[0].Apply(m)
		if i < 3 {
			out = append(out, states[1].Apply(m)...)
		}
	}
	last := uint64(len(out))
	out = append(out, states[1].Tick(events.DefaultAccount, sec(60*44))...)
	if len(out) != int(last)+1 {
		t.Fatalf("%d events before, %d with the tick", last, len(out))
	}
	for _, o := range out {
		m, err := message(visits.Subjects{}, o)
		if err == nil {
			_, err = tr.js.PublishMsg(t.Context(), m)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	info := func(name string) *jetstream.StreamInfo {
		stream, err := tr.js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return stream.CachedInfo()
	}
	err := New(tr.settings()).save(t.Context(), tr.js, checkpoint{
		Input: info(events.DefaultStream).Created, Anchor: tr.list[4].Event.ID, Visits: info(visits.DefaultStream).Created, Last: last, Snapshot: states[0].Snapshot(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s, stop := tr.startWith(tr.lookingUntil(120))
	until(t, "time went on", func() bool { st := s.Status(); return st.Live && st.Open == 1 })
	stop()
	checked(t, tr.stored())
}

// TestErasedEventsAreNotMissed: who was forgotten while no visits were made is no reason to
// keep the stream longer.
func TestErasedEventsAreNotMissed(t *testing.T) {
	t.Parallel()
	for name, listed := range map[string]bool{"erased": true, "gone by their age": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t, story(t, `
				started s1 g1 d1 a 0
				started s2 g2 d2 a 1
				started s3 g3 d3 a 2`))
			s, stop := tr.start()
			tr.publish(1)
			until(t, "every event is in", tr.reached(s))
			tr.untilSaved(1)
			stop()
			tr.publish(2)
			input, err := tr.js.Stream(t.Context(), events.DefaultStream)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range []uint64{1, 2} {
				if err := input.SecureDeleteMsg(t.Context(), n); err != nil {
					t.Fatal(err)
				}
			}
			if listed {
				tr.server.CreateStream(forgotten.DefaultStream, forgotten.ListSubject)
				entry, _ := json.Marshal(forgotten.Entry{Erased: []forgotten.Erased{{Stream: events.DefaultStream, Created: input.CachedInfo().Created, Sequences: []uint64{1, 2}}}})
				if _, err := tr.js.Publish(t.Context(), forgotten.ListSubject, entry); err != nil {
					t.Fatal(err)
				}
			}
			var log bytes.Buffer
			settings := tr.settings()
			settings.Log = slog.New(slog.NewTextHandler(&log, nil))
			s, stop = tr.startWith(settings)
			until(t, "every event is in", tr.reached(s))
			stop()
			if said := strings.Contains(log.String(), "left their stream before they were read"); said == listed {
				t.Errorf("the log says that events are missing: %v\n%s", said, log.String())
			}
		})
	}
}

// TestDamagedCheckpointIsNone: parts of it may be lost with a disk, or be deleted by hand.
func TestDamagedCheckpointIsNone(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(jetstream.Stream) error{
		"parts are gone": func(s jetstream.Stream) error {
			return s.Purge(t.Context(), jetstream.WithPurgeSubject("$O."+DefaultState+".C.>"))
		},
		"its description is cut": func(s jetstream.Stream) error {
			m, err := s.GetLastMsgForSubject(t.Context(), "$O."+DefaultState+".M.>")
			if err == nil {
				err = s.DeleteMsg(t.Context(), m.Sequence)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t, story(t, `
				started s1 g1 d1 a 0
				started s2 g2 d2 a 1`))
			s, stop := tr.start()
			tr.publish(1)
			until(t, "every event is in", tr.reached(s))
			tr.untilSaved(1)
			stop()
			store, err := tr.js.Stream(t.Context(), "OBJ_"+DefaultState)
			if err == nil {
				err = damage(store)
			}
			if err != nil {
				t.Fatal(err)
			}
			tr.publish(1)
			settings, later := tr.settings(), time.Duration(0)
			settings.Now = func() time.Time { later += 5 * time.Second; return time.Now().Add(later) }
			s, stop = tr.startWith(settings)
			until(t, "every event is in", tr.reached(s))
			stop()
			checked(t, tr.stored())
		})
	}
}

// TestTimeStandsStillWhereSomebodyElseLooks: who does not see that the platform is away would
// end the visits of guests who come back meanwhile.
func TestTimeStandsStillWhereSomebodyElseLooks(t *testing.T) {
	t.Parallel()
	tr := newTrial(t, story(t, `
		started s1 g1 d1 a 0
		ended s1 g1 d1 a 10`))
	var ticks, here atomic.Int64
	settings := tr.settings()
	settings.Now = func() time.Time { return time.Now().Add(time.Duration(ticks.Load()) * time.Minute) }
	settings.LookedAt = func(string) time.Time {
		if n := ticks.Add(1); here.Load() > 0 {
			return sec(60 * int(n))
		}
		return time.Unix(0, 1)
	}
	s, stop := tr.startWith(settings)
	tr.publish(2)
	until(t, "every event is in", tr.reached(s))
	until(t, "two hours have gone by", func() bool { return ticks.Load() > 120 })
	if n := s.Status().Open; n != 1 {
		t.Errorf("%d visits are open, want that of the guest who has just left", n)
	}
	here.Store(1)
	until(t, "the visit is over", func() bool { return s.Status().Open == 0 })
	stop()
	checked(t, tr.stored())
}
