package simulator

import "time"

// advance lets everything happen that is due until t. Going back does nothing.
func (p *population) advance(t int64) {
	for len(p.queue.h) > 0 && p.queue.h[0].at <= t {
		e := p.queue.pop()
		p.now = max(p.now, e.at)
		p.happen(e)
	}
	p.now = max(p.now, t)
	p.forget()
}

func (p *population) happen(e pending) {
	s := e.s
	switch e.what {
	case guestArrives:
		v := &p.venues[e.i]
		p.arrive(v, e.at, p.comes)
		p.planArrival(v, e.at)
	case burstBegins:
		p.burst(e.i, e.at)
	case venueReboots:
		v := &p.venues[e.i]
		p.reboot(v, e.at)
		p.planReboot(v, e.at)
	case sessionStarts:
		p.begin(s)
	case sessionResumes:
		p.resume(s, e.at)
	case sessionEnds:
		if s.online && s.end == e.at { // a burst may have moved the end
			p.finish(s, false)
		}
	case sessionMoves:
		if s.online && e.at > s.since {
			p.move(s, e.at)
		}
	case sessionChanges:
		if s.online && e.at > s.since {
			p.change(s, e.at)
		}
	case countersStep:
		// A step that was left over from an earlier stretch is out of phase.
		if s.online && e.at > s.since && (e.at-s.since)%p.interval == 0 {
			p.touch(s, e.at)
			if p.tellsTraffic() {
				down, up := s.figures(e.at, p.interval)
				p.log(TruthTraffic, e.at, s, down, up)
			}
			p.queue.push(pending{at: e.at + p.interval, what: countersStep, s: s})
		}
	}
}

// comes plans the session of a device that arrives.
func (p *population) comes(v *venue, at int64, guest uint64, device int, seed uint64) {
	s := p.newSession(v, at, guest, device, seed, p.draw(v, seed))
	if at <= p.now {
		p.begin(s)
		return
	}
	p.queue.push(pending{at: at, what: sessionStarts, s: s})
}

// begun logs a start, puts the session where it is listed, and gives it an address.
func (p *population) begun(s *session) {
	s.online, s.updated = true, s.start
	p.hide(s)
	p.assignIP(s, 0)
	p.list(s)
	p.found.add(s)
	p.log(TruthStart, s.start, s, 0, 0)
}

func (p *population) begin(s *session) {
	p.begun(s)
	p.planStretch(s)
}

// planStretch plans what happens to s until it ends.
func (p *population) planStretch(s *session) {
	p.queue.push(pending{at: s.end, what: sessionEnds, s: s})
	// Of one that was online before the start, some of it has happened.
	change := func() {
		if at := s.since + s.plan.changeAt; at > p.now {
			p.queue.push(pending{at: at, what: sessionChanges, s: s})
		} else if at > s.since {
			p.change(s, at)
		}
	}
	move := func() {
		if at := s.since + s.plan.moveAt; at > p.now {
			p.queue.push(pending{at: at, what: sessionMoves, s: s})
		} else if at > s.since {
			p.move(s, at)
		}
	}
	if s.plan.changeAt <= s.plan.moveAt {
		change()
		move()
	} else {
		move()
		change()
	}
	if !p.tellsTraffic() && p.cfg.Order != Moving {
		return
	}
	// The counters' steps so far are logged as one.
	k := (p.now - s.since) / p.interval
	if k > 0 {
		at := s.since + k*p.interval
		p.touch(s, at)
		if p.tellsTraffic() {
			down, up := s.figures(at, p.interval)
			p.log(TruthTraffic, at, s, down, up)
		}
	}
	p.queue.push(pending{at: s.since + (k+1)*p.interval, what: countersStep, s: s})
}

// tellsTraffic reports whether the ground truth holds steps of the counters.
func (p *population) tellsTraffic() bool { return p.tell != nil && !p.cfg.LivesOnly }

// touch notes that s was updated at t, and moves it where the order follows that.
func (p *population) touch(s *session, t int64) {
	if t = max(t, s.updated); p.cfg.Order != Moving {
		s.updated = t
		return
	}
	p.unlist(s)
	s.updated = t
	p.list(s)
}

// updatedAt is when the row of s was last updated, as seen at t: steps of the
// counters are not lived through unless somebody has to know each.
func (p *population) updatedAt(s *session, t int64) int64 {
	if !s.online {
		return s.updated
	}
	return max(s.updated, s.since+(t-s.since)/p.interval*p.interval)
}

// finish ends the stretch at s.end. For one in the past, the caller sees to what
// follows.
func (p *population) finish(s *session, past bool) {
	s.down, s.up = s.final(p.interval)
	p.unlist(s)
	s.seconds += (s.end - s.since) / int64(time.Second)
	s.online, s.updated = false, s.end
	s.rec.EndedAt = time.Unix(0, s.end).UTC().Truncate(time.Second)
	p.releaseIP(s)
	p.list(s)
	p.ended = append(p.ended, gone{s.end, s})
	p.log(TruthEnd, s.end, s, s.down, s.up)
	if past {
		return
	}
	pl := &s.plan
	after := s.end + pl.pause
	switch {
	case pl.resume:
		p.queue.push(pending{at: after, what: sessionResumes, s: s})
	case pl.roamTo >= 0:
		v := &p.venues[pl.roamTo]
		next := p.newSession(v, after, s.guest, 0, pl.next, p.draw(v, pl.next))
		next.rec.DeviceMAC, next.rec.DeviceDescription = s.rec.DeviceMAC, s.rec.DeviceDescription
		p.queue.push(pending{at: after, what: sessionStarts, s: next})
	}
}

func (p *population) resume(s *session, at int64) {
	p.unlist(s)
	seed := s.plan.next
	s.take(at, seed, p.draw(&p.venues[s.venue], seed))
	s.online, s.updated = true, at
	s.rec.EndedAt = time.Time{}
	p.assignIP(s, seed)
	p.list(s)
	if s.forgotten {
		s.forgotten = false
		p.found.add(s)
	}
	p.log(TruthResume, at, s, s.down, s.up)
	p.planStretch(s)
}

func (p *population) move(s *session, at int64) {
	p.unlist(s)
	from := s.rec.LocationID
	s.venue = s.plan.moveTo
	s.rec.LocationID, s.rec.LocationName = p.venues[s.venue].ID, p.venues[s.venue].Name
	s.updated = max(s.updated, at)
	p.list(s)
	if p.tell != nil {
		t := p.truth(TruthMove, at, s)
		t.From = from
		t.Downloaded, t.Uploaded = s.figures(at, p.interval)
		p.tell(t)
	}
}

func (p *population) change(s *session, at int64) {
	if s.plan.changeIP {
		p.releaseIP(s)
		p.assignIP(s, s.seed|1)
	} else {
		for i, name := range profiles {
			if name == s.rec.ServiceProfile {
				s.rec.ServiceProfile = profiles[(i+1)%len(profiles)]
				break
			}
		}
	}
	p.touch(s, at)
	down, up := s.figures(at, p.interval)
	p.log(TruthUpdate, at, s, down, up)
}

// burst brings extra arrivals and departures to a venue.
func (p *population) burst(i int, at int64) {
	b := &p.cfg.Bursts[i]
	v := &p.venues[b.Location]
	over := scaled(b.Over, p.cfg.Speed)
	var here view
	here.add(0, &v.lists[0].online, 0)
	for _, e := range here.append(nil, 0, here.len()) {
		s := e.s // it is online, and so none of the archive
		h := hash(s.num, 40, uint64(i))
		if unit(h) >= b.Leave {
			continue
		}
		if end := at + 1 + int64(unit(mix(h))*float64(over)); end < s.end {
			s.end = end
			p.queue.push(pending{at: end, what: sessionEnds, s: s})
		}
	}
	for n := range b.Arrivals {
		seed := hash(p.cfg.Seed, 41, uint64(i), uint64(n))
		s := p.newSession(v, at+1+int64(float64(over)*float64(n)/float64(b.Arrivals)), mix(seed), 0, seed, p.draw(v, seed))
		p.queue.push(pending{at: s.start, what: sessionStarts, s: s})
	}
}

// forget drops sessions that ended longer ago than the history reaches.
func (p *population) forget() {
	limit, n := p.now-int64(p.cfg.History), 0
	for ; n < len(p.ended) && p.ended[n].at < limit; n++ {
		if g := p.ended[n]; !g.s.online && g.s.end == g.at {
			p.unlist(g.s)
			p.found.drop(g.s)
			g.s.forgotten = true
		}
		p.ended[n].s = nil
	}
	p.ended = p.ended[n:]
	p.forgetArchive(limit)
}
