package platform

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads a duration as whole seconds: "HH:MM:SS", where the hours may
// pass 24, "2 days, 1:02:03" with or without the comma, a number of seconds, or ISO
// 8601's "P2DT1H2M3S". What a time.Duration cannot hold (292 years) is refused; so
// is "00:09", which may be minutes or hours.
func ParseDuration(s string) (int64, error) {
	text := strings.TrimSpace(s)
	total, ok := int64(0), false
	switch {
	case strings.HasPrefix(text, "P"):
		total, ok = isoDuration(text[1:])
	case strings.Contains(text, ":"):
		total, ok = clockDuration(text)
	default:
		whole, fraction, _ := strings.Cut(text, ".")
		total, ok = number(whole, 18)
		ok = ok && strings.Trim(fraction, "0123456789") == "" && !strings.HasSuffix(text, ".")
	}
	if !ok || total > math.MaxInt64/int64(time.Second) {
		return 0, fmt.Errorf("duration %q: want HH:MM:SS", clipped(s))
	}
	return total, nil
}

// number reads 1 to most digits.
func number(s string, most int) (int64, bool) {
	if len(s) == 0 || len(s) > most || s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil
}

// clockDuration reads "[D day(s)[,] ]HH:MM:SS".
func clockDuration(text string) (int64, bool) {
	days := int64(0)
	clock := text
	if at := strings.LastIndexByte(text, ' '); at >= 0 {
		clock = text[at+1:]
		count, unit, _ := strings.Cut(text[:at], " ")
		n, ok := number(count, 6)
		switch strings.TrimSuffix(strings.TrimSpace(unit), ",") {
		case "day", "days":
		default:
			ok = false
		}
		if !ok {
			return 0, false
		}
		days = n
	}
	parts := strings.SplitN(clock, ":", 4)
	if len(parts) != 3 {
		return 0, false
	}
	total := int64(0)
	for i, p := range parts {
		n, ok := number(p, 10)
		if !ok || n > math.MaxInt32 || i > 0 && (len(p) != 2 || n > 59) || i == 0 && len(clock) < len(text) && n > 23 {
			return 0, false
		}
		total = total*60 + n
	}
	return total + days*86400, true
}

// isoDuration reads what follows the P. Years and months have no fixed length.
func isoDuration(text string) (int64, bool) {
	total, any := int64(0), false
	date, clock, timed := strings.Cut(text, "T")
	for _, part := range []struct {
		text, units string
		seconds     []int64
	}{{date, "WD", []int64{7 * 86400, 86400}}, {clock, "HMS", []int64{3600, 60, 1}}} {
		least := 0
		for rest := part.text; rest != ""; {
			at := strings.IndexAny(rest, part.units)
			if at < 0 {
				return 0, false
			}
			i := strings.IndexByte(part.units, rest[at])
			count := rest[:at]
			if rest[at] == 'S' {
				var fraction string
				count, fraction, _ = strings.Cut(count, ".")
				if strings.Trim(fraction, "0123456789") != "" {
					return 0, false
				}
			}
			n, ok := number(count, 9)
			if !ok || i < least {
				return 0, false
			}
			total += n * part.seconds[i]
			least, rest, any = i+1, rest[at+1:], true
		}
	}
	return total, any && (!timed || clock != "")
}

// shortDuration reads "00:09" as minutes and seconds, and as hours and minutes.
func shortDuration(s string) (minutes, hours int64, ok bool) {
	first, second, found := strings.Cut(strings.TrimSpace(s), ":")
	a, ok := number(first, 4)
	b, also := number(second, 2)
	if !found || !ok || !also || len(second) != 2 || b > 59 {
		return 0, 0, false
	}
	return a*60 + b, a*3600 + b*60, true
}

const (
	day = int64(86400)
	// durationSlack is how many seconds a duration and the times that it lies
	// between may be apart, and still agree.
	durationSlack = 60
)

// unwrapped returns the duration that was written as seconds modulo 24 hours,
// where start and end, span seconds apart, say so: PHP's usual ways of writing a
// duration lose whole days. A duration that contradicts span otherwise stays: it
// may be that of several stretches.
func unwrapped(seconds, span int64) int64 {
	if seconds >= day || span < day-durationSlack {
		return seconds
	}
	days := (span - seconds + day/2) / day
	if off := span - seconds - days*day; days < 1 || off > durationSlack || off < -durationSlack {
		return seconds
	}
	return seconds + days*day
}
