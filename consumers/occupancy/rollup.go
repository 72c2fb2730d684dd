package occupancy

import (
	"cmp"
	"slices"
	"time"

	"github.com/guestflow/guestflow/internal/group"
)

// move is one session's way from one location to another. It is a departure here and an
// arrival there, and neither where both are counted as one.
type move struct {
	from, to *area
	at       int64
}

// moved notes a move, for as long as arrivals and departures are counted.
func (a *account) moved(from, to *area, at, horizon int64) {
	if at >= horizon {
		a.moves = append(a.moves, move{from, to, at})
	}
	n := 0
	for n < len(a.moves) && a.moves[n].at < horizon {
		n++
	}
	a.moves = a.moves[n:]
}

// areasIn returns the locations of a set (nil: all) that were seen, in order of account and
// id.
func (o *Occupancy) areasIn(of *group.Set) (list []*area) {
	every := func(a *account) {
		for _, l := range a.areas {
			list = append(list, l)
		}
	}
	if of == nil {
		for _, a := range o.accounts {
			every(a)
		}
	}
	for p := range of.All() {
		a := o.accounts[p.Account]
		if a == nil {
			continue
		}
		if p.Location == group.Every {
			every(a)
		} else if l := a.areas[p.Location]; l != nil {
			list = append(list, l)
		}
	}
	slices.SortFunc(list, func(a, b *area) int {
		return cmp.Or(cmp.Compare(a.account, b.account), cmp.Compare(a.id, b.id))
	})
	return list
}

// Rollup are the figures of several locations as if they were one.
type Rollup struct {
	// Online counts the sessions, Uncertain those whose end may have been missed.
	Online    int `json:"online"`
	Uncertain int `json:"uncertain,omitempty"`
	// Devices and Guests are distinct: who is online at two of the locations counts once.
	// The same id in two accounts means two guests.
	Devices int `json:"devices"`
	Guests  int `json:"guests"`
	// Arrivals and Departures leave out moves between the locations.
	Arrivals   Windows `json:"arrivals"`
	Departures Windows `json:"departures"`
	// ObservedAt is that of the last event here.
	ObservedAt time.Time `json:"observed_at,omitzero"`
}

// rollup counts locations, each of which is in the list once, together.
func (o *Occupancy) rollup(list []*area, now int64) (r Rollup) {
	in := make(map[*area]bool, len(list))
	accounts := map[string][]*area{}
	var seen int64
	for _, l := range list {
		in[l] = true
		seen = max(seen, l.seenAt)
		r.Online += l.online()
		r.Uncertain += l.uncertain(o.gap)
		r.Devices += l.anonymous
		accounts[l.account] = append(accounts[l.account], l)
		r.Arrivals.add(windows(&l.arrivals, now), 1)
		r.Departures.add(windows(&l.departures, now), 1)
	}
	for name, areas := range accounts {
		a := o.accounts[name]
		r.Guests += a.guests.within(areas, in, guestsOf)
		if len(accounts) == 1 {
			r.Devices += a.devices.within(areas, in, devicesOf)
		}
		var within instants
		for _, m := range a.moves {
			if in[m.from] && in[m.to] {
				within.at = append(within.at, m.at)
			}
		}
		slices.Sort(within.at)
		r.Arrivals.add(windows(&within, now), -1)
		r.Departures.add(windows(&within, now), -1)
	}
	if len(accounts) > 1 { // a device may be seen in several
		devices := union{}
		for _, l := range list {
			devices.add(&l.devices)
		}
		r.Devices += len(devices)
	}
	r.ObservedAt = fromMillis(seen)
	return r
}

// union is which texts several distinct have seen.
type union map[uint64]struct{}

func (u union) add(d *distinct) {
	for h := range d.once {
		u[h] = struct{}{}
	}
}

func windows(s *instants, now int64) Windows {
	in := func(d time.Duration) int { return s.within(now-d.Milliseconds(), now) }
	return Windows{in(5 * time.Minute), in(15 * time.Minute), in(time.Hour)}
}

func (w *Windows) add(v Windows, sign int) {
	w.M5, w.M15, w.M60 = w.M5+sign*v.M5, w.M15+sign*v.M15, w.M60+sign*v.M60
}

// part is the occupancy of some locations of an account together.
func (o *Occupancy) part(list []*area, now int64, recent int) Location {
	r := o.rollup(list, now)
	v := Location{
		Account: list[0].account, Online: r.Online, Uncertain: r.Uncertain, Devices: r.Devices, Guests: r.Guests,
		Arrivals: r.Arrivals, Departures: r.Departures, ObservedAt: r.ObservedAt,
	}
	since, begin := list[0].since, list[0].begin()
	var latest []stay
	for _, l := range list {
		since, begin = min(since, l.since), min(begin, l.begin())
		v.Sequence = max(v.Sequence, l.sequence)
		latest = append(latest, l.stays.ring...)
	}
	v.Since, v.Dwell = fromMillis(since), dwellOf(latest)
	if recent > 0 {
		last := minuteOf(now)
		v.Recent = make([]int, last-max(last-int32(recent)+1, min(minuteOf(begin), last))+1)
		for _, l := range list {
			_, counts := l.curve(now, recent)
			for i, n := range counts {
				v.Recent[len(v.Recent)-len(counts)+i] += n
			}
		}
	}
	return v
}

// dwellOf tells how long the latest of these stays lasted.
func dwellOf(latest []stay) Dwell {
	slices.SortFunc(latest, func(a, b stay) int { return cmp.Or(cmp.Compare(b.ended, a.ended), cmp.Compare(a.seconds, b.seconds)) })
	var s stays
	for _, v := range latest[:min(len(latest), StaySample)] {
		s.sorted = append(s.sorted, v.seconds)
	}
	slices.Sort(s.sorted)
	return Dwell{Stays: len(s.sorted), P50Seconds: s.quantile(0.5), P90Seconds: s.quantile(0.9)}
}
