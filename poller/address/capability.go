package address

// Capability is what is known of the endpoint: whether it shows those who are online,
// and does not show those who are gone. It is learned from sessions of which lists have
// proven one or the other. Its exported fields are what outlives a process.
type Capability struct {
	// Live and Gone count the cases since the last contradiction in which a reply agreed
	// with the lists: about a session that was online before and after, and about one that
	// had ended. Stale of the latter were told still, with a duration that stands still.
	Live, Gone, Stale int
	// Stayed counts the sessions since then that had one address from beginning to end:
	// who changes it looks as if gone.
	Stayed int
	// Contradictions counts the cases in which one did not.
	Contradictions int
	// Lost counts how often it was established before, and a contradiction ended that.
	Lost int
}

// LeastLive, LeastGone and LeastStayed are how many cases establish it: where one reply in
// a hundred about a live session is wrong, so many right ones in a row have a probability
// of 0.00005; where two sessions in a hundred change their address, that so many keep it
// has one of 0.002. Each contradiction doubles them.
const (
	LeastLive   = 1000
	LeastGone   = 30
	LeastStayed = 300
	// mostDoublings bounds that: 60 million cases are never.
	mostDoublings = 16
)

// Needed returns how many cases of each kind establish it now.
func (c *Capability) Needed() (live, gone, stayed int) {
	n := min(c.Contradictions, mostDoublings)
	return LeastLive << n, LeastGone << n, LeastStayed << n
}

// Established reports whether replies are proof.
func (c *Capability) Established() bool {
	live, gone, stayed := c.Needed()
	return c.Live >= live && c.Gone >= gone && c.Stayed >= stayed
}

// Standing reports whether an address whose session has ended may be told still.
func (c *Capability) Standing() bool { return c.Stale > 0 }

// Agree counts a case of a session that was online.
func (c *Capability) Agree() { c.Live++ }

// Stay counts a session that ended at the address at which it began.
func (c *Capability) Stay() { c.Stayed++ }

// AgreeGone counts a case of one that had ended; stale: it was told still.
func (c *Capability) AgreeGone(stale bool) {
	c.Gone++
	if stale {
		c.Stale++
	}
}

// Contradict counts a reply that was wrong: all has to be learned again, with twice as
// many cases. It reports whether the capability was established until now.
func (c *Capability) Contradict() (lost bool) {
	if lost = c.Established(); lost {
		c.Lost++
	}
	c.Contradictions++
	c.Live, c.Gone, c.Stale, c.Stayed = 0, 0, 0, 0
	return lost
}

// Former is a session that a list proved gone, to learn what the endpoint says of such.
type Former struct {
	Start Span // when it began
	// Ended is a span that holds its end.
	Ended Span
}

// Wait is how many seconds after a session's end its address is asked about at the
// earliest: later than a connection whose duration stands still could be taken for one
// that goes on.
func (r Rules) Wait() float64 { return 4 + 2*r.grain() }

// Tells is what a reply about a former session says of the endpoint.
type Tells int

const (
	// TellsNothing: the address is another's by now, or the reply cannot be read.
	TellsNothing Tells = iota
	// TellsLeftOut: the address is left out, as it should be.
	TellsLeftOut
	// TellsStale: the session is told with the duration that it had.
	TellsStale
	// TellsOnline: it is told as if it were online.
	TellsOnline
)

// Of says what a reply tells, sent r.Wait() after the session's end or later.
func (r Rules) Of(f Former, reply Reply) Tells {
	switch {
	case !reply.Told:
		return TellsLeftOut
	case reply.Duration < 0:
		return TellsNothing
	case r.began(reply).meets(f.Start, slack):
		return TellsOnline
	}
	d, g := float64(reply.Duration), r.grain()
	lasted := Span{f.Ended.From - f.Start.To, f.Ended.To - f.Start.From}
	if lasted.meets(Span{d - g/2, d + g}, slack) {
		return TellsStale
	}
	return TellsNothing
}

// Believable reports whether an answer can be read as absence at all: it shows some of
// those who were asked about, and not many more are missing than have probably ended. An
// answer that is empty, cut off, or knows a part of the account alone is none.
func Believable(here, away int, expected float64) bool {
	return here > 0 && float64(away) <= mostAway+surprise*expected
}

const (
	mostAway = 5
	surprise = 4
)
