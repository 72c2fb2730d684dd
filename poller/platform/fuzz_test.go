package platform

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

func FuzzParseBytes(f *testing.F) {
	for _, s := range []string{"3.34 MB", "900.58 kB", "0 B", "1,024.00 KiB", "3,34 MB", "999.99 PB", "-1", "", "1.000000000000000000 TB"} {
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, s string, si bool) {
		base := 1024
		if si {
			base = 1000
		}
		b, err := parseBytes(s, base)
		if err != nil {
			if b != events.UnknownBytes {
				t.Fatalf("%q: %+v with %v", s, b, err)
			}
			return
		}
		if b.Value < 0 || b.Value > math.MaxInt64/4 || b.Error < 0 || b.Error > 1<<50 {
			t.Fatalf("%q: %+v", s, b)
		}
		if again, err := parseBytes("  "+s+" ", base); err != nil || again != b {
			t.Fatalf("%q with spaces: %+v %v, without %+v", s, again, err, b)
		}
	})
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"00:09:05", "100:00:01", "1:2:3", "00:60:00", "+1:00:00", "2147483647:59:59", "1 day, 0:10:00", "P1DT2H3M4.5S", "545", "00:09"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseDuration(s)
		if err != nil && n != 0 || n < 0 || n > math.MaxInt64/int64(time.Second) {
			t.Fatalf("%q: %d %v", s, n, err)
		}
		if m, h, ok := shortDuration(s); ok && (err == nil || m < 0 || h < m) {
			t.Fatalf("%q: %d, and also %d minutes or %d hours", s, n, m, h)
		}
	})
}

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"2026-03-01T20:30:00Z", "2026-03-01T23:30:00+03:00", "2026-02-30T00:00:00Z", "1999-12-31T23:59:59Z", "2026-03-01T20:30:00.123456789-12:00", "2026-03-01 20:30:00 +0300", "2026-03-01 20:30:00", "0000-00-00 00:00:00", "-0001-11-30T00:00:00+00:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if m, err := parseMoment(s); err == nil && (m.at.IsZero() || nullDate(s)) {
			t.Fatalf("%q: %+v, and no date", s, m)
		}
		at, err := parseTime(s)
		if err != nil {
			if !at.IsZero() {
				t.Fatalf("%q: %v with %v", s, at, err)
			}
			return
		}
		again, err := parseTime(at.Format(time.RFC3339Nano))
		if err != nil || !again.Equal(at) || at.Location() != time.UTC || at.Before(earliest) || !at.Before(latest) {
			t.Fatalf("%q: %v, again %v %v", s, at, again, err)
		}
	})
}

func FuzzSessionsPage(f *testing.F) {
	for _, s := range []string{
		documented, emptyPage, `{"data":[null,{},{"id":"a","location_id":"b"},{"id":7,"location_id":8,"connection_status_value":"1"}]}`,
		`{"data":[{"id":"a\u0000\ud800","location_id":"b"}],"links":{"next":2}}`, `{"data":[[[[`, `<html>`, "",
		`{"data":[{"id":"a","location_id":"b","downloaded_data":1e99,"uploaded_data":"9 PB","guest_device_mac":"02-00-5E-10-00-7F"}],"links":[],"meta":{"per_page":"1"}}`,
	} {
		f.Add([]byte(s), uint8(0))
		f.Add([]byte(s), uint8(100))
	}
	c := client(f, "https://api.example.com/api/v1", func(cfg *Config) { cfg.Privacy = Privacy{IP: Hash, Key: "k"} })
	f.Fuzz(func(t *testing.T, body []byte, perPage uint8) {
		kept := slices.Clone(body)
		page, err := c.DecodePage(body, Query{PerPage: int(perPage)})
		if !slices.Equal(body, kept) {
			t.Fatal("the body was written to")
		}
		if page.Records < len(page.Sessions)+len(page.Skipped) || err == nil && page.Records != len(page.Sessions)+len(page.Skipped) {
			t.Fatalf("%d records, %d read, %d skipped: %v", page.Records, len(page.Sessions), len(page.Skipped), err)
		}
		if page.PerPage < 0 || page.Number < 0 || page.Suspicious != "" && !page.More || len(page.Suspicious) > 400 {
			t.Fatalf("%+v", page)
		}
		for _, s := range page.Sessions {
			for _, id := range []string{s.ID, s.LocationID} {
				if id == "" || len(id) > 256 || strings.ContainsAny(id, "\x00\uFFFD") {
					t.Fatalf("id %q", id)
				}
			}
			for _, b := range []events.Bytes{s.Downloaded, s.Uploaded} {
				if b != events.UnknownBytes && (b.Value < 0 || b.Error < 0) {
					t.Fatalf("%+v", b)
				}
			}
			for _, text := range []string{s.LocationName, s.GuestID, s.YasID, s.DeviceMAC, s.DeviceIP, s.DeviceDescription, s.AccessCode, s.LoginType, s.ServiceProfile} {
				if len(text) > longestText || text != strings.ToValidUTF8(text, "") {
					t.Fatalf("text %q", text)
				}
			}
			if s.DurationSeconds < events.UnknownSeconds || s.DeviceIP != "" && len(s.DeviceIP) != 2*pseudonymBytes {
				t.Fatalf("%+v", s)
			}
		}
	})
}

func FuzzGuests(f *testing.F) {
	for _, s := range []string{
		`{"ip_address":"10.1.1.5","username":"u","name":"n","email":"e@example.com","duration":42}`, `{"name":"n"}`, `[]`, `null`, `{}`,
		`[{"ip_address":"10.1.1.5"},{"ip_address":"::ffff:10.1.1.6","duration":"7"},{"ip_address":"10.9.9.9"},null,7]`, `[{`,
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, body []byte, several bool) {
		asked := []string{"10.1.1.5"}
		if several {
			asked = append(asked, "10.1.1.6", "2001:db8::1")
		}
		guests, err := decodeGuests(body, asked)
		if err != nil && guests != nil {
			t.Fatalf("%+v with %v", guests, err)
		}
		for _, g := range guests {
			if !slices.Contains(asked, g.IP) || g.Duration < 0 || g.Duration >= 1<<40 || len(g.Name) > longestText {
				t.Fatalf("%+v", g)
			}
		}
	})
}
