package visit

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/guestflow/guestflow/events"
)

// Snapshot is a Reducer's state, for a checkpoint: Restore makes a Reducer of it that
// gives the same events as the one that it was taken of.
type Snapshot struct {
	Sequence uint64 `json:"sequence"`
	Made     uint64 `json:"made"`
	// Stays are the thresholds that visits count theirs in.
	Stays    []time.Duration   `json:"stays,omitempty"`
	Accounts []accountSnapshot `json:"accounts,omitempty"`
}

type accountSnapshot struct {
	Name      string                    `json:"name"`
	Watermark int64                     `json:"watermark"`
	Hold      int64                     `json:"hold,omitempty"`
	Locations map[string]string         `json:"locations"` // names by id
	Visits    []visitSnapshot           `json:"visits,omitempty"`
	Backfill  map[hexKey]eventDoc       `json:"backfill,omitempty"`
	Guests    map[string]personSnapshot `json:"guests,omitempty"` // by id
	Moves     bool                      `json:"moves,omitempty"`
	Gap       uint64                    `json:"gap,omitempty"`
	Since     int64                     `json:"since,omitempty"`
}

type personSnapshot struct {
	Sessions int32          `json:"sessions,omitempty"`
	Whole    uint64         `json:"whole,omitempty"`
	Older    bool           `json:"older,omitempty"`
	Mixed    bool           `json:"mixed,omitempty"`
	Seen     int64          `json:"seen"`
	Stays    []staySnapshot `json:"stays,omitempty"`
}

type staySnapshot struct {
	Place  string `json:"place"`
	Group  bool   `json:"group,omitempty"`
	Visits int32  `json:"visits"`
	Last   int64  `json:"last"`
}

type visitSnapshot struct {
	ID        hexKey        `json:"id"`
	Ordinal   uint64        `json:"n"`
	Place     string        `json:"place"`
	Group     bool          `json:"group,omitempty"`
	At        string        `json:"at"`
	Locations []string      `json:"locations,omitempty"`
	Guest     string        `json:"guest,omitempty"`
	Device    string        `json:"device,omitempty"`
	Devices   []string      `json:"devices,omitempty"`
	Finds     []string      `json:"finds,omitempty"` // devices whose next session it gets
	Named     *events.Guest `json:"named,omitempty"`
	Online    []hexKey      `json:"online,omitempty"`
	Gone      []hexKey      `json:"gone,omitempty"`
	Started   int64         `json:"started"`
	Ended     int64         `json:"ended,omitempty"`
	Certain   int64         `json:"certain"`
	Due       int64         `json:"due,omitempty"`
	Down      int64         `json:"down,omitempty"`
	Up        int64         `json:"up,omitempty"`
	Revision  int32         `json:"revision"`
	Sessions  int32         `json:"sessions"`
	Stayed    int16         `json:"stayed,omitempty"`
	Arrival   byte          `json:"arrival,omitempty"`
	End       byte          `json:"end,omitempty"`
	Past      bool          `json:"past,omitempty"`
	Over      bool          `json:"over,omitempty"`
	Unnamed   bool          `json:"unnamed,omitempty"`
	First     byte          `json:"first,omitempty"`
	Number    int32         `json:"number,omitempty"`
	Days      *int32        `json:"days,omitempty"` // since the last visit; nil where not known
}

type hexKey key

func (k hexKey) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, k[:]), nil }

func (k *hexKey) UnmarshalText(b []byte) error {
	if len(b) != 2*len(k) {
		return fmt.Errorf("a key of %d digits, want %d", len(b), 2*len(k))
	}
	_, err := hex.Decode(k[:], b)
	return err
}

// eventDoc is an event in its wire form.
type eventDoc struct{ e *events.Event }

func (d eventDoc) MarshalJSON() ([]byte, error) { return events.Encode(*d.e) }

func (d *eventDoc) UnmarshalJSON(b []byte) error {
	e, err := events.Decode(b)
	d.e = &e
	return err
}

// Snapshot returns the state as it is now; it shares nothing that changes.
func (r *Reducer) Snapshot() Snapshot {
	s := Snapshot{Sequence: r.sequence, Made: r.made, Stays: r.rules.Stays}
	for _, name := range slices.Sorted(maps.Keys(r.accounts)) {
		r.prune(r.accounts[name])
		s.Accounts = append(s.Accounts, r.accounts[name].snapshot())
	}
	return s
}

func (a *account) snapshot() accountSnapshot {
	out := accountSnapshot{Name: a.name, Watermark: a.watermark, Hold: a.hold, Locations: map[string]string{}, Moves: a.moves, Gap: a.gap, Since: a.since}
	out.Guests = make(map[string]personSnapshot, len(a.guests))
	for id, p := range a.guests {
		out.Guests[id] = p.snapshot()
	}
	for id, l := range a.locations {
		out.Locations[id] = l.name
	}
	for k, e := range a.backfill {
		if out.Backfill == nil {
			out.Backfill = map[hexKey]eventDoc{}
		}
		out.Backfill[hexKey(k)] = eventDoc{e}
	}
	online := map[*open][]hexKey{}
	for k, v := range a.sessions {
		online[v] = append(online[v], hexKey(k))
	}
	all := slices.Clone(a.queue)
	for v := range online {
		if v.heap == 0 {
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(x, y *open) int { return int(int64(x.ordinal) - int64(y.ordinal)) })
	for _, v := range all {
		keys := online[v]
		slices.SortFunc(keys, func(x, y hexKey) int { return slices.Compare(x[:], y[:]) })
		out.Visits = append(out.Visits, v.snapshot(a, keys))
	}
	return out
}

func (p *person) snapshot() personSnapshot {
	s := personSnapshot{Sessions: p.sessions, Whole: p.whole, Older: p.older, Mixed: p.mixed, Seen: p.seen}
	if p.stays == nil {
		return s
	}
	for _, at := range *p.stays {
		s.Stays = append(s.Stays, staySnapshot{at.place.name, at.place.group, at.visits, at.last})
	}
	return s
}

func (v *open) snapshot(a *account, online []hexKey) visitSnapshot {
	s := visitSnapshot{
		ID: hexKey(v.id), Ordinal: v.ordinal, Place: v.place.name, Group: v.place.group, At: v.at.id, Guest: v.guest, Device: v.device,
		Online: online, Started: v.started, Ended: v.ended, Certain: v.certain, Due: v.due, Down: v.down, Up: v.up,
		Revision: v.revision, Sessions: v.sessions, Stayed: v.stayed, Arrival: v.arrival, End: v.end, Past: v.past,
		Named: a.named[v], Over: v.over, Unnamed: v.unnamed, First: v.first, Number: v.number,
	}
	if v.days >= 0 {
		days := v.days
		s.Days = &days
	}
	devices := []string{v.device}
	if x := v.more; x != nil {
		s.Devices = slices.Clone(x.devices)
		devices = append(devices, x.devices...)
		for _, l := range x.locations {
			s.Locations = append(s.Locations, l.id)
		}
		for _, k := range x.sessions {
			s.Gone = append(s.Gone, hexKey(k))
		}
	}
	for _, d := range devices {
		if d != "" && a.index[deviceKey(v.place.key(), d)] == v {
			s.Finds = append(s.Finds, d)
		}
	}
	return s
}

// Restore returns the Reducer that the snapshot was taken of. Rules that differ hold from
// now on.
func Restore(rules Rules, s Snapshot) (*Reducer, error) {
	r := NewReducer(rules)
	r.sequence, r.made = s.Sequence, s.Made
	stayed := restayed(s.Stays, r.rules.Stays)
	for _, from := range s.Accounts {
		a := newAccount(from.Name)
		a.watermark, a.hold, a.moves, a.gap, a.since = from.Watermark, from.Hold, from.Moves, from.Gap, from.Since
		for id, name := range from.Locations {
			a.locations[id] = &location{id: id, name: name, place: a.place(r.groups, id)}
		}
		for k, d := range from.Backfill {
			a.backfill[key(k)] = d.e
		}
		if rules.Memory > 0 {
			for id, p := range from.Guests {
				a.guests[id] = a.restorePerson(p)
			}
		}
		for _, v := range from.Visits {
			if v.Over {
				if err := a.restoreOver(r.rules, v); err != nil {
					return nil, fmt.Errorf("visit %d of account %s: %w", v.Ordinal, from.Name, err)
				}
				continue
			}
			r.open++
			if len(v.Online) > 0 {
				r.present++
			}
			if err := a.restore(v, stayed, r.rules.Stays); err != nil {
				return nil, fmt.Errorf("visit %d of account %s: %w", v.Ordinal, from.Name, err)
			}
		}
		r.accounts[a.name] = a
	}
	return r, nil
}

func (a *account) restorePerson(s personSnapshot) *person {
	p := &person{sessions: s.Sessions, whole: s.Whole, older: s.Older, mixed: s.Mixed, seen: s.Seen}
	for _, at := range s.Stays {
		p.add(stay{place: a.intern(at.Place, at.Group), visits: at.Visits, last: at.Last})
	}
	return p
}

// restoreOver restores a visit that is over, and whose guest may lapse: not one of whom
// nothing is remembered any more.
func (a *account) restoreOver(rules Rules, s visitSnapshot) error {
	v, err := a.restored(s)
	if err != nil {
		return err
	}
	p := a.guests[v.guest]
	if p == nil || v.guest == "" || rules.Lapsed == 0 {
		return nil
	}
	if at := p.at(v.place); at != nil {
		v.over, at.lapsing = true, v
		a.schedule(v, v.ended+rules.Lapsed.Milliseconds())
	}
	return nil
}

func (a *account) restore(s visitSnapshot, stayed func(int16) int16, stays []time.Duration) error {
	v, err := a.restored(s)
	if err != nil {
		return err
	}
	v.stayed = stayed(s.Stayed)
	for _, k := range s.Online {
		a.sessions[key(k)] = v
	}
	if v.past {
		a.remember(v)
	} else if v.guest != "" {
		a.index[guestKey(v.place.key(), v.guest)] = v
		if p := a.guests[v.guest]; p != nil && v.wants(p) {
			a.wanting[v.id.short()] = v
			if s.Named != nil {
				a.named[v] = s.Named
			}
		}
	}
	for _, d := range s.Finds {
		a.index[deviceKey(v.place.key(), d)] = v
	}
	if v.online == 0 {
		a.schedule(v, s.Due)
	} else if int(v.stayed) < len(stays) {
		a.schedule(v, v.started+stays[v.stayed].Milliseconds())
	}
	return nil
}

// restayed returns how many of the thresholds count as told where so many of former ones
// were: those that are no longer than the last of these.
func restayed(former, now []time.Duration) func(int16) int16 {
	return func(n int16) int16 {
		if n == 0 || int(n) > len(former) {
			return min(n, int16(len(now)))
		}
		at, told := slices.BinarySearch(now, former[n-1])
		if told {
			at++
		}
		return int16(at)
	}
}

// restored makes a visit of a snapshot, which nothing finds yet.
func (a *account) restored(s visitSnapshot) (*open, error) {
	p := a.intern(s.Place, s.Group)
	v := &open{
		id: key(s.ID), ordinal: s.Ordinal, place: p, at: a.locations[s.At], guest: s.Guest, device: s.Device,
		started: s.Started, ended: s.Ended, certain: s.Certain, down: s.Down, up: s.Up,
		revision: s.Revision, sessions: s.Sessions, online: int32(len(s.Online)), stayed: s.Stayed, arrival: s.Arrival, end: s.End, past: s.Past,
		unnamed: s.Unnamed, first: s.First, number: s.Number, days: -1,
	}
	if s.Days != nil {
		v.days = *s.Days
	}
	if v.at == nil || int(s.Arrival) >= len(arrivals) || int(s.End) >= len(ends) || int(s.First) >= len(certainties) {
		return nil, fmt.Errorf("location %q, arrival %d, end %d or first %d is not known", s.At, s.Arrival, s.End, s.First)
	}
	if len(s.Devices)+len(s.Locations)+len(s.Gone) > 0 {
		x := v.extra()
		x.devices = s.Devices
		for _, id := range s.Locations {
			if a.locations[id] == nil {
				return nil, fmt.Errorf("location %q is not known", id)
			}
			x.locations = append(x.locations, a.locations[id])
		}
		for _, k := range s.Gone {
			x.sessions = append(x.sessions, key(k))
		}
	}
	return v, nil
}
