package events

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestUnknownFigureIsNotZero(t *testing.T) {
	if UnknownBytes.Known() || !(Bytes{}).Known() || UnknownBytes == (Bytes{}) {
		t.Error("a figure that a record lacks cannot be told from a figure of 0 bytes")
	}
}

// TestFillFromOnlyFillsGaps: what a record shows stays, what it lacks comes from
// before, and figures are left alone.
func TestFillFromOnlyFillsGaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shown, old := genSession().Draw(t, "shown"), genSession().Draw(t, "old")
		filled := shown
		filled.FillFrom(&old)
		was, is, before := shown.attributes(), filled.attributes(), old.attributes()
		for i := range is {
			want := *was[i]
			if want == "" {
				want = *before[i]
			}
			if *is[i] != want {
				t.Fatalf("%s is %q, want %q", attributeNames[i], *is[i], want)
			}
			*is[i] = *was[i]
		}
		if want := shown.StartedAt; !want.IsZero() && !filled.StartedAt.Equal(want) || want.IsZero() && !filled.StartedAt.Equal(old.StartedAt) {
			t.Fatalf("started at %v, shown %v, before %v", filled.StartedAt, shown.StartedAt, old.StartedAt)
		}
		filled.StartedAt, shown.StartedAt = time.Time{}, time.Time{}
		if filled != shown {
			t.Fatalf("also changed: %+v, shown %+v", filled, shown)
		}
	})
}
