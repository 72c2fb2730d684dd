package webhook

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// fakeServer stands for a JetStream consumer that hands out messages in any order
// that the real one may: new ones in order, returned ones when their delay ends,
// lost ones again.
type fakeServer struct {
	now     time.Time
	session []string          // by sequence, from 1
	next    int               // of new messages
	pending map[int]time.Time // handed out and not acked: when they may come again
	acked   []int
}

func (s *fakeServer) ready() []int {
	var out []int
	for seq, at := range s.pending {
		if !at.After(s.now) {
			out = append(out, seq)
		}
	}
	slices.Sort(out)
	if s.next <= len(s.session) {
		out = append(out, s.next)
	}
	return out
}

// TestOrderPerSessionHolds lets a gate live through arrivals, successes, failures
// and restarts: an event is sent only when all earlier ones of its session are
// settled, and in the end all are.
func TestOrderPerSessionHolds(t *testing.T) {
	t.Parallel()
	const soonest, latest, ackWait = time.Second, 30 * time.Second, 40 * time.Second
	rapid.Check(t, func(t *rapid.T) {
		s := &fakeServer{now: time.Unix(1_800_000_000, 0), next: 1, pending: map[int]time.Time{}}
		for range rapid.IntRange(1, 30).Draw(t, "events") {
			s.session = append(s.session, rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "session"))
		}
		g := newGate(soonest, latest)
		var settling *settling
		sending := map[int]*job{}
		obey := func(o orders) {
			for _, j := range o.send {
				for earlier := 1; earlier < int(j.seq); earlier++ {
					if s.session[earlier-1] == s.session[j.seq-1] && !slices.Contains(s.acked, earlier) {
						t.Fatalf("event %d of session %s sent before %d was settled", j.seq, s.session[j.seq-1], earlier)
					}
				}
				if sending[int(j.seq)] != nil {
					t.Fatalf("event %d is sent twice at once", j.seq)
				}
				sending[int(j.seq)] = j
			}
			for _, h := range o.hold {
				if h.delay < soonest || h.delay > latest {
					t.Fatalf("event %d held for %s", h.job.seq, h.delay)
				}
				s.pending[int(h.job.seq)] = s.now.Add(h.delay)
			}
		}
		deliver := func(seq int) {
			s.pending[seq] = s.now.Add(ackWait)
			s.next = max(s.next, seq+1)
			if settling != nil && settling.saw(uint64(seq)) {
				settling = nil
			}
			obey(g.arrive(&job{seq: uint64(seq), event: notice{subject: s.session[seq-1]}}, s.now, settling != nil))
		}
		finish := func(seq int, ok bool) {
			j := sending[seq]
			delete(sending, seq)
			if ok {
				delete(s.pending, seq)
				s.acked = append(s.acked, seq)
				obey(g.settled(j, s.now))
				return
			}
			wait := time.Duration(rapid.IntRange(1, 120).Draw(t, "wait")) * time.Second
			s.pending[seq] = s.now.Add(min(wait, latest))
			obey(g.failed(j, s.now.Add(wait), s.now))
		}
		ask := func() {
			if settling != nil && !s.now.Before(settling.ask) && settling.confirm(len(s.pending), g.known(), s.now) {
				settling = nil
			}
		}
		anySending := func() []int {
			var out []int
			for seq := range sending {
				out = append(out, seq)
			}
			slices.Sort(out)
			return out
		}
		for range rapid.IntRange(0, 150).Draw(t, "steps") {
			switch rapid.IntRange(0, 7).Draw(t, "step") {
			case 0, 1, 2:
				if ready := s.ready(); len(ready) > 0 {
					deliver(rapid.SampledFrom(ready).Draw(t, "deliver"))
				}
			case 3, 4:
				if under := anySending(); len(under) > 0 {
					finish(rapid.SampledFrom(under).Draw(t, "finish"), rapid.Bool().Draw(t, "ok"))
				}
			case 5:
				s.now = s.now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "pass")) * time.Second)
			case 6: // the process dies: its requests may or may not have counted
				g, sending = newGate(soonest, latest), map[int]*job{}
				settling = nil
				if len(s.pending) > 0 {
					settling = newSettling(len(s.pending), uint64(s.next-1), s.now, ackWait)
				}
			case 7:
				ask()
			}
		}
		for round := 0; len(s.acked) < len(s.session); round++ {
			if round > 100*len(s.session)+1000 {
				t.Fatalf("stuck: acked %v of %d, pending %v, sending %v", s.acked, len(s.session), s.pending, anySending())
			}
			for _, seq := range anySending() {
				finish(seq, true)
			}
			for _, seq := range s.ready() {
				if _, again := s.pending[seq]; !again || !s.pending[seq].After(s.now) {
					deliver(seq)
				}
			}
			s.now = s.now.Add(soonest)
			ask()
		}
		if n := len(g.lines); n != 0 && len(anySending()) == 0 {
			for session, line := range g.lines {
				if len(line) > 0 {
					t.Fatalf("session %s still has a line of %d after the end", session, len(line))
				}
			}
		}
	})
}

func turnOf(session string, seq uint64) *job {
	return &job{seq: seq, event: notice{subject: session}}
}

func TestOnlyTheFailingSessionWaits(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	g := newGate(time.Second, time.Minute)
	a1, a2, b1 := turnOf("a", 1), turnOf("a", 2), turnOf("b", 3)
	if o := g.arrive(a1, now, false); len(o.send) != 1 {
		t.Fatal("the first event of a session is not sent")
	}
	if o := g.arrive(a2, now, false); len(o.send)+len(o.hold) != 0 {
		t.Fatalf("the second event does not wait for the first: %v", o)
	}
	if o := g.failed(a1, now.Add(time.Hour), now); len(o.send) != 0 || len(o.hold) != 1 || o.hold[0].job != a2 || o.hold[0].delay != time.Minute {
		t.Fatalf("after a failure: %+v, want the second event held for a minute", o)
	}
	if o := g.arrive(b1, now, false); len(o.send) != 1 {
		t.Error("another session waits too")
	}
	if o := g.arrive(a2, now.Add(time.Minute), false); len(o.hold) != 1 {
		t.Error("the second event overtakes the first")
	}
	if o := g.arrive(a1, now.Add(time.Hour), false); len(o.send) != 1 {
		t.Error("the first event is not sent when it is due")
	}
}

func TestEventThatLeftTheStreamFreesItsSession(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	g := newGate(time.Second, time.Minute)
	g.arrive(turnOf("a", 1), now, false)
	g.failed(turnOf("a", 1), now.Add(time.Second), now)
	g.arrive(turnOf("a", 2), now, false)
	if lost := g.lost(now.Add(time.Minute), time.Minute); len(lost) != 0 {
		t.Errorf("called lost while it may still come: %v", lost)
	}
	later := now.Add(3 * time.Minute)
	if lost := g.lost(later, time.Minute); fmt.Sprint(lost) != "[1]" {
		t.Fatalf("lost %v, want [1]", lost)
	}
	if lost := g.lost(later, time.Minute); len(lost) != 0 {
		t.Errorf("asked again at once: %v", lost)
	}
	g.forget(1, later)
	if o := g.arrive(turnOf("a", 2), later, false); len(o.send) != 1 {
		t.Error("the second event still waits for the first")
	}
}
