package simulator

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/guestflow/guestflow/events"
)

// TestOddRecords holds the odd ways of writing a field against the plain one.
func TestOddRecords(t *testing.T) {
	records := func(edit func(*Config)) []map[string]any {
		cfg := small()
		edit(&cfg)
		return getPage(t, New(cfg, newClock().now), "/sessions?per_page=100").Data
	}
	plain := records(func(*Config) {})
	west := time.FixedZone("", -8*3600)
	local := func(v any) any {
		at, err := time.Parse(time.RFC3339, v.(string))
		if err != nil {
			t.Fatal(err)
		}
		return at.In(west).Format(time.DateTime)
	}
	offline := func(r map[string]any, then, otherwise any) any {
		if r["connection_status_value"] == 0.0 {
			return then
		}
		return otherwise
	}
	for name, tc := range map[string]struct {
		edit func(*Config)
		want map[string]func(r map[string]any) any // of the plain record
	}{
		"nothing": {func(*Config) {}, nil},
		"zoneless": {func(cfg *Config) { cfg.Zoneless, cfg.DayZone = true, west }, map[string]func(map[string]any) any{
			"start_time": func(r map[string]any) any { return local(r["start_time"]) },
			"end_time": func(r map[string]any) any {
				if r["end_time"] == nil {
					return nil
				}
				return local(r["end_time"])
			},
		}},
		"end empty": {func(cfg *Config) { cfg.NullDate = NullDateEmpty }, map[string]func(map[string]any) any{
			"end_time":           func(r map[string]any) any { return offline(r, r["end_time"], "") },
			"end_time_formatted": func(r map[string]any) any { return offline(r, r["end_time_formatted"], "") },
		}},
		"end zeros": {func(cfg *Config) { cfg.NullDate = NullDateZeros }, map[string]func(map[string]any) any{
			"end_time":           func(r map[string]any) any { return offline(r, r["end_time"], "0000-00-00 00:00:00") },
			"end_time_formatted": func(r map[string]any) any { return offline(r, r["end_time_formatted"], "-0001-11-30 12:00 AM") },
		}},
		"end carbon": {func(cfg *Config) { cfg.NullDate = NullDateCarbon }, map[string]func(map[string]any) any{
			"end_time":           func(r map[string]any) any { return offline(r, r["end_time"], "-0001-11-30T00:00:00+00:00") },
			"end_time_formatted": func(r map[string]any) any { return offline(r, r["end_time_formatted"], "-0001-11-30 12:00 AM") },
		}},
		"end epoch": {func(cfg *Config) { cfg.NullDate = NullDateEpoch }, map[string]func(map[string]any) any{
			"end_time":           func(r map[string]any) any { return offline(r, r["end_time"], "1970-01-01T00:00:00+00:00") },
			"end_time_formatted": func(r map[string]any) any { return offline(r, r["end_time_formatted"], "1970-01-01 3:00 AM") },
		}},
		"end now": {func(cfg *Config) { cfg.NullDate = NullDateNow }, map[string]func(map[string]any) any{
			"end_time":           func(r map[string]any) any { return offline(r, r["end_time"], noon.Format(rfc3339)) },
			"end_time_formatted": func(r map[string]any) any { return offline(r, r["end_time_formatted"], "2026-03-02 3:00 PM") },
		}},
		"comma": {func(cfg *Config) { cfg.DecimalComma = true }, map[string]func(map[string]any) any{
			"downloaded_data": func(r map[string]any) any { return strings.ReplaceAll(r["downloaded_data"].(string), ".", ",") },
			"uploaded_data":   func(r map[string]any) any { return strings.ReplaceAll(r["uploaded_data"].(string), ".", ",") },
		}},
		"no location": {func(cfg *Config) { cfg.Unreadable = []Unreadable{{Field: "location_id", Share: 1}} }, map[string]func(map[string]any) any{
			"location_id": func(map[string]any) any { return nil },
		}},
		"no id": {func(cfg *Config) { cfg.Unreadable = []Unreadable{{Field: "id", Share: 1}} }, map[string]func(map[string]any) any{
			"id": func(map[string]any) any { return nil },
		}},
	} {
		t.Run(name, func(t *testing.T) {
			odd := records(tc.edit)
			if len(odd) != len(plain) || len(plain) < 50 {
				t.Fatalf("%d records, want %d", len(odd), len(plain))
			}
			for i, r := range plain {
				for field, v := range r {
					want := v
					if f := tc.want[field]; f != nil {
						want = f(r)
					}
					if odd[i][field] != want {
						t.Fatalf("%s is %v, want %v; plain %v", field, odd[i][field], want, v)
					}
				}
			}
		})
	}
}

func TestDurationsWrap(t *testing.T) {
	cfg := estate(even(1, 60))
	cfg.Stay = Stay{Mean: 40 * time.Hour, Sigma: 1}
	plain := New(cfg, newClock().now)
	cfg.DurationWraps = true
	wraps := New(cfg, newClock().now)
	long := 0
	records, _ := wraps.List(Query{Online: Online, PerPage: 100})
	page := getPage(t, wraps, "/sessions?online=true&per_page=100").Data
	whole, _ := plain.List(Query{Online: Online, PerPage: 100})
	for i, r := range whole {
		want := r.DurationSeconds % 86400
		if r.DurationSeconds != want {
			long++
		}
		if records[i].DurationSeconds != want || page[i]["total_duration"] != string(formatDuration(nil, want)) {
			t.Errorf("%d s show as %d and %v", r.DurationSeconds, records[i].DurationSeconds, page[i]["total_duration"])
		}
	}
	if long < 10 {
		t.Errorf("only %d sessions are longer than a day", long)
	}
}

func TestCutFiguresAreNotRounded(t *testing.T) {
	for _, tc := range []struct {
		v, base int64
		want    string
		value   int64
		err     int64
	}{
		{999, 1000, "999.00 B", 999, 0},
		{3_339_999, 1000, "3.33 MB", 3_330_000, 10_000},
		{3_340_000, 1000, "3.34 MB", 3_340_000, 10_000},
		{999_996, 1000, "999.99 kB", 999_990, 10},
		{1535, 1024, "1.49 kB", 1526, 11},
		{1536, 1024, "1.50 kB", 1536, 11},
	} {
		cfg := Config{ByteBase: tc.base, CutFigures: true}
		if got := string(cfg.appendBytes(nil, tc.v)); got != tc.want {
			t.Errorf("%d: %q, want %q", tc.v, got, tc.want)
		}
		if b := cfg.readBytes(tc.v); b.Value != tc.value || b.Error != tc.err {
			t.Errorf("%d: %+v, want %d ± %d", tc.v, b, tc.value, tc.err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Int64Range(0, 1<<50).Draw(t, "v")
		cfg := Config{ByteBase: rapid.SampledFrom([]int64{1000, 1024}).Draw(t, "base"), CutFigures: true}
		// In base 1024 the value that is read is a whole number of bytes, which the
		// last digit is not.
		if b := cfg.readBytes(v); v < b.Value-1 || v > b.Value+b.Error {
			t.Fatalf("%d shows as %+v", v, b)
		}
	})
}

// TestCheckerAcceptsCutFigures: a reader that knows of the cut is right to within
// a whole last digit.
func TestCheckerAcceptsCutFigures(t *testing.T) {
	c, cfg := newClock(), small()
	cfg.CutFigures = true
	var r Recorder
	cfg.Truth = r.Record
	stream := observe(New(cfg, c.now), c, 100, 5*time.Second)
	if report := (Checker{}).Check(r.All(), stream); !report.OK() {
		t.Error(report)
	}
}

// TestTodayIsEmptyForHours: the day is over late in a zone west of UTC.
func TestTodayIsEmptyForHours(t *testing.T) {
	cfg := small()
	cfg.DayZone, cfg.ExclusiveDates = time.FixedZone("", -8*3600), true
	c := newClock()
	s := New(cfg, c.now)
	today := func() int { return s.Count(Query{StartDay: c.now()}) }
	for range 12 {
		if n := today(); n != 0 {
			t.Fatalf("%d started after today at %v", n, c.now())
		}
		c.add(time.Hour)
	}
	yesterday := func() int { return s.Count(Query{StartDay: c.now().AddDate(0, 0, -1)}) }
	c.add(7*time.Hour + 59*time.Minute)
	if n := yesterday(); n != 0 {
		t.Errorf("%d started after yesterday at %v", n, c.now())
	}
	c.add(31 * time.Minute)
	s.Advance()
	all := 0
	for _, x := range s.everything() {
		if !x.rec.StartedAt.Before(noon.Add(20 * time.Hour)) {
			all++
		}
	}
	if n := yesterday(); n != all || n == 0 {
		t.Errorf("%d started after yesterday at %v, want %d", n, c.now(), all)
	}
}

// TestDaysAreOfTheZone: inclusive days, and both filters.
func TestDaysAreOfTheZone(t *testing.T) {
	zone := time.FixedZone("", 9*3600)
	cfg := small()
	cfg.DayZone = zone
	c := newClock()
	s := New(cfg, c.now)
	c.add(5 * time.Hour) // 02:00 of the third, in the zone
	s.Advance()
	third := time.Date(2026, 3, 3, 0, 0, 0, 0, time.UTC)
	begun, ended := 0, 0
	midnight := time.Date(2026, 3, 3, 0, 0, 0, 0, zone)
	for _, x := range s.everything() {
		if !x.rec.StartedAt.Before(midnight) {
			begun++
		}
		if !x.online && x.rec.EndedAt.Before(midnight) {
			ended++
		}
	}
	if n := s.Count(Query{StartDay: third}); n != begun || n == 0 {
		t.Errorf("%d started on the third, want %d", n, begun)
	}
	if n := s.Count(Query{EndDay: third.AddDate(0, 0, -1)}); n != ended || n == 0 {
		t.Errorf("%d ended by the second, want %d", n, ended)
	}
}

func TestUnreadableRecordsStaySo(t *testing.T) {
	cfg := small()
	cfg.Unreadable = []Unreadable{{Field: "location_id", First: 3}, {Field: "id", Share: 0.1}}
	var served []Truth
	cfg.Truth = func(x Truth) {
		if x.Kind == TruthServed {
			served = append(served, x)
		}
	}
	c := newClock()
	s := New(cfg, c.now)
	was := map[uint64]hidden{}
	location, id := 0, 0
	for range 60 {
		served = nil
		q := Query{Online: Online, PerPage: 100}
		s.Advance()
		page, _, _ := s.page(q)
		sessions := slices.Clone(page)
		records, _ := s.List(q)
		for i, x := range sessions {
			r := records[i]
			if h, ok := was[x.num]; ok && h != x.hidden {
				t.Fatalf("%s was %+v and is %+v", x.rec.ID, h, x.hidden)
			} else if !ok {
				was[x.num] = x.hidden
				if x.hidden.location {
					location++
				}
				if x.hidden.id {
					id++
				}
			}
			if (r.ID == "") != x.hidden.id || (r.LocationID == "") != x.hidden.location || r.DeviceMAC == "" {
				t.Fatalf("%+v shows as %+v", x.hidden, r)
			}
			if x.hidden.any() == slices.Contains(served[0].Online, x.rec.ID) {
				t.Errorf("%+v, and served: %t", x.hidden, !x.hidden.any())
			}
		}
		c.add(time.Minute)
	}
	if location != 3 || id < len(was)/20 || id > len(was)/5 {
		t.Errorf("of %d, %d without location and %d without id", len(was), location, id)
	}
}

func TestOdditiesParse(t *testing.T) {
	for n := NullDateNull; n <= NullDateNow; n++ {
		if got, err := ParseNullDate(n.String()); err != nil || got != n {
			t.Errorf("%v: %v %v", n, got, err)
		}
	}
	if _, err := ParseNullDate("never"); err == nil || !strings.Contains(err.Error(), "carbon") {
		t.Errorf("%v", err)
	}
	for text, want := range map[string]Unreadable{
		"location": {Field: "location_id", First: 1}, "id": {Field: "id", First: 1},
		"location:5": {Field: "location_id", First: 5}, "id:2.5%": {Field: "id", Share: 0.025},
	} {
		if got, err := ParseUnreadable(text); err != nil || got != want {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
	for i, text := range []string{"", "guest", "id:", "id:0", "id:-1", "id:x", "id:0%", "id:101%", "id:NaN%"} {
		if got, err := ParseUnreadable(text); err == nil || !strings.Contains(err.Error(), strconv.Quote(text)) {
			t.Errorf("%d, %s: %+v %v", i, text, got, err)
		}
	}
	cfg := small()
	cfg.NullDate, cfg.Unreadable = 9, []Unreadable{{Field: "guest_id", First: 1}}
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "NullDate") || !strings.Contains(err.Error(), "Unreadable[0]") {
		t.Errorf("%v", err)
	}
}

// TestReplicaShowsWhatWas: each list is the platform's, now or so long ago.
func TestReplicaShowsWhatWas(t *testing.T) {
	const lag = 10 * time.Second
	cfg := small()
	cfg.Speed = 30
	c := newClock()
	plain := New(cfg, c.now)
	cfg.ReplicaLag = lag
	s := New(cfg, c.now)
	q := Query{Online: Online, PerPage: 100}
	var was [][]events.Session
	now, before := 0, 0
	for i := range 200 {
		is, _ := plain.List(q)
		was = append(was, is)
		got, _ := s.List(q)
		switch old := was[max(0, i-10)]; {
		case reflect.DeepEqual(got, is):
			now++
		case reflect.DeepEqual(got, old):
			before++
		default:
			t.Fatalf("second %d: the list is neither that of now nor that of %v ago", i, lag)
		}
		c.add(time.Second)
	}
	if now < 50 || before < 50 {
		t.Errorf("%d lists of now, %d of before", now, before)
	}
}
