package occupancy

// Miss notes that the messages after the last one, up to the given sequence, are
// missing from the stream. Ends may have been among them: each session that is
// online becomes uncertain until its next event, which says what it is. One of which
// nothing is heard for Limits.Uncertain is taken for gone; where it was not, its next
// event brings it back.
func (o *Occupancy) Miss(to uint64) {
	if to <= o.sequence {
		return
	}
	o.counters.Missing += to - o.sequence
	o.sequence = to
	o.gap = o.sequence + 1
}

// Renumber makes the state one before the first event of a stream that was made in
// place of one that was deleted. Whatever is missing between the two may hold ends.
func (o *Occupancy) Renumber() {
	o.sequence, o.gap = 0, 1
	for _, a := range o.accounts {
		a.total.sequence = 0
		for _, l := range a.areas {
			l.sequence = 0
			o.touch(l)
		}
		for s := range a.roster.each() {
			s.sequence = 0
		}
	}
}

// suspect notes that revisions of a session are missing. Where no gap of the stream
// explains it, the stream lost acknowledged messages without a trace, and those of
// other sessions with them.
func (o *Occupancy) suspect(s session) {
	if s.row != nil && s.sequence >= o.gap {
		o.gap = o.sequence
	}
}

// uncertain reports whether s had no event since the latest gap.
func (s *row) uncertain(gap uint64) bool { return s.sequence < gap }

// settle looks at the uncertain sessions once a minute of the time of observations,
// which was before until now.
func (o *Occupancy) settle(before int64) {
	if o.gap == 0 || minuteOf(before) == minuteOf(o.observed) {
		return
	}
	left := false
	for _, a := range o.accounts {
		for s := range a.roster.each() {
			switch {
			case !s.uncertain(o.gap):
			case s.doubtedAt == 0:
				s.doubtedAt, left = o.observed, true
			case o.observed-s.doubtedAt < o.limits.Uncertain.Milliseconds():
				left = true
			default:
				o.giveUp(a, s)
			}
		}
	}
	if !left {
		o.gap = 0
	}
}

// giveUp takes a session out of the counts from when it became uncertain. It is no
// departure, since nobody knows when it left, or whether.
func (o *Occupancy) giveUp(a *account, s session) {
	at := max(s.doubtedAt, s.countedAt)
	l := a.roster.place(s)
	a.remove(s)
	for _, from := range []*area{l, a.total} {
		from.steps.add(at, -1, o.observed-o.limits.History.Milliseconds())
	}
	o.touch(l)
	o.counters.Settled++
}

// Uncertain counts the online sessions whose end may have been missed.
func (o *Occupancy) Uncertain() (n int) {
	for _, a := range o.accounts {
		n += a.total.uncertain(o.gap)
	}
	return n
}

// uncertain counts those of a place.
func (l *area) uncertain(gap uint64) (n int) {
	if gap == 0 {
		return 0
	}
	for s := range l.sessions() {
		if s.uncertain(gap) {
			n++
		}
	}
	return n
}
