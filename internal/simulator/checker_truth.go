package simulator

import (
	"fmt"
	"net/url"
	"slices"
	"sort"
	"strings"
	"time"
)

// life is the truth about one session.
type life struct {
	spans []span  // online, in order
	told  []Truth // in order of time
}

// span is a stretch online; off is zero while it lasts.
type span struct{ on, off time.Time }

func livesOf(truth []Truth) map[string]*life {
	lives := make(map[string]*life)
	for _, t := range truth {
		if t.Session == "" {
			continue
		}
		l := lives[t.Session]
		if l == nil {
			l = &life{}
			lives[t.Session] = l
		}
		l.told = append(l.told, t)
	}
	for id, l := range lives {
		slices.SortStableFunc(l.told, func(a, b Truth) int { return a.Time.Compare(b.Time) })
		for _, t := range l.told {
			switch n := len(l.spans); {
			case t.Kind == TruthStart || t.Kind == TruthResume:
				l.spans = append(l.spans, span{on: t.Time})
			case t.Kind == TruthEnd && n > 0:
				l.spans[n-1].off = t.Time
			}
		}
		if len(l.spans) == 0 { // the log's begin is missing
			delete(lives, id)
		}
	}
	return lives
}

func (l *life) String() string {
	var b strings.Builder
	for i, s := range l.spans {
		if i > 0 {
			b.WriteString(", then ")
		}
		off := "still online"
		if !s.off.IsZero() {
			off = "left " + stamp(s.off)
		}
		fmt.Fprintf(&b, "%s and %s", stamp(s.on), off)
	}
	return b.String()
}

// came reports whether it came online within [from, to], not counting the first
// skip times.
func (l *life) came(from, to time.Time, skip int) bool {
	for i, s := range l.spans {
		if i >= skip && !s.on.Before(from) && !s.on.After(to) {
			return true
		}
	}
	return false
}

// left returns when it first went within [from, to]; zero when it did not.
func (l *life) left(from, to time.Time) time.Time {
	for _, s := range l.spans {
		if !s.off.IsZero() && !s.off.Before(from) && !s.off.After(to) {
			return s.off
		}
	}
	return time.Time{}
}

// upTo returns how many records tell of times up to t.
func (l *life) upTo(t time.Time) int {
	return sort.Search(len(l.told), func(i int) bool { return l.told[i].Time.After(t) })
}

// figures returns the exact counters at t.
func (l *life) figures(t time.Time) (down, up int64) {
	if i := l.upTo(t); i > 0 {
		return l.told[i-1].Downloaded, l.told[i-1].Uploaded
	}
	return 0, 0
}

// had reports whether an attribute had the value at any time within [from, to].
func (l *life) had(from, to time.Time, value string, of func(*Truth) string) bool {
	for i := l.upTo(to) - 1; i >= 0; i-- {
		t := &l.told[i]
		if t.Kind == TruthTraffic { // names no attributes
			continue
		}
		if of(t) == value {
			return true
		}
		if t.Time.Before(from) {
			return false
		}
	}
	return false
}

// counts reports whether what was served at t must be in the stream.
func (c *Checker) counts(t time.Time) bool {
	if !c.Until.IsZero() && t.After(c.Until) {
		return false
	}
	return !slices.ContainsFunc(c.Kills, func(k Interval) bool { return !t.Before(k.From) && !t.After(k.To) })
}

// untold is for how long the absence of a session that has come tells nothing, nor its
// return once it has left: answers may go back in time.
const untold = 10 * time.Second

// checkServed finds the sessions that were served and are not in the stream, or not as
// they were.
func (c *Checker) checkServed(r *Report, truth []Truth, lives map[string]*life, sessions map[string]*followed) {
	latest := make(map[string]time.Time)
	for i := range truth {
		t := &truth[i]
		if t.Kind != TruthServed || !c.counts(t.Time) {
			continue
		}
		for _, id := range t.Online {
			if t.Time.After(latest[id]) {
				latest[id] = t.Time
			}
		}
	}
	r.Served = len(latest)
	for _, id := range sorted(latest) {
		f, at := sessions[id], latest[id]
		switch {
		case f == nil || !f.state.Tracked():
			r.add(Lost, id, "", "served at %v, and not in the stream", stamp(at))
		case !f.state.Session.Online && f.state.SeenAt.Before(at.Add(-c.Slack-untold)):
			r.add(Lost, id, "", "served at %v, and ended in the stream since %v", stamp(at), stamp(f.state.SeenAt))
		case f.state.Session.Online && lives[id] != nil:
			c.checkKept(r, lives[id], f, at)
		}
	}
}

// checkKept compares what the stream says at its end of a session with what it was when
// it was last served, and later.
func (c *Checker) checkKept(r *Report, l *life, f *followed, served time.Time) {
	s := &f.state.Session
	for _, a := range []struct {
		name, value string
		of          func(*Truth) string
	}{
		{"location", s.LocationID, func(t *Truth) string { return t.Location }},
		{"IP", s.DeviceIP, func(t *Truth) string { return t.IP }},
		{"profile", s.ServiceProfile, func(t *Truth) string { return t.Profile }},
	} {
		if a.name == "IP" && c.IgnoreIP || l.had(served.Add(-c.Lag-c.Slack), l.told[len(l.told)-1].Time, a.value, a.of) {
			continue
		}
		r.add(Stale, s.ID, "", "served at %v, and its %s in the stream is %q, which it was no more", stamp(served), a.name, a.value)
	}
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// pass is a look at all pages of a place. start is when the oldest page was read.
type pass struct{ start, end time.Time }

// passes finds the complete looks at each location; "" is the account. They
// may read the pages in any order, but a kill begins them anew.
func (c *Checker) passes(truth []Truth) map[string][]pass {
	type look struct {
		at    map[int]time.Time
		last  int
		epoch int
	}
	kills := slices.SortedFunc(slices.Values(c.Kills), func(a, b Interval) int { return a.From.Compare(b.From) })
	looks := make(map[string]*look)
	found := make(map[string][]pass)
	for i := range truth {
		t := &truth[i]
		if t.Kind != TruthServed || !c.counts(t.Time) {
			continue
		}
		place, ok := onlineList(t.Query)
		if !ok {
			continue
		}
		epoch := sort.Search(len(kills), func(k int) bool { return kills[k].From.After(t.Time) })
		key := fmt.Sprint(t.Query, "|", t.PerPage)
		l := looks[key]
		if l == nil || l.epoch != epoch {
			l = &look{at: make(map[int]time.Time), epoch: epoch}
			looks[key] = l
		}
		l.at[t.Page] = t.Time
		if !t.More {
			l.last = t.Page
		}
		if p, ok := complete(l.at, l.last); ok {
			found[place] = append(found[place], p)
			delete(looks, key)
		}
	}
	return found
}

func complete(at map[int]time.Time, last int) (p pass, ok bool) {
	if last == 0 || len(at) < last {
		return p, false
	}
	for page := 1; page <= last; page++ {
		t, ok := at[page]
		if !ok {
			return p, false
		}
		if p.start.IsZero() || t.Before(p.start) {
			p.start = t
		}
		if t.After(p.end) {
			p.end = t
		}
	}
	return p, true
}

// onlineList reports whether query lists every online session of a place.
func onlineList(query string) (place string, ok bool) {
	v, err := url.ParseQuery(query)
	if err != nil || v.Get("online") == "false" {
		return "", false
	}
	for k := range v {
		if k != "online" && k != "location_id" && k != "last_session_first" {
			return "", false
		}
	}
	return v.Get("location_id"), true
}

// checkEnds finds the sessions that are gone and still online in the stream.
func (c *Checker) checkEnds(r *Report, truth []Truth, lives map[string]*life, sessions map[string]*followed) {
	passes := c.passes(truth)
	for _, ps := range passes {
		r.Passes += len(ps)
	}
	after := func(place string, t time.Time) int {
		n := 0
		for i := len(passes[place]) - 1; i >= 0 && n < c.Passes && passes[place][i].end.After(t); i-- {
			if passes[place][i].start.After(t) {
				n++
			}
		}
		return n
	}
	for _, id := range sorted(sessions) {
		l, f := lives[id], sessions[id]
		if l == nil || !f.state.Tracked() {
			continue
		}
		off := l.spans[len(l.spans)-1].off
		if off.IsZero() {
			continue
		}
		place := l.told[len(l.told)-1].Location
		due := off
		if known := f.arrived.Add(untold); known.After(due) {
			due = known
		}
		due = due.Add(c.Slack)
		if n := after("", due) + after(place, due); n < c.Passes {
			continue
		}
		r.Ends++
		if f.state.Session.Online {
			r.add(EndMissing, id, "", "it left at %v, and the stream has it online at revision %d", stamp(off), f.state.Revision)
		}
	}
}
