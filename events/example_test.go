package events_test

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/guestflow/guestflow/events"
)

// Any NATS client will do: the body says everything.
func ExampleDecode() {
	body, err := os.ReadFile("testdata/ended.json")
	if err != nil {
		panic(err)
	}
	e, err := events.Decode(body)
	if err != nil {
		panic(err)
	}
	s := e.Data.Session
	fmt.Println(e.Kind, s.LocationName, time.Duration(s.DurationSeconds)*time.Second)
	fmt.Printf("%d ± %d bytes\n", s.Downloaded.Value, s.Downloaded.Error)

	_, err = events.Decode([]byte(`{"specversion":"1.0","id":"1","source":"elsewhere"}`))
	fmt.Println(errors.Is(err, events.ErrNotEvent), err)

	// Output:
	// ended IPERA 9m5s
	// 3340000 ± 5000 bytes
	// true not a guest session event: source does not begin with guestflow/
}

func ExampleSubjects() {
	var subjects events.Subjects // with the default prefix
	fmt.Println(subjects.All())
	fmt.Println(subjects.Filter("", "pool.bar", events.Ended))
	account, location, kind, err := subjects.Parse("guest.sessions.default.pool%2Ebar.ended")
	fmt.Println(account, location, kind, err)

	// Output:
	// guest.sessions.*.*.*
	// guest.sessions.*.pool%2Ebar.ended
	// default pool.bar ended <nil>
}

// A program that keeps state of its own survives an event that comes again.
func ExampleState_Apply() {
	var state events.State
	for _, kind := range []string{"started", "traffic", "traffic", "ended"} {
		body, err := os.ReadFile("testdata/" + kind + ".json")
		if err != nil {
			panic(err)
		}
		e, err := events.Decode(body)
		if err != nil {
			panic(err)
		}
		next, err := state.Apply(e)
		switch {
		case errors.Is(err, events.ErrStale):
			fmt.Println(kind, "again")
			continue
		case errors.Is(err, events.ErrGap):
			fmt.Println("an update is missing") // go on from here, as every event holds the whole session
			next = events.StateOf(e)
		case err != nil:
			panic(err)
		}
		state = next
		fmt.Println(kind, state.Session.Online, state.Session.Downloaded.Value)
	}

	// Output:
	// started true 10250
	// traffic true 2110000
	// traffic again
	// an update is missing
	// ended false 3340000
}
