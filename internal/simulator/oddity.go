package simulator

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/guestflow/guestflow/events"
)

// NullDate is how the platform writes the end_time that an online session does
// not have.
type NullDate int

// The forms of a null date, by what makes them.
const (
	// NullDateNull is null, as documented.
	NullDateNull NullDate = iota
	// NullDateEmpty is "".
	NullDateEmpty
	// NullDateZeros is MySQL's zero date, "0000-00-00 00:00:00".
	NullDateZeros
	// NullDateCarbon is Carbon's reading of it, "-0001-11-30T00:00:00+00:00".
	NullDateCarbon
	// NullDateEpoch is PHP's date of a null, 1970-01-01.
	NullDateEpoch
	// NullDateNow is the present time, Carbon's reading of null.
	NullDateNow
)

var nullDateNames = [...]string{"null", "empty", "zeros", "carbon", "epoch", "now"}

// String returns the name that ParseNullDate reads.
func (n NullDate) String() string {
	if n < 0 || int(n) >= len(nullDateNames) {
		return fmt.Sprintf("NullDate(%d)", int(n))
	}
	return nullDateNames[n]
}

// ParseNullDate reads null, empty, zeros, carbon, epoch or now.
func ParseNullDate(s string) (NullDate, error) {
	i := slices.Index(nullDateNames[:], s)
	if i < 0 {
		return 0, fmt.Errorf("null date %q: use null, empty, zeros, carbon, epoch or now", s)
	}
	return NullDate(i), nil
}

// Unreadable is a set of sessions whose records lack what identifies them, for
// their whole life. All else in these records is right, and the filters find
// them.
type Unreadable struct {
	// Field is shown as null: "location_id" or "id".
	Field string
	// First is how many of those online at the start, venue by venue, and of those
	// that come later.
	First int
	// Share is the share of all sessions, from 0 to 1, besides.
	Share float64
}

// ParseUnreadable reads the field, location or id, and which sessions: the first
// one, the first few ("location:3") or a share ("id:2%").
func ParseUnreadable(s string) (Unreadable, error) {
	name, which, given := strings.Cut(s, ":")
	u := Unreadable{Field: name, First: 1}
	if name == "location" {
		u.Field = "location_id"
	}
	var err error
	if share, ok := strings.CutSuffix(which, "%"); ok {
		u.First = 0
		u.Share, err = strconv.ParseFloat(share, 64)
		u.Share /= 100
	} else if given {
		u.First, err = strconv.Atoi(which)
	}
	if err != nil || !u.valid() {
		return Unreadable{}, fmt.Errorf("unreadable %q: use location or id, and how many (location:3) or a share (id:2%%)", s)
	}
	return u, nil
}

func (u Unreadable) valid() bool {
	return (u.Field == "location_id" || u.Field == "id") && u.First >= 0 && u.Share >= 0 && u.Share <= 1 && (u.First > 0 || u.Share > 0)
}

// hidden is what a session's record lacks.
type hidden struct{ location, id bool }

func (h hidden) any() bool { return h.location || h.id }

// hide decides what the record of s lacks for its whole life. The history from
// before the start is not among the first.
func (p *population) hide(s *session) {
	lives := s.end > p.origin
	if lives {
		p.came++
	}
	for i, u := range p.cfg.Unreadable {
		if lives && p.came <= u.First || unit(hash(p.cfg.Seed, 44, uint64(i), s.num)) < u.Share {
			s.hidden.location = s.hidden.location || u.Field == "location_id"
			s.hidden.id = s.hidden.id || u.Field == "id"
		}
	}
}

// zone is that of days and of times without one.
func (cfg *Config) zone() *time.Location {
	if cfg.DayZone == nil {
		return time.UTC
	}
	return cfg.DayZone
}

// midnight is when the day that t means begins in the account's zone, some days
// later; zero for the zero t.
func (cfg *Config) midnight(t time.Time, days int) time.Time {
	if t.IsZero() {
		return t
	}
	y, m, d := t.UTC().Date()
	return time.Date(y, m, d+days, 0, 0, 0, 0, cfg.zone())
}

const withoutZone = "2006-01-02 15:04:05"

// appendDate writes start_time or end_time.
func (cfg *Config) appendDate(b []byte, t time.Time) []byte {
	if cfg.Zoneless {
		return appendTime(b, t.In(cfg.zone()), withoutZone)
	}
	return appendTime(b, t, rfc3339)
}

// appendNoEnd writes end_time and end_time_formatted of a session that is online
// at t.
func (cfg *Config) appendNoEnd(b []byte, t int64) []byte {
	date, people := "null", "null"
	minusOne := `"-0001-11-30 12:00 AM"`
	shown := time.Time{}
	switch cfg.NullDate {
	case NullDateEmpty:
		date, people = `""`, `""`
	case NullDateZeros:
		date, people = `"0000-00-00 00:00:00"`, minusOne
	case NullDateCarbon:
		date, people = `"-0001-11-30T00:00:00+00:00"`, minusOne
		if cfg.Zoneless {
			date = `"-0001-11-30 00:00:00"`
		}
	case NullDateEpoch:
		shown = time.Unix(0, 0).UTC()
	case NullDateNow:
		shown = time.Unix(0, t).UTC()
	}
	b = append(b, `"end_time":`...)
	if !shown.IsZero() {
		b = cfg.appendDate(b, shown)
		b = append(b, `,"end_time_formatted":`...)
		return append(appendTime(b, shown.In(localTime), forPeople), ',')
	}
	b = append(b, date...)
	b = append(b, `,"end_time_formatted":`...)
	return append(append(b, people...), ',')
}

// cutBytes is what remains of v where all behind two decimals is cut off, so that
// formatBytes writes that, and the worth of the last decimal; 0 for whole bytes.
func cutBytes(v, base int64) (kept, digit int64) {
	_, unit, _ := hundredths(v, base)
	if unit == 1 {
		return v, 0
	}
	q, r := v/unit, v%unit
	return q*unit + (r*100/unit*unit+99)/100, (unit + 99) / 100
}

// appendBytes writes a figure.
func (cfg *Config) appendBytes(b []byte, v int64) []byte {
	if cfg.CutFigures {
		v, _ = cutBytes(v, cfg.ByteBase)
	}
	from := len(b)
	b = formatBytes(b, v, cfg.ByteBase)
	if cfg.DecimalComma {
		b[from+slices.Index(b[from:], '.')] = ','
	}
	return b
}

// readBytes is the figure that remains of v once appendBytes has written it.
func (cfg *Config) readBytes(v int64) events.Bytes {
	if !cfg.CutFigures {
		return round(v, cfg.ByteBase)
	}
	kept, digit := cutBytes(v, cfg.ByteBase)
	return events.Bytes{Value: round(kept, cfg.ByteBase).Value, Error: digit}
}

// shownDuration is what total_duration says of so many seconds.
func (cfg *Config) shownDuration(seconds int64) int64 {
	if cfg.DurationWraps {
		return seconds % (24 * 60 * 60)
	}
	return seconds
}
