package main

import (
	"slices"
	"testing"
)

// TestSeedThatFailedFailsAgain, in the same way: with every mistake of these, whose
// occasions hang on different boundaries.
func TestSeedThatFailedFailsAgain(t *testing.T) {
	for _, name := range []string{"an entry of the outbox is dropped", "an end at a tied border"} {
		m, found := mutantNamed(name)
		if !found {
			t.Fatalf("there is no mutant %q", name)
		}
		once, again := simulate(t, 1, m), simulate(t, 1, m)
		for _, o := range []outcome{once, again} {
			if !slices.ContainsFunc(m.caught, func(f Fault) bool { return o.Broken[f] > 0 }) {
				t.Errorf("%s: seed 1 came to %v, %v expected", name, o.Broken, m.caught)
			}
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
