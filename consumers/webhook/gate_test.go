package webhook

import (
	"fmt"
	"maps"
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
	late    map[int]bool // handed out again, and acked while it was on its way
}

func (s *fakeServer) ready() []int {
	var out []int
	for seq, at := range s.pending {
		if !at.After(s.now) {
			out = append(out, seq)
		}
	}
	for seq := range s.late {
		out = append(out, seq)
	}
	slices.Sort(out)
	if s.next <= len(s.session) {
		out = append(out, s.next)
	}
	return out
}

// again says when an event that was not acked may come again. Of one that was, the
// server wants to hear nothing.
func (s *fakeServer) again(seq int, wait time.Duration) {
	if !slices.Contains(s.acked, seq) {
		s.pending[seq] = s.now.Add(wait)
	}
}

// TestOrderPerSessionHolds lets a gate live through arrivals, successes, failures
// and restarts: an event is sent only when all earlier ones of its session are
// settled, and in the end all are.
func TestOrderPerSessionHolds(t *testing.T) {
	t.Parallel()
	const soonest, latest, ackWait = time.Second, 30 * time.Second, 40 * time.Second
	rapid.Check(t, func(t *rapid.T) {
		s := &fakeServer{now: time.Unix(1_800_000_000, 0), next: 1, pending: map[int]time.Time{}, late: map[int]bool{}}
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
				s.again(int(h.job.seq), h.delay)
			}
		}
		deliver := func(seq int) {
			delete(s.late, seq)
			s.again(seq, ackWait)
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
				if at, open := s.pending[seq]; open {
					delete(s.pending, seq)
					s.acked = append(s.acked, seq)
					if !at.After(s.now) && rapid.Bool().Draw(t, "late") {
						s.late[seq] = true
					}
				}
				obey(g.settled(j, s.now))
				return
			}
			wait := time.Duration(rapid.IntRange(1, 120).Draw(t, "wait")) * time.Second
			s.again(seq, min(wait, latest))
			obey(g.failed(j, s.now.Add(wait), s.now))
		}
		ask := func() {
			if settling != nil && !s.now.Before(settling.ask) && settling.confirm(len(s.pending), g.known(), s.now) {
				settling = nil
			}
			for _, seq := range g.lost(s.now, ackWait) {
				if slices.Contains(s.acked, int(seq)) {
					obey(g.forget(seq, s.now))
				}
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
				settling, s.late = nil, map[int]bool{} // what was on its way went with it
				if len(s.pending) > 0 {
					settling = newSettling(len(s.pending), uint64(s.next-1), s.now, ackWait)
				}
			case 7:
				ask()
			}
		}
		open := func() bool {
			return slices.ContainsFunc(slices.Collect(maps.Values(g.lines)), func(line []*turn) bool { return len(line) > 0 })
		}
		for round := 0; len(s.acked) < len(s.session) || open(); round++ {
			if round > 100*len(s.session)+1000 {
				t.Fatalf("stuck: acked %v of %d, pending %v, sending %v", s.acked, len(s.session), s.pending, anySending())
			}
			for _, seq := range anySending() {
				finish(seq, true)
			}
			for _, seq := range s.ready() {
				deliver(seq)
			}
			s.now = s.now.Add(soonest)
			ask()
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

// TestEventHandedOutAgainHoldsNobodyUp: the server hands an event out again when
// AckWait is over, at the very moment at which its ack is on the way.
func TestEventHandedOutAgainHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	for outcome, finish := range map[string]func(*gate, *job) orders{
		"delivered": func(g *gate, j *job) orders { return g.settled(j, now) },
		"failed":    func(g *gate, j *job) orders { return g.failed(j, now, now) },
	} {
		g := newGate(time.Second, time.Minute)
		first, second := turnOf("a", 1), turnOf("a", 2)
		g.arrive(first, now, false)
		g.arrive(second, now, false)
		if o := g.settled(first, now); len(o.send) != 1 {
			t.Fatalf("the second event is not sent after the first: %+v", o)
		}
		g.arrive(first, now, false)
		finish(g, second)
		g.settled(first, now)
		if o := g.arrive(turnOf("a", 2), now, false); outcome == "failed" && len(o.send) != 1 {
			t.Errorf("%s: the second event is not tried again", outcome)
		} else if outcome == "delivered" {
			g.settled(turnOf("a", 2), now)
		}
		g.settled(turnOf("a", 2), now)
		if o := g.arrive(turnOf("a", 3), now, false); len(o.send) != 1 {
			t.Errorf("%s: the third event of the session is held up for good", outcome)
		}
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
