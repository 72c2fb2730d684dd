package store

import (
	"fmt"
	"math"
	"testing"

	"github.com/guestflow/guestflow/events"
)

// TestLittleOfTheFileStaysInMemory once it was read and written all over. It is not
// parallel, since all of the process is measured.
func TestLittleOfTheFileStaysInMemory(t *testing.T) {
	before := resident()
	if before == math.MaxInt64 {
		t.Fatal("the system does not say how much is in memory")
	}
	s := opened(t, Options{})
	s.mostMapped = 1 << 20
	// Neighbours in a list sorted by start are in different locations.
	const all, look = 6000, 100
	for _, kind := range []events.Kind{events.Discovered, events.Updated} {
		for from := 0; from < all; from += look {
			c := Commit{}
			for i := from; i < from+look; i++ {
				session := newSession(fmt.Sprint("session", i), fmt.Sprint("venue", i%200))
				was, _, err := s.State(session.ID)
				if err != nil {
					t.Fatal(err)
				}
				c.Changes = append(c.Changes, follow(was, kind, session, s.options.Now()))
			}
			if err := s.Stage(c); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	read := int64(0)
	if err := s.All(func(events.State) bool { read++; return true }); err != nil || read != all {
		t.Fatalf("%d sessions were read, want %d: %v", read, all, err)
	}
	// All looks after each of its parts; the rest is of the program.
	if held := resident() - before; held > 4<<20 {
		t.Errorf("%d kB of the file are in memory, of which %d may be", held>>10, s.mostMapped>>10)
	}
}
