package simulator

type happening uint8

const (
	guestArrives happening = iota
	sessionStarts
	sessionEnds
	sessionResumes
	sessionMoves
	sessionChanges
	countersStep
	burstBegins
	venueReboots
)

// pending is something that will happen. Those of equal time happen in the
// order in which they were planned.
type pending struct {
	at   int64
	seq  uint64
	what happening
	i    int      // venue or burst
	s    *session // or nil
}

func (p *pending) before(o *pending) bool {
	return p.at < o.at || p.at == o.at && p.seq < o.seq
}

// queue is a binary heap, written out because container/heap would allocate for
// each element.
type queue struct {
	h   []pending
	seq uint64
}

func (q *queue) push(p pending) {
	q.seq++
	p.seq = q.seq
	q.h = append(q.h, p)
	i := len(q.h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !p.before(&q.h[up]) {
			break
		}
		q.h[i] = q.h[up]
		i = up
	}
	q.h[i] = p
}

func (q *queue) pop() pending {
	top := q.h[0]
	n := len(q.h) - 1
	last := q.h[n]
	q.h[n] = pending{}
	q.h = q.h[:n]
	if n == 0 {
		return top
	}
	i := 0
	for {
		down := 2*i + 1
		if down >= n {
			break
		}
		if r := down + 1; r < n && q.h[r].before(&q.h[down]) {
			down = r
		}
		if !q.h[down].before(&last) {
			break
		}
		q.h[i] = q.h[down]
		i = down
	}
	q.h[i] = last
	return top
}
