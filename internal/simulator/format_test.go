package simulator

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSizesHaveTwoDecimals(t *testing.T) {
	for _, tc := range []struct {
		v, base int64
		want    string
		value   int64
		err     int64
	}{
		{0, 1000, "0.00 B", 0, 0},
		{999, 1000, "999.00 B", 999, 0},
		{1000, 1000, "1.00 kB", 1000, 10},
		{900_580, 1000, "900.58 kB", 900_580, 10},
		{3_339_999, 1000, "3.34 MB", 3_340_000, 10_000},
		{999_996, 1000, "1000.00 kB", 1_000_000, 10},
		{12_345_678_901, 1000, "12.35 GB", 12_350_000_000, 10_000_000},
		{1024, 1024, "1.00 kB", 1024, 11},
		{1536, 1024, "1.50 kB", 1536, 11},
		{1023, 1024, "1023.00 B", 1023, 0},
		{math.MaxInt64, 1000, "9223.37 PB", 9_223_370_000_000_000_000, 10_000_000_000_000},
	} {
		if got := string(formatBytes(nil, tc.v, tc.base)); got != tc.want {
			t.Errorf("%d: %q, want %q", tc.v, got, tc.want)
		}
		if b := round(tc.v, tc.base); b.Value != tc.value || b.Error != tc.err {
			t.Errorf("%d: %+v, want %d ± %d", tc.v, b, tc.value, tc.err)
		}
	}
}

func TestRoundingKeepsTheTruthWithinItsError(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Int64Range(0, 1<<50).Draw(t, "v")
		base := rapid.SampledFrom([]int64{1000, 1024}).Draw(t, "base")
		b := round(v, base)
		if v < b.Value-b.Error || v > b.Value+b.Error {
			t.Fatalf("%d shows as %+v", v, b)
		}
		text, unit, _ := strings.Cut(string(formatBytes(nil, v, base)), " ")
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range units {
			if u == unit {
				break
			}
			f *= float64(base)
		}
		if math.Abs(f-float64(b.Value)) > 1 {
			t.Fatalf("%q reads as %f, not %d", text, f, b.Value)
		}
	})
}

func TestDurationsPassADay(t *testing.T) {
	for seconds, want := range map[int64]string{0: "00:00:00", 545: "00:09:05", 86399: "23:59:59", 90061: "25:01:01", 360000: "100:00:00"} {
		if got := string(formatDuration(nil, seconds)); got != want {
			t.Errorf("%d s: %q, want %q", seconds, got, want)
		}
	}
}

func TestStringsAreJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		b := appendString(nil, s)
		var back string
		if err := json.Unmarshal(b, &back); err != nil || back != s {
			t.Fatalf("%q: %s: %v", s, b, err)
		}
		for _, c := range b {
			if c >= 0x80 {
				t.Fatalf("%s is not ASCII", b)
			}
		}
	})
}
