package simulator

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// planReboot draws the next restart of v's access points after a time: a Poisson
// process that takes nothing from the venue's other random numbers.
func (p *population) planReboot(v *venue, after int64) {
	if p.cfg.RebootsPerHour == 0 {
		return
	}
	v.reboots++
	u := unit(hash(p.cfg.Seed, 42, uint64(v.index), v.reboots))
	gap := -math.Log(1-u) / (p.cfg.RebootsPerHour * p.cfg.Speed) * float64(time.Hour)
	if gap < math.MaxInt64/4 {
		p.queue.push(pending{at: after + int64(gap) + 1, what: venueReboots, i: v.index})
	}
}

// reboot ends all sessions at v at once, and lets each device come back within
// the next whole second, for as long as it would have stayed.
func (p *population) reboot(v *venue, at int64) {
	var here view
	here.add(0, &v.lists[0].online, 0)
	second := (at/int64(time.Second) + 1) * int64(time.Second)
	online := here.append(nil, 0, here.len())
	// The list's order must not decide who comes back under which id.
	slices.SortFunc(online, func(a, b entry) int { return cmp.Compare(a.num, b.num) })
	for _, e := range online {
		s := e.s // none of the archive is online
		pl, leaves := s.plan, s.end
		for _, happens := range []*int64{&pl.changeAt, &pl.moveAt} {
			*happens += s.since // still to come, or never
		}
		s.end = at
		p.finish(s, true)
		h := hash(s.num, 43, v.reboots)
		back := second + int64(unit(h)*float64(time.Second))
		if leaves <= back {
			continue
		}
		for _, happens := range []*int64{&pl.changeAt, &pl.moveAt} {
			*happens = max(0, *happens-back)
		}
		pl.stay = leaves - back
		next := p.newSession(v, back, s.guest, 0, mix(h), pl)
		next.rec.DeviceMAC, next.rec.DeviceDescription = s.rec.DeviceMAC, s.rec.DeviceDescription
		p.queue.push(pending{at: back, what: sessionStarts, s: next})
	}
}
