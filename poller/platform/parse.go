package platform

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"time"

	"github.com/guestflow/guestflow/events"
)

// ParseBytes reads an amount of data such as "3.34 MB", "900.58 kB", "0 B" or
// "1,024.00 KiB". A kB or KB, MB … PB has base bytes to the power, which is 1000
// (as SI has it) or 1024; a KiB, MiB … PiB always 1024. Units are told apart by
// case, since Mb would be bits. Commas are taken between thousands alone.
//
// The platform rounds, so Error is half of the last decimal shown, rounded up to
// whole bytes. Whole bytes, with unit or without, are exact. The figure is
// UnknownBytes with an error.
func ParseBytes(s string, base int) (events.Bytes, error) {
	if base != 1000 && base != 1024 {
		return events.UnknownBytes, fmt.Errorf("byte base %d: use 1000 or 1024", base)
	}
	b, fault := parseBytes([]byte(s), base)
	if fault != "" {
		return b, fmt.Errorf("amount of data %q: %s; want a form such as 3.34 MB", clipped(s), fault)
	}
	return b, nil
}

// maxBytes leaves room for sums of several figures.
const maxBytes = math.MaxInt64 / 4

func parseBytes(text []byte, base int) (_ events.Bytes, fault string) {
	number, decimals, rest, fault := parseDecimal(bytes.TrimSpace(text))
	if fault != "" {
		return events.UnknownBytes, fault
	}
	unit := bytes.TrimSpace(rest)
	if len(unit) == 0 && decimals > 0 {
		return events.UnknownBytes, "a fraction needs a unit"
	}
	factor := unitOf(unit, uint64(base))
	if factor == 0 {
		return events.UnknownBytes, "unknown unit"
	}
	scale := uint64(1)
	for range decimals {
		scale *= 10
	}
	hi, lo := bits.Mul64(number, factor)
	lo, carry := bits.Add64(lo, scale/2, 0)
	if hi += carry; hi >= scale {
		return events.UnknownBytes, "too large"
	}
	v, _ := bits.Div64(hi, lo, scale)
	if v > maxBytes {
		return events.UnknownBytes, "too large"
	}
	half := (factor + 2*scale - 1) / (2 * scale)
	if factor == 1 && number%scale == 0 {
		half = 0 // a byte has no fractions, so nothing was rounded away
	}
	return events.Bytes{Value: int64(v), Error: int64(half)}, ""
}

// parseDecimal reads a number with at most 18 decimals; its value is number
// divided by 10 to the power of decimals.
func parseDecimal(text []byte) (number uint64, decimals int, rest []byte, fault string) {
	i, point, group, grouped := 0, -1, 0, false
scan:
	for ; i < len(text); i++ {
		switch c := text[i]; {
		case c-'0' <= 9:
			if number > (math.MaxUint64-9)/10 {
				return 0, 0, nil, "too many digits"
			}
			number = number*10 + uint64(c-'0')
			group++
		case c == ',' && point < 0:
			if grouped && group != 3 || group == 0 || group > 3 {
				return 0, 0, nil, "a comma that is not between thousands"
			}
			grouped, group = true, 0
		case c == '.' && point < 0:
			if grouped && group != 3 {
				return 0, 0, nil, "a comma that is not between thousands"
			}
			if group == 0 {
				return 0, 0, nil, "not a number"
			}
			point, group = i, 0
		default:
			break scan
		}
	}
	switch {
	case group == 0:
		return 0, 0, nil, "not a number"
	case point < 0 && grouped && group != 3:
		return 0, 0, nil, "a comma that is not between thousands"
	case point >= 0:
		decimals = group
	}
	if decimals > 18 {
		return 0, 0, nil, "too many digits"
	}
	return number, decimals, text[i:], ""
}

// unitOf returns how many bytes a unit has; 0 for an unknown one.
func unitOf(unit []byte, base uint64) uint64 {
	switch string(unit) {
	case "", "B", "byte", "bytes", "Byte", "Bytes":
		return 1
	}
	prefix, ok := bytes.CutSuffix(unit, []byte("B"))
	if !ok {
		return 0
	}
	prefix, binary := bytes.CutSuffix(prefix, []byte("i"))
	if binary {
		base = 1024
	}
	switch string(prefix) {
	case "k", "K":
		return base
	case "M":
		return base * base
	case "G":
		return base * base * base
	case "T":
		return base * base * base * base
	case "P":
		return base * base * base * base * base
	}
	return 0
}

var errDuration = errors.New("want HH:MM:SS, where the hours may pass 24")

// ParseDuration reads "HH:MM:SS" as seconds. The hours may pass 24 and have any
// number of digits. Two parts are refused, since "12:30" could be hours or
// minutes, and so is what a time.Duration cannot hold (292 years).
func ParseDuration(s string) (int64, error) {
	d, ok := parseDuration([]byte(s))
	if !ok {
		return 0, fmt.Errorf("duration %q: %w", clipped(s), errDuration)
	}
	return d, nil
}

const maxSeconds = math.MaxInt64 / int64(time.Second)

func parseDuration(text []byte) (seconds int64, ok bool) {
	text = bytes.TrimSpace(text)
	n := len(text)
	if n < len("0:00:00") || text[n-6] != ':' || text[n-3] != ':' {
		return 0, false
	}
	hours := int64(0)
	for _, c := range text[:n-6] {
		if c-'0' > 9 || hours > maxSeconds {
			return 0, false
		}
		hours = hours*10 + int64(c-'0')
	}
	minutes, second := twoDigits(text[n-5:]), twoDigits(text[n-2:])
	if minutes > 59 || second > 59 || hours > maxSeconds/3600-1 {
		return 0, false
	}
	return hours*3600 + minutes*60 + second, true
}

// twoDigits reads two digits; what is not comes out above 99.
func twoDigits(b []byte) int64 {
	if b[0]-'0' > 9 || b[1]-'0' > 9 {
		return 100
	}
	return int64(b[0]-'0')*10 + int64(b[1]-'0')
}

// The times that are taken for real: some databases write an unknown time as
// year 0, 1 or 1970.
var (
	earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

var errTime = errors.New("want RFC 3339 between the years 2000 and 2199, such as 2017-01-05T06:50:55+00:00")

// ParseTime reads an RFC 3339 time with any offset, as UTC. Times before the year
// 2000 or from 2200 on are refused: they stand for none.
func ParseTime(s string) (time.Time, error) {
	t, ok := parseTime([]byte(s))
	if !ok {
		return time.Time{}, fmt.Errorf("time %q: %w", clipped(s), errTime)
	}
	return t, nil
}

func parseTime(text []byte) (time.Time, bool) {
	var t time.Time
	if t.UnmarshalText(bytes.TrimSpace(text)) != nil {
		return time.Time{}, false
	}
	t = t.UTC()
	if t.Before(earliest) || !t.Before(latest) {
		return time.Time{}, false
	}
	return t, true
}
