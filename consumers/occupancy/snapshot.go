package occupancy

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// snapshotVersion counts incompatible changes of Snapshot's JSON form.
const snapshotVersion = 1

// ErrSnapshot is returned by Restore for a snapshot that it cannot read. The
// remedy is to rebuild from the stream.
var ErrSnapshot = errors.New("occupancy snapshot cannot be restored; rebuild from the stream")

// Snapshot is the whole state of an Occupancy after one message, for a
// checkpoint. It shares nothing with the Occupancy. Two states that answer and
// go on alike have equal snapshots.
type Snapshot struct {
	Version  int               `json:"version"`
	Sequence uint64            `json:"sequence"`
	Gap      uint64            `json:"gap,omitempty"`
	Observed int64             `json:"observed,omitempty"`
	Counters Counters          `json:"counters"`
	Clock    clock             `json:"clock"`
	Delays   delays            `json:"delays"`
	Accounts []accountSnapshot `json:"accounts"` // last, for checkpoint.write
}

type accountSnapshot struct {
	Name     string            `json:"name"`
	Total    areaSnapshot      `json:"total"`
	Areas    []areaSnapshot    `json:"areas"`
	Ended    []tombSnapshot    `json:"ended"`
	Moves    []moveSnapshot    `json:"moves,omitempty"` // former programs wrote none
	Sessions []sessionSnapshot `json:"sessions"`        // last, for checkpoint.write
}

type areaSnapshot struct {
	ID         string     `json:"id"`
	Name       string     `json:"name,omitempty"`
	Since      int64      `json:"since"`
	Sequence   uint64     `json:"sequence"`
	SeenAt     int64      `json:"seen_at"`
	Arrivals   []int64    `json:"arrivals,omitempty"`
	Departures []int64    `json:"departures,omitempty"`
	Stays      [][2]int64 `json:"stays,omitempty"` // ended, seconds
	Steps      [][2]int32 `json:"steps,omitempty"` // minute, delta
	Hours      []float32  `json:"hours,omitempty"` // of the week
	HoursFrom  int64      `json:"hours_from,omitempty"`
}

type sessionSnapshot struct {
	ID          string `json:"id"`
	Location    string `json:"l"`
	Guest       string `json:"g,omitempty"`
	Yas         string `json:"y,omitempty"`
	GuestName   string `json:"w,omitempty"`
	Email       string `json:"e,omitempty"`
	MAC         string `json:"m,omitempty"`
	IP          string `json:"i,omitempty"`
	Code        string `json:"c,omitempty"`
	Description string `json:"d,omitempty"`
	Login       string `json:"t,omitempty"`
	Profile     string `json:"p,omitempty"`
	// Numbers are revision, episode, started, seen, came, entered, counted,
	// duration, downloaded, uploaded, sequence, uncertain since. Former programs wrote
	// the first ten.
	Numbers [12]int64 `json:"n"`
}

type tombSnapshot struct {
	ID string `json:"id"`
	// Numbers are revision, episode, ended, seen.
	Numbers [4]int64 `json:"n"`
}

type moveSnapshot struct {
	From string `json:"f"`
	To   string `json:"t"`
	At   int64  `json:"at"`
}

// Snapshot copies the state.
func (o *Occupancy) Snapshot() Snapshot {
	s, rosters := o.freeze()
	for i, of := range rosters {
		a := &s.Accounts[i]
		a.Sessions = make([]sessionSnapshot, 0, of.online)
		for v := range of.each() {
			a.Sessions = append(a.Sessions, of.snapshot(v))
		}
		slices.SortFunc(a.Sessions, func(a, b sessionSnapshot) int { return strings.Compare(a.ID, b.ID) })
	}
	return s
}

// freeze copies the state, and who is online in each account beside it.
func (o *Occupancy) freeze() (Snapshot, []*roster) {
	var rosters []*roster
	s := Snapshot{
		Version: snapshotVersion, Sequence: o.sequence, Gap: o.gap, Observed: o.observed, Counters: o.counters,
		Clock:    clock{slices.Clone(o.clock.Latest)},
		Delays:   delays{slices.Clone(o.delays.Latest), o.delays.Next},
		Accounts: make([]accountSnapshot, 0, len(o.accounts)),
	}
	for _, name := range slices.Sorted(maps.Keys(o.accounts)) {
		a := o.accounts[name]
		s.Accounts = append(s.Accounts, a.snapshot())
		rosters = append(rosters, a.roster.copy())
	}
	return s, rosters
}

// snapshot is without sessions.
func (a *account) snapshot() accountSnapshot {
	s := accountSnapshot{
		Name: a.name, Total: a.total.snapshot(),
		Areas: make([]areaSnapshot, 0, len(a.areas)), Ended: make([]tombSnapshot, 0, len(a.ended.tombs)),
	}
	for _, l := range a.areas {
		s.Areas = append(s.Areas, l.snapshot())
	}
	slices.SortFunc(s.Areas, func(a, b areaSnapshot) int { return strings.Compare(a.ID, b.ID) })
	for _, t := range a.ended.tombs {
		if !t.void {
			s.Ended = append(s.Ended, tombSnapshot{t.id, [4]int64{t.revision, t.episode, t.endedAt, t.seenAt}})
		}
	}
	for _, m := range a.moves {
		s.Moves = append(s.Moves, moveSnapshot{m.from.id, m.to.id, m.at})
	}
	return s
}

func (r *roster) snapshot(s session) sessionSnapshot {
	t := r.traits.of(s.row.traits)
	return sessionSnapshot{
		ID: s.id(), Location: r.place(s).id, Guest: s.guest(), Yas: s.text(ownYas), GuestName: s.text(ownName), Email: s.text(ownEmail),
		MAC: s.mac(), IP: s.text(ownIP), Code: s.text(ownCode),
		Description: t.description, Login: t.login, Profile: t.profile,
		Numbers: [12]int64{
			s.revision, s.episode, s.startedAt, s.seenAt, s.cameAt, s.enteredAt, s.countedAt,
			s.duration, s.downloaded, s.upload, int64(s.sequence), s.doubtedAt,
		},
	}
}

func (l *area) snapshot() areaSnapshot {
	s := areaSnapshot{
		ID: l.id, Name: l.name, Since: l.since, Sequence: l.sequence, SeenAt: l.seenAt,
		Arrivals: clip(l.arrivals.at), Departures: clip(l.departures.at),
		Hours: slices.Clone(l.week.cells), HoursFrom: l.week.from,
	}
	for _, v := range l.stays.ring {
		s.Stays = append(s.Stays, [2]int64{v.ended, int64(v.seconds)})
	}
	for _, v := range l.steps.list {
		s.Steps = append(s.Steps, [2]int32{v.minute, v.delta})
	}
	return s
}

// clip copies a list, and an empty one to nil, as reading JSON gives it.
func clip(list []int64) []int64 { return append([]int64(nil), list...) }

// Restore returns the Occupancy whose Snapshot s is. It takes over s.
func Restore(l Limits, s Snapshot) (*Occupancy, error) {
	if s.Version != snapshotVersion {
		return nil, fmt.Errorf("%w: version %d, this program reads version %d", ErrSnapshot, s.Version, snapshotVersion)
	}
	o := NewOccupancy(l)
	o.sequence, o.gap, o.observed, o.counters, o.clock, o.delays = s.Sequence, s.Gap, s.Observed, s.Counters, s.Clock, s.Delays
	for i := range s.Accounts {
		as := &s.Accounts[i]
		a := newAccount(as.Name)
		a.total.restore(&as.Total)
		o.accounts[a.name] = a
		for j := range as.Areas {
			area := newArea(a.name, as.Areas[j].ID, 0)
			area.restore(&as.Areas[j])
			a.join(area)
			o.touch(area)
		}
		for j := range as.Sessions {
			if err := a.restore(&as.Sessions[j]); err != nil {
				return nil, err
			}
		}
		for _, m := range as.Moves {
			if from, to := a.areas[m.From], a.areas[m.To]; from != nil && to != nil {
				a.moves = append(a.moves, move{from, to, m.At})
			}
		}
		for _, t := range as.Ended {
			a.ended.add(tomb{id: t.ID, revision: t.Numbers[0], episode: t.Numbers[1], endedAt: t.Numbers[2], seenAt: t.Numbers[3]})
		}
	}
	return o, nil
}

func (a *account) restore(v *sessionSnapshot) error {
	place := a.areas[v.Location]
	if place == nil {
		return fmt.Errorf("%w: session %q is at location %q, which is missing", ErrSnapshot, v.ID, v.Location)
	}
	s, n := a.roster.add([ownTexts]string{v.ID, v.Guest, v.Yas, v.MAC, v.IP, v.Code, v.GuestName, v.Email}), v.Numbers
	a.roster.share(&s, traits{v.Description, v.Login, v.Profile})
	s.revision, s.episode, s.startedAt, s.seenAt, s.cameAt, s.enteredAt, s.countedAt = n[0], n[1], n[2], n[3], n[4], n[5], n[6]
	s.duration, s.downloaded, s.upload, s.sequence, s.doubtedAt = n[7], n[8], n[9], uint64(n[10]), n[11]
	place.count(s)
	return nil
}

func (l *area) restore(s *areaSnapshot) {
	l.name, l.since, l.sequence, l.seenAt = s.Name, s.Since, s.Sequence, s.SeenAt
	l.arrivals.at, l.departures.at = s.Arrivals, s.Departures
	l.week.from = s.HoursFrom
	if len(s.Hours) == weekHours {
		l.week.cells = s.Hours
	}
	for _, v := range s.Stays {
		l.stays.ring = append(l.stays.ring, stay{v[0], int32(v[1])})
		l.stays.sorted = append(l.stays.sorted, int32(v[1]))
	}
	slices.Sort(l.stays.sorted)
	// An earlier version kept them in the order in which they became known.
	slices.SortStableFunc(l.stays.ring, func(a, b stay) int { return cmp.Compare(a.ended, b.ended) })
	for _, v := range s.Steps {
		l.steps.list = append(l.steps.list, step{v[0], v[1]})
	}
}
