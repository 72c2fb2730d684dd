package visit

import (
	"fmt"
	"slices"
	"time"

	"github.com/guestflow/guestflow/events"
)

// person is what is remembered of a guest of the account.
type person struct {
	// whole is the last session event that was known when the platform had no other
	// sessions of the guest than these; 0 is never.
	whole uint64
	seen  int64
	stays *[]stay // nil for who comes for the first time
	// sessions counts those that the stream told of as the guest's.
	sessions int32
	// older: the platform had sessions of the guest from before the stream, so that nobody
	// can tell how many visits they were.
	older bool
	// mixed: a session passed from or to another guest. Counts of sessions prove nothing.
	mixed bool
}

// stay is what is remembered of a guest at a place.
type stay struct {
	place  *place
	visits int32
	last   int64 // the end of the latest visit
	// lapsing is the latest visit while the guest may still lapse; nil else.
	lapsing *open
}

// at returns what is remembered of a place; nil where the guest was not there.
func (p *person) at(place *place) *stay {
	if p.stays == nil {
		return nil
	}
	for i := range *p.stays {
		if s := &(*p.stays)[i]; s.place == place {
			return s
		}
	}
	return nil
}

// add begins to remember a place.
func (p *person) add(s stay) *stay {
	if p.stays == nil {
		p.stays = new([]stay)
	}
	*p.stays = append(*p.stays, s)
	return &(*p.stays)[len(*p.stays)-1]
}

// lapses reports whether the guest may lapse somewhere.
func (p *person) lapses() bool {
	return p.stays != nil && slices.ContainsFunc(*p.stays, func(s stay) bool { return s.lapsing != nil })
}

// Places of certainties.
const (
	yes byte = 1
	no  byte = 2
)

// person returns what is remembered of a guest, who becomes known by it. Who was away
// for longer than the memory is a stranger.
func (r *Reducer) person(a *account, guest string, now int64) *person {
	p := a.guests[guest]
	if p == nil || r.stale(p, now) {
		p = &person{}
		a.guests[guest] = p
	}
	p.seen = max(p.seen, now)
	return p
}

// stale reports whether a guest is forgotten by a time, in milliseconds.
func (r *Reducer) stale(p *person, now int64) bool { return p.seen+r.rules.Memory.Milliseconds() < now }

// meet counts the sessions that name a guest.
func (r *Reducer) meet(a *account, e *events.Event, seen int64) {
	if r.rules.Memory == 0 {
		return
	}
	s, was := &e.Data.Session, e.Data.Previous
	if was != nil && was.LocationID != nil {
		a.moves = true
	}
	switch {
	case was != nil && was.GuestID != nil:
		if *was.GuestID != "" {
			r.person(a, *was.GuestID, seen).mixed = true
		}
		if s.GuestID != "" {
			p := r.person(a, s.GuestID, seen)
			p.sessions++
			p.mixed = p.mixed || *was.GuestID != ""
		}
	case s.GuestID != "":
		if p := r.person(a, s.GuestID, seen); e.Data.Revision == 1 {
			p.sessions++
		}
	}
}

// recall finds out which of the guest's visits an open one is, as far as that is
// remembered.
func (r *Reducer) recall(a *account, v *open) {
	if r.rules.Memory == 0 || v.past {
		return
	}
	p := r.person(a, v.guest, a.watermark)
	s := p.at(v.place)
	found := len(a.history[guestKey(v.place.key(), v.guest)]) > 0 // what came before is being found out
	whole := p.whole > 0 && p.whole >= a.gap && !p.mixed && !found
	switch {
	case s != nil:
		v.first = no
		if away := v.started - s.last; !found && away >= 0 {
			v.days = int32(away / (24 * time.Hour).Milliseconds())
		}
		if whole {
			v.number = s.visits + 1
		}
		if s.lapsing != nil {
			a.schedule(s.lapsing, 0)
			s.lapsing = nil
		}
	case found:
		v.first = no
	case whole:
		v.first, v.number = yes, 1
	}
	if v.wants(p) {
		a.wanting[v.id.short()] = v
	}
}

// wants reports whether the platform might tell more about a visit.
func (v *open) wants(p *person) bool {
	return v.guest != "" && (v.first == 0 || v.number == 0 && !p.older && !p.mixed)
}

// remember notes that a visit is over.
func (r *Reducer) remember(a *account, v *open) {
	if r.rules.Memory == 0 || v.guest == "" {
		return
	}
	p := r.person(a, v.guest, a.watermark)
	s := p.at(v.place)
	if s == nil {
		s = p.add(stay{place: v.place})
	}
	s.visits++
	if v.ended < s.last {
		return
	}
	s.last = v.ended
	if s.lapsing != nil {
		a.schedule(s.lapsing, 0)
		s.lapsing = nil
	}
	there := a.index[guestKey(v.place.key(), v.guest)]
	// Of the history, only what is young enough tells that somebody has not come back.
	due := v.ended + r.rules.Lapsed.Milliseconds()
	if r.rules.Lapsed == 0 || there != nil && there != v || v.past && due <= a.watermark {
		return
	}
	if v.over, s.lapsing = true, v; v.more != nil {
		v.more.sessions = nil
	}
	a.schedule(v, due)
}

// lapse tells that a guest has not come back.
func (r *Reducer) lapse(a *account, v *open) {
	a.schedule(v, 0)
	if p := a.guests[v.guest]; p != nil {
		if s := p.at(v.place); s != nil && s.lapsing == v {
			s.lapsing = nil
			r.publishLapse(a, v)
		}
	}
}

// Want is a visit of which the stream does not tell how many came before.
type Want struct {
	Visit   string
	Guest   string
	Started time.Time
	// Locations are those of its place; Elsewhere is whether the account has others.
	Locations []string
	Elsewhere bool
	// Sessions is how many the stream knows of the guest; Here how many at the one location
	// of the place, -1 where that is not known; Asked the last event that they rest on.
	Sessions, Here int
	Asked          uint64
	// Seen is whether the visit's beginning was: one that was under way when the stream
	// began may have sessions from days before.
	Seen bool
	// First is whether it is to be found out that there was an earlier visit, and not
	// their number alone; Mixed that numbers of sessions prove nothing.
	First, Mixed bool
}

// Wants are the visits of an account of which the platform is to be asked.
func (r *Reducer) Wants(accountName string) (list []Want) {
	a := r.accounts[accountName]
	if a == nil {
		return nil
	}
	for _, v := range a.wanting {
		p := a.guests[v.guest]
		if p == nil || !v.wants(p) {
			continue
		}
		w := Want{
			Visit: v.id.String(), Guest: v.guest, Started: fromMillis(v.started), Locations: []string{v.place.name}, Elsewhere: len(a.locations) > 1,
			Sessions: int(p.sessions), Here: -1, Asked: r.sequence, First: v.first == 0, Mixed: p.mixed,
			Seen: v.arrival == 0 && a.since > 0 && v.started > a.since+r.rules.Gap.Milliseconds(),
		}
		if v.place.group {
			w.Locations = r.rules.within(a.name, v.place.name)
		} else if !a.moves && !v.unnamed && !p.mixed {
			w.Here = int(v.sessions)
		}
		list = append(list, w)
	}
	return list
}

// Saying is what the platform's counts of a guest's sessions have shown.
type Saying string

const (
	// Whole: it has no others than those that the stream knows.
	Whole Saying = "whole"
	// Here: it has no others at the place, though elsewhere.
	Here Saying = "here"
	// Before: it has such that ended at the place days before the visit.
	Before Saying = "before"
)

// Answer is what the platform said to a Want.
type Answer struct {
	Visit string
	Says  Saying
	Asked uint64 // Want.Asked
}

// String writes the answer as HeaderAnswer has it.
func (a Answer) String() string { return fmt.Sprintf("%s %d %s", a.Says, a.Asked, a.Visit) }

func parseAnswer(text string) (a Answer, err error) {
	_, err = fmt.Sscanf(text, "%s %d %s", &a.Says, &a.Asked, &a.Visit)
	return a, err
}

// Answer applies an answer, and returns the event that tells of it; none where the visit
// is over, or it tells nothing new.
func (r *Reducer) Answer(accountName string, said Answer) []Output {
	r.out, r.clock, r.answer = r.out[:0], time.Time{}, &said
	a := r.accounts[accountName]
	id, err := digits.DecodeString(said.Visit)
	if a == nil || err != nil || len(id) != len(key{}) {
		return nil
	}
	v := a.wanting[key(id).short()]
	if v == nil || v.id != key(id) || a.guests[v.guest] == nil || len(a.history[guestKey(v.place.key(), v.guest)]) > 0 {
		return nil
	}
	p := a.guests[v.guest]
	s := p.at(v.place)
	switch {
	case said.Says == Whole && s != nil:
		p.whole, v.first, v.number = said.Asked, no, s.visits+1
	case said.Says == Whole:
		p.whole, v.first, v.number = said.Asked, yes, 1
	case said.Says == Here && v.first == 0 && s == nil:
		v.first, v.number = yes, 1
	case said.Says == Before && v.first == 0:
		p.older, v.first = true, no
	default:
		return nil
	}
	r.publishCount(a, v)
	return r.out
}

// prune forgets guests who were away for longer than the memory.
func (r *Reducer) prune(a *account) {
	for id, p := range a.guests {
		if r.stale(p, a.watermark) && !p.lapses() {
			delete(a.guests, id)
		}
	}
}
