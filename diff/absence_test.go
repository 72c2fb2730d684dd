package diff_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
)

// step is one look at the hall and what it tells.
type step struct {
	whole bool
	shown []events.Session
	want  string
}

func TestEndNeedsProof(t *testing.T) {
	a, b := session("a"), session("b")
	gone := session("b", offline(minute(1)))
	both, one, none := []events.Session{a, b}, []events.Session{a}, []events.Session(nil)
	first := step{true, both, "discovered a, discovered b"}
	tests := []struct {
		name  string
		steps []step
	}{
		{"a part of a list never ends", []step{
			first, {false, one, ""}, {false, one, ""}, {false, none, ""},
		}},
		{"a whole list ends at once", []step{
			first, {true, one, "ended b inferred"}, {true, none, "ended a inferred"}, {true, none, ""},
		}},
		{"absence from a part is not counted", []step{
			first, {false, one, ""}, {true, both, ""}, {false, one, ""}, {true, one, "ended b inferred"},
		}},
		{"the platform's report is proof in any list", []step{
			first, {false, []events.Session{gone}, "ended b reported"}, {false, []events.Session{gone}, ""}, {true, one, ""},
		}},
		{"a report counts where the list is whole, too", []step{
			first, {true, []events.Session{a, gone}, "ended b reported"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger(diff.Rules{})
			for i, s := range tt.steps {
				tell := l.part
				if s.whole {
					tell = l.look
				}
				if got := told(tell(t, "hall", list(i, s.shown...))); got != s.want {
					t.Fatalf("look %d tells\n%q, want\n%q", i, got, s.want)
				}
			}
		})
	}
}

// Whoever is expected, online and not shown has ended, unless another look saw it
// since this one began; nobody else has.
func TestWhoIsExpectedAndAbsentHasEnded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger(genRules().Draw(t, "rules"))
		for n := range rapid.IntRange(2, 30).Draw(t, "looks") {
			snap := list(n)
			snap.From = snap.From.Add(-minutes(rapid.IntRange(0, 2).Draw(t, "slow by")))
			snap.Presumed = rapid.Bool().Draw(t, "presumed")
			known := l.known("hall")
			known.Expected = nil
			var want []string
			for _, id := range people[:4] {
				state, tracked := l.states[id]
				expected := tracked && rapid.Bool().Draw(t, "expected "+id)
				if expected {
					known.Expected = append(known.Expected, state)
				}
				if rapid.Bool().Draw(t, "shown "+id) {
					snap.Sessions = append(snap.Sessions, session(id))
				} else if expected && state.Session.Online && !state.SeenAt.After(snap.From) {
					want = append(want, id)
				}
			}
			end := events.EndInferred
			if snap.Presumed {
				end = events.EndPresumed
			}
			var got []string
			for _, e := range l.compare(t, "hall", known, snap) {
				if e.Kind == events.Ended {
					got = append(got, e.Data.Session.ID)
					if e.Data.Observed.End != end {
						t.Fatalf("session %s ended %q, want %q", e.Data.Session.ID, e.Data.Observed.End, end)
					}
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("ended %q, want %q", got, want)
			}
		}
	})
}

// A session can come online, and be seen by another look, after the page on which
// it would stand was read.
func TestListSaysNothingOfWhatCameAfterIt(t *testing.T) {
	l := newLedger(diff.Rules{})
	l.look(t, "hall", list(0))
	slow := list(1)
	slow.At = minute(5)
	l.part(t, "hall", list(3, session("a", startedAt(minute(2)))))
	if got := told(l.look(t, "hall", slow)); got != "" {
		t.Errorf("a list begun before a was seen tells %q", got)
	}
	if got := told(l.look(t, "hall", list(6))); got != "ended a inferred" {
		t.Errorf("a list begun after a was seen tells %q", got)
	}
}

// TestSetBackClockKeepsNobodyOnline: what was seen a day from now was told by a clock that
// has been set back since, and is no sight of a later look.
func TestSetBackClockKeepsNobodyOnline(t *testing.T) {
	l := newLedger(diff.Rules{})
	l.look(t, "hall", list(0))
	l.look(t, "hall", list(24*60, session("a", startedAt(minute(2)))))
	events := l.look(t, "hall", list(3))
	if got := told(events); got != "ended a inferred" {
		t.Fatalf("a list without a tells %q", got)
	}
	if o := events[0].Data.Observed; o.NotYetAt.After(o.At) {
		t.Errorf("it had not ended at %v, after it had at %v", o.NotYetAt, o.At)
	}
}

func TestEndedSessionIsNotMissed(t *testing.T) {
	l := newLedger(diff.Rules{})
	l.look(t, "hall", list(0, session("a")))
	l.look(t, "hall", list(1))
	known := diff.Known{Expected: []events.State{l.states["a"]}}
	if again := diff.Compare(known, list(2), diff.Rules{}); len(again) > 0 {
		t.Errorf("the end of an ended session is told again: %q", told(again))
	}
}
