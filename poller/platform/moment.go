package platform

import (
	"fmt"
	"strings"
	"time"
)

// earliest and latest bound the times that are taken for real.
var (
	earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// moment is a time as it was written: UTC, or local where it named no zone.
type moment struct {
	at    time.Time
	local bool // at is the time of day in a zone that is not known
}

const wallLayout = "2006-01-02T15:04:05"

// parseMoment reads an RFC 3339 time with any offset. A space may stand for the T and
// before the offset, and the offset may be written as "+0000", "+00" or "UTC", or be
// missing: see Config.TimeZone.
func parseMoment(s string) (moment, error) {
	text := strings.TrimSpace(s)
	bad := func(why string) (moment, error) { return moment{}, fmt.Errorf("time %q: %s", clipped(s), why) }
	t, err := time.Parse(time.RFC3339, text)
	local := false
	if err != nil {
		if t, local, err = parseLoosely(text); err != nil {
			return bad("want RFC 3339")
		}
	}
	t = t.UTC()
	if t.Before(earliest) || !t.Before(latest) {
		return bad("not between 2000 and 2200")
	}
	return moment{t, local}, nil
}

// parseLoosely reads the forms that RFC 3339 does not have.
func parseLoosely(text string) (t time.Time, local bool, err error) {
	bad := fmt.Errorf("not a time")
	end := len(wallLayout)
	if len(text) < end || len(text) > 64 || text[10] != 'T' && text[10] != ' ' {
		return t, false, bad
	}
	if end < len(text) && text[end] == '.' {
		for end++; end < len(text) && text[end] >= '0' && text[end] <= '9'; end++ {
		}
	}
	if t, err = time.Parse(wallLayout, text[:10]+"T"+text[11:end]); err != nil {
		return t, false, err
	}
	zone := strings.TrimPrefix(text[end:], " ")
	switch zone {
	case "":
		return t, true, nil
	case "Z", "UTC", "GMT":
		return t, false, nil
	}
	digits := zone[1:]
	if len(digits) == 5 && digits[2] == ':' {
		digits = digits[:2] + digits[3:]
	} else if len(digits) == 2 {
		digits += "00"
	}
	if zone[0] != '+' && zone[0] != '-' || len(digits) != 4 {
		return t, false, bad
	}
	hours, ok := number(digits[:2], 2)
	minutes, also := number(digits[2:], 2)
	if !ok || !also || hours > 23 || minutes > 59 {
		return t, false, bad
	}
	offset := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if zone[0] == '-' {
		offset = -offset
	}
	return t.Add(-offset), false, nil
}

// nullDate reports whether a text is one of the ways in which platforms write that
// there is no time: nothing, a date of zeros, the date before Christ that becomes
// of it, or the epoch in any zone.
func nullDate(s string) bool {
	text := strings.TrimSpace(s)
	switch {
	case text == "", strings.HasPrefix(text, "0000-00-00"), strings.HasPrefix(text, "-0001-11-30"), strings.HasPrefix(text, "0001-01-01"):
		return true
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t, _, err = parseLoosely(text)
	}
	return err == nil && t.Sub(time.Unix(0, 0)).Abs() <= 24*time.Hour
}

// in returns the time that a moment is in a zone.
func (m moment) in(zone *time.Location) time.Time {
	if !m.local || m.at.IsZero() {
		return m.at
	}
	y, month, d := m.at.Date()
	return time.Date(y, month, d, m.at.Hour(), m.at.Minute(), m.at.Second(), m.at.Nanosecond(), zone).UTC()
}
