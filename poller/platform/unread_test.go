package platform

import (
	"bytes"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

func TestSkippedRecordsKeepWhatCanBeRead(t *testing.T) {
	const rest = `"guest_id":"g","yas_id":"y","guest_device_mac":"02-00-5E-10-00-7F","start_time":"2026-03-01T20:30:00Z"`
	start := time.Date(2026, 3, 1, 20, 30, 0, 0, time.UTC)
	all := Skip{GuestID: "g", YasID: "y", DeviceMAC: "02:00:5e:10:00:7f", StartedAt: start}
	for record, want := range map[string]Skip{
		`{"id":null,"location_id":"l",` + rest + `}`:                                   Skip{LocationID: "l", Field: "id", Reason: "id empty"},
		`{"id":"a","location_id":null,` + rest + `}`:                                   Skip{ID: "a", Field: "location_id", Reason: "location_id empty"},
		`{"id":"` + strings.Repeat("x", maxID+1) + `","location_id":"l",` + rest + `}`: Skip{LocationID: "l", Field: "id", Reason: "id longer than 256 bytes"},
	} {
		want.GuestID, want.YasID, want.DeviceMAC, want.StartedAt = all.GuestID, all.YasID, all.DeviceMAC, all.StartedAt
		if page := decode(t, listOf(record), Query{}); len(page.Skipped) != 1 || page.Skipped[0] != want {
			t.Errorf("%.60s: %+v, want %+v", record, page.Skipped, want)
		}
	}
	if page := decode(t, listOf(`null`), Query{}); page.Skipped[0] != (Skip{Field: "record", Reason: "not an object"}) {
		t.Errorf("%+v", page.Skipped)
	}
	hidden := client(t, "https://api.example.com", func(c *Config) { c.Privacy = Privacy{MAC: Hash, Key: "sixteen or more!"} })
	page, err := hidden.DecodePage([]byte(listOf(`{"location_id":"l",`+rest+`}`, recordOf("a", `,"guest_device_mac":"02:00:5e:10:00:7f"`))), Query{})
	if err != nil || page.Skipped[0].DeviceMAC != page.Sessions[0].DeviceMAC || strings.Contains(page.Skipped[0].DeviceMAC, ":") {
		t.Errorf("pseudonyms differ: %+v %v", page, err)
	}
}

func TestSkippedRecordHidesAsLittleAsPossible(t *testing.T) {
	start := time.Date(2026, 3, 1, 20, 30, 0, 0, time.UTC)
	session := events.Session{ID: "s", GuestID: "g", DeviceMAC: "m", StartedAt: start}
	for _, c := range []struct {
		name    string
		skip    Skip
		session events.Session
		want    bool
	}{
		{"its id", Skip{ID: "s", GuestID: "other"}, session, true},
		{"another id, all else the same", Skip{ID: "t", GuestID: "g", DeviceMAC: "m", StartedAt: start}, session, false},
		{"the same guest", Skip{GuestID: "g", DeviceMAC: "n", StartedAt: start.Add(1)}, session, true},
		{"the same device", Skip{GuestID: "h", DeviceMAC: "m"}, session, true},
		{"the same start", Skip{GuestID: "h", StartedAt: start}, session, true},
		{"nothing the same", Skip{GuestID: "h", DeviceMAC: "n", StartedAt: start.Add(time.Second)}, session, false},
		{"nothing but another guest known", Skip{GuestID: "h"}, session, false},
		{"nothing known of the record", Skip{}, session, true},
		{"nothing known of both", Skip{GuestID: "g"}, events.Session{ID: "s", DeviceMAC: "m"}, true},
	} {
		if got := c.skip.MayHide(&c.session); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

func TestUnreadableFieldsAreCountedByName(t *testing.T) {
	page := decode(t, listOf(
		recordOf("a", `,"downloaded_data":"-","uploaded_data":null,"total_duration":"soon","start_time":"yesterday","end_time":"later","connection_status_value":"?","connection_status":"Çevrimiçi"`),
		recordOf("b", `,"downloaded_data":"n/a","uploaded_data":"3.34 MB","total_duration":"00:01:00","start_time":"2026-03-01T20:30:00Z","end_time":null,"connection_status_value":1,"connection_status":"Çevrimiçi"`),
		recordOf("c", `,"start_time":"eve@example.com"`),
		recordOf("d", `,"downloaded_data":["x"]`),
	), Query{})
	want := []Unread{
		{"downloaded_data", "-", 3}, {"uploaded_data", "null", 1}, {"total_duration", "soon", 1}, {"start_time", "yesterday", 2}, {"end_time", "later", 1},
		{"connection_status_value", "?", 1}, {"connection_status", "Çevrimiçi", 1},
	}
	if !slices.Equal(page.Unread, want) {
		t.Errorf("%+v\nwant %+v", page.Unread, want)
	}
	if page := decode(t, listOf(recordOf("c", `,"start_time":"eve@example.com"`)), Query{}); strings.Contains(page.Unread[0].Sample, "eve") {
		t.Errorf("a sample tells personal data: %+v", page.Unread)
	}
	if page := decode(t, listOf(recordOf("a", `,"total_duration":"`+strings.Repeat("9:", 500)+`"`)), Query{}); len(page.Unread[0].Sample) > 50 {
		t.Errorf("a sample of %d bytes", len(page.Unread[0].Sample))
	}
	if page := decode(t, documented, Query{}); len(page.Unread) != 0 {
		t.Errorf("the documented record: %+v", page.Unread)
	}
	for _, u := range append(want, Unread{Field: "start_time", Sample: "2026-03-01 20:30:00"}) {
		if u.Remedy() == "" {
			t.Errorf("no remedy for %+v", u)
		}
	}
	if u := (Unread{Field: "start_time", Sample: "2026-03-01 20:30:00"}); !strings.Contains(u.Remedy(), "GUESTFLOW_API_TIME_ZONE") {
		t.Error(u.Remedy())
	}
}

// TestUnreadableFieldsAreToldOnce, and skipped records are counted on every page.
func TestUnreadableFieldsAreToldOnce(t *testing.T) {
	var log bytes.Buffer
	body := listOf(recordOf("a", `,"downloaded_data":"-"`), recordOf("b", `,"downloaded_data":"-"`), `{"id":null,"location_id":"l"}`)
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(body)) })
	c := client(t, base, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	for range 3 {
		if _, err := c.Sessions(t.Context(), Query{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.Unreadable(); !slices.Equal(got, []Unread{{"downloaded_data", "-", 6}}) || c.Skipped() != 3 {
		t.Errorf("%+v, %d skipped", got, c.Skipped())
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), `field=downloaded_data sample=- records=2 of=3`) {
		t.Errorf("%d warnings: %s", n, &log)
	}
}
