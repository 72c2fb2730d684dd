package occupancy

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/events/visits"
)

// VisitCount is how many visits began today at a location, or in a whole account, where ID
// is empty. A visit counts at the location where it began.
type VisitCount struct {
	Account string `json:"account"`
	ID      string `json:"id,omitempty"`
	Visits  int    `json:"visits"`
	// First are those of guests who were never here before, Returning of those who were,
	// Unknown of those of whom that is not certain.
	First     int `json:"first"`
	Returning int `json:"returning"`
	Unknown   int `json:"unknown"`
}

type visitsAnswer struct {
	// Date is the day, in Zone.
	Date      string       `json:"date"`
	Zone      string       `json:"zone"`
	Locations []VisitCount `json:"locations"`
	Totals    []VisitCount `json:"totals"`
}

// visitDay counts the visits of one day, folded from the stream of visits.
type visitDay struct {
	zone *time.Location
	date string
	// days are that day and the one after it, on which visits may have begun by a clock that
	// is ahead of the page's.
	days map[string]*dayCounts
}

type dayCounts struct {
	counts map[Place]*VisitCount
	// open are visits of which may become known later whether they are the guest's first.
	open map[visitKey]visitSeen
}

type visitKey struct{ account, id string }

// visitSeen is where a visit began, and as what it was counted.
type visitSeen struct {
	at    Place
	first visits.Certainty
}

func newVisitDay(zone *time.Location, now time.Time) *visitDay {
	d := &visitDay{zone: zone}
	d.turn(now)
	return d
}

// turn begins a new day where now, by the page's clock, is one.
func (d *visitDay) turn(now time.Time) {
	date := now.In(d.zone).Format(time.DateOnly)
	if date <= d.date {
		return
	}
	y, m, day := now.In(d.zone).Date()
	next := time.Date(y, m, day+1, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
	days := map[string]*dayCounts{}
	for _, of := range []string{date, next} {
		if days[of] = d.days[of]; days[of] == nil {
			days[of] = &dayCounts{map[Place]*VisitCount{}, map[visitKey]visitSeen{}}
		}
	}
	d.date, d.days = date, days
}

// take counts the event. It turns the day by now alone: an account whose clock is wrong
// would end the day of all others.
func (d *visitDay) take(e visits.Event, now time.Time) {
	d.turn(now)
	v := &e.Data.Visit
	day := d.days[v.StartedAt.In(d.zone).Format(time.DateOnly)]
	if day == nil {
		return
	}
	key := visitKey{e.Account, v.ID}
	switch e.Kind {
	case visits.Started:
		seen := visitSeen{Place{e.Account, v.LocationID}, v.First}
		day.add(seen, 1)
		if v.Number == 0 {
			day.open[key] = seen
		}
	case visits.Counted:
		if was, ok := day.open[key]; ok {
			day.add(was, -1)
			day.add(visitSeen{was.at, v.First}, 1)
			delete(day.open, key)
		}
	case visits.Ended:
		delete(day.open, key)
	}
}

func (d *dayCounts) add(seen visitSeen, n int) {
	c := d.counts[seen.at]
	if c == nil {
		c = &VisitCount{Account: seen.at.Account, ID: seen.at.Location}
		d.counts[seen.at] = c
	}
	c.Visits += n
	switch seen.first {
	case visits.Yes:
		c.First += n
	case visits.No:
		c.Returning += n
	default:
		c.Unknown += n
	}
}

// answer returns the counts that may be seen, in order of account and location.
func (d *visitDay) answer(x access) visitsAnswer {
	a := visitsAnswer{Date: d.date, Zone: d.zone.String(), Locations: []VisitCount{}, Totals: []VisitCount{}}
	totals := map[string]*VisitCount{}
	for p, c := range d.days[d.date].counts {
		if !x.sees(p) {
			continue
		}
		a.Locations = append(a.Locations, *c)
		t := totals[p.Account]
		if t == nil {
			t = &VisitCount{Account: p.Account}
			totals[p.Account] = t
		}
		t.Visits, t.First, t.Returning, t.Unknown = t.Visits+c.Visits, t.First+c.First, t.Returning+c.Returning, t.Unknown+c.Unknown
	}
	for _, t := range totals {
		a.Totals = append(a.Totals, *t)
	}
	for _, list := range [][]VisitCount{a.Locations, a.Totals} {
		slices.SortFunc(list, func(a, b VisitCount) int {
			return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.ID, b.ID))
		})
	}
	return a
}

// visitBook is the present day, for requests.
type visitBook struct {
	mu  sync.Mutex
	day *visitDay // nil until the stream was read
}

// visitLate is how much earlier than its beginning, by another clock, a day may be stored.
const visitLate = time.Hour

// visitPause is the time between two tries to read the stream.
const visitPause = 5 * time.Second

// countVisits follows the stream of visits until ctx ends. While it cannot be read, the
// counts are as of the last event.
func (s *Service) countVisits(ctx context.Context, js jetstream.JetStream) {
	for ctx.Err() == nil {
		if err := s.readVisits(ctx, js); ctx.Err() == nil {
			s.settings.Log.Debug("occupancy: visits are not counted; trying again", "stream", s.settings.Visits, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(visitPause):
		}
	}
}

// readVisits counts anew from the day's beginning, and goes on until something fails.
func (s *Service) readVisits(ctx context.Context, js jetstream.JetStream) error {
	if !js.Conn().IsConnected() {
		return consume.ErrAway
	}
	stream, err := js.Stream(ctx, s.settings.Visits)
	if err != nil {
		return err
	}
	zone, now := s.settings.Limits.Zone, s.settings.Now()
	y, m, d := now.In(zone).Date()
	from := time.Date(y, m, d, 0, 0, 0, 0, zone).Add(-visitLate)
	reader, err := consume.Open(ctx, js.Conn(), stream, consume.FromTime(from), stream.CachedInfo().Config.Subjects...)
	if err != nil {
		return err
	}
	defer reader.Close()
	day := newVisitDay(zone, now)
	show := func() {
		s.visits.mu.Lock()
		s.visits.day = day
		s.visits.mu.Unlock()
	}
	if reader.Pending == 0 {
		show()
	}
	for {
		msg, meta, err := reader.Next()
		if err != nil {
			return err
		}
		e, err := visits.Decode(msg.Data())
		s.mu.RLock()
		now := s.now()
		s.mu.RUnlock()
		s.visits.mu.Lock()
		if err == nil && (s.settings.Account == "" || s.settings.Account == e.Account) {
			day.take(e, now)
		}
		s.visits.mu.Unlock()
		if meta.NumPending == 0 {
			show()
		}
	}
}

// visitsKnown reports whether visits are made and were counted.
func (s *Service) visitsKnown() bool {
	s.visits.mu.Lock()
	defer s.visits.mu.Unlock()
	return s.visits.day != nil
}

func (a *api) visits(w http.ResponseWriter, r *http.Request, x access) {
	x, ok := narrowed(w, r, x)
	if !ok {
		return
	}
	s := a.s
	s.mu.RLock()
	now := s.now()
	s.mu.RUnlock()
	s.visits.mu.Lock()
	day := s.visits.day
	var all visitsAnswer
	if day != nil {
		day.turn(now)
		all = day.answer(x)
	}
	s.visits.mu.Unlock()
	switch {
	case s.settings.Visits == "":
		refuse(w, http.StatusNotFound, "No visits are made here; GUESTFLOW_VISITS=true makes them.")
	case day == nil:
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, "The stream of visits, "+s.settings.Visits+", was not read yet.")
	default:
		answer(w, r, all)
	}
}
