package budget

import (
	"slices"
	"sort"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// The platform allows Limit requests a Window (documented: 60 a minute, for each
// endpoint). Its window's kind is not documented; a client that keeps to the
// limit in every sliding window is within it whatever the kind.
const (
	Window = time.Minute
	// Margin is added to the window: the server counts a request somewhere between
	// its sending and its answer, on a clock of its own whose windows expire in
	// whole seconds.
	Margin = 250 * time.Millisecond
	// pace is how much faster than the limit two requests may follow each other.
	// The window repeats the gaps of the minute before: what a late answer holds
	// back is missing a minute later, and so on for ever. A little haste fills such
	// gaps within some minutes; more would bunch the requests and lengthen them.
	pace = 1.02
	// catchUp is how much of the limit may go out at once after something came late: where
	// requests follow each other within milliseconds, every timer is late by a part of
	// that, which haste does not make good. Limits below 1,200 a minute have one request.
	catchUp = 100 * time.Millisecond
	// queued is for how long a request that got no answer may be counted yet. It may wait
	// in the platform's queue, whose worker takes it although nobody waits for the answer:
	// a worker of PHP learns that only when it writes.
	queued = 15 * time.Second
	// frugality is what a refusal leaves of the limit, recovery how long it takes
	// to gain one request a window back.
	frugality = 0.75
	recovery  = 15 * time.Second
)

// Budget spends one endpoint's requests. It is safe for concurrent use.
//
// Its proof: with limit L, a request is allowed only while fewer than L others
// are under way or were answered within the last Window+Margin, or given up on within that
// and queued. If a window of the server's held L+1 requests, it would count the one sent last
// after its sending, so the others within a Window before that, and each of these
// was answered later than it was counted, or given up on no longer before than queued.
type Budget struct {
	mu      sync.Mutex
	limit   int       // configured, or lower where the platform says so
	current float64   // limit, less after a refusal
	raised  time.Time // when current last changed
	// The last requests, as many as the limit: unused is how many slots were never used,
	// idle are those answered, longest ago first; underWay those not answered. sent are the
	// times at which they went out.
	unused   int
	idle     queue[slot]
	underWay []slot
	sent     queue[time.Time]
	until    time.Time // the platform's own word: nothing before
	spacing  *rate.Limiter
	log      *Log      // nil keeps the log in memory alone
	claim    time.Time // the request that may go out then is claimed; zero is none
}

// exchange is one request: when it went out and when its answer came in, or, where none did,
// when it is no longer counted by the platform; the latter is zero while it is under way.
type exchange struct{ sent, answered time.Time }

// slot is one of the requests that a window may hold.
type slot struct {
	at int // its position in the log
	exchange
}

// New returns a budget of limit requests a Window, continued from log
// where that is not nil.
func New(limit int, log *Log, now time.Time) *Budget {
	limit = max(1, limit)
	b := &Budget{
		limit:   limit,
		current: float64(limit),
		raised:  now,
		spacing: rate.NewLimiter(spacingOf(limit), burstOf(limit)),
		log:     log,
	}
	if log != nil {
		for i, x := range log.restored(now) {
			b.idle.push(slot{i, x})
			b.sent.push(x.sent)
		}
		slices.SortFunc(b.idle.items, func(a, b slot) int { return a.answered.Compare(b.answered) })
	}
	b.unused = limit - b.idle.len()
	return b
}

// slots is how many there are.
func (b *Budget) slots() int { return b.unused + b.idle.len() + len(b.underWay) }

// free takes a slot that no window holds any more, and returns its position in the log.
func (b *Budget) free() int {
	if b.unused == 0 {
		return b.idle.pop().at
	}
	at := b.slots() - b.unused
	b.unused--
	return at
}

func spacingOf(limit int) rate.Limit { return rate.Limit(pace * float64(limit) / Window.Seconds()) }

func burstOf(limit int) int { return max(1, int(time.Duration(limit)*catchUp/Window)) }

// Next returns the earliest time at which another request may go out, not
// before now.
func (b *Budget) Next(now time.Time) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.unclaimed(now)
}

// Claim keeps the next request for TakeClaimed: others get the one after it. So
// who asks rarely gets a turn beside who always asks. A claim that is not taken in
// time lapses.
func (b *Budget) Claim(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claim = b.next(now)
}

// Free is Next for whoever has the claim, or may make one.
func (b *Budget) Free(now time.Time) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.next(now)
}

// TakeClaimed is Take for whoever has the claim.
func (b *Budget) TakeClaimed(now time.Time) (ended Ended, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claim = time.Time{}
	return b.take(now)
}

// unclaimed is next for those without the claim.
func (b *Budget) unclaimed(now time.Time) time.Time {
	at := b.next(now)
	if b.claim.IsZero() {
		return at
	}
	after := b.claim.Add(time.Duration(float64(time.Second) / float64(b.spacing.Limit())))
	if !after.After(now) {
		b.claim = time.Time{}
		return at
	}
	if after.After(at) {
		return after
	}
	return at
}

func (b *Budget) next(now time.Time) time.Time {
	b.recover(now)
	at := later(now, b.until)
	// That many requests from the newest on, the oldest has to leave the window.
	if among := max(1, int(b.current)) - len(b.underWay); among <= 0 {
		// Its answer is not in, so the earliest is a guess to be asked again.
		at = later(at, now.Add(Window+Margin))
	} else if among <= b.idle.len() {
		at = later(at, b.idle.at(b.idle.len()-among).answered.Add(Window+Margin))
	}
	if tokens := b.spacing.TokensAt(at); tokens < 1 {
		at = at.Add(time.Duration((1 - tokens) / float64(b.spacing.Limit()) * float64(time.Second)))
	}
	return at
}

// Ended tells that a request ended at a time, and whether it was answered. It is to be called
// once.
type Ended func(at time.Time, answered bool)

// Take spends one request at now. Where no request may go out yet, since another goroutine
// was faster, ended is nil, and at is when to try again.
func (b *Budget) Take(now time.Time) (ended Ended, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if at = b.unclaimed(now); at.After(now) {
		return nil, at
	}
	return b.take(now)
}

func (b *Budget) take(now time.Time) (ended Ended, at time.Time) {
	if at = b.next(now); at.After(now) {
		return nil, at
	}
	b.spacing.AllowN(now, 1)
	s := slot{b.free(), exchange{sent: now}}
	b.underWay = append(b.underWay, s)
	if b.sent.push(now); b.sent.len() > b.slots() {
		b.sent.pop()
	}
	b.record(s)
	return func(at time.Time, answered bool) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.underWay = slices.DeleteFunc(b.underWay, func(o slot) bool { return o.at == s.at })
		if !answered {
			at = at.Add(queued)
		}
		s.answered = at
		b.idle.insert(s, func(o slot) bool { return o.answered.After(at) })
		b.record(s)
	}, now
}

func (b *Budget) record(s slot) {
	if b.log != nil {
		b.log.record(s.at, s.exchange)
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Refused takes a 429 into account: nothing goes out for wait, and the budget
// shrinks, since somebody else must be spending it too; it recovers with time.
func (b *Budget) Refused(now time.Time, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if until := now.Add(wait); until.After(b.until) {
		b.until = until
	}
	b.current = max(1, b.current*frugality)
	b.raised = now
}

// Pause lets nothing out for wait, without shrinking the budget.
func (b *Budget) Pause(now time.Time, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if until := now.Add(wait); until.After(b.until) {
		b.until = until
	}
}

// Allowed takes the platform's own X-RateLimit-Limit into account: a limit below
// the configured one is kept to.
func (b *Budget) Allowed(now time.Time, limit int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	limit = min(limit, b.slots())
	if limit < 1 || limit == b.limit {
		return
	}
	b.limit = limit
	b.current = min(b.current, float64(b.limit))
	b.spacing.SetLimitAt(now, spacingOf(b.limit))
	b.spacing.SetBurstAt(now, burstOf(b.limit))
}

func (b *Budget) recover(now time.Time) {
	gained := now.Sub(b.raised).Seconds() / recovery.Seconds()
	if b.current >= float64(b.limit) || gained <= 0 {
		b.raised = now
		return
	}
	b.current = min(float64(b.limit), b.current+gained)
	b.raised = now
}

// Used returns how many requests went out within the Window before now, and the
// limit in force.
func (b *Budget) Used(now time.Time) (used, limit int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recover(now)
	n := b.sent.len()
	old := sort.Search(n, func(i int) bool { return now.Sub(b.sent.at(i)) < Window })
	return n - old, max(1, int(b.current))
}
