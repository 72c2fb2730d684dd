package events

import "testing"

// TestWhatCanHappenAgainHasNamesOfItsOwn: only presence is named by its episode; another
// kind, one to come too, would else be dropped as the duplicate of its first.
func TestWhatCanHappenAgainHasNamesOfItsOwn(t *testing.T) {
	named := func(k Kind, revision int64) string {
		return Event{Account: "a", Kind: k, Data: Data{Revision: revision, Episode: 1, Session: Session{ID: "s"}}}.Sealed().ID
	}
	for _, k := range append(Kinds(), "idle") {
		presence := k == Discovered || k == Started || k == Resumed || k == Ended
		if again := named(k, 2) == named(k, 3); again != presence {
			t.Errorf("%s: named alike in two revisions: %t, want %t", k, again, presence)
		}
	}
}
