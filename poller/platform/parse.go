package platform

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/guestflow/guestflow/events"
)

// mostBytes is the largest amount that is taken for real: sums of a few of them
// do not overflow.
const mostBytes = math.MaxInt64 / 4

// ParseBytes reads an amount such as "3.34 MB", "900.58 kB" or "0 B". A kB, MB …
// has base bytes to the power (1000 or 1024; "kB" with a small k is SI's), a KiB,
// MiB … always 1024. The figure is rounded to its last decimal, so its Error is
// half of that, rounded up; whole bytes are exact.
func ParseBytes(s string, base int) (events.Bytes, error) {
	if base != 1000 && base != 1024 {
		return events.UnknownBytes, fmt.Errorf("byte base %d: use 1000 or 1024", base)
	}
	bad := func(why string) (events.Bytes, error) {
		return events.UnknownBytes, fmt.Errorf("amount of data %q: %s", clipped(s), why)
	}
	text := strings.TrimSpace(s)
	end := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' && r != ',' })
	number, unit := text, ""
	if end >= 0 {
		number, unit = text[:end], strings.TrimSpace(text[end:])
	}
	factor, ok := unitOf(unit, uint64(base))
	if !ok {
		return bad("unknown unit")
	}
	whole, fraction, _ := strings.Cut(number, ".")
	whole, ok = ungrouped(whole)
	const mostDecimals = 18 // what a uint64 holds
	if !ok || len(fraction) > mostDecimals {
		return bad("not a number")
	}
	digits, err := strconv.ParseUint(whole+fraction, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return bad("too large")
	} else if err != nil {
		return bad("not a number")
	}
	// Whole numbers throughout: a float64 would be off by some bytes from 1 PB on.
	step := uint64(1)
	for range fraction {
		step *= 10
	}
	high, low := bits.Mul64(digits, factor)
	if high >= step {
		return bad("too large")
	}
	value, rest := bits.Div64(high, low, step)
	if rest >= step-rest {
		value++
	}
	if value > mostBytes {
		return bad("too large")
	}
	half := uint64(0)
	if factor > 1 || rest > 0 {
		half = (factor-1)/(2*step) + 1
	}
	return events.Bytes{Value: int64(value), Error: int64(half)}, nil
}

// ungrouped takes the commas out of "1,234,567". A comma anywhere else may be a
// decimal one, so such a number is not read.
func ungrouped(whole string) (string, bool) {
	groups := strings.Split(whole, ",")
	for i, g := range groups {
		if g == "" || len(groups) > 1 && (i > 0 && len(g) != 3 || len(g) > 3) {
			return "", false
		}
	}
	return strings.Join(groups, ""), true
}

// unitOf returns how many bytes a unit has. Units are told apart by case, since
// Mb would be bits.
func unitOf(unit string, base uint64) (uint64, bool) {
	switch unit {
	case "", "B", "byte", "bytes", "Byte", "Bytes":
		return 1, true
	}
	prefix, ok := strings.CutSuffix(unit, "B")
	prefix, binary := strings.CutSuffix(prefix, "i")
	if binary {
		base = 1024
	}
	power := strings.Index("kMGTP", prefix) + 1
	if prefix == "K" {
		power = 1
	}
	if !ok || len(prefix) != 1 || power == 0 {
		return 0, false
	}
	factor := uint64(1)
	for range power {
		factor *= base
	}
	return factor, true
}

// ParseDuration reads "HH:MM:SS", where the hours may pass 24, as seconds. What a
// time.Duration cannot hold (292 years) is refused.
func ParseDuration(s string) (int64, error) {
	parts := strings.SplitN(strings.TrimSpace(s), ":", 4)
	bad := fmt.Errorf("duration %q: want HH:MM:SS", clipped(s))
	if len(parts) != 3 {
		return 0, bad
	}
	total := int64(0)
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 31)
		if err != nil || i > 0 && (len(p) != 2 || n > 59) || p[0] == '+' {
			return 0, bad
		}
		total = total*60 + int64(n)
	}
	if total > math.MaxInt64/int64(time.Second) {
		return 0, bad
	}
	return total, nil
}

// earliest and latest bound the times that are taken for real.
var (
	earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// ParseTime reads an RFC 3339 time with any offset, as UTC.
func ParseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, strings.TrimSpace(s))
	if err != nil {
		return time.Time{}, fmt.Errorf("time %q: want RFC 3339", clipped(s))
	}
	t = t.UTC()
	if t.Before(earliest) || !t.Before(latest) {
		return time.Time{}, fmt.Errorf("time %q: not between 2000 and 2200", clipped(s))
	}
	return t, nil
}

// canonicalMAC returns aa:bb:cc:dd:ee:ff for the usual ways to write it, and
// other text as it is.
func canonicalMAC(s string) string {
	s = strings.TrimSpace(s)
	if len(s) == 17 && isLowerMAC(s) {
		return s
	}
	var digits []byte
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9' || c >= 'a' && c <= 'f':
			digits = append(digits, c)
		case c >= 'A' && c <= 'F':
			digits = append(digits, c|0x20)
		case c == ':' || c == '-' || c == '.' || c == ' ':
		default:
			return s
		}
	}
	if len(digits) != 12 {
		return s
	}
	out := make([]byte, 0, 17)
	for i := 0; i < 12; i += 2 {
		if i > 0 {
			out = append(out, ':')
		}
		out = append(out, digits[i], digits[i+1])
	}
	return string(out)
}

func isLowerMAC(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if i%3 == 2 {
			if c != ':' {
				return false
			}
		} else if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// canonicalIP returns the canonical text of an address, an IPv4 one in IPv6 form
// as IPv4, and other text as it is.
func canonicalIP(s string) string {
	s = strings.TrimSpace(s)
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return s
	}
	return addr.Unmap().String()
}

const maxID = 256

var errNoID = errors.New("empty")

// checkID reports what makes an id useless as an identity.
func checkID(id string) error {
	switch {
	case id == "":
		return errNoID
	case len(id) > maxID:
		return fmt.Errorf("longer than %d bytes", maxID)
	case strings.ContainsRune(id, 0):
		return errors.New("contains NUL")
	case strings.ContainsRune(id, utf8.RuneError):
		// Two damaged ids may read as the same.
		return errors.New("is not valid UTF-8")
	}
	return nil
}

func clipped(s string) string {
	const most = 40
	if len(s) > most {
		return clip(s, most) + "…"
	}
	return s
}

// clip cuts a text to most bytes at most, between two characters.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
