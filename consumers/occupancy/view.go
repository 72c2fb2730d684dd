package occupancy

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/guestflow/guestflow/internal/group"
)

// Location is the occupancy of one location. It is the value of its key in the
// bucket and what the HTTP interface answers. All times are on the platform's
// clock, UTC.
type Location struct {
	Account string `json:"account"`
	ID      string `json:"id"`
	Name    string `json:"name,omitempty"`
	// Online counts the sessions that are online.
	Online int `json:"online"`
	// Uncertain counts those of them whose end may have been among messages that
	// were missing from the stream: see Occupancy.Miss.
	Uncertain int `json:"uncertain,omitempty"`
	// Devices counts their distinct MAC addresses or pseudonyms; a session
	// without one counts as a device of its own.
	Devices int `json:"devices"`
	// Guests counts their distinct guest ids; a session without one counts for
	// none.
	Guests int `json:"guests"`
	// Arrivals and Departures count by the time at the source. A session that
	// moves departs here and arrives there; one that was merely discovered did
	// not arrive.
	Arrivals   Windows `json:"arrivals"`
	Departures Windows `json:"departures"`
	Dwell      Dwell   `json:"dwell"`
	// Since is when the location was first seen in the stream.
	Since time.Time `json:"since,omitzero"`
	// Sequence and ObservedAt are those of the last event here: the stream's
	// sequence and the time of the look.
	Sequence   uint64    `json:"sequence"`
	ObservedAt time.Time `json:"observed_at,omitzero"`
	// Interval is where Online lies by now, Usual how many are online at this hour
	// usually; both in answers over HTTP alone.
	Interval *Interval `json:"interval,omitempty"`
	Usual    *Usual    `json:"usual,omitempty"`
	// Recent holds the online counts at the end of the last minutes, where it was
	// asked for; the last is the present one.
	Recent []int `json:"recent,omitempty"`
}

// Windows counts what happened in the last 5, 15 and 60 minutes.
type Windows struct {
	M5  int `json:"5m"`
	M15 int `json:"15m"`
	M60 int `json:"60m"`
}

// Dwell tells how long finished stays at a location lasted: exact nearest-rank
// quantiles of the latest StaySample stays that ended within the configured time
// (24 h) before the location's last departure.
type Dwell struct {
	Stays      int   `json:"stays"`
	P50Seconds int64 `json:"p50_seconds"`
	P90Seconds int64 `json:"p90_seconds"`
}

// Session is one online session as the HTTP interface shows it.
type Session struct {
	ID                string    `json:"id"`
	LocationID        string    `json:"location_id"`
	GuestID           string    `json:"guest_id,omitempty"`
	GuestName         string    `json:"guest_name,omitempty"`
	GuestEmail        string    `json:"guest_email,omitempty"`
	YasID             string    `json:"yas_id,omitempty"`
	DeviceMAC         string    `json:"device_mac,omitempty"`
	DeviceIP          string    `json:"device_ip,omitempty"`
	DeviceDescription string    `json:"device_description,omitempty"`
	AccessCode        string    `json:"access_code,omitempty"`
	LoginType         string    `json:"login_type,omitempty"`
	ServiceProfile    string    `json:"service_profile,omitempty"`
	StartedAt         time.Time `json:"started_at,omitzero"`
	// EnteredAt is since when it is at this location.
	EnteredAt       time.Time `json:"entered_at,omitzero"`
	ObservedAt      time.Time `json:"observed_at,omitzero"`
	DurationSeconds int64     `json:"duration_seconds"`
	DownloadedBytes int64     `json:"downloaded_bytes"`
	UploadedBytes   int64     `json:"uploaded_bytes"`
	Revision        int64     `json:"revision"`
}

// History is a location's curve: the number online at the end of each minute
// from From on. The last minute has not ended yet.
type History struct {
	Account     string    `json:"account"`
	ID          string    `json:"id"`
	From        time.Time `json:"from"`
	StepSeconds int       `json:"step_seconds"`
	Online      []int     `json:"online"`
}

func (l *area) view(now int64, recent int, gap uint64) Location {
	v := Location{
		Account: l.account, ID: l.id, Name: l.name,
		Online: l.online(), Uncertain: l.uncertain(gap),
		Arrivals: windows(&l.arrivals, now), Departures: windows(&l.departures, now),
		Dwell: Dwell{Stays: len(l.stays.sorted), P50Seconds: l.stays.quantile(0.5), P90Seconds: l.stays.quantile(0.9)},
		Since: fromMillis(l.since), Sequence: l.sequence, ObservedAt: fromMillis(l.seenAt),
	}
	v.Devices, v.Guests = l.distinct()
	if recent > 0 {
		_, v.Recent = l.curve(now, recent)
	}
	return v
}

// begin is when the curve begins: with the first look or, where the platform's history from
// before is in the stream, with that; later by what nine of ten stays last, since nobody is
// told of who came earlier still and had left.
func (l *area) begin() int64 {
	if from := l.week.from; from > 0 {
		return min(l.since, from+1000*l.stays.quantile(0.9))
	}
	return l.since
}

func (l *area) curve(now int64, minutes int) (first int32, counts []int) {
	last := minuteOf(now)
	first = max(last-int32(minutes)+1, min(minuteOf(l.begin()), last))
	return first, l.steps.curve(first, last, l.online())
}

// Location returns one location at the given platform time, with the online
// counts of the last minutes when recent is above zero.
func (o *Occupancy) Location(p Place, now time.Time, recent int) (Location, bool) {
	if l := o.find(p); l != nil {
		return l.view(toMillis(now), recent, o.gap), true
	}
	return Location{}, false
}

func (o *Occupancy) find(p Place) *area {
	if a := o.accounts[p.Account]; a != nil {
		return a.areas[p.Location]
	}
	return nil
}

// Places returns the places with the given location id, one for each account
// that has it; every place when the id is empty. They are in order of account
// and id.
func (o *Occupancy) Places(id string) []Place {
	var places []Place
	for _, a := range o.accounts {
		if id != "" {
			if l := a.areas[id]; l != nil {
				places = append(places, l.place())
			}
			continue
		}
		for _, l := range a.areas {
			places = append(places, l.place())
		}
	}
	slices.SortFunc(places, func(a, b Place) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Location, b.Location))
	})
	return places
}

// Locations returns every location of a set (nil: all there are), in order of account and
// id.
func (o *Occupancy) Locations(of *group.Set, now time.Time, recent int) []Location {
	areas := o.areasIn(of)
	views := make([]Location, len(areas))
	for i, l := range areas {
		views[i] = l.view(toMillis(now), recent, o.gap)
	}
	return views
}

// Totals returns the occupancy of each account, in order of name: devices and guests are
// distinct over all of its locations, moves between them are neither arrivals nor
// departures, and dwell is the whole time online. Of an account of which the set (nil: all
// there are) has a part, they are those of that part, and dwell is that of stays at one
// location each.
func (o *Occupancy) Totals(of *group.Set, now time.Time, recent int) []Location {
	views := make([]Location, 0, len(o.accounts))
	for areas := o.areasIn(of); len(areas) > 0; {
		a, n := o.accounts[areas[0].account], 1
		for n < len(areas) && areas[n].account == a.name {
			n++
		}
		if n == len(a.areas) {
			views = append(views, a.total.view(toMillis(now), recent, o.gap))
		} else {
			views = append(views, o.part(areas[:n], toMillis(now), recent))
		}
		areas = areas[n:]
	}
	return views
}

// History returns the curve of the last minutes of a location.
func (o *Occupancy) History(p Place, now time.Time, minutes int) (History, bool) {
	l := o.find(p)
	if l == nil {
		return History{}, false
	}
	minutes = min(minutes, int(o.limits.History/time.Minute))
	first, counts := l.curve(toMillis(now), minutes)
	return History{
		Account: p.Account, ID: p.Location, From: fromMillis(int64(first) * 60000), StepSeconds: 60, Online: counts,
	}, true
}

// Sessions returns at most limit online sessions of a location that come after
// the cursor, those that entered last first, and the cursor of the next page,
// which is empty on the last one.
func (o *Occupancy) Sessions(p Place, after string, limit int) ([]Session, string, bool) {
	l := o.find(p)
	if l == nil {
		return nil, "", false
	}
	all := make([]session, 0, l.online())
	at, id, paged := parseCursor(after)
	for s := range l.sessions() {
		if !paged || s.enteredAt < at || s.enteredAt == at && s.id() > id {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b session) int {
		return cmp.Or(cmp.Compare(b.enteredAt, a.enteredAt), cmp.Compare(a.id(), b.id()))
	})
	next := ""
	if len(all) > limit {
		all = all[:limit]
		next = cursorOf(all[limit-1])
	}
	views := make([]Session, len(all))
	for i, s := range all {
		views[i] = l.of.roster.view(s)
	}
	return views, next, true
}

func cursorOf(s session) string { return strconv.FormatInt(s.enteredAt, 36) + "." + s.id() }

func parseCursor(c string) (at int64, id string, ok bool) {
	for i := range len(c) {
		if c[i] == '.' {
			at, err := strconv.ParseInt(c[:i], 36, 64)
			return at, c[i+1:], err == nil
		}
	}
	return 0, "", false
}

func (r *roster) view(s session) Session {
	t := r.traits.of(s.row.traits)
	return Session{
		ID: s.id(), LocationID: r.place(s).id, GuestID: s.guest(), GuestName: s.text(ownName), GuestEmail: s.text(ownEmail), YasID: s.text(ownYas),
		DeviceMAC: s.mac(), DeviceIP: s.text(ownIP), DeviceDescription: t.description, AccessCode: s.text(ownCode),
		LoginType: t.login, ServiceProfile: t.profile,
		StartedAt: fromMillis(s.startedAt), EnteredAt: fromMillis(s.enteredAt), ObservedAt: fromMillis(s.seenAt),
		DurationSeconds: s.duration, DownloadedBytes: s.downloaded, UploadedBytes: s.upload, Revision: s.revision,
	}
}
