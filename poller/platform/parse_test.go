package platform

import (
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/guestflow/guestflow/events"
)

// parseBytes reads a figure of an account of which nothing is known.
func parseBytes(s string, base int) (events.Bytes, error) {
	b, _, _, err := parseFigure(s, base, separators{})
	return b, err
}

// parseTime reads a time that names its zone.
func parseTime(s string) (time.Time, error) {
	m, err := parseMoment(s)
	if err == nil && m.local {
		return time.Time{}, fmt.Errorf("time %q: it has no zone", s)
	}
	return m.at, err
}

func TestBytesAreRead(t *testing.T) {
	for text, want := range map[string][2]events.Bytes{ // base 1000, base 1024
		"0 B": {}, "0": {}, "512 B": {{Value: 512}, {Value: 512}}, "1,023 B": {{Value: 1023}, {Value: 1023}},
		"7 bytes": {{Value: 7}, {Value: 7}}, "1 byte": {{Value: 1}, {Value: 1}}, "1.00 B": {{Value: 1}, {Value: 1}},
		"3.34 MB":        {{Value: 3_340_000, Error: 10000}, {Value: 3_502_244, Error: 10486}},
		"900.58 kB":      {{Value: 900_580, Error: 10}, {Value: 922_194, Error: 11}},
		"900.58kB":       {{Value: 900_580, Error: 10}, {Value: 922_194, Error: 11}},
		"  900.58  KB  ": {{Value: 900_580, Error: 10}, {Value: 922_194, Error: 11}},
		"900.58\u00a0kB": {{Value: 900_580, Error: 10}, {Value: 922_194, Error: 11}},
		"1 kB":           {{Value: 1000, Error: 1000}, {Value: 1024, Error: 1024}},
		"1.5 kB":         {{Value: 1500, Error: 100}, {Value: 1536, Error: 103}},
		"1.2345678 kB":   {{Value: 1235, Error: 1}, {Value: 1264, Error: 1}},
		"2.00 GB":        {{Value: 2e9, Error: 1e7}, {Value: 2 << 30, Error: 10737419}},
		"1,234.50 MB":    {{Value: 1_234_500_000, Error: 10000}, {Value: 1_294_467_072, Error: 10486}},
		"1.00 TB":        {{Value: 1e12, Error: 1e10}, {Value: 1 << 40, Error: 10995116278}},
		"999.99 PB":      {{Value: 999_990_000_000_000_000, Error: 1e13}, {Value: 1125888647843555574, Error: 11258999068427}},
		"1.00 KiB":       {{Value: 1024, Error: 11}, {Value: 1024, Error: 11}},
		"1.00 MiB":       {{Value: 1 << 20, Error: 10486}, {Value: 1 << 20, Error: 10486}},
		"1.00 GiB":       {{Value: 1 << 30, Error: 10737419}, {Value: 1 << 30, Error: 10737419}},
		"3,34 MB":        {{Value: 3_340_000, Error: 10000}, {Value: 3_502_244, Error: 10486}},
		"1.234,5 kB":     {{Value: 1_234_500, Error: 100}, {Value: 1_264_128, Error: 103}},
		"1.234 kB":       {{Value: 1234, Error: 1}, {Value: 1264, Error: 2}},
		"1.234.567 B":    {{Value: 1_234_567}, {Value: 1_234_567}},
		"0.00 kB":        {{Value: 0, Error: 10}, {Value: 0, Error: 11}},
	} {
		for i, base := range []int{1000, 1024} {
			if got, err := parseBytes(text, base); err != nil || got != want[i] {
				t.Errorf("%q, base %d: %+v %v, want %+v", text, base, got, err, want[i])
			}
		}
	}
	if _, err := parseBytes("1 kB", 10); err == nil || !strings.Contains(err.Error(), "use 1000 or 1024") {
		t.Error(err)
	}
	for _, text := range []string{
		"", " ", "B", "MB", "a lot", "-3 MB", "+3 MB", ".5 MB", ".", "1.2.3 MB", "1..2 MB", "3 XB", "3 k", "3 kBs", "3 M B", "3 Mb", "3 mb", "3 kb", "3 gib", "3 iB", "3 MGB",
		"1,234 kB", ",5 kB", "3, MB", "1,,234 kB", "1,234,56 kB", "1.234.5,6 kB", "12,34.5 kB", // of decimals or of thousands
		"NaN MB", "Inf MB", "1e3 MB", "0x10 MB", "1_000 B", "٣ MB", "9999999 PB", "99999999999999999999 B", "9223372036854775808 B",
		"3.34 MB 2 kB", "3.34 MB\x00", strings.Repeat("9", 100_000) + " B", "1." + strings.Repeat("3", 100_000) + " kB",
	} {
		for _, base := range []int{1000, 1024} {
			got, err := parseBytes(text, base)
			if err == nil || got != events.UnknownBytes || len(err.Error()) > 250 {
				t.Errorf("%.30q, base %d: %+v %.300v", text, base, got, err)
			}
		}
	}
}

var units = []string{"B", "kB", "MB", "GB", "TB", "PB", "KiB", "MiB", "GiB", "TiB"}

// sizeOfUnit is the law's own idea of a unit.
func sizeOfUnit(unit string, base int64) *big.Int {
	if strings.Contains(unit, "i") {
		base = 1024
	}
	return new(big.Int).Exp(big.NewInt(base), big.NewInt(int64(strings.IndexByte("BkMGTP", strings.ReplaceAll(unit, "K", "k")[0]))), nil)
}

// TestErrorBoundsTheTrueFigure: whatever was rounded to decimals of a unit, half up
// or half to even, or cut, lies within Error of Value.
func TestErrorBoundsTheTrueFigure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.SampledFrom([]int{1000, 1024}).Draw(t, "base")
		unit := rapid.SampledFrom(units).Draw(t, "unit")
		decimals := rapid.IntRange(0, 4).Draw(t, "decimals")
		size := sizeOfUnit(unit, int64(base))
		most := new(big.Int).Mul(size, big.NewInt(2000))
		truth := rapid.Int64Range(0, min(most.Int64(), math.MaxInt64/8)).Draw(t, "bytes")
		if !most.IsInt64() {
			truth = rapid.Int64Range(0, math.MaxInt64/8).Draw(t, "bytes")
		}
		if unit == "B" {
			decimals = 0
		}
		power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(decimals)), nil)
		written := new(big.Rat).SetFrac(big.NewInt(truth), size)
		if rapid.Bool().Draw(t, "cut") {
			steps := new(big.Int).Div(new(big.Int).Mul(big.NewInt(truth), power), size)
			written.SetFrac(steps, power)
		}
		text := written.FloatString(decimals) + " " + unit
		got, err := parseBytes(text, base)
		if err != nil {
			t.Fatalf("%d bytes as %s: %v", truth, text, err)
		}
		if d := truth - got.Value; d > got.Error || -d > got.Error {
			t.Fatalf("%d bytes as %s: %+v is %d off", truth, text, got, d)
		}
		// Nor is it wider than the cut needs, beyond a byte.
		step, _ := new(big.Rat).SetFrac(size, power).Float64()
		if unit != "B" && float64(got.Error) > step+1 || unit == "B" && got.Error != 0 {
			t.Fatalf("%s: error %d, a step is %v", text, got.Error, step)
		}
	})
}

func TestLargerFiguresAreNotRead(t *testing.T) {
	// At the edge of what is taken, exactly.
	if got, err := parseBytes(fmt.Sprint(int64(mostBytes), " B"), 1000); err != nil || got.Value != mostBytes {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := parseBytes(fmt.Sprint(int64(mostBytes)+1, " B"), 1000); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Error(err)
	}
}

func TestBytesAreMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.SampledFrom([]int{1000, 1024}).Draw(t, "base")
		unit := rapid.SampledFrom(units).Draw(t, "unit")
		cents := rapid.Int64Range(0, 99_999)
		a, b := cents.Draw(t, "a"), cents.Draw(t, "b")
		parse := func(n int64) int64 {
			got, err := parseBytes(fmt.Sprintf("%d.%02d %s", n/100, n%100, unit), base)
			if err != nil {
				t.Fatal(err)
			}
			return got.Value
		}
		if x, y := parse(a), parse(b); a < b && x > y || a > b && x < y || a == b && x != y {
			t.Fatalf("%d of %s: %d, %d: %d", a, unit, x, b, y)
		}
		if larger, err := parseBytes(fmt.Sprintf("%d.%02d %s", a/100, a%100, unit), 1024); err != nil || larger.Value < parse(a) {
			t.Fatalf("base 1024 gives %+v, base %d gives %d: %v", larger, base, parse(a), err)
		}
	})
}

func TestDurationsAreRead(t *testing.T) {
	for text, want := range map[string]int64{
		"00:00:00": 0, "00:09:05": 545, " 23:59:59 ": 86399, "24:00:00": 86400, "26:03:04": 93784,
		"100:00:01": 360001, "1:02:03": 3723,
		"1 day, 0:10:00": 87000, "1 day 00:10:00": 87000, "2 days, 1:02:03": 176523, "0 days 00:00:09": 9, "545": 545, "545.9": 545, "0": 0,
		"PT5M": 300, "PT0S": 0, "P1DT2H3M4S": 93784, "PT1H": 3600, "PT5.5S": 5, "P2W": 1209600, "2562047:47:16": math.MaxInt64 / int64(time.Second),
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: %d %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", ":", "::", "00:00", "1:2:3", "00:60:00", "00:00:60", "00:00:000", "-1:00:00", "+1:00:00", "00:+1:00", "00:-1:00",
		"1 day", "1 day, 24:00:00", "-1 day, 23:59:59", "1 week 0:10:00", "1 day, ", "P", "PT", "P1DT", "PT5", "P5M", "PTM", "PT1S2M", "P1Y", "PT-5M", "545s", "5.", "-5", "+5", "1e3", "00:09", "00:00:00:00", "00:00:0a", "1_0:00:00", "٠٠:٠٠:٠٠", "0x1:00:00", "2562047:47:17", "2147483647:59:59", "2147483648:00:00", "99999999999999999999:00:00",
		"00: 1:00", strings.Repeat(":", 1_000_000),
	} {
		if got, err := ParseDuration(text); err == nil || got != 0 || len(err.Error()) > 250 {
			t.Errorf("%.30q: %d %.300v", text, got, err)
		}
	}
}

func TestDurationsSurviveTheWay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.Int64Range(0, math.MaxInt32).Draw(t, "seconds")
		text := fmt.Sprintf("%02d:%02d:%02d", want/3600, want/60%60, want%60)
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Fatalf("%s: %d %v, want %d", text, got, err, want)
		}
	})
}

func TestTimesAreRead(t *testing.T) {
	at := time.Date(2026, 3, 1, 20, 30, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2026-03-01T20:30:00Z": at, "2026-03-01T20:30:00+00:00": at, "2026-03-01T20:30:00-00:00": at,
		" 2026-03-01T23:30:00+03:00 ": at, "2026-03-02T02:15:00+05:45": at, "2026-03-01T08:30:00-12:00": at,
		"2026-03-01T20:30:00+0000": at, "2026-03-01 23:30:00+03": at, "2026-03-01 20:30:00 UTC": at, "2026-03-01T20:30:00+00": at,
		"2026-03-01T20:30:00.25Z": at.Add(250 * time.Millisecond),
		"2000-01-01T00:00:00Z":    earliest, "2199-12-31T23:59:59Z": latest.Add(-time.Second), "2200-01-01T00:30:00+01:00": latest.Add(-30 * time.Minute),
	} {
		if got, err := parseTime(text); err != nil || !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("%q: %v %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "yesterday", "2026-03-01", "2026-03-01 20:30:00", "2026-03-01T20:30:00", "2026-03-01T20:30:00+", "2026-03-01T20:30:00 +000", "2026-03-01T20:30:00+2500", "2026-03-01T20:30:00 EET", "2026-02-30T00:00:00Z", "2026-03-01T24:00:00Z",
		"0000-00-00T00:00:00Z", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1999-12-31T23:59:59Z", "2200-01-01T00:00:00Z",
		"9999-12-31T23:59:59Z", "2026-03-01T20:30:00+3", "1772397000", strings.Repeat("2026", 100_000),
	} {
		if got, err := parseTime(text); err == nil || !got.IsZero() || len(err.Error()) > 250 {
			t.Errorf("%.30q: %v %.300v", text, got, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		want := time.Unix(rapid.Int64Range(earliest.Unix(), latest.Unix()-1).Draw(t, "time"), 0)
		zone := time.FixedZone("", 60*rapid.IntRange(-14*60, 14*60).Draw(t, "minutes east"))
		text := want.In(zone).Format(time.RFC3339)
		if got, err := parseTime(text); err != nil || !got.Equal(want) {
			t.Fatalf("%s: %v %v", text, got, err)
		}
	})
}

func TestAddressesHaveOneForm(t *testing.T) {
	const mac = "14:2d:27:0a:40:2b"
	for _, text := range []string{
		mac, "14:2D:27:0A:40:2B", "14-2d-27-0a-40-2b", "14-2D-27-0A-40-2B", "142d.270a.402b", "142D270A402B", " 14:2d:27:0a:40:2b ", "14 2d 27 0a 40 2b",
	} {
		if got := canonicalMAC(text); got != mac {
			t.Errorf("%q: %q", text, got)
		}
	}
	for _, text := range []string{"", "n/a", "14:2d:27:0a:40", "14:2d:27:0a:40:2b:00", "zz:2d:27:0a:40:2b", "14:2d:27:0a:40:2g", "3f9a0c"} {
		if got := canonicalMAC(text); got != text {
			t.Errorf("%q: %q", text, got)
		}
	}
	for text, want := range map[string]string{
		"10.0.0.1": "10.0.0.1", " 10.0.0.1 ": "10.0.0.1", "::ffff:10.0.0.1": "10.0.0.1", "::FFFF:0a00:0001": "10.0.0.1",
		"2001:DB8:0:0::1": "2001:db8::1", "": "", "unknown": "unknown", "10.0.0.01": "10.0.0.01", "10.0.0.1/24": "10.0.0.1/24",
	} {
		if got := canonicalIP(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		any := rapid.OneOf(rapid.String(), rapid.StringMatching(`[0-9a-fA-F:. -]{10,20}`)).Draw(t, "text")
		if m := canonicalMAC(any); canonicalMAC(m) != m {
			t.Fatalf("MAC %q becomes %q, then %q", any, m, canonicalMAC(m))
		}
		if ip := canonicalIP(any); canonicalIP(ip) != ip {
			t.Fatalf("IP %q becomes %q, then %q", any, ip, canonicalIP(ip))
		}
		b := rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(t, "mac")
		want := fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5])
		for _, form := range []string{"%02X:%02X:%02X:%02X:%02X:%02X", "%02x-%02x-%02X-%02x-%02x-%02X", "%02x%02x.%02x%02x.%02x%02x", "%02x%02X%02x%02x%02x%02x"} {
			if got := canonicalMAC(fmt.Sprintf(form, b[0], b[1], b[2], b[3], b[4], b[5])); got != want {
				t.Fatalf("%s: %s, want %s", form, got, want)
			}
		}
		v4 := netip.AddrFrom4([4]byte(b[:4]))
		if got := canonicalIP("::ffff:" + v4.String()); got != v4.String() {
			t.Fatalf("%s: %s", v4, got)
		}
	})
}
