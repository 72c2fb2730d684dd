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
	// where both spend the same budget.
	learningShare = 150
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

// checksBeside reports whether checks have a budget of their own.
func (k *ledger) checksBeside() bool {
	return k.Budgets[platform.Guests] != k.Budgets[platform.Sessions]
}

// checksOn reports whether addresses are to be asked about.
func (k *ledger) checksOn() bool {
	return k.Addresses != nil && k.Budgets[platform.Guests] != nil && k.checksWanted()
}

// checksWanted reports whether they can tell anything sooner than the lists do: not where
// a round of these takes hardly more than the two answers that prove an end.
func (k *ledger) checksWanted() bool {
	_, limit := k.Budgets[platform.Sessions].Used(k.Clock.Now())
	round := float64(len(k.roster.entries)) / plan.MaxPerPage * budget.Window.Seconds() / float64(limit)
	return round >= leastRound && (k.checks.useful() || !k.checks.Established())
}

// checkDue reports whether a request about addresses goes out now beside the looks.
func (k *ledger) checkDue(now time.Time) bool {
	if !k.checksOn() || !k.checksBeside() || now.Before(k.checks.until) || !k.requests.beside(plan.Look{Kind: plan.Addresses}) ||
		k.Budgets[platform.Guests].Next(now).After(now) {
		return false
	}
	if at := k.nextSuspect(now); at.After(now) && at.Sub(now) < suspense {
		k.checks.until = at
		return false
	}
	k.chooseAddresses(now)
	if len(k.checks.chosen) > 0 {
		return true
	}
	k.checks.until = now.Add(time.Second / 2)
	return false
}

// nextSuspect is when the next suspect can be asked about again; now where there is none.
func (k *ledger) nextSuspect(now time.Time) time.Time {
	c, next := &k.checks, math.Inf(1)
	if !c.Established() {
		return now
	}
	for _, e := range c.suspects {
		if from, ok := e.check.Suspect(c.rules()); ok && k.roster.entries[e.ID] == e {
			next = min(next, from)
		}
	}
	if math.IsInf(next, 1) {
		return now
	}
	return k.begun.Add(seconds(next))
}

// untilCheck shortens a pause to the time at which a check may go out.
func (k *ledger) untilCheck(now time.Time, pause time.Duration) time.Duration {
	if !k.checksOn() || !k.checksBeside() || !k.requests.beside(plan.Look{Kind: plan.Addresses}) {
		return pause
	}
	at := k.Budgets[platform.Guests].Next(now)
	if k.checks.until.After(at) {
		at = k.checks.until
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
	return k.requests.ask(ctx, platform.Guests, request, func(m moment, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case lacks(err):
			k.refuseChecks(m.came, err)
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
		k.tellFormers(asked, formers, told, m)
		return k.checked(ctx, asked, told, m)
	})
}

// refuseChecks pauses them: a 404 to a question about several addresses says nothing
// about any of them.
func (k *ledger) refuseChecks(now time.Time, err error) {
	c := &k.checks
	if c.refusals++; c.refusals == 1 {
		k.Logger.Warn("address checks are not answered; they are tried again, ever less often", "error", err)
	}
	c.until = now.Add(min(longestCheckPause, 5*time.Second<<min(c.refusals, 10)))
}

// replyTo is what an answer says of an address.
func (k *ledger) replyTo(a netip.Addr, told map[netip.Addr]int64, m moment) address.Reply {
	d, ok := told[a]
	return address.Reply{Sent: k.roster.rows.Seconds(m.sent), Came: k.roster.rows.Seconds(m.came), Told: ok, Duration: d}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// localSpan is when it was, on the local clock, that the platform's clock showed a time
// between two.
func (k *ledger) localSpan(from, to time.Time) address.Span {
	if k.Time == nil {
		return address.Span{From: k.roster.rows.Seconds(from), To: k.roster.rows.Seconds(to)}
	}
	now := k.Clock.Now()
	earliest, latest := k.Time.Bounds(now)
	return address.Span{
		From: k.roster.rows.Seconds(now.Add(from.Sub(latest))), To: k.roster.rows.Seconds(now.Add(to.Sub(earliest))),
	}
}

// startOf is when a session began. Lists show it in whole seconds, or minutes.
func (k *ledger) startOf(since time.Time) address.Span {
	grain, _ := k.checks.starts.Seconds()
	return k.localSpan(since, since.Add(seconds(grain)))
}

// checked takes the replies about sessions.
func (k *ledger) checked(ctx context.Context, asked []question, told map[netip.Addr]int64, m moment) error {
	c := &k.checks
	sent, came := k.roster.rows.Seconds(m.sent), k.roster.rows.Seconds(m.came)
	var of []*entry
	here, away, expected := 0, 0, 0.0
	for _, q := range asked {
		e := q.of
		if e == nil || k.roster.entries[e.ID] != e || e.address != q.address || e.check == nil || e.shown > sent {
			continue // What is known is newer, or about another address.
		}
		of = append(of, e)
		_, suspect := e.check.Suspect(c.rules())
		if _, ok := told[q.address]; ok {
			here++
		} else if away++; suspect {
			expected++
		}
		expected += k.roster.track.Ends(&e.Row, m.sent)
	}
	if !address.Believable(here, away, expected) {
		return nil
	}
	proof := c.Established()
	ev := evidence{moment: m, proof: events.ProofAddress}
	for _, e := range of {
		verdict, asOf := e.check.Read(k.replyTo(e.address, told, m), k.startOf(e.Start), c.rules())
		if e.check.verdict = verdict; e.check.Hopeless() && !e.vain {
			e.vain = true
			k.roster.book.mark(e)
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
			ev.present = append(ev.present, presence{e, k.begun.Add(seconds(asOf))})
		case verdict == address.Away:
			if _, ok := e.check.Suspect(c.rules()); ok && !slices.Contains(c.suspects, e) {
				c.suspects = append(c.suspects, e)
			}
		}
	}
	if len(ev.missing)+len(ev.present) == 0 {
		return nil
	}
	return k.take(ctx, ev)
}

// tellFormers learns from the replies about sessions that have ended.
func (k *ledger) tellFormers(asked []question, formers []former, told map[netip.Addr]int64, m moment) {
	c := &k.checks
	for i, q := range asked {
		if q.of != nil {
			continue
		}
		f := formers[i]
		c.formers = slices.DeleteFunc(c.formers, func(o former) bool { return o.id == f.id })
		if k.roster.entries[f.id] != nil || k.roster.book.at[f.address] != nil {
			continue // It is back, or somebody else is there.
		}
		switch c.rules().Of(f.Former, k.replyTo(f.address, told, m)) {
		case address.TellsLeftOut:
			k.agree(func() { c.AgreeGone(false) })
		case address.TellsStale:
			k.agree(func() { c.AgreeGone(true) })
		case address.TellsOnline:
			k.contradict("a session that has ended is told as if it were online")
		}
	}
}

// agree counts a case, and says so when it establishes the capability.
func (k *ledger) agree(count func()) {
	c := &k.checks
	before := c.Established()
	if count(); before || !c.Established() {
		return
	}
	k.checks.learnedAnew = true
	k.Logger.Info("addresses tell who is online and who has left: their checks are proof from now on",
		"live_cases", c.Live, "gone_cases", c.Gone, "told_when_gone", c.Stale > 0)
}

// contradict takes a wrong reply into account: nothing that addresses tell is believed
// until it was learned again.
func (k *ledger) contradict(what string) {
	c := &k.checks
	lost := c.Contradict()
	live, gone, _ := c.Needed()
	if lost {
		k.Logger.Warn("what addresses tell is no proof any more: "+what, "contradictions", c.Contradictions, "live_cases_needed", live, "gone_cases_needed", gone)
	} else if c.Contradictions == 1 {
		k.Logger.Info("what addresses tell is not believed yet: "+what, "live_cases_needed", live, "gone_cases_needed", gone)
	}
	for _, e := range k.roster.entries {
		if e.check != nil {
			e.check.Acquit()
			e.check.verdict = address.Nothing
		}
	}
	c.suspects, c.doubts = nil, nil
	c.until = k.Clock.Now().Add(min(longestCheckPause, time.Second<<min(c.Contradictions, 10)))
	c.learnedAnew = true
}

// audit compares what addresses told of sessions with what a list shows of them, sent at
// a moment: that they are online.
func (k *ledger) audit(shown []events.Session, m moment) {
	c, sent := &k.checks, k.roster.rows.Seconds(m.sent)
	for i := range shown {
		s := &shown[i]
		e := k.roster.entries[s.ID]
		if e == nil || e.check == nil || !s.Online {
			continue
		}
		e.check.Inherited = false
		if e.check.verdict == address.Nothing || e.check.Told > sent || e.shared {
			continue
		}
		a := k.addressOf(s)
		moved := a.IsValid() && a != e.address
		switch verdict := e.check.verdict; {
		case verdict == address.Away || verdict == address.Gone:
			k.contradict("a session is not told that a list shows online")
		case verdict == address.Another && !moved:
			c.doubts = append(c.doubts, doubt{e, sent})
		case verdict == address.Here && !moved && (e.check.counted == 0 || sent-e.check.counted >= countAgain):
			e.check.counted = sent
			k.agree(c.Agree)
		}
		e.check.verdict = address.Nothing
	}
}

// settleDoubts counts those that nobody else at the address explains.
func (k *ledger) settleDoubts(now time.Time) {
	c, t := &k.checks, k.roster.rows.Seconds(now)
	for len(c.doubts) > 0 && t-c.doubts[0].since >= doubting {
		d := c.doubts[0]
		c.doubts = c.doubts[1:]
		if k.roster.entries[d.of.ID] == d.of && !d.of.shared {
			k.contradict("another connection is told at the address of a session that a list shows online")
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
func (k *ledger) moved() {
	if k.Addresses != nil {
		k.contradict("a session has changed its address")
	}
}

// departed keeps a session that a list proved gone, to ask what is told of such.
func (k *ledger) departed(e *entry, m moment, proof events.Proof) {
	c := &k.checks
	if k.Addresses == nil || proof == events.ProofAddress || !e.askable() {
		return
	}
	if !e.Seen.Before(k.begun) {
		k.agree(c.Stay)
	}
	if len(c.formers) >= mostFormers {
		return
	}
	came := k.roster.rows.Seconds(m.came)
	c.formers = append(c.formers, former{
		Former: address.Former{Start: k.startOf(e.Start), Ended: address.Span{From: k.roster.rows.Seconds(e.Seen), To: came}},
		id:     e.ID, address: e.address, from: came + c.rules().Wait(),
	})
}

// returned takes sessions into account that are online although they were taken for gone.
func (k *ledger) returned(id string) {
	if _, ok := k.checks.ended[id]; ok {
		delete(k.checks.ended, id)
		k.contradict("a session is online that they proved gone")
	}
}

// rememberChecks stores what was learned, where that is news.
func (k *ledger) rememberChecks() error {
	if !k.checks.learnedAnew {
		return nil
	}
	k.checks.learnedAnew = false
	if err := k.remember(addressesKey, k.checks.Capability); err != nil {
		return fmt.Errorf("address checks: %w", err)
	}
	return nil
}
