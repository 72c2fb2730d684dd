package webhook

import (
	"cmp"
	"slices"
	"time"
)

// gate keeps the events of one session in order for an ordered endpoint. It is a
// pure decision: the caller says what arrived and how a try went, and is told
// what to send and what to return to the server, with which delay. It is not
// safe for concurrent use; the runner's loop owns it.
//
// Each session with an unsettled event has a line of them, sorted by stream
// sequence. Only the head of a line is ever sent. The events behind it wait in
// memory while the head is in hand, and at the server while the head waits
// there. All events of a line count against the consumer's MaxAckPending, so the
// server's limit bounds the gate.
type gate struct {
	lines map[string][]*turn
	// soonest and latest bound the delay of an event that is returned to the
	// server: not so short that it spins, not so long that it is forgotten.
	soonest, latest time.Duration
}

// maxLine is how many events of one session may wait in memory, so that a slow
// one does not fill the endpoint's window with its successors.
const maxLine = 4

func inHand(line []*turn) (n int) {
	for _, t := range line {
		if t.job != nil {
			n++
		}
	}
	return n
}

// turn is one event's place in its line.
type turn struct {
	job     *job // nil while the event waits at the server
	seq     uint64
	sending bool
	due     time.Time // of the next try; zero before the first
	seen    time.Time // last arrival from the server
}

// find returns where in the line the event stands or would stand.
func find(line []*turn, seq uint64) (at int, known bool) {
	return slices.BinarySearchFunc(line, seq, func(t *turn, seq uint64) int { return cmp.Compare(t.seq, seq) })
}

// orders is what the gate tells the runner to do.
type orders struct {
	send []*job
	hold []held
}

// held is an event to return to the server for the delay.
type held struct {
	job   *job
	delay time.Duration
}

func newGate(soonest, latest time.Duration) *gate {
	return &gate{lines: map[string][]*turn{}, soonest: soonest, latest: latest}
}

// arrive takes an event that the server handed out. With closed set nothing is
// sent: the event takes its place and goes back to the server.
func (g *gate) arrive(j *job, now time.Time, closed bool) orders {
	session := j.line()
	line := g.lines[session]
	at, known := find(line, j.seq)
	if !known {
		line = slices.Insert(line, at, &turn{seq: j.seq})
		g.lines[session] = line
	}
	t := line[at]
	t.seen = now
	if t.sending {
		return orders{} // handed out again while its try is under way
	}
	t.job = j
	head := line[0]
	switch {
	case closed:
		return g.park(t, now, now)
	case at > 0 && head.job != nil && inHand(line) <= maxLine:
		return orders{} // waits here for the head's result
	case at > 0 && head.job != nil:
		return g.park(t, now, now)
	}
	return g.advance(session, now)
}

// advance sends the head of a line if it is in hand and due; otherwise all of
// the line that is in hand goes back to the server until the head is due.
func (g *gate) advance(session string, now time.Time) orders {
	line := g.lines[session]
	if len(line) == 0 {
		delete(g.lines, session)
		return orders{}
	}
	head := line[0]
	if head.sending {
		return orders{}
	}
	if head.job != nil && !head.due.After(now) {
		head.sending = true
		return orders{send: []*job{head.job}}
	}
	var out orders
	for _, t := range line {
		if t.job != nil {
			out.hold = append(out.hold, g.park(t, head.due, now).hold...)
		}
	}
	return out
}

func (g *gate) park(t *turn, until, now time.Time) orders {
	j := t.job
	t.job = nil
	return orders{hold: []held{{j, min(max(until.Sub(now), g.soonest), g.latest)}}}
}

// settled removes an event that was sent from its line: it was delivered, or is a
// dead letter. It need not be the head any more: an earlier event comes again where
// the server handed it out once more before its ack came in.
func (g *gate) settled(j *job, now time.Time) orders {
	session := j.line()
	line := g.lines[session]
	if at, known := find(line, j.seq); known {
		g.lines[session] = slices.Delete(line, at, at+1)
	}
	return g.advance(session, now)
}

// failed says that an event that was sent was returned to the server and may be
// tried again at due.
func (g *gate) failed(j *job, due, now time.Time) orders {
	session := j.line()
	if at, known := find(g.lines[session], j.seq); known {
		t := g.lines[session][at]
		t.sending, t.job, t.due = false, nil, due
	}
	return g.advance(session, now)
}

// lost returns the heads that the server should have handed out by now and has
// not, for the caller to check whether the stream still has them.
func (g *gate) lost(now time.Time, grace time.Duration) []uint64 {
	var out []uint64
	for _, line := range g.lines {
		if t := line[0]; t.job == nil && now.Sub(t.seen) > g.latest+grace {
			out = append(out, t.seq)
			t.seen = now // ask again only after another such wait
		}
	}
	slices.Sort(out)
	return out
}

// forget drops a head that the stream no longer has.
func (g *gate) forget(seq uint64, now time.Time) orders {
	for session, line := range g.lines {
		if line[0].seq == seq && line[0].job == nil {
			g.lines[session] = line[1:]
			return g.advance(session, now)
		}
	}
	return orders{}
}

// known counts the events that have a place in a line.
func (g *gate) known() (n int) {
	for _, line := range g.lines {
		n += len(line)
	}
	return n
}

// settling is the time after a start in which an ordered endpoint sends nothing.
// Events that were handed out before, and not settled, are handed out again only
// when their delay or AckWait is over; newer events of their sessions arrive at
// once and must not overtake them. The server says how many there are and up to
// which sequence, so the gate opens when all have been seen. Those that left the
// stream meanwhile never come: when all that exist should have, the server is
// asked again.
type settling struct {
	seen    map[uint64]bool
	upTo    uint64
	pending int
	every   time.Duration
	ask     time.Time
}

func newSettling(pending int, upTo uint64, now time.Time, every time.Duration) *settling {
	return &settling{seen: map[uint64]bool{}, upTo: upTo, pending: pending, every: every, ask: now.Add(every)}
}

// saw notes an arrival and reports whether it was the last one missing.
func (s *settling) saw(seq uint64) (over bool) {
	if seq <= s.upTo {
		s.seen[seq] = true
	}
	return len(s.seen) >= s.pending
}

// confirm takes the server's present count of events handed out and not settled,
// and reports whether the gate knows them all.
func (s *settling) confirm(pending, known int, now time.Time) (over bool) {
	s.ask = now.Add(s.every)
	return pending <= known
}
