package diff_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
)

// step is one look at the hall and what it tells.
type step struct {
	proof diff.Proof
	shown []events.Session
	want  string
}

func walk(t *testing.T, rules diff.Rules, steps []step) *ledger {
	t.Helper()
	l := newLedger(rules)
	for i, s := range steps {
		if got := told(l.look(t, "hall", list(i, s.proof, s.shown...))); got != s.want {
			t.Fatalf("look %d tells\n%q, want\n%q", i, got, s.want)
		}
	}
	return l
}

func TestEndNeedsProof(t *testing.T) {
	a, b := session("a"), session("b")
	both, one, none := []events.Session{a, b}, []events.Session{a}, []events.Session(nil)
	first := step{diff.Atomic, both, "discovered a, discovered b"}
	tests := []struct {
		name  string
		rules diff.Rules
		steps []step
	}{
		{"a partial list never ends", diff.Rules{}, []step{
			first,
			{diff.Partial, one, ""}, {diff.Partial, one, ""}, {diff.Partial, none, ""},
		}},
		{"one page ends at once", diff.Rules{}, []step{
			first,
			{diff.Atomic, one, "ended b inferred"}, {diff.Atomic, none, "ended a inferred"},
		}},
		{"joined pages end the second time", diff.Rules{}, []step{
			first,
			{diff.Joined, one, "suspect b 1"}, {diff.Joined, one, "ended b inferred, cleared b"}, {diff.Joined, one, ""},
		}},
		{"presence in between clears", diff.Rules{}, []step{
			first,
			{diff.Joined, one, "suspect b 1"}, {diff.Joined, both, "cleared b"},
			{diff.Joined, one, "suspect b 1"}, {diff.Joined, one, "ended b inferred, cleared b"},
		}},
		{"presence in a partial list clears too", diff.Rules{}, []step{
			first,
			{diff.Joined, one, "suspect b 1"}, {diff.Partial, both, "cleared b"},
			{diff.Joined, one, "suspect b 1"}, {diff.Joined, one, "ended b inferred, cleared b"},
		}},
		{"absence from a partial list in between changes nothing", diff.Rules{}, []step{
			first,
			{diff.Joined, one, "suspect b 1"}, {diff.Partial, none, ""},
			{diff.Joined, one, "ended b inferred, cleared b"},
		}},
		{"one page proves a suspicion", diff.Rules{}, []step{
			first,
			{diff.Joined, one, "suspect b 1"}, {diff.Atomic, one, "ended b inferred, cleared b"},
		}},
		{"suspects ripen one by one", diff.Rules{}, []step{
			first,
			{diff.Joined, one, "suspect b 1"}, {diff.Joined, none, "ended b inferred, suspect a 1, cleared b"},
			{diff.Joined, none, "ended a inferred, cleared a"},
		}},
		{"a list of one location never ends what may have moved", diff.Rules{Roaming: true}, []step{
			first,
			{diff.Atomic, one, "suspect b 1"}, {diff.Atomic, one, "suspect b 2"},
			{diff.Joined, one, "suspect b 3"}, {diff.Joined, both, "cleared b"},
		}},
		{"the platform's report is proof in any list", diff.Rules{Roaming: true}, []step{
			first,
			{diff.Joined, one, "suspect b 1"},
			{diff.Partial, []events.Session{session("b", offline(minute(1)))}, "ended b reported, cleared b"},
			{diff.Partial, []events.Session{session("b", offline(minute(1)))}, ""},
			{diff.Atomic, one, ""},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { walk(t, tt.rules, tt.steps) })
	}
}

// A session can come online, and be seen by another look, after the page on which
// it would stand was read.
func TestListSaysNothingOfWhatCameAfterIt(t *testing.T) {
	for _, proof := range []diff.Proof{diff.Joined, diff.Atomic} {
		l := newLedger(diff.Rules{})
		l.look(t, "hall", list(0, diff.Atomic))
		slow := list(1, proof)
		slow.At = minute(5)
		l.look(t, "hall", list(3, diff.Partial, session("a", startedAt(minute(2)))))
		if got := told(l.look(t, "hall", slow)); got != "" {
			t.Errorf("a list begun before a was seen tells %q", got)
		}
		if got := told(l.look(t, "hall", list(6, diff.Atomic))); got != "ended a inferred" {
			t.Errorf("a list begun after a was seen tells %q", got)
		}
	}
}

func TestEndedSessionIsNotMissed(t *testing.T) {
	l := newLedger(diff.Rules{})
	l.look(t, "hall", list(0, diff.Atomic, session("a")))
	l.look(t, "hall", list(1, diff.Atomic))
	known := diff.Known{Expected: []events.State{l.states["a"]}}
	for _, proof := range []diff.Proof{diff.Joined, diff.Atomic} {
		if d := diff.Compare(known, list(2, proof), diff.Rules{}); !d.Empty() {
			t.Errorf("the end of an ended session is told again: %q", told(d))
		}
	}
}

func TestSuspectRemembersWhenItWasSeen(t *testing.T) {
	l := newLedger(diff.Rules{})
	l.look(t, "hall", list(0, diff.Atomic, session("a"), session("late", startedAt(minute(2)))))
	l.look(t, "hall", list(1, diff.Atomic, session("a"), session("late", startedAt(minute(2)))))
	l.look(t, "hall", list(4, diff.Joined))
	want := map[string]diff.Suspect{
		"a":    {ID: "a", LocationID: "hall", SeenAt: minute(1), Missed: 1},
		"late": {ID: "late", LocationID: "hall", SeenAt: minute(2), Missed: 1},
	}
	if !reflect.DeepEqual(l.suspects, want) {
		t.Fatalf("suspects %+v, want %+v", l.suspects, want)
	}
	for _, c := range l.look(t, "hall", list(9, diff.Joined)).Changes {
		o := c.Event.Data.Observed
		if s := want[c.State.Session.ID]; !o.NotYetAt.Equal(s.SeenAt) || !o.At.Equal(minute(9).Add(2*time.Second)) {
			t.Errorf("session %s ended between %v and %v, was last seen at %v", s.ID, o.NotYetAt, o.At, s.SeenAt)
		}
	}
}

// A list that would show the session wherever it is ends what a location's list
// only suspects.
func TestVerificationEndsASuspect(t *testing.T) {
	l := newLedger(diff.Rules{Roaming: true})
	l.look(t, "hall", list(0, diff.Atomic, session("a")))
	l.look(t, "hall", list(1, diff.Atomic))
	l.look(t, "hall", list(2, diff.Atomic))
	snap := list(3, diff.Atomic)
	d := diff.Compare(l.known("hall"), snap, diff.Rules{Account: account})
	if got := told(d); got != "ended a inferred, cleared a" {
		t.Fatalf("told %q", got)
	}
	l.take(t, snap, d)
	if o := d.Changes[0].Event.Data.Observed; !o.NotYetAt.Equal(noon) {
		t.Errorf("not yet ended at %v, was last seen at %v", o.NotYetAt, noon)
	}
}

// Suspects of other lists are none of this list's business.
func TestForeignSuspectsAreLeftAlone(t *testing.T) {
	known := diff.Known{Suspects: map[string]diff.Suspect{"x": {ID: "x", LocationID: "bar", Missed: 1}}}
	if d := diff.Compare(known, list(0, diff.Joined), diff.Rules{}); !d.Empty() {
		t.Errorf("a list without x tells %q", told(d))
	}
}

func TestUnexpectedAndMissing(t *testing.T) {
	l := newLedger(diff.Rules{})
	l.look(t, "hall", list(0, diff.Atomic, session("a"), session("b"), session("c")))
	snap := list(1, diff.Atomic, session("x"), session("b"), session("y"), session("x"), session("b"))
	if got := diff.Unexpected(l.online("hall"), snap); !slices.Equal(got, []string{"y", "x"}) {
		t.Errorf("unexpected %q", got)
	}
	if got := diff.Missing(l.online("hall"), snap); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("missing %q", got)
	}
}
