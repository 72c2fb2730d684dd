package simulator

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// archive is the history from before all that is simulated step by step: of each session
// there are 32 bytes, and places in the same lists as all others have. The session itself
// is made from them whenever it is shown.
type archive struct {
	unpacked bool
	limit    int64 // who ended before is forgotten
	all      []archived
	byEnd    []uint32 // positions in all, of those that are not forgotten
	by       [3][]keyed
}

// archived is a session that is over.
type archived struct {
	start, end int64
	guest      uint64
	venue      int32
	device     uint8
}

// keyed is a position in the archive by what is asked for.
type keyed struct {
	key uint64
	i   uint32
}

// firstArchived is behind all numbers that other sessions are made from.
const firstArchived = 1 << 62

// numbered is the number of the ith session of the archive, from which archived finds it.
func (p *population) numbered(i int) uint64 {
	return mix(hash(p.cfg.Seed, 2) + firstArchived + uint64(i))
}

func (p *population) position(num uint64) int {
	return int(unmix(num) - hash(p.cfg.Seed, 2) - firstArchived)
}

func (p *population) archived(num uint64) *archived { return &p.archive.all[p.position(num)] }

// unpack makes the archive, once.
func (p *population) unpack() {
	a := &p.archive
	if a.unpacked || p.cfg.Archive == 0 {
		return
	}
	a.unpacked = true
	for i := range p.venues {
		p.fillArchive(&p.venues[i])
	}
	slices.SortStableFunc(a.all, func(x, y archived) int { return cmp.Compare(x.start, y.start) })
	a.byEnd = make([]uint32, len(a.all))
	for i := range a.all {
		a.byEnd[i] = uint32(i)
		p.eachList(i, (*index).insert)
	}
	slices.SortStableFunc(a.byEnd, func(x, y uint32) int { return cmp.Compare(a.all[x].end, a.all[y].end) })
	p.forgetArchive(p.now - int64(p.cfg.History))
	if p.tell == nil {
		return
	}
	for i := range a.all {
		s := p.recall(p.numbered(i))
		p.log(TruthStart, s.start, s, 0, 0)
		p.log(TruthEnd, s.end, s, s.down, s.up)
	}
}

// fillArchive lets guests come to v. What the rhythm and the week govern is how many are
// there, so a stay lies around the time that is drawn: an archive of slow lives would
// follow hours later else.
func (p *population) fillArchive(v *venue) {
	if v.arrivals == 0 {
		return
	}
	slow := p.cfg.Speed / p.cfg.ArchiveSpeed // how much longer all takes
	was := *v
	defer func() { v.rng, v.arrivals = was.rng, was.arrivals }()
	v.rng = hash(p.cfg.Seed, 90, uint64(v.index))
	// Nobody roams or comes back under the old id.
	v.arrivals = p.starts(v) / p.cfg.DevicesPerGuest / slow
	last := p.origin - max(0, int64(p.cfg.HistoryBefore))
	first := last - int64(p.cfg.Archive)
	longest := int64(longestStay * float64(scaled(v.stay.Mean, p.cfg.ArchiveSpeed)))
	for at := first - longest; ; {
		if at = p.nextArrival(v, at); at > last+longest {
			return
		}
		p.arrive(v, at, func(_ *venue, at int64, guest uint64, device int, seed uint64) {
			stay := int64(float64(p.draw(v, seed).stay) * slow)
			start := at - int64(unit(hash(seed, 91))*float64(stay))
			end := start + stay
			if end > last {
				// Who would be there when the present begins gives way to those who are,
				// and who came before, about half of them within two thirds of a stay.
				end = last + int64(math.Log(1-unit(hash(seed, 92)))*float64(scaled(v.stay.Mean, p.cfg.Speed)))
			}
			if start >= first && start < end {
				p.archive.all = append(p.archive.all, archived{start, end, guest, int32(v.index), uint8(device)})
			}
		})
	}
}

// eachList enters the ith session of the archive in its lists, or takes it out.
func (p *population) eachList(i int, do func(*index, entry)) {
	r := &p.archive.all[i]
	num := p.numbered(i)
	k, n := p.keysOf(timeKey(p.cfg.startedAt(r.start)), num, r.end)
	for l := range n {
		e := entry{k[l], num, nil}
		do(&p.account.lists[l].ended, e)
		do(&p.venues[r.venue].lists[l].ended, e)
	}
}

// forgetArchive drops who ended before a time.
func (p *population) forgetArchive(limit int64) {
	a := &p.archive
	a.limit = max(a.limit, limit)
	n := 0
	for ; n < len(a.byEnd) && a.all[a.byEnd[n]].end < a.limit; n++ {
		p.eachList(int(a.byEnd[n]), func(x *index, e entry) { x.remove(e) })
	}
	a.byEnd = a.byEnd[n:]
}

// recall makes the session of the archive that has a number.
func (p *population) recall(num uint64) *session {
	r := p.archived(num)
	v := &p.venues[r.venue]
	s := &session{num: num, guest: r.guest, venue: v.index, start: r.start}
	s.identity(int(r.device), v.Location)
	s.rec.StartedAt = p.cfg.startedAt(r.start)
	s.take(r.start, hash(num, 93), p.draw(v, hash(num, 94)))
	s.end, s.updated = r.end, r.end
	p.hide(s)
	base, pool, _ := p.poolOf(s)
	s.ip = base + uint32(hash(num, 30, 0)%pool)
	s.showIP()
	s.down, s.up = s.final(max(1, scaled(p.cfg.AccountingInterval, p.cfg.ArchiveSpeed)))
	s.seconds = (s.end - s.start) / int64(time.Second)
	s.rec.EndedAt = time.Unix(0, s.end).UTC().Truncate(time.Second)
	return s
}

// The ways to ask for a session of the archive by who it is.
const (
	byGuest = iota
	byMAC
	byYas
)

// searchArchive hands over who is of the most telling of q's identity filters.
func (p *population) searchArchive(q Query, add func(*session)) {
	a := &p.archive
	which, key, ok := byMAC, uint64(0), false
	switch {
	case q.MAC != "":
		key, ok = hexadecimal(strings.ReplaceAll(q.MAC, ":", ""))
	case q.Guest != "":
		which = byGuest
		key, ok = longID(q.Guest)
	default:
		which = byYas
		digits := strings.ReplaceAll(q.Yas, "-", "")
		key, ok = hexadecimal(digits[:min(16, len(digits))])
	}
	if !ok || len(a.all) == 0 {
		return
	}
	if a.by[which] == nil {
		a.by[which] = a.indexed(which)
	}
	list := a.by[which]
	for i := sort.Search(len(list), func(i int) bool { return list[i].key >= key }); i < len(list) && list[i].key == key; i++ {
		if a.all[list[i].i].end >= a.limit {
			add(p.recall(p.numbered(int(list[i].i))))
		}
	}
}

func (a *archive) indexed(which int) []keyed {
	list := make([]keyed, len(a.all))
	for i := range a.all {
		r := &a.all[i]
		list[i].i = uint32(i)
		switch which {
		case byGuest:
			list[i].key = mix(r.guest)
		case byMAC:
			list[i].key, _ = hexadecimal(strings.ReplaceAll(macOf(deviceOf(r.guest, int(r.device))), ":", ""))
		default:
			list[i].key, _ = hexadecimal(strings.ReplaceAll(yasOf(r.guest), "-", "")[:16])
		}
	}
	slices.SortFunc(list, func(x, y keyed) int {
		return cmp.Or(cmp.Compare(x.key, y.key), cmp.Compare(x.i, y.i))
	})
	return list
}

func hexadecimal(s string) (uint64, bool) {
	v, err := strconv.ParseUint(s, 16, 64)
	return v, err == nil
}

// longID is the inverse of shortID.
func longID(s string) (v uint64, ok bool) {
	for i := range len(s) {
		digit := strings.IndexByte(base62, s[i])
		if digit < 0 || v > math.MaxUint64/62 {
			return 0, false
		}
		v = v*62 + uint64(digit)
	}
	return v, len(s) > 0
}
