package diff_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
)

// crowd is a venue's live list in an order of its own. A session keeps its place
// in the order; sessions around it come and go, also between two pages.
type crowd struct {
	place   func(t *rapid.T, n int) int // where among n sessions an arrival stands
	live    []events.Session
	arrived int
}

func (c *crowd) start(t *rapid.T) {
	s := session(fmt.Sprintf("s%03d", c.arrived))
	c.arrived++
	c.live = slices.Insert(c.live, c.place(t, len(c.live)), s)
}

// churn lets up to n sessions end and as many start.
func (c *crowd) churn(t *rapid.T, n int) {
	for range rapid.IntRange(0, n).Draw(t, "ends") {
		if len(c.live) > 0 {
			i := rapid.IntRange(0, len(c.live)-1).Draw(t, "end of")
			c.live = slices.Delete(c.live, i, i+1)
		}
	}
	for range rapid.IntRange(0, n).Draw(t, "starts") {
		c.start(t)
	}
}

func (c *crowd) has(id string) bool {
	return slices.ContainsFunc(c.live, func(s events.Session) bool { return s.ID == id })
}

// read pages through the live list in overlapping windows. A list whose pages do
// not share a session, or that lost a page or a record, is partial.
func (c *crowd) read(t *rapid.T, n int, faults bool) diff.Snapshot {
	const size, overlap = 5, 2
	snap := list(n, diff.Atomic)
	var before []events.Session
	for covered := 0; ; {
		from := max(0, covered-overlap)
		page := slices.Clone(c.live[min(from, len(c.live)):min(from+size, len(c.live))])
		more := from+size < len(c.live)
		if covered > 0 && snap.Proof == diff.Atomic {
			snap.Proof = diff.Joined
		}
		joined := covered == 0 || slices.ContainsFunc(page, func(s events.Session) bool {
			return slices.ContainsFunc(before, func(o events.Session) bool { return o.ID == s.ID })
		})
		if faults {
			switch rapid.IntRange(0, 19).Draw(t, "fault") {
			case 0:
				page, joined = nil, false
			case 1:
				page, joined = page[:len(page)/2], false
			}
		}
		if !joined {
			snap.Proof = diff.Partial
		}
		snap.Sessions = append(snap.Sessions, page...)
		if !more {
			return snap
		}
		before, covered = page, from+size
		c.churn(t, 2)
	}
}

var orders = map[string]func(t *rapid.T, n int) int{
	"oldest first": func(_ *rapid.T, n int) int { return n },
	"newest first": func(*rapid.T, int) int { return 0 },
	"by id":        func(t *rapid.T, n int) int { return rapid.IntRange(0, n).Draw(t, "place") },
}

func TestPageDriftEndsNoLiveSession(t *testing.T) {
	for name, place := range orders {
		t.Run(name, func(t *testing.T) {
			joined, ended := 0, 0
			rapid.Check(t, func(t *rapid.T) {
				c := &crowd{place: place}
				for range rapid.IntRange(0, 25).Draw(t, "online") {
					c.start(t)
				}
				l := newLedger(diff.Rules{})
				n := rapid.IntRange(1, 8).Draw(t, "looks")
				for i := range n {
					snap := c.read(t, i, true)
					if snap.Proof == diff.Joined {
						joined++
					}
					for _, e := range l.look(t, "hall", snap).Changes {
						if e.Event.Kind != events.Ended {
							continue
						}
						ended++
						if c.has(e.State.Session.ID) {
							t.Fatalf("session %s ended and is online", e.State.Session.ID)
						}
					}
					c.churn(t, 4)
				}
				// Once the crowd stands still, two lists show all of it.
				still := &crowd{live: c.live, place: place}
				for i := range 2 {
					l.look(t, "hall", still.quiet(n+i))
				}
				for _, s := range l.online("hall") {
					if !c.has(s.Session.ID) {
						t.Fatalf("session %s is gone and never ended", s.Session.ID)
					}
				}
				if got := l.count(); got != len(c.live) {
					t.Fatalf("%d online, the crowd is %d", got, len(c.live))
				}
				if len(l.suspects) > 0 {
					t.Fatalf("suspects are left: %v", l.suspects)
				}
			})
			if joined == 0 || ended == 0 {
				t.Fatalf("%d lists of several pages and %d ends prove nothing", joined, ended)
			}
		})
	}
}

// quiet is a list of several pages during which nothing changed.
func (c *crowd) quiet(n int) diff.Snapshot {
	return list(n, diff.Joined, c.live...)
}

// Even a list that hides any live session once, and a partial one that hides
// whatever it likes, ends none of them.
func TestOneMissIsForgiven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger(diff.Rules{})
		hidden := map[string]bool{} // by the last joined list
		for n := range rapid.IntRange(2, 30).Draw(t, "looks") {
			proof := rapid.SampledFrom([]diff.Proof{diff.Partial, diff.Joined}).Draw(t, "proof")
			snap := list(n, proof)
			for _, id := range people {
				hide := rapid.Bool().Draw(t, "hide "+id)
				if proof == diff.Joined {
					hide = hide && !hidden[id]
				}
				if !hide {
					snap.Sessions = append(snap.Sessions, session(id))
				}
				if proof == diff.Joined || !hide {
					hidden[id] = hide
				}
			}
			for _, c := range l.look(t, "hall", snap).Changes {
				if c.Event.Kind == events.Ended {
					t.Fatalf("session %s ended and is online", c.State.Session.ID)
				}
			}
		}
	})
}
