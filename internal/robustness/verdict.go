package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/platform"
)

// Fault is one way to break a promise, in the README's words.
type Fault string

// The faults that a Checker tells apart.
const (
	Lost      Fault = "lost"           // served, or proven gone, and not in the stream
	Duplicate Fault = "duplicate"      // an event or a revision twice
	Reordered Fault = "reordered"      // a revision missing or late, or a kind that cannot follow
	Premature Fault = "premature"      // an end of a session that was online, or a return of one that never left
	Phantom   Fault = "phantom"        // an event of a session that never was
	Wrong     Fault = "wrong"          // figures, times or attributes that were not so
	Late      Fault = "late"           // in the stream long after it was seen, though nothing hindered it
	OverLimit Fault = "over the limit" // more requests in a minute than are permitted
	Stopped   Fault = "stopped"        // a process ended, or a message cannot be read
)

// faultOf puts the violations that the simulator's checker finds in these words.
var faultOf = map[simulator.Violation]Fault{
	simulator.Lost: Lost, simulator.EndMissing: Lost, simulator.Stale: Lost,
	simulator.DuplicateID: Duplicate, simulator.DuplicateRevision: Duplicate, simulator.OutOfOrder: Reordered,
	simulator.FalseEnd: Premature, simulator.FalseResume: Premature, simulator.Unknown: Phantom,
	simulator.WrongFigures: Wrong, simulator.WrongTime: Wrong, simulator.WrongAttribute: Wrong, simulator.WrongGuest: Wrong,
}

// Checker holds a stream against the truth, and against what polls could have seen. It
// adds to the simulator's checker what needs more than the events: when they came into
// the stream, and what was asked.
type Checker struct {
	simulator.Checker
	// Trouble are times, on the stream's clock, in which events may be late.
	Trouble []simulator.Interval
	// Skew is how far the platform's clock is ahead of the stream's.
	Skew time.Duration
	// Late is how long after it was seen an event may come into the stream.
	Late time.Duration
	// Limit is the number of requests that an endpoint permits a minute; 0 is none.
	Limit int
}

// Report is what a Checker found.
type Report struct {
	*simulator.Report
	Faults map[Fault]int
	// First explains the first violation in as few lines as tell it; empty when there
	// is none.
	First string
}

// OK reports whether no promise was broken.
func (r *Report) OK() bool { return len(r.Faults) == 0 }

func (r *Report) String() string {
	var kinds []string
	for f, n := range r.Faults {
		kinds = append(kinds, fmt.Sprintf("%d × %s", n, f))
	}
	slices.Sort(kinds)
	return strings.Join(kinds, ", ")
}

// Check reads the stream in its order. ended is why reading it, or a process, ended
// early; nil in good order.
func (c Checker) Check(truth []simulator.Truth, stream []published, asks []ask, ended error) *Report {
	told := make([]events.Event, len(stream))
	for i := range stream {
		told[i] = stream[i].Event
	}
	r := &Report{Report: c.Checker.Check(truth, told), Faults: make(map[Fault]int)}
	for v, n := range r.Counts {
		r.Faults[faultOf[v]] += n
	}
	if len(r.Samples) > 0 {
		r.First = explain(first(r.Samples, told), truth, told)
	}
	c.late(r, stream)
	c.over(r, asks)
	if ended != nil {
		r.Faults[Stopped]++
		r.First = cmp.Or(r.First, "stopped: "+ended.Error())
	}
	return r
}

// late finds the events that nothing hindered, and that came late.
func (c *Checker) late(r *Report, stream []published) {
	for _, e := range stream {
		seen := e.Data.Observed.At.Add(-c.Skew)
		if e.at.Sub(seen) <= c.Late || slices.ContainsFunc(c.Trouble, func(i simulator.Interval) bool { return !e.at.Before(i.From) && !seen.After(i.To) }) {
			continue
		}
		r.Faults[Late]++
		r.First = cmp.Or(r.First, fmt.Sprintf("late: session %s, event %s: %s was seen at %v and came into the stream at %v",
			e.Data.Session.ID, e.ID, e.Kind, seen.Format(time.TimeOnly), e.at.Format(time.TimeOnly)))
	}
}

// over finds sliding minutes with too many requests to one endpoint.
func (c *Checker) over(r *Report, asks []ask) {
	if c.Limit == 0 {
		return
	}
	last := make(map[platform.Endpoint][]time.Time)
	asks = slices.SortedFunc(slices.Values(asks), func(a, b ask) int { return a.at.Compare(b.at) })
	for _, a := range asks {
		at := append(last[a.endpoint], a.at)
		if len(at) > c.Limit {
			if since := a.at.Sub(at[0]); since < budget.Window {
				r.Faults[OverLimit]++
				r.First = cmp.Or(r.First, fmt.Sprintf("over the limit: %s was asked %d times within %v, up to %v", a.endpoint, len(at), since, a.at.Format(time.TimeOnly)))
			}
			at = at[1:]
		}
		last[a.endpoint] = at
	}
}

// first is the finding that comes first in the stream; those that are about what is
// missing in it come last.
func first(found []simulator.Finding, stream []events.Event) simulator.Finding {
	at := make(map[string]int, len(stream))
	for i := range stream {
		at[stream[i].ID] = i + 1
	}
	place := func(f simulator.Finding) int {
		if f.Event == "" {
			return len(stream) + 1
		}
		return at[f.Event]
	}
	return slices.MinFunc(found, func(a, b simulator.Finding) int { return cmp.Compare(place(a), place(b)) })
}

// told is how many events of a session an explanation shows before the one in question.
const told = 4

// explain tells of one violation: what it is, how the session really lived, and what
// the stream says of it.
func explain(f simulator.Finding, truth []simulator.Truth, stream []events.Event) string {
	lines := []string{fmt.Sprintf("%s (%s)", f, faultOf[f.Violation])}
	for _, t := range truth {
		if t.Session == f.Session && t.Kind != simulator.TruthTraffic && len(lines) < 8 {
			lines = append(lines, fmt.Sprintf("  truth   %s %s at %s", t.Time.Format(time.TimeOnly), t.Kind, t.Location))
		}
	}
	var of []string
	for i, e := range stream {
		if e.Data.Session.ID != f.Session {
			continue
		}
		of = append(of, fmt.Sprintf("  stream  %s %s revision %d, number %d of the stream", e.Data.Observed.At.Format(time.TimeOnly), e.Kind, e.Data.Revision, i+1))
		if e.ID == f.Event {
			break
		}
	}
	return strings.Join(append(lines, of[max(0, len(of)-told):]...), "\n")
}
