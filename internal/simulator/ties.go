package simulator

import (
	"slices"
	"sort"
)

// ties gives sessions of equal start the order that a database gives rows of
// equal sort key: one that follows from the plan and from where each row lies,
// and so from the request and from the last update of each.
type ties struct {
	p      *population
	filter uint64
}

// filterHash tells requests apart by all that the platform reads of them but the
// page.
func (p *population) filterHash(q Query) uint64 {
	h := hash(p.cfg.Seed, 5, uint64(q.Online))
	for _, s := range [...]string{q.Location, q.Guest, q.MAC, q.Yas} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 0x100000001b3 // FNV-1a
		}
		h = mix(h)
	}
	if p.cfg.LastSessionFirst {
		h = hash(h, uint64(q.LastFirst))
	}
	return hash(h, uint64(p.cfg.midnight(q.StartDay, 0).Unix()), uint64(p.cfg.midnight(q.EndDay, 0).Unix()))
}

// tied appends k sessions from rank r on, of the list in which those of equal
// start stand in the order of one window. Only the groups that the page touches
// are looked at.
func (x *selection) tied(dst []entry, r, k int, window uint64) []entry {
	if k == 0 {
		return dst
	}
	had := len(dst)
	from, to := x.below(x.startAt(r)), x.below(x.startAt(r+k-1)+1)
	dst = x.slice(dst, from, to-from)
	rows := dst[had:]
	for i := 0; i < len(rows); {
		n, key := i+1, rows[i].key
		for n < len(rows) && rows[n].key == key {
			n++
		}
		x.ties.permute(rows[i:n], window)
		i = n
	}
	copy(rows, rows[r-from:r-from+k])
	return dst[:had+k]
}

// permute orders sessions of one start.
func (t *ties) permute(group []entry, window uint64) {
	if len(group) < 2 {
		return
	}
	e := t.p.tie[:0]
	for _, g := range group {
		updated := int64(0)
		if g.s != nil {
			updated = t.p.updatedAt(g.s, t.p.now)
		}
		e = append(e, entry{hash(window, g.num, uint64(updated)), g.num, g.s})
	}
	slices.SortFunc(e, func(a, b entry) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	for i := range e {
		group[i].num, group[i].s = e[i].num, e[i].s
	}
	t.p.tie = e
}

// startAt is the key of the session at rank r of a list by start.
func (x *selection) startAt(r int) uint64 {
	if !x.listed {
		return x.all[r].key
	}
	var one [1]entry
	return x.view.append(one[:0], r, 1)[0].key
}

// below returns how many sessions of a list by start have a smaller key.
func (x *selection) below(key uint64) int {
	if !x.listed {
		return sort.Search(len(x.all), func(i int) bool { return x.all[i].key >= key })
	}
	n := 0
	for i := range x.view.x {
		if x.view.x[i] != nil {
			n += max(0, x.view.x[i].rank(key)-x.view.from[i])
		}
	}
	return n
}
