package main

import (
	"maps"
	"slices"
	"testing"
)

// TestSeedThatFailedFailsAgain, in the same way: with every mistake of these, whose
// occasions hang on different boundaries. Not every life has one.
func TestSeedThatFailedFailsAgain(t *testing.T) {
	for _, name := range []string{"an entry of the outbox is dropped", "an end at a tied border"} {
		m, found := mutantNamed(name)
		if !found {
			t.Fatalf("there is no mutant %q", name)
		}
		caught := false
		for seed := uint64(1); seed <= 10 && !caught; seed++ {
			once := simulate(t, seed, m)
			if caught = slices.ContainsFunc(m.caught, func(f Fault) bool { return once.Broken[f] > 0 }); !caught {
				continue
			}
			if again := simulate(t, seed, m); !maps.Equal(once.Broken, again.Broken) {
				t.Errorf("%s: seed %d came to %v, and to %v again", name, seed, once.Broken, again.Broken)
			}
		}
		if !caught {
			t.Errorf("%s: no seed came to %v", name, m.caught)
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
