package poller

// What breaks when a rule of take, judge or the roster is changed:
//
//	the list is proven with its bounds           TestEqualStartsAtABorderEndNobody
//	placed is ignored                            TestOutOfPlaceIsNotAbsent
//	displaced is ignored                         TestADisplacedSessionStaysSo
//	displaced is forgotten over a restart        TestADisplacedSessionStaysSo
//	the edge of a page gives a position             TestTheEdgeOfAPageGivesNoPlace
//	another direction takes all positions           TestADirectionLearnedLateTakesNobodysPlace
//	records that cannot be read hide nobody      TestARecordThatCannotBeReadProvesNobodyGone
//	an older answer proves                       TestAnOlderAnswerProvesNothing
//	absence from the history proves              TestAbsenceFromTheHistoryProvesNothing
//	a guest's list that goes on proves           TestOneGuestsListProvesOnlyWhole
//	a held end outlives an online sighting       TestAHeldEndIsTakenBack
//	a held end is taken back by another start    TestAHeldEndGoesOutBeforeItsSessionBeginsAnew
//	readings that agree prove                    TestReadingsThatAgreeAreNoProof

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/order"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
)

// hall are sessions of one location, newest first, a second apart.
func hall(n int) []events.Session {
	sessions := make([]events.Session, n)
	for i := range sessions {
		sessions[i] = events.Session{
			ID: fmt.Sprintf("s%03d", i), LocationID: "hall", GuestID: fmt.Sprint("g", i), Online: true,
			StartedAt: noon.Add(-time.Duration(i) * time.Second), Downloaded: events.Bytes{Value: 1},
		}
	}
	return sessions
}

// round hands the poller all pages of a list so often that it counts as sorted, the
// last time one second each from a time on.
func (c *counter) round(list []events.Session, from time.Time) {
	c.t.Helper()
	for i := range 6 {
		from := from.Add(time.Duration(i-5) * 10 * time.Second)
		for w := (plan.Window{Number: 1, Size: plan.MaxPerPage}); w.Start() < len(list); w.Number++ {
			if ended := c.answer(accountPage(paged(list, w), w, instant(from))); len(ended) > 0 {
				c.t.Fatal("a page ended", ended)
			}
			from = from.Add(time.Second)
		}
	}
}

func without(list []events.Session, ids ...string) []events.Session {
	return slices.DeleteFunc(slices.Clone(list), func(s events.Session) bool { return slices.Contains(ids, s.ID) })
}

// TestEqualStartsAtABorderEndNobody: the two sessions on both sides of a page's end
// began in the same second, and have changed positions.
func TestEqualStartsAtABorderEndNobody(t *testing.T) {
	list := hall(150)
	list[100].StartedAt = list[99].StartedAt
	c := newCounter(t, newShelf(), noon)
	for i := range 4 {
		c.round(list, noon.Add(time.Duration(10*i)*time.Second))
		w := plan.Window{Number: 2, Size: 75}
		if ended := c.answer(accountPage(paged(list, w), w, instant(noon.Add(time.Duration(10*i+3)*time.Second)))); len(ended) > 0 {
			t.Fatal("page 2 of 75 ended", ended)
		}
		list[99], list[100] = list[100], list[99]
		w = plan.Window{Number: 1, Size: 100}
		if ended := c.answer(accountPage(paged(list, w), w, instant(noon.Add(time.Duration(10*i+5)*time.Second)))); len(ended) > 0 {
			t.Fatal("page 1 of 100 ended", ended)
		}
	}
	// Who stood well inside has ended, and nobody else.
	w := plan.Window{Number: 1, Size: 100}
	if ended := c.answer(accountPage(paged(without(list, "s050"), w), w, instant(noon.Add(time.Minute)))); !slices.Equal(ended, []string{"s050"}) {
		t.Errorf("a page proves %v gone, want s050", ended)
	}
}

// TestAHeldEndIsTakenBack when any answer shows the session online, with the start
// that is known.
func TestAHeldEndIsTakenBack(t *testing.T) {
	for name, scope := range map[string]scope{"by the look-up of its figures": ofHistory, "by a page": ofAccount, "by its guest's list": ofNothing} {
		t.Run(name, func(t *testing.T) {
			list := hall(150)
			c := newCounter(t, newShelf(), noon)
			c.FiguresWait, c.planned.Price = 30*time.Second, 0.1
			c.round(list, noon)
			w := plan.Window{Number: 1, Size: 100}
			if ended := c.answer(accountPage(paged(without(list, "s050"), w), w, instant(noon.Add(5*time.Second)))); len(ended) > 0 || c.pending.ends["s050"] == nil {
				t.Fatalf("%v ended; held %v", ended, c.pending.ends)
			}
			ev := evidence{timing: instant(noon.Add(7 * time.Second)), sessions: list[50:51], scope: scope}
			if ended := c.answer(ev); len(ended) > 0 || len(c.pending.ends) > 0 || c.roster.find("s050") == nil {
				t.Errorf("%v ended, held %v, known %t", ended, c.pending.ends, c.roster.find("s050") != nil)
			}
			if err := c.release(t.Context(), c.pending.overdue(noon.Add(time.Minute), c.whole)); err != nil {
				t.Fatal(err)
			}
			if ended := c.shelf.ends(); len(ended) > 0 {
				t.Errorf("%v ended all the same", ended)
			}
		})
	}
}

// TestAHeldEndGoesOutBeforeItsSessionBeginsAnew.
func TestAHeldEndGoesOutBeforeItsSessionBeginsAnew(t *testing.T) {
	list := hall(150)
	c := newCounter(t, newShelf(), noon)
	c.FiguresWait, c.planned.Price = 30*time.Second, 0.1
	c.round(list, noon)
	w := plan.Window{Number: 1, Size: 100}
	c.answer(accountPage(paged(without(list, "s050"), w), w, instant(noon.Add(5*time.Second))))
	again := list[50]
	again.StartedAt = noon.Add(6 * time.Second)
	if ended := c.answer(evidence{timing: instant(noon.Add(7 * time.Second)), sessions: []events.Session{again}}); !slices.Equal(ended, []string{"s050"}) {
		t.Errorf("%v ended", ended)
	}
	if s := c.shelf.states["s050"]; !s.Session.Online || s.Revision != 3 {
		t.Errorf("state %+v", s)
	}
}

// TestAnOlderAnswerProvesNothing about a session that a newer one showed: its page may
// have been read before the session came.
func TestAnOlderAnswerProvesNothing(t *testing.T) {
	list := hall(150)
	c := newCounter(t, newShelf(), noon)
	c.round(list, noon)
	m := timing{sent: noon.Add(5 * time.Second), came: noon.Add(9 * time.Second), from: noon.Add(5 * time.Second), at: noon.Add(9 * time.Second)}
	c.answer(evidence{timing: instant(noon.Add(7 * time.Second)), sessions: list[50:51]})
	w := plan.Window{Number: 1, Size: 100}
	if ended := c.answer(accountPage(paged(without(list, "s050"), w), w, m)); len(ended) > 0 {
		t.Errorf("%v ended", ended)
	}
}

// TestAbsenceFromTheHistoryProvesNothing: not even from one that is a whole list.
func TestAbsenceFromTheHistoryProvesNothing(t *testing.T) {
	for _, n := range []int{30, 150} {
		list := hall(n)
		c := newCounter(t, newShelf(), noon)
		c.round(list, noon)
		ev := accountPage(paged(without(list, "s010"), plan.Window{Number: 1, Size: 100}), plan.Window{Number: 1, Size: 100}, instant(noon.Add(5*time.Second)))
		ev.scope = ofHistory
		if ended := c.answer(ev); len(ended) > 0 {
			t.Errorf("of %d: %v ended", n, ended)
		}
	}
}

// TestOutOfPlaceIsNotAbsent: nothing is proven of a session that was shown out of
// order, nor of one whose position no page has shown; after a restart neither.
func TestOutOfPlaceIsNotAbsent(t *testing.T) {
	list := hall(250)
	// It stands far from where its start belongs.
	odd := list[220]
	list = slices.Insert(without(list, odd.ID), 50, odd)
	s := newShelf()
	c := newCounter(t, s, noon)
	c.round(list, noon)
	// Only its guest's list has shown this one yet, and its position is another.
	late := hall(1)[0]
	late.ID, late.StartedAt = "late", list[230].StartedAt
	c.answer(evidence{timing: instant(noon.Add(5 * time.Second)), sessions: []events.Session{late}})
	c.round(list, noon.Add(10*time.Second))
	delete(s.states, "late")
	c = newCounter(t, s, noon.Add(time.Minute))
	c.round(list, noon.Add(time.Minute))
	c.round(list, noon.Add(70*time.Second))
}

// TestARecordThatCannotBeReadProvesNobodyGone whom it may be.
func TestARecordThatCannotBeReadProvesNobodyGone(t *testing.T) {
	for name, c := range map[string]struct {
		skip platform.Skip
		want []string
	}{
		"with its id":       {platform.Skip{ID: "s050", Field: "location_id"}, []string{"s051"}},
		"with a guest":      {platform.Skip{GuestID: "g50", Field: "id"}, []string{"s051"}},
		"with a start":      {platform.Skip{StartedAt: noon.Add(-50 * time.Second), Field: "id"}, []string{"s051"}},
		"without anything":  {platform.Skip{Field: "id"}, nil},
		"of somebody known": {platform.Skip{GuestID: "g1", Field: "id"}, []string{"s050", "s051"}},
	} {
		t.Run(name, func(t *testing.T) {
			list := hall(150)
			p := newCounter(t, newShelf(), noon)
			p.round(list, noon)
			w := plan.Window{Number: 1, Size: 100}
			ev := accountPage(paged(without(list, "s050", "s051"), w), w, instant(noon.Add(5*time.Second)))
			ev.skipped = []platform.Skip{c.skip}
			ended := p.answer(ev)
			slices.Sort(ended)
			if !slices.Equal(ended, c.want) {
				t.Errorf("%v ended, want %v", ended, c.want)
			}
		})
	}
}

// TestReadingsThatAgreeAreNoProof: two complete readings of a location's list of
// several pages show the same sessions, and not one that is online; it is asked
// about.
func TestReadingsThatAgreeAreNoProof(t *testing.T) {
	list := hall(310)
	for i := range list {
		list[i].StartedAt = noon.Add(-time.Duration(i/120) * time.Hour)
	}
	c := newCounter(t, newShelf(), noon)
	c.ProvenEnds = true
	c.round(list, noon)
	location := c.watched.byID["hall"]
	shown := without(list, "s100")
	for i := range 8 {
		at := noon.Add(time.Duration(10*(i+1)) * time.Second)
		r := newReading(at, 0)
		for done := false; !done; at = at.Add(time.Second) {
			w := r.next()
			page := paged(shown, w)
			done = r.add(page, instant(at))
			ev := evidence{timing: instant(at), sessions: page.Sessions, scope: ofLocation, location: "hall", first: w.Number == 1, last: ends(page, w)}
			if w.Number == 1 {
				// Its group goes on behind the page's end.
				ev.sessions = ev.sessions[:min(len(ev.sessions), 95)]
			}
			if ended := c.answer(ev); len(ended) > 0 {
				t.Fatalf("reading %d: %v ended", i, ended)
			}
		}
		if err := c.finished(t.Context(), r, location); err != nil {
			t.Fatal(err)
		}
		if ended := c.shelf.ends(); len(ended) > 0 {
			t.Fatalf("reading %d: %v ended", i, ended)
		}
	}
	if !slices.Contains(c.missing.ids, "s100") {
		t.Error("nobody asks about it")
	}
}

// TestTheSweepComesBeforeQuestions: whom readings of a location's list did not show, and
// the sweep's pages will prove gone or show, is not asked about alone.
func TestTheSweepComesBeforeQuestions(t *testing.T) {
	for _, ordered := range []bool{true, false} {
		c := newCounter(t, newShelf(), noon)
		c.round(hall(310), noon)
		if !ordered {
			c.accountList = order.List{}
		}
		for i := range 3 {
			r := newReading(noon.Add(time.Duration(i+1)*time.Minute), i)
			r.pages = 4
			for e := range c.roster.all() {
				r.shown[e.ID] = e.ID != "s150"
			}
			if err := c.finished(t.Context(), r, c.watched.byID["hall"]); err != nil {
				t.Fatal(err)
			}
		}
		if asked := slices.Contains(c.missing.ids, "s150"); asked == ordered {
			t.Errorf("ordered %t: asked about %t", ordered, asked)
		}
	}
}

// answering is a platform that gives one page to whatever it is asked.
type answering struct {
	Platform
	page platform.Page
}

func (a answering) Sessions(context.Context, platform.Query) (platform.Page, error) {
	return a.page, nil
}

// TestOneGuestsListProvesOnlyWhole that the guest is gone.
func TestOneGuestsListProvesOnlyWhole(t *testing.T) {
	for more, want := range map[bool][]string{true: nil, false: {"s120"}} {
		c := newCounter(t, newShelf(), noon)
		list := hall(150)
		c.round(list, noon)
		c.Platform = answering{page: platform.Page{Sessions: list[:1], Records: 1, PerPage: 1, More: more}}
		c.clock.now = noon.Add(10 * time.Second)
		if err := c.verify(t.Context(), "s120"); err != nil {
			t.Fatal(err)
		}
		if ended := c.shelf.ends(); !slices.Equal(ended, want) {
			t.Errorf("more %t: %v ended, want %v", more, ended, want)
		}
	}
}

// TestTheEdgeOfAPageGivesNoPlace: a session out of order stands first on a page, where
// nothing shows that.
func TestTheEdgeOfAPageGivesNoPlace(t *testing.T) {
	list := hall(250)
	odd := list[20]
	list = slices.Insert(without(list, odd.ID), 100, odd)
	c := newCounter(t, newShelf(), noon)
	c.round(list, noon)
	c.round(list, noon.Add(10*time.Second))
	w := plan.Window{Number: 2, Size: 75}
	if ended := c.answer(accountPage(paged(list, w), w, instant(noon.Add(20*time.Second)))); len(ended) > 0 || !c.accountList.Established() {
		t.Errorf("%v ended, sorted %t", ended, c.accountList.Established())
	}
}

// TestADisplacedSessionStaysSo for the lists of locations, and for the next process.
func TestADisplacedSessionStaysSo(t *testing.T) {
	list := hall(250)
	odd := list[220]
	list = slices.Insert(without(list, odd.ID), 50, odd)
	s := newShelf()
	c := newCounter(t, s, noon)
	c.round(list, noon)
	for number := range 3 {
		w := plan.Window{Number: number + 1, Size: 100}
		ev := accountPage(paged(list, w), w, instant(noon.Add(time.Duration(10+number)*time.Second)))
		if ev.scope, ev.location = ofLocation, "hall"; number == 0 {
			ev.sessions = without(ev.sessions, odd.ID)
		}
		if ended := c.answer(ev); len(ended) > 0 {
			t.Fatal("a location's page ended", ended)
		}
	}
	c = newCounter(t, s, noon.Add(time.Minute))
	w := plan.Window{Number: 3, Size: 100}
	if ended := c.answer(accountPage(paged(list, w), w, instant(noon.Add(time.Minute)))); len(ended) > 0 {
		t.Error("after a restart a page ended", ended)
	}
}

// TestADirectionLearnedLateTakesNobodysPlace: the next process finds at once who ended
// meanwhile, in a list that is oldest first too.
func TestADirectionLearnedLateTakesNobodysPlace(t *testing.T) {
	list := hall(150)
	slices.Reverse(list)
	s := newShelf()
	newCounter(t, s, noon).round(list, noon)
	c := newCounter(t, s, noon.Add(time.Minute))
	w := plan.Window{Number: 1, Size: 100}
	if ended := c.answer(accountPage(paged(without(list, "s100"), w), w, instant(noon.Add(time.Minute)))); !slices.Equal(ended, []string{"s100"}) {
		t.Errorf("%v ended, want s100", ended)
	}
}

// TestAnOrderThatProvesNothingHindersNoPresumption: the location's list counts as
// sorted, and the account's contradicts that, so that no page of either proves an end.
func TestAnOrderThatProvesNothingHindersNoPresumption(t *testing.T) {
	for _, contradicted := range []bool{true, false} {
		c := newCounter(t, newShelf(), noon)
		list := hall(150)
		c.round(list, noon)
		c.locationLists.Direction = order.NewestFirst
		if contradicted {
			c.accountList = order.List{Contradictions: 1}
		}
		gone, location := c.roster.find("s050"), c.watched.byID["hall"]
		gone.doubt = presumedDoubt
		r := newReading(noon.Add(time.Minute), 0)
		r.pages = 2
		for e := range c.roster.all() {
			r.shown[e.ID] = e.ID != gone.ID
		}
		if err := c.finished(t.Context(), r, location); err != nil {
			t.Fatal(err)
		}
		if ended := c.shelf.ends(); contradicted != slices.Equal(ended, []string{"s050"}) {
			t.Errorf("contradicted %t: %v ended", contradicted, ended)
		}
	}
}
