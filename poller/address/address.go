// Package address judges what the look-up by IP address says of sessions: whether the
// connection behind an address is still the session's, and how far such answers can be
// believed, which it learns. It is pure: no I/O, no clock, and nothing of the project is
// imported. The poller asks, hands the answers over, and acts on the verdicts.
//
// Times are seconds on the local clock since a beginning that all of them share.
package address

// Reply is what one answer says of one address.
type Reply struct {
	Sent, Came float64
	// Told is false where the answer leaves the address out.
	Told bool
	// Duration is that of the connection in whole seconds, as told; negative where it
	// cannot be read, or several are told.
	Duration int64
}

// Span is a time that is known to lie between two others.
type Span struct{ From, To float64 }

func (s Span) meets(o Span, slack float64) bool {
	return s.From <= o.To+slack && o.From <= s.To+slack
}

// Rules are how the platform's answers are read.
type Rules struct {
	// Grain is what durations are cut or rounded to, in seconds; below 1 counts as 1.
	Grain float64
	// Standing: an address whose session has ended is told still, with the duration that
	// the session had at its end; see Capability.Standing.
	Standing bool
}

func (r Rules) grain() float64 { return max(1, r.Grain) }

// began is when the connection of a reply began.
func (r Rules) began(reply Reply) Span {
	d, g := float64(reply.Duration), r.grain()
	return Span{reply.Sent - d - g, reply.Came - d + g/2}
}

// Verdict is what a reply says of a session.
type Verdict int

const (
	// Nothing: the reply cannot be read.
	Nothing Verdict = iota
	// Here: the session's connection is there.
	Here
	// Away: its connection is not there, by this reply alone.
	Away
	// Gone: it is not there by two replies a second apart, and was there before.
	Gone
	// Another: another connection has the address, or has it as well.
	Another
)

// Apart is how many seconds lie between two replies at least that prove a session gone.
const Apart = 1

const (
	// slack is for clocks, and for writing down what happened, in seconds.
	slack = 1.0
	// mostStrange is how often in all another connection may be told of an address before
	// nobody asks by it any more.
	mostStrange = 3
	// none is the duration of a reply that leaves the address out.
	none = -1
)

// Trace is what replies said of one session so far. The zero Trace knows nothing.
type Trace struct {
	// Asked is when it was last asked about, Told when the last reply came that was about
	// the session; zero is never.
	Asked, Told float64
	// Inherited: the session was online when a former process ended, and nothing has shown
	// it to this one. Replies that leave it out prove it gone all the same.
	Inherited bool

	known     bool // its connection was told
	began     Span // when that began
	lasted    int64
	away      bool // the last reply was Away
	first     Reply
	strangers uint8
}

// Suspect reports whether one more reply can prove the session gone, sent at a time or
// later.
func (t *Trace) Suspect(rules Rules) (from float64, ok bool) {
	if !t.away || !t.known && !t.Inherited {
		return 0, false
	}
	if t.first.Told {
		return t.first.Came + rules.grain(), true
	}
	return max(t.first.Sent+Apart, t.first.Came), true
}

// Known reports whether the session's connection was told.
func (t *Trace) Known() bool { return t.known }

// Hopeless reports whether the address was another's so often that asking is no use.
func (t *Trace) Hopeless() bool { return t.strangers >= mostStrange }

// Acquit forgets what is held against the session.
func (t *Trace) Acquit() { t.away, t.Inherited = false, false }

// Forget forgets the connection, as when the session has another address.
func (t *Trace) Forget() { *t = Trace{Asked: t.Asked} }

// Read judges a reply about a session whose start lies in a span. asOf is the time at
// which Here shows it to have been online.
//
// A connection is the session's when it began with it. From then on it is known by its
// beginning, so that another that got the address later, or has it as well, is told
// apart, and proves nothing: the platform answers for one of those who have an address.
func (t *Trace) Read(r Reply, start Span, rules Rules) (v Verdict, asOf float64) {
	t.Told = r.Came
	if r.Told && r.Duration < 0 {
		t.away = false
		return Nothing, 0
	}
	if !r.Told {
		return t.absent(r, rules), 0
	}
	began := rules.began(r)
	switch {
	case !t.known && began.meets(start, slack):
		t.known, t.began = true, began
	case t.known && began.meets(t.began, slack/4):
	case t.known && rules.Standing && began.From > t.began.To && r.Duration >= t.lasted:
		// It has ended and is told still, or another has the address: see absent.
		return t.absent(r, rules), 0
	default:
		t.known, t.away = false, false
		if t.strangers < mostStrange {
			t.strangers++
		}
		return Another, 0
	}
	t.lasted, t.Inherited, t.away = max(t.lasted, r.Duration), false, false
	if rules.Standing {
		// It may have ended since: only so long it has lasted for sure.
		return Here, min(r.Sent, start.From+float64(r.Duration)-rules.grain()/2)
	}
	return Here, r.Sent
}

// absent takes a reply that does not show the connection, or shows it to stand still: a
// live one is a second older a second later.
func (t *Trace) absent(r Reply, rules Rules) Verdict {
	if from, ok := t.Suspect(rules); ok && r.Sent >= from && r.Told == t.first.Told && (!r.Told || r.Duration == t.first.Duration) {
		return Gone
	}
	if !t.away || r.Told != t.first.Told || r.Duration != t.first.Duration && r.Told {
		t.away, t.first = true, r
	}
	return Away
}
