package poller

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/address"
	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
)

// AddressPlatform is what address checks ask of the platform's client.
type AddressPlatform interface {
	Connections(ctx context.Context, addresses []netip.Addr) ([]platform.Connection, platform.Meta, error)
}

// checks are the second pair of eyes: the look-up by IP address tells of up to 100
// sessions a request, of the planner's choice, whether their connections are still there.
// What it says counts once that was learned; see address.Capability.
type checks struct {
	*account
	missing *verifyQueue
	address.Capability
	starts, durations address.Grain
	until             time.Time  // local clock: nothing is asked before
	chosen            []question // what the next request asks
	gain              float64    // what that would bring
	chosenAt          time.Time  // local clock
	askedAt           time.Time  // local clock: when the last request went out
	learnedAnew       bool       // since it was remembered
	refusals          int        // in a row: the platform does not have the endpoint, or not for this token
	suspects          []*entry   // one reply did not show their connection
	formers           []former
	doubts            []doubt
	ended             map[string]float64 // by session: when replies proved it gone
	asking            plan.Asking
}

// check is what replies said of one session.
type check struct {
	address.Trace
	verdict address.Verdict // the newest, until a list has shown the session since
	counted float64         // when it last was a case of the capability
}

// question is what is asked about one address: a session, or one that has ended.
type question struct {
	address netip.Addr
	of      *entry
	former  int // index of formers, where of is nil
}

// former is a session that a list proved gone, of which is asked what is told of such.
type former struct {
	address.Former
	id      string
	address netip.Addr
	from    float64 // not to be asked about before
}

// doubt is a session of which another connection was told although a list showed it at
// the address afterwards. Perhaps somebody has the address as well of whom is not known
// yet.
type doubt struct {
	of    *entry
	since float64
}

const (
	// countAgain is the time between two cases of one session, in seconds: what is wrong
	// about a session may be so for a while.
	countAgain = 60
	// doubting is how long arrivals at the address are waited for before a doubt counts.
	doubting = 20
	// suspense is how long a request waits for a suspect: requests may follow each other a
	// little faster than one that settles it.
	suspense = 100 * time.Millisecond
	// leastRound is how long a round of the list takes at least for checks to be made, in
	// seconds.
	leastRound = 4
	// uselessGrain is that of durations by which nobody's end shows soon, in seconds.
	uselessGrain = 10
	// mostFormers bounds how many who have ended are kept to be asked about, formersShare
	// how many of them one request asks about, and keptFor how long, in seconds.
	mostFormers, formersShare, keptFor = 200, 10, 600
	// longestCheckPause is the longest pause after contradictions and refusals.
	longestCheckPause = 10 * time.Minute
	// learningShare is how many looks there are to one for learning what addresses tell,
	// where both spend the same budget, and leastTaught how many sessions such a one asks
	// about at least: it teaches as much as that.
	learningShare, leastTaught = 80, platform.MaxIPs / 2
)

// addressesKey names what was learned of the look-up by address.
const addressesKey = "account.addresses"

// rules are how answers are read now.
func (c *checks) rules() address.Rules {
	grain, _ := c.durations.Seconds()
	return address.Rules{Grain: grain, Standing: c.Standing()}
}

// useful reports whether replies are proof, and soon enough: where who is gone is told
// still, and durations are coarse, a list tells before they do.
func (c *checks) useful() bool {
	r := c.rules()
	return c.Established() && !(r.Standing && r.Grain > uselessGrain)
}

// beside reports whether checks have a budget of their own.
func (c *checks) beside() bool {
	return c.Budgets[platform.Guests] != c.Budgets[platform.Sessions]
}

// on reports whether addresses are to be asked about.
func (c *checks) on() bool {
	return c.Addresses != nil && c.Budgets[platform.Guests] != nil && c.wanted()
}

// wanted reports whether they can tell anything sooner than the lists do: not where
// a round of these takes hardly more than the two answers that prove an end.
func (c *checks) wanted() bool {
	_, limit := c.Budgets[platform.Sessions].Used(c.Clock.Now())
	round := float64(c.roster.len()) / plan.MaxPerPage * budget.Window.Seconds() / float64(limit)
	return round >= leastRound && (c.useful() || !c.Established())
}

// due reports whether a request about addresses goes out now beside the looks.
func (c *checks) due(now time.Time) bool {
	if !c.on() || !c.beside() || now.Before(c.until) || !c.requests.beside(plan.Look{Kind: plan.Addresses}) ||
		c.Budgets[platform.Guests].Next(now).After(now) {
		return false
	}
	if at := c.nextSuspect(now); at.After(now) && at.Sub(now) < suspense {
		c.until = at
		return false
	}
	c.choose(now)
	if len(c.chosen) > 0 {
		return true
	}
	c.until = now.Add(time.Second / 2)
	return false
}

// nextSuspect is when the next suspect can be asked about again; now where there is none.
func (c *checks) nextSuspect(now time.Time) time.Time {
	next := math.Inf(1)
	if !c.Established() {
		return now
	}
	for _, e := range c.suspects {
		if from, ok := e.check.Suspect(c.rules()); ok && c.roster.find(e.ID) == e {
			next = min(next, from)
		}
	}
	if math.IsInf(next, 1) {
		return now
	}
	return c.begun.Add(seconds(next))
}

// untilCheck shortens a pause to the time at which a check may go out.
func (c *checks) untilCheck(now time.Time, pause time.Duration) time.Duration {
	if !c.on() || !c.beside() || !c.requests.beside(plan.Look{Kind: plan.Addresses}) {
		return pause
	}
	at := c.Budgets[platform.Guests].Next(now)
	if c.until.After(at) {
		at = c.until
	}
	return min(pause, max(at.Sub(now), time.Millisecond))
}

// askAddresses asks about those that were chosen.
func (k *ledger) askAddresses(ctx context.Context) error {
	c := &k.checks
	asked := slices.Clone(c.chosen)
	addresses := make([]netip.Addr, len(asked))
	now := k.Clock.Now()
	for i, q := range asked {
		addresses[i] = q.address
		if q.of != nil {
			if q.of.check == nil {
				q.of.check = &check{}
				q.of.check.Inherited = q.of.Seen.Before(k.begun)
			}
			q.of.check.Asked = k.roster.rows.Seconds(now)
		} else {
			c.formers[q.former].from = k.roster.rows.Seconds(now) + keptFor // answered, it is dropped
		}
	}
	formers := make([]former, len(asked))
	for i, q := range asked {
		if q.of == nil {
			formers[i] = c.formers[q.former]
		}
	}
	c.chosen, c.askedAt = nil, now
	var answers []platform.Connection
	request := func() (m platform.Meta, err error) {
		answers, m, err = k.Addresses.Connections(ctx, addresses)
		return m, err
	}
	return k.requests.ask(ctx, platform.Guests, request, func(m timing, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case lacks(err):
			c.refuse(m.came, err)
			return nil
		case err != nil:
			return nil
		}
		c.refusals = 0
		told := make(map[netip.Addr]int64, len(answers))
		for _, a := range answers {
			told[a.Address] = a.Duration
			c.durations.See(a.Duration)
		}
		c.tellFormers(asked, formers, told, m)
		ev, news := c.checked(asked, told, m)
		if !news {
			return nil
		}
		return k.take(ctx, ev)
	})
}

// refuse pauses them: a 404 to a question about several addresses says nothing
// about any of them.
func (c *checks) refuse(now time.Time, err error) {
	if c.refusals++; c.refusals == 1 {
		c.Logger.Warn("address checks are not answered; they are tried again, ever less often", "error", err)
	}
	c.until = now.Add(min(longestCheckPause, 5*time.Second<<min(c.refusals, 10)))
}

// replyTo is what an answer says of an address.
func (c *checks) replyTo(a netip.Addr, told map[netip.Addr]int64, m timing) address.Reply {
	d, ok := told[a]
	return address.Reply{Sent: c.roster.rows.Seconds(m.sent), Came: c.roster.rows.Seconds(m.came), Told: ok, Duration: d}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// localSpan is when it was, on the local clock, that the platform's clock showed a time
// between two.
func (c *checks) localSpan(from, to time.Time) address.Span {
	if c.Time == nil {
		return address.Span{From: c.roster.rows.Seconds(from), To: c.roster.rows.Seconds(to)}
	}
	now := c.Clock.Now()
	earliest, latest := c.Time.Bounds(now)
	return address.Span{
		From: c.roster.rows.Seconds(now.Add(from.Sub(latest))), To: c.roster.rows.Seconds(now.Add(to.Sub(earliest))),
	}
}

// startOf is when a session began. Lists show it in whole seconds, or minutes.
func (c *checks) startOf(since time.Time) address.Span {
	grain, _ := c.starts.Seconds()
	return c.localSpan(since, since.Add(seconds(grain)))
}

// checked is what the replies about sessions say; false is nothing.
func (c *checks) checked(asked []question, told map[netip.Addr]int64, m timing) (evidence, bool) {
	sent, came := c.roster.rows.Seconds(m.sent), c.roster.rows.Seconds(m.came)
	var of []*entry
	here, away, expected := 0, 0, 0.0
	for _, q := range asked {
		e := q.of
		if e == nil || c.roster.find(e.ID) != e || e.address() != q.address || e.check == nil || e.shown > sent {
			continue // What is known is newer, or about another address.
		}
		of = append(of, e)
		_, suspect := e.check.Suspect(c.rules())
		if _, ok := told[q.address]; ok {
			here++
		} else if away++; suspect {
			expected++
		}
		expected += c.roster.track.Ends(&e.Row, m.sent)
	}
	if !address.Believable(here, away, expected) {
		return evidence{}, false
	}
	proof := c.Established()
	ev := evidence{timing: m, proof: events.ProofAddress}
	for _, e := range of {
		verdict, asOf := e.check.Read(c.replyTo(e.address(), told, m), c.startOf(e.Start), c.rules())
		if e.check.verdict = verdict; e.check.Hopeless() && !e.vain {
			e.vain = true
			c.roster.book.mark(e)
		}
		switch {
		case !proof:
		case verdict == address.Gone:
			ev.missing = append(ev.missing, e.ID)
			if c.ended == nil {
				c.ended = make(map[string]float64)
			}
			c.ended[e.ID] = came
		case verdict == address.Here:
			ev.present = append(ev.present, presence{e, c.begun.Add(seconds(asOf))})
		case verdict == address.Away:
			if _, ok := e.check.Suspect(c.rules()); ok && !slices.Contains(c.suspects, e) {
				c.suspects = append(c.suspects, e)
			}
		}
	}
	return ev, len(ev.missing)+len(ev.present) > 0
}

// tellFormers learns from the replies about sessions that have ended.
func (c *checks) tellFormers(asked []question, formers []former, told map[netip.Addr]int64, m timing) {
	for i, q := range asked {
		if q.of != nil {
			continue
		}
		f := formers[i]
		c.formers = slices.DeleteFunc(c.formers, func(o former) bool { return o.id == f.id })
		if _, taken := c.roster.book.who(f.address); taken || c.roster.find(f.id) != nil {
			continue // It is back, or somebody else is there.
		}
		switch c.rules().Of(f.Former, c.replyTo(f.address, told, m)) {
		case address.TellsLeftOut:
			c.agree(func() { c.AgreeGone(false) })
		case address.TellsStale:
			c.agree(func() { c.AgreeGone(true) })
		case address.TellsOnline:
			c.contradict("a session that has ended is told as if it were online")
		}
	}
}

// agree counts a case, and says so when it establishes the capability.
func (c *checks) agree(count func()) {
	before := c.Established()
	if count(); before || !c.Established() {
		return
	}
	c.learnedAnew = true
	c.Logger.Info("addresses tell who is online and who has left: their checks are proof from now on",
		"live_cases", c.Live, "gone_cases", c.Gone, "told_when_gone", c.Stale > 0)
}

// contradict takes a wrong reply into account: nothing that addresses tell is believed
// until it was learned again.
func (c *checks) contradict(what string) {
	lost := c.Contradict()
	live, gone, _ := c.Needed()
	if lost {
		c.Logger.Warn("what addresses tell is no proof any more: "+what, "contradictions", c.Contradictions, "live_cases_needed", live, "gone_cases_needed", gone)
	} else if c.Contradictions == 1 {
		c.Logger.Info("what addresses tell is not believed yet: "+what, "live_cases_needed", live, "gone_cases_needed", gone)
	}
	for e := range c.roster.all() {
		if e.check != nil {
			e.check.Acquit()
			e.check.verdict = address.Nothing
		}
	}
	c.suspects, c.doubts = nil, nil
	c.until = c.Clock.Now().Add(min(longestCheckPause, time.Second<<min(c.Contradictions, 10)))
	c.learnedAnew = true
}

// audit compares what addresses told of sessions with what a list shows of them, sent at
// a moment: that they are online.
func (c *checks) audit(shown []events.Session, m timing) {
	sent := c.roster.rows.Seconds(m.sent)
	for i := range shown {
		s := &shown[i]
		e := c.roster.find(s.ID)
		if e == nil || e.check == nil || !s.Online {
			continue
		}
		e.check.Inherited = false
		if e.check.verdict == address.Nothing || e.check.Told > sent || e.shared {
			continue
		}
		a := c.addressOf(s)
		moved := a.IsValid() && a != e.address()
		switch verdict := e.check.verdict; {
		case verdict == address.Away || verdict == address.Gone:
			c.contradict("a session is not told that a list shows online")
		case verdict == address.Another && !moved:
			c.doubts = append(c.doubts, doubt{e, sent})
		case verdict == address.Here && !moved && (e.check.counted == 0 || sent-e.check.counted >= countAgain):
			e.check.counted = sent
			c.agree(c.Agree)
		}
		e.check.verdict = address.Nothing
	}
}

// settleDoubts counts those that nobody else at the address explains.
func (c *checks) settleDoubts(now time.Time) {
	t := c.roster.rows.Seconds(now)
	for len(c.doubts) > 0 && t-c.doubts[0].since >= doubting {
		d := c.doubts[0]
		c.doubts = c.doubts[1:]
		if c.roster.find(d.of.ID) == d.of && !d.of.shared {
			c.contradict("another connection is told at the address of a session that a list shows online")
		}
	}
	for id, at := range c.ended {
		if t-at > keptFor {
			delete(c.ended, id)
		}
	}
}

// moved takes a session into account that a list shows at another address than before:
// by that alone it looked as if gone.
func (c *checks) moved() {
	if c.Addresses != nil {
		c.contradict("a session has changed its address")
	}
}

// departed keeps a session that a list proved gone, to ask what is told of such.
func (c *checks) departed(e *entry, m timing, proof events.Proof) {
	if c.Addresses == nil || proof == events.ProofAddress || !e.askable() {
		return
	}
	if !e.Seen.Before(c.begun) {
		c.agree(c.Stay)
	}
	if len(c.formers) >= mostFormers {
		return
	}
	came := c.roster.rows.Seconds(m.came)
	c.formers = append(c.formers, former{
		Former: address.Former{Start: c.startOf(e.Start), Ended: address.Span{From: c.roster.rows.Seconds(e.Seen), To: came}},
		id:     e.ID, address: e.address(), from: came + c.rules().Wait(),
	})
}

// returned takes sessions into account that are online although they were taken for gone.
func (c *checks) returned(id string) {
	if _, ok := c.ended[id]; ok {
		delete(c.ended, id)
		c.contradict("a session is online that they proved gone")
	}
}

// save stores what was learned, where that is news.
func (c *checks) save() error {
	if !c.learnedAnew {
		return nil
	}
	c.learnedAnew = false
	if err := c.remember(addressesKey, c.Capability); err != nil {
		return fmt.Errorf("address checks: %w", err)
	}
	return nil
}
