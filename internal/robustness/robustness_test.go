package main

import (
	"slices"
	"testing"
)

// TestSeedThatFailedFailsAgain, in the same way if not as often, since disk and NATS are
// real: with every mistake of these, whose occasions hang on different boundaries. Not
// every life has one.
func TestSeedThatFailedFailsAgain(t *testing.T) {
	for _, name := range []string{"an entry of the outbox is dropped", "an end at a tied border"} {
		m, found := mutantNamed(name)
		if !found {
			t.Fatalf("there is no mutant %q", name)
		}
		caught := false
		for seed := uint64(1); seed <= 10 && !caught; seed++ {
			catches := func() (bool, map[Fault]int) {
				broken := simulate(t, seed, m).Broken
				return slices.ContainsFunc(m.caught, func(f Fault) bool { return broken[f] > 0 }), broken
			}
			if caught, _ = catches(); !caught {
				continue
			}
			if again, broken := catches(); !again {
				t.Errorf("%s: seed %d was caught, and came to %v again", name, seed, broken)
			}
		}
		if !caught {
			t.Errorf("%s: no seed came to %v", name, m.caught)
		}
	}
}

// TestLivesThatFailedOnceDoNot: lives that showed what is mended since.
func TestLivesThatFailedOnceDoNot(t *testing.T) {
	for _, seed := range []uint64{
		116057, // a record that could not be read was a session that had just come back
		210465, // who came to be known without a start, and may have been a record before that could not be read
		212872, // who was back when the answer came that proved an end
		133545, // killed where there was room again for what it had in hand since the disk was full
	} {
		if broken := simulate(t, seed, &mutant{}).Broken; len(broken) > 0 {
			t.Errorf("seed %d: %v", seed, broken)
		}
	}
}

// TestMutantsAreMany, each with a name of its own and a fault to be caught by.
func TestMutantsAreMany(t *testing.T) {
	names := make(map[string]bool)
	for _, m := range mutants {
		if names[m.name] || len(m.caught) == 0 {
			t.Errorf("mutant %q: its name is taken, or nothing catches it", m.name)
		}
		names[m.name] = true
	}
	if len(names) < 16 {
		t.Errorf("only %d mutants", len(names))
	}
}
