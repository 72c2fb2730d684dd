package alert

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Hours are times of the week in a zone.
type Hours struct {
	Zone  *time.Location
	Spans []Span
}

// Span is a time of some weekdays; one that ends at or before its beginning ends on the
// next day.
type Span struct {
	Days     []time.Weekday
	From, To int // minutes of the day
}

// open reports whether at is within the hours; none are always.
func (h Hours) open(at time.Time) bool {
	if len(h.Spans) == 0 {
		return true
	}
	at = at.In(h.Zone)
	minute := at.Hour()*60 + at.Minute()
	today, yesterday := at.Weekday(), (at.Weekday()+6)%7
	return slices.ContainsFunc(h.Spans, func(s Span) bool {
		if s.From < s.To {
			return slices.Contains(s.Days, today) && s.From <= minute && minute < s.To
		}
		return slices.Contains(s.Days, today) && minute >= s.From || slices.Contains(s.Days, yesterday) && minute < s.To
	})
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// span reads "mon-fri 07:00-22:00", "sat,sun 09:00-02:00" or "daily 10:00-18:00".
func span(text string) (s Span, err error) {
	wrong := fmt.Errorf("%q is no time of the week; write it as in \"mon-fri 07:00-22:00\", \"sat,sun 09:00-02:00\" or \"daily 10:00-18:00\"", text)
	fields := strings.Fields(strings.ToLower(text))
	if len(fields) != 2 {
		return s, wrong
	}
	for part := range strings.SplitSeq(fields[0], ",") {
		first, last, isRange := strings.Cut(part, "-")
		if part == "daily" {
			first, last, isRange = "sun", "sat", true
		}
		from, to := slices.Index(weekdays, first), slices.Index(weekdays, last)
		if !isRange {
			to = from
		}
		if from < 0 || to < 0 {
			return s, wrong
		}
		for d := from; ; d = (d + 1) % 7 {
			if !slices.Contains(s.Days, time.Weekday(d)) {
				s.Days = append(s.Days, time.Weekday(d))
			}
			if d == to {
				break
			}
		}
	}
	first, last, ok := strings.Cut(fields[1], "-")
	if s.From, err = minuteOf(first); err != nil || !ok {
		return s, wrong
	}
	if s.To, err = minuteOf(last); err != nil {
		return s, wrong
	}
	return s, nil
}

// minuteOf reads the time of a day; 24:00 is its end.
func minuteOf(text string) (int, error) {
	if text == "24:00" {
		return 24 * 60, nil
	}
	at, err := time.Parse("15:04", text)
	return at.Hour()*60 + at.Minute(), err
}
