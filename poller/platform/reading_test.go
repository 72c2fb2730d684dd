package platform

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

// answered is what a client reads from an answer with a Date.
func answered(t testing.TB, body string, at time.Time, edit func(*Config), q Query) Page {
	t.Helper()
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", at.UTC().Format(http.TimeFormat))
		fmt.Fprint(w, body)
	})
	page, err := client(t, base, edit).Sessions(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func listOf(records ...string) string { return `{"data":[` + strings.Join(records, ",") + `]}` }

func recordOf(id, fields string) string {
	return fmt.Sprintf(`{"id":%q,"location_id":"l"%s}`, id, fields)
}

func TestFiguresAreReadWithTheAccountsSeparator(t *testing.T) {
	kilo := func(n int64) events.Bytes { return events.Bytes{Value: n} }
	for _, c := range []struct {
		figure string
		beside string // another figure of the page
		want   events.Bytes
	}{
		{"3,34 MB", "", kilo(3_340_000)}, {"1.234,5 kB", "", kilo(1_234_500)}, {"1,234.5 kB", "", kilo(1_234_500)},
		{"1,234 kB", "", events.UnknownBytes},
		{"1,234 kB", "3.34 MB", kilo(1_234_000)}, {"1,234 kB", "3,34 MB", kilo(1234)},
		{"1.234 kB", "3.34 MB", kilo(1234)}, {"1.234 kB", "3,34 MB", kilo(1_234_000)}, {"1.234 kB", "", kilo(1234)},
		{"1.234.567 B", "", kilo(1_234_567)}, {"0,512 MB", "", kilo(512_000)}, {"1234,567 kB", "", kilo(1_234_567)},
	} {
		records := []string{recordOf("a", fmt.Sprintf(`,"downloaded_data":%q`, c.figure))}
		if c.beside != "" {
			records = append(records, recordOf("b", fmt.Sprintf(`,"uploaded_data":%q`, c.beside)))
		}
		got := decode(t, listOf(records...), Query{}).Sessions[0].Downloaded
		if got.Value != c.want.Value || got.Known() != c.want.Known() {
			t.Errorf("%s beside %q: %+v, want %d", c.figure, c.beside, got, c.want.Value)
		}
	}
	mixed := decode(t, listOf(recordOf("a", `,"downloaded_data":"1.234 kB","uploaded_data":"3,34 MB"`), recordOf("b", `,"downloaded_data":"3.34 MB"`)), Query{})
	if mixed.Sessions[0].Downloaded.Known() {
		t.Errorf("both separators are those of decimals: %+v", mixed.Sessions[0].Downloaded)
	}
}

// TestFiguresAreReadByEarlierPages: what one page shows holds for the next.
func TestFiguresAreReadByEarlierPages(t *testing.T) {
	c := client(t, "https://api.example.com", nil)
	for _, step := range []struct {
		figure string
		want   int64
	}{{"3,34 MB", 3_340_000}, {"1,234 kB", 1234}, {"1.234 kB", 1_234_000}} {
		page, err := c.DecodePage([]byte(listOf(recordOf("a", fmt.Sprintf(`,"downloaded_data":%q`, step.figure)))), Query{})
		if err != nil || page.Sessions[0].Downloaded.Value != step.want {
			t.Errorf("%s: %+v %v", step.figure, page.Sessions, err)
		}
	}
}

func TestUnreadableFiguresAreUnknown(t *testing.T) {
	for _, value := range []string{`null`, `""`, `"-"`, `"n/a"`, `"--"`, `{}`, `"a lot"`} {
		s := one(t, `,"downloaded_data":`+value+`,"uploaded_data":`+value+`,"total_duration":`+value, Query{})
		if s.Downloaded.Known() || s.Uploaded.Known() || s.DurationSeconds >= 0 {
			t.Errorf("%s: %+v", value, s)
		}
	}
}

func TestCutFiguresLieWithinTheirError(t *testing.T) {
	// 3,349,999 bytes, cut to two decimals.
	s := one(t, `,"downloaded_data":"3.34 MB"`, Query{})
	if off := 3_349_999 - s.Downloaded.Value; off > s.Downloaded.Error {
		t.Errorf("%+v is off by %d", s.Downloaded, off)
	}
}

// TestWrappedDurationsAreUnwrapped: 25 h 25 min 35 s, written modulo 24 hours.
func TestWrappedDurationsAreUnwrapped(t *testing.T) {
	const start, end = `,"start_time":"2026-05-05T10:00:00Z"`, `,"end_time":"2026-05-06T11:25:35Z"`
	const offline, on = `,"connection_status_value":0`, `,"connection_status_value":1`
	ended := time.Date(2026, 5, 6, 11, 25, 35, 0, time.UTC)
	for _, c := range []struct {
		name, fields string
		want         int64
	}{
		{"ended", start + end + offline + `,"total_duration":"01:25:35"`, 91535},
		{"ended, a few seconds apart", start + end + offline + `,"total_duration":"01:25:30"`, 91530},
		{"ended, of several stretches", start + end + offline + `,"total_duration":"04:00:00"`, 14400},
		{"ended, agrees", start + end + offline + `,"total_duration":"25:25:35"`, 91535},
		{"online", start + on + `,"total_duration":"01:25:35"`, 91535},
		{"online, came back", start + on + `,"total_duration":"00:10:00"`, 600},
		{"no start", end + offline + `,"total_duration":"01:25:35"`, 5135},
		{"minutes", `,"start_time":"2026-05-06T11:16:30Z"` + end + offline + `,"total_duration":"09:05"`, 545},
		{"hours", `,"start_time":"2026-05-06T02:20:35Z"` + end + offline + `,"total_duration":"09:05"`, 32700},
		{"minutes or hours", end + offline + `,"total_duration":"09:05"`, events.UnknownSeconds},
		{"nothing either way", end + offline + `,"total_duration":"00:00"`, 0},
		{"seconds", `,"total_duration":545`, 545}, {"seconds as text", `,"total_duration":"545"`, 545},
	} {
		page := answered(t, listOf(recordOf("a", c.fields)), ended, nil, Query{})
		if got := page.Sessions[0].DurationSeconds; got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	// Where one duration passes a day, none is modulo a day.
	page := answered(t, listOf(
		recordOf("a", start+end+offline+`,"total_duration":"01:25:35"`), recordOf("b", `,"total_duration":"31:00:00"`),
	), ended, nil, Query{})
	if got := page.Sessions[0].DurationSeconds; got != 5135 {
		t.Errorf("a platform whose hours pass 24: %d", got)
	}
}

func TestOtherFormsOfATimeAreRead(t *testing.T) {
	want := time.Date(2026, 3, 1, 20, 30, 0, 0, time.UTC)
	for _, text := range []string{
		"2026-03-01T20:30:00+0000", "2026-03-01 20:30:00+00:00", "2026-03-01T23:30:00+0300", "2026-03-01 20:30:00Z",
		"2026-03-01 20:30:00 +0000", "2026-03-01 20:30:00 UTC", "2026-03-01T15:30:00-05", "2026-03-01T20:30:00.000+0000",
	} {
		s := one(t, fmt.Sprintf(`,"start_time":%q,"end_time":%q,"connection_status_value":0`, text, text), Query{})
		if !s.StartedAt.Equal(want) || !s.EndedAt.Equal(want) {
			t.Errorf("%s: %v %v", text, s.StartedAt, s.EndedAt)
		}
	}
}

// TestNullDatesAreNoEnd: each of the ways in which a platform writes none.
func TestNullDatesAreNoEnd(t *testing.T) {
	now := time.Date(2026, 5, 6, 12, 0, 0, 0, time.UTC)
	for _, end := range []string{
		`null`, `""`, `"0000-00-00 00:00:00"`, `"0000-00-00T00:00:00+00:00"`, `"-0001-11-30T00:00:00+00:00"`, `"-0001-11-30 00:00:00"`,
		`"1970-01-01T00:00:00+00:00"`, `"1970-01-01 00:00:00"`, `"1970-01-01T03:00:00+03:00"`, `"0001-01-01T00:00:00Z"`,
		`"2026-05-06T12:00:00+00:00"`, `"2026-05-06 12:00:00"`,
	} {
		page := answered(t, listOf(recordOf("a", `,"connection_status_value":1,"end_time":`+end)), now, func(c *Config) { c.TimeZone = time.UTC }, Query{})
		s := page.Sessions[0]
		if !s.Online || !s.EndedAt.IsZero() || len(page.Unread) != 0 {
			t.Errorf("%s: %+v %+v", end, s, page.Unread)
		}
		if strings.Contains(end, "2026") {
			continue // an end, without a word of being online
		}
		if s := one(t, `,"end_time":`+end, Query{}); !s.Online || !s.EndedAt.IsZero() {
			t.Errorf("%s, status unknown: %+v", end, s)
		}
	}
}

func TestTimesWithoutZone(t *testing.T) {
	now := time.Date(2026, 5, 6, 12, 0, 0, 0, time.UTC)
	// of an online session: the time of day at which it began, and its duration
	session := func(id, wall, duration string) string {
		return recordOf(id, fmt.Sprintf(`,"connection_status_value":1,"start_time":"2026-05-06 %s","total_duration":%q`, wall, duration))
	}
	three := listOf(session("a", "14:59:00", "00:01:00"), session("b", "14:00:10", "00:59:30"), session("c", "10:00:00", "05:00:00"))
	istanbul, err := time.LoadLocation("Europe/Istanbul")
	if err != nil {
		t.Fatal(err)
	}
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, body string
		configured *time.Location
		want       string // start of the first, UTC
		zone       string
	}{
		{"nothing known", listOf(session("a", "14:59:00", "00:01:00")), nil, "", ""},
		{"shown by three", three, nil, "11:59:00", "+03:00, as the answers' dates show"},
		{"configured", listOf(session("a", "14:59:00", "00:01:00")), istanbul, "11:59:00", "Europe/Istanbul, as configured"},
		{"shown and configured", three, istanbul, "11:59:00", "Europe/Istanbul, as configured"},
		{"configured, but another is shown", three, london, "11:59:00", "+03:00, as the answers' dates show; GUESTFLOW_API_TIME_ZONE=Europe/London contradicts"},
		{"sessions that came back show nothing", listOf(session("a", "14:59:00", "00:01:00"), session("b", "09:00:10", "00:07:31"), session("c", "10:00:00", "00:01:00")), nil, "", ""},
	} {
		page := answered(t, c.body, now, func(cfg *Config) { cfg.TimeZone = c.configured }, Query{})
		got := page.Sessions[0].StartedAt
		if want, _ := time.Parse(time.DateTime, "2026-05-06 "+c.want); c.want != "" && !got.Equal(want) || c.want == "" && !got.IsZero() {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
		if page.Zone != c.zone {
			t.Errorf("%s: zone %q, want %q", c.name, page.Zone, c.zone)
		}
		if (len(page.Unread) > 0) != (c.want == "") {
			t.Errorf("%s: %+v", c.name, page.Unread)
		}
	}
}
