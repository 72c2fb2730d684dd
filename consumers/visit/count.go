package visit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Counting asks the platform of an account how many sessions it has, on a limit that
// nobody else needs. It waits for its turn.
type Counting func(ctx context.Context, account string, of Counted) (int, error)

// ErrElsewhere is what a Counting returns for an account that another process polls, and
// may ask about.
var ErrElsewhere = errors.New("another process polls the account")

// Counted is which sessions are counted. An empty field is any.
type Counted struct {
	GuestID, LocationID string
	// EndedBefore is a day, yyyy-mm-dd. Whether sessions that ended on it count, and in
	// which zone it is, is the platform's.
	EndedBefore string
}

const (
	// mostTries bounds how often is asked about one visit.
	mostTries = 3
	// mostLocations bounds the locations of a group that are asked about one by one.
	mostLocations = 8
	// countPause follows an error.
	countPause = time.Minute
	// margin is how many days before a visit the day lies that earlier sessions are asked
	// to have ended before: whatever the platform's zone is, and whether it counts the day
	// itself, they ended before the visit began.
	margin = 2
)

// counting asks about the visits of one account, a request at a time.
type counting struct {
	account string
	count   Counting
	log     *slog.Logger
	now     func() time.Time
	memory  time.Duration
	pause   time.Duration // between two tries

	horizon Horizon
	tried   map[string]try // by visit
	rest    time.Time      // nothing is asked before
	told    string         // the last error, as the log has it
}

type try struct {
	times int
	at    time.Time
}

// finding is what came of asking.
type finding struct {
	account string
	want    *Want // nil where only the horizon was looked at
	says    Saying
	horizon Horizon
	err     error
}

// next returns the visit to ask about: the newest that was not asked about, else one that
// may have another answer by now.
func (c *counting) next(list []Want) *Want {
	now := c.now()
	wanted := make(map[string]bool, len(list))
	var best *Want
	for i := range list {
		w := &list[i]
		wanted[w.Visit] = true
		t := c.tried[w.Visit]
		if t.times >= mostTries || t.times > 0 && now.Sub(t.at) < c.pause {
			continue
		}
		if best == nil || t.times < c.tried[best.Visit].times || t.times == c.tried[best.Visit].times && w.Started.After(best.Started) {
			best = w
		}
	}
	for id := range c.tried {
		if !wanted[id] {
			delete(c.tried, id)
		}
	}
	return best
}

// ask asks about one visit, and looks at the horizon where that is due. It changes nothing
// of c, and may run beside all else.
func (c *counting) ask(ctx context.Context, w *Want) finding {
	f := finding{account: c.account, want: w, horizon: c.horizon}
	count := func(of Counted) (int, error) { return c.count(ctx, c.account, of) }
	if f.err = f.horizon.look(c.now(), count); f.err != nil || w == nil {
		return f
	}
	f.says, f.err = w.ask(count, &f.horizon, c.memory)
	return f
}

// ask finds out what the platform's counts say.
func (w *Want) ask(count func(Counted) (int, error), h *Horizon, memory time.Duration) (Saying, error) {
	whole := h.Whole(memory) && !w.Mixed
	if whole {
		n, err := count(Counted{GuestID: w.Guest})
		if err != nil {
			return "", err
		}
		if n == w.Sessions {
			return Whole, nil
		}
		if n < w.Sessions {
			h.forgets()
			whole = false
		}
	}
	if !w.First {
		return "", nil
	}
	if w.Seen && len(w.Locations) <= mostLocations {
		for _, location := range w.Locations {
			if before, err := w.before(location, count, h); err != nil || before {
				return Before, err
			}
		}
	}
	if !whole || w.Here < 0 || len(w.Locations) != 1 {
		return "", nil
	}
	n, err := count(Counted{GuestID: w.Guest, LocationID: w.Locations[0]})
	if err == nil && n == w.Here {
		return Here, nil
	}
	return "", err
}

// before reports whether the guest is certain to have had sessions at a location that ended
// days before the visit. A filter of which the platform takes no notice would show the visit
// itself, sessions elsewhere, or those of others.
func (w *Want) before(location string, count func(Counted) (int, error), h *Horizon) (bool, error) {
	of := Counted{GuestID: w.Guest, LocationID: location, EndedBefore: daysBefore(w.Started, margin)}
	n, err := count(of)
	if err != nil || n == 0 {
		return false, err
	}
	if apart, err := h.tellsApart(w.Guest, location, w.Elsewhere, count); err != nil || !apart {
		return false, err
	}
	ancient := of
	ancient.EndedBefore = daysBefore(w.Started, oldest)
	undated, err := count(ancient)
	if err != nil {
		return false, err
	}
	again, err := count(of) // a session without an end may have got one meanwhile
	return min(n, again) > undated, err
}

// took notes what came of asking.
func (c *counting) took(f finding) {
	c.horizon = f.horizon
	now := c.now()
	if f.err != nil {
		c.rest = now.Add(countPause)
		if c.told != f.err.Error() && !errors.Is(f.err, ErrElsewhere) {
			c.told = f.err.Error()
			c.log.Warn("visits: the platform does not tell how often guests were here before; trying again", "account", c.account, "error", f.err)
		}
		return
	}
	c.told = ""
	if f.want != nil {
		t := c.tried[f.want.Visit]
		c.tried[f.want.Visit] = try{t.times + 1, now}
	}
}

// Horizon is what is known of how far back a platform's history goes.
type Horizon struct {
	// Declared says that somebody knows that the platform forgets nothing.
	Declared bool `json:"-"`
	// Day is the oldest day before which sessions ended, and Sessions how many, both as
	// they were first seen, at First; Last is when they were last seen.
	Day      string    `json:"day,omitempty"`
	Sessions int       `json:"sessions,omitempty"`
	First    time.Time `json:"first,omitzero"`
	Last     time.Time `json:"last,omitzero"`
	// Forgets is whether sessions were seen to go.
	Forgets bool `json:"forgets,omitempty"`
	// Guests and Locations are whether counts were seen to tell them apart.
	Guests    bool `json:"guests,omitempty"`
	Locations bool `json:"locations,omitempty"`
}

const (
	// horizonEvery is how often the oldest sessions are looked for.
	horizonEvery = time.Hour
	// horizonProof is how long they must have stayed for a history to count as whole.
	horizonProof = 14 * 24 * time.Hour
	// oldest is how many days back the history is looked at. What is said to have ended
	// before has no end: platforms write the year 0 or 1970 there.
	oldest = 20 * 366
)

func daysBefore(at time.Time, days int) string {
	return at.UTC().AddDate(0, 0, -days).Format(time.DateOnly)
}

// Whole reports whether the platform is known to have all sessions that may matter: those
// of the memory, or all that there ever were.
func (h *Horizon) Whole(memory time.Duration) bool {
	if h.Declared {
		return true
	}
	day, err := time.Parse(time.DateOnly, h.Day)
	if err != nil {
		return false
	}
	return day.Before(h.Last.Add(-memory)) || !h.Forgets && h.Last.Sub(h.First) >= horizonProof
}

// forgets notes that sessions have gone.
func (h *Horizon) forgets() { h.Forgets, h.Day = true, "" }

// due reports whether the oldest sessions are to be looked at.
func (h *Horizon) due(now time.Time) bool { return !h.Declared && now.Sub(h.Last) >= horizonEvery }

// look sees whether the oldest sessions are there still, or finds them.
func (h *Horizon) look(now time.Time, count func(Counted) (int, error)) error {
	if !h.due(now) {
		return nil
	}
	if h.Day != "" {
		n, err := count(Counted{EndedBefore: h.Day})
		if err != nil {
			return err
		}
		if h.Last = now; n >= h.Sessions {
			return nil
		}
		h.forgets()
	}
	return h.find(now, count)
}

// tellsApart reports whether counts are of the guest, and of the location where the account
// has others. It is so for good once they were fewer than all, before and after.
func (h *Horizon) tellsApart(guest, location string, elsewhere bool, count func(Counted) (int, error)) (bool, error) {
	known := func() bool { return h.Guests && (h.Locations || !elsewhere) }
	if known() {
		return true, nil
	}
	var n [4]int
	for i, of := range []Counted{{}, {GuestID: guest}, {LocationID: location}, {}} {
		var err error
		if n[i], err = count(of); err != nil {
			return false, err
		}
	}
	all := min(n[0], n[3])
	h.Guests, h.Locations = h.Guests || n[1] < all, h.Locations || n[2] < all
	return known(), nil
}

// find looks for the oldest day before which sessions ended.
func (h *Horizon) find(now time.Time, count func(Counted) (int, error)) error {
	day := func(back int) string { return daysBefore(now, back) }
	undated, err := count(Counted{EndedBefore: day(oldest)})
	if err != nil {
		return err
	}
	// Of the days from margin to oldest back, those up to some have sessions before them.
	some, none, sessions := 0, oldest, 0
	for back := margin; undated == 0 && none-some > 1; {
		n, err := count(Counted{EndedBefore: day(back)})
		if err != nil {
			return err
		}
		if n > 0 {
			some, sessions = back, n
		} else {
			none = back
		}
		if none == oldest {
			back = min(2*back, oldest-1)
		} else {
			back = (some + none) / 2
		}
		if some == 0 && none == margin {
			break
		}
	}
	h.First, h.Last = now, now
	if h.Day = ""; some > 0 {
		h.Day, h.Sessions = day(some), sessions
	}
	return nil
}

// counters ask for all accounts, each on its own.
type counters struct {
	settings *Settings
	of       map[string]*counting
	flying   map[string]bool
	findings chan finding
	asking   sync.WaitGroup
}

func newCounters(s *Settings, known map[string]Horizon) *counters {
	c := &counters{settings: s, of: map[string]*counting{}, flying: map[string]bool{}, findings: make(chan finding)}
	for account, h := range known {
		c.account(account).horizon = h
	}
	for _, k := range c.of {
		k.horizon.Declared = s.WholeHistory
	}
	return c
}

func (c *counters) account(name string) *counting {
	k := c.of[name]
	if k == nil {
		s := c.settings
		k = &counting{
			account: name, count: s.Count, log: s.Log, now: s.Now, memory: s.Rules.Memory, pause: s.Rules.Lateness,
			horizon: Horizon{Declared: s.WholeHistory}, tried: map[string]try{},
		}
		c.of[name] = k
	}
	return k
}

// ask begins to ask about the visits of an account, where something is to be asked and
// nothing is being asked.
func (c *counters) ask(ctx context.Context, name string, r *Reducer) {
	if c.settings.Count == nil || c.settings.Rules.Memory == 0 || c.flying[name] {
		return
	}
	k := c.account(name)
	if k.now().Before(k.rest) {
		return
	}
	w := k.next(r.Wants(name))
	if w == nil && !k.horizon.due(k.now()) {
		return
	}
	c.flying[name] = true
	copied := *k
	c.asking.Go(func() {
		f := copied.ask(ctx, w)
		select {
		case c.findings <- f:
		case <-ctx.Done():
		}
	})
}

// took takes what came of asking, and returns the answer for the reducer; nil for none.
func (c *counters) took(f finding) *Answer {
	delete(c.flying, f.account)
	c.account(f.account).took(f)
	if f.err != nil || f.says == "" {
		return nil
	}
	return &Answer{Visit: f.want.Visit, Says: f.says, Asked: f.want.Asked}
}

// horizons are what is to be kept of the accounts' histories.
func (c *counters) horizons() map[string]Horizon {
	all := map[string]Horizon{}
	for name, k := range c.of {
		if !k.horizon.First.IsZero() || k.horizon.Forgets {
			all[name] = k.horizon
		}
	}
	return all
}
