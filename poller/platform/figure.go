package platform

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"

	"github.com/guestflow/guestflow/events"
)

// mostBytes is the largest amount that is taken for real: sums of a few of them
// do not overflow.
const mostBytes = math.MaxInt64 / 4

// separators are the decimal separators that an account's figures showed beyond
// doubt. Where they showed one of the two, doubtful figures are read with it;
// where they showed both, these are not read.
type separators struct{ point, comma bool }

func (s separators) and(o separators) separators {
	return separators{s.point || o.point, s.comma || o.comma}
}

var errNumber = errors.New("not a number")

// parseFigure reads an amount such as "3.34 MB", "900,58 kB" or "0 B". A kB, MB …
// has base bytes to the power (1000 or 1024; "kB" with a small k is SI's), a KiB,
// MiB … always 1024. Figures may be cut as well as rounded to their last decimal,
// so its Error is a whole step of that, rounded up; whole bytes are exact.
//
// A point or a comma is the decimal one unless three digits follow it and one to
// three stand before it: "1.234 kB" is then read as documented, with a decimal
// point, and "1,234 kB", which may be either, is not read, unless what is known of
// the account says which. Where both stand, or one several times, there is no doubt.
// Bytes have no decimals, so "1,023 B" is read.
//
// shown is what the figure shows of the account in turn; doubtful says that the
// result depends on what is known.
func parseFigure(s string, base int, known separators) (b events.Bytes, shown separators, doubtful bool, err error) {
	bad := func(why string) (events.Bytes, separators, bool, error) {
		return events.UnknownBytes, separators{}, doubtful, fmt.Errorf("amount of data %q: %s", clipped(s), why)
	}
	if base != 1000 && base != 1024 {
		return events.UnknownBytes, shown, false, fmt.Errorf("byte base %d: use 1000 or 1024", base)
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
	whole, fraction, shown, doubtful, err := splitNumber(number, factor == 1, known)
	if err != nil {
		return bad(err.Error())
	}
	const mostDecimals = 18 // what a uint64 holds
	if len(fraction) > mostDecimals {
		return bad(errNumber.Error())
	}
	digits, err := strconv.ParseUint(whole+fraction, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return bad("too large")
	} else if err != nil {
		return bad(errNumber.Error())
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
	last := uint64(0)
	if factor > 1 || rest > 0 {
		last = (factor-1)/step + 1
	}
	return events.Bytes{Value: int64(value), Error: int64(last)}, shown, doubtful, nil
}

// splitNumber tells the decimals of a number from its thousands.
func splitNumber(number string, bytes bool, known separators) (whole, fraction string, shown separators, doubtful bool, err error) {
	at := strings.LastIndexAny(number, ".,")
	if at < 0 {
		return number, "", shown, false, nil
	}
	mark, other := number[at:at+1], ","
	if mark == "," {
		other = "."
	}
	byMark, byOther := separators{point: true}, separators{comma: true}
	if mark == "," {
		byMark, byOther = byOther, byMark
	}
	before, after := number[:at], number[at+1:]
	decimal, ok := true, true
	switch {
	case strings.Contains(number, other):
		shown = byMark
		whole, ok = ungrouped(before, other)
	case strings.Contains(before, mark):
		decimal, shown = false, byOther
	case len(after) != 3 || before == "" || len(before) > 3 || before[0] == '0':
		whole, shown = before, byMark
	case bytes && mark == ",":
		decimal = false
	default:
		doubtful, whole = true, before
		switch {
		case known == byOther:
			decimal = false
		case known == byMark || known == (separators{}) && mark == ".":
		default:
			return "", "", separators{}, true, errors.New("its separator may be that of decimals or of thousands")
		}
	}
	if !decimal {
		whole, ok = ungrouped(number, mark)
		after = ""
	} else if after == "" || whole == "" {
		ok = false
	}
	if !ok {
		return "", "", separators{}, doubtful, errNumber
	}
	return whole, after, shown, doubtful, nil
}

// ungrouped takes the marks of thousands out of "1,234,567".
func ungrouped(whole, mark string) (string, bool) {
	groups := strings.Split(whole, mark)
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
