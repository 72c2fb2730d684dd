package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/guestflow/guestflow/poller/platform"
)

// odd serves a list of records with the same fields.
func odd(t *testing.T, records ...string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/sessions":
			fmt.Fprintf(w, `{"data":[%s]}`, strings.Join(records, ","))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestCheckTellsWhatCannotBeRead(t *testing.T) {
	const good = `{"id":"a","location_id":"l","downloaded_data":"3.34 MB","uploaded_data":"1 kB","start_time":"2026-03-01T20:30:00Z","total_duration":"00:09:05","connection_status_value":1}`
	replaced := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(good) }
	for _, c := range []struct {
		name      string
		records   []string
		variables []string
		code      int
		told      []string
		not       string
	}{
		{"all", []string{good, good}, nil, 0,
			[]string{"ok    records: downloaded_data 2 of 2, uploaded_data 2 of 2, start_time 2 of 2, total_duration 2 of 2"}, "WARN"},
		{"no figure, no start", []string{replaced("3.34 MB", "3;34", "2026-03-01T20:30:00Z", "yesterday")}, nil, 1,
			[]string{"FAIL  records: downloaded_data: 0 of 1 could be read, not 3;34; ", "FAIL  records: start_time: 0 of 1 could be read, not yesterday; ", "checks failed"}, "ok    records"},
		{"some", []string{good, replaced("00:09:05", "soon")}, nil, 0,
			[]string{"WARN  records: total_duration: 1 of 2 could be read, not soon; ", "ok    records: "}, "FAIL"},
		{"left empty", []string{replaced(`"1 kB"`, "null")}, nil, 0,
			[]string{"WARN  records: uploaded_data: 0 of 1 could be read, not null; the platform leaves it empty"}, "FAIL"},
		{"left out", []string{replaced(`"uploaded_data":"1 kB",`, "")}, nil, 0, []string{"WARN  records: uploaded_data: no record has it"}, "FAIL"},
		{"no zone", []string{replaced("2026-03-01T20:30:00Z", "2026-03-01 20:30:00")}, nil, 1,
			[]string{"FAIL  records: start_time: 0 of 1", "GUESTFLOW_API_TIME_ZONE"}, "ok    records"},
		{"zone configured", []string{replaced("2026-03-01T20:30:00Z", "2026-03-01 20:30:00")}, []string{"GUESTFLOW_API_TIME_ZONE=Europe/Istanbul"}, 0,
			[]string{"ok    records: ", "times that name no zone are those of Europe/Istanbul, as configured"}, "FAIL"},
		{"skipped", []string{good, replaced(`"l"`, "null")}, nil, 0, []string{"WARN  records: 1 of 2 left out: location_id empty"}, "FAIL"},
		{"nobody", nil, nil, 0, []string{"ok    records: nobody is online, so there is nothing to read"}, "WARN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			environment(t, append([]string{
				"GUESTFLOW_API_URL=" + odd(t, c.records...), "GUESTFLOW_API_TOKEN=right",
				"GUESTFLOW_DATA_DIR=" + filepath.Join(t.TempDir(), "data"), "GUESTFLOW_NATS_LISTEN=127.0.0.1:0",
				"GUESTFLOW_HTTP_ADDR=127.0.0.1:0",
			}, c.variables...)...)
			code, out, errs := invoke("check")
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, want := range c.told {
				if !strings.Contains(out+errs, want) {
					t.Errorf("nothing about %q in\n%s%s", want, out, errs)
				}
			}
			if c.not != "" && strings.Contains(out, c.not) {
				t.Errorf("%q in\n%s", c.not, out)
			}
		})
	}
}

// TestUnreadRecordsAndFieldsAreCounted whatever asked for the page.
func TestUnreadRecordsAndFieldsAreCounted(t *testing.T) {
	environment(t, "GUESTFLOW_API_URL="+odd(t, `{"id":"a","location_id":"l","downloaded_data":"-"}`, `{"id":null,"location_id":"l","downloaded_data":"-"}`),
		"GUESTFLOW_API_TOKEN=right", "GUESTFLOW_DATA_DIR="+t.TempDir(), "GUESTFLOW_NATS_LISTEN=127.0.0.1:0", "GUESTFLOW_HTTP_ADDR=127.0.0.1:0")
	cfg, _, err := loadConfig(os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	a, err := newApp(t.Context(), cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for range 2 {
		if _, err := a.fleet.all()[0].open().Client.Sessions(t.Context(), platform.Query{}); err != nil {
			t.Fatal(err)
		}
	}
	families, err := a.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, label := range m.GetLabel() {
				if label.GetName() == "field" {
					name += " " + label.GetValue()
				}
			}
			got[name] = m.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{"guestflow_records_skipped_total": 2, "guestflow_fields_unreadable_total downloaded_data": 4} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

func TestTimeZoneIsOneOfTheDatabase(t *testing.T) {
	for _, zone := range []string{"Mars/Olympus", "Local", "../etc/passwd", "+03:00"} {
		environment(t, "GUESTFLOW_API_TIME_ZONE="+zone)
		if _, _, err := loadConfig(os.Environ()); err == nil || !strings.Contains(err.Error(), "GUESTFLOW_API_TIME_ZONE=") {
			t.Errorf("%s: %v", zone, err)
		}
	}
}
