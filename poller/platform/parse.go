package platform

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/guestflow/guestflow/events"
)

// ParseBytes reads an amount such as "3.34 MB", "900.58 kB" or "0 B". A kB, MB …
// has base bytes to the power (1000 or 1024; "kB" with a small k is SI's), a KiB,
// MiB … always 1024. The figure is rounded to its last decimal, so its Error is
// half of that, rounded up; whole bytes are exact.
func ParseBytes(s string, base int) (events.Bytes, error) {
	text := strings.TrimSpace(s)
	end := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' && r != ',' })
	number, unit := text, ""
	if end >= 0 {
		number, unit = text[:end], strings.TrimSpace(text[end:])
	}
	bad := func(why string) (events.Bytes, error) {
		return events.UnknownBytes, fmt.Errorf("amount of data %q: %s", clipped(s), why)
	}
	factor, ok := unitOf(unit, float64(base))
	if !ok {
		return bad("unknown unit")
	}
	number = strings.ReplaceAll(number, ",", "")
	whole, fraction, _ := strings.Cut(number, ".")
	if whole == "" || strings.Contains(fraction, ".") {
		return bad("not a number")
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return bad("not a number")
	}
	v *= factor
	if v > math.MaxInt64/4 {
		return bad("too large")
	}
	half := 0.0
	if factor > 1 {
		half = math.Ceil(factor/(2*math.Pow10(len(fraction))) - 1e-9)
	}
	return events.Bytes{Value: int64(math.Round(v)), Error: int64(half)}, nil
}

func unitOf(unit string, base float64) (float64, bool) {
	if unit == "" || strings.EqualFold(unit, "B") || strings.EqualFold(unit, "bytes") || strings.EqualFold(unit, "byte") {
		return 1, true
	}
	power := strings.IndexByte("kmgtp", unit[0]|0x20) + 1
	if power == 0 {
		return 0, false
	}
	switch {
	case strings.EqualFold(unit[1:], "iB"):
		base = 1024
	case !strings.EqualFold(unit[1:], "B"):
		return 0, false
	}
	return math.Pow(base, float64(power)), true
}

// ParseDuration reads "HH:MM:SS", where the hours may pass 24, as seconds.
func ParseDuration(s string) (int64, error) {
	parts := strings.Split(strings.TrimSpace(s), ":")
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
	}
	return nil
}

func clipped(s string) string {
	const most = 40
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
