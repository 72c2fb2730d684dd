package poller_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/long"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/store"
)

// pagesOf renders n online sessions of one location as the platform does, 100 a
// page; round changes the traffic of one in a hundred.
func pagesOf(n, round int) [][]byte {
	var pages [][]byte
	for at := 0; at < n; at += 100 {
		var b bytes.Buffer
		b.WriteString(`{"data":[`)
		for i := at; i < at+100; i++ {
			if i > at {
				b.WriteByte(',')
			}
			mb := 3
			if i%100 == round%100 {
				mb += round + 10
			}
			fmt.Fprintf(&b, `{"id":"s%07d","location_id":"hall","location_name":"Hall","guest_device_description":"WebKit","guest_device_mac":"14:2d:27:%02x:%02x:%02x","guest_device_ip":"172.16.%d.%d","access_code":"","login_type_name":"Registration","service_profile_name":"Default Service Profile - 60 Minute(s)","total_duration":"00:09:05","downloaded_data":"%d.34 MB","uploaded_data":"900.58 kB","connection_status":"Online","connection_status_value":1,"start_time":"2026-03-02T06:50:55+00:00","start_time_formatted":"2026-03-02 9:50 AM","end_time":null,"end_time_formatted":null,"guest_id":"g%07d","yas_id":"8f627d10-1abc-44d8-b964-a78163881%03d"}`,
				i, i>>16&255, i>>8&255, i&255, i>>8&255, i&255, mb, i, i%1000)
		}
		b.WriteString(`],"links":{"first":"x?page=1","last":null,"prev":null,"next":null},"meta":{"current_page":1,"from":1,"path":"x","per_page":100,"to":100}}`)
		pages = append(pages, b.Bytes())
	}
	return pages
}

// bare is what a page would be decoded into without any care.
type bare struct {
	Data []struct {
		ID          string `json:"id"`
		LocationID  string `json:"location_id"`
		Location    string `json:"location_name"`
		Description string `json:"guest_device_description"`
		MAC         string `json:"guest_device_mac"`
		IP          string `json:"guest_device_ip"`
		AccessCode  string `json:"access_code"`
		LoginType   string `json:"login_type_name"`
		Profile     string `json:"service_profile_name"`
		Duration    string `json:"total_duration"`
		Downloaded  string `json:"downloaded_data"`
		Uploaded    string `json:"uploaded_data"`
		Status      string `json:"connection_status"`
		StatusValue int    `json:"connection_status_value"`
		Start       string `json:"start_time"`
		End         string `json:"end_time"`
		GuestID     string `json:"guest_id"`
		YasID       string `json:"yas_id"`
	} `json:"data"`
}

// BenchmarkPagesToCommit goes from page bytes to committed state and outbox:
// 100,000 sessions of one location, 1 % of them changed, beside bare decoding of
// the same pages.
func BenchmarkPagesToCommit(b *testing.B) {
	const n = 100_000
	client, err := platform.New(platform.Config{BaseURL: "http://platform.test"})
	if err != nil {
		b.Fatal(err)
	}
	st, err := store.Open(filepath.Join(b.TempDir(), "state.db"), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	online := true
	at := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	look := func(pages [][]byte) {
		at = at.Add(time.Minute)
		snap := diff.Snapshot{From: at, At: at, Sessions: make([]events.Session, 0, n)}
		for _, body := range pages {
			page, err := client.DecodePage(body, platform.Query{Online: &online})
			if err != nil {
				b.Fatal(err)
			}
			snap.Sessions = append(snap.Sessions, page.Sessions...)
		}
		ids := make([]string, len(snap.Sessions))
		for i := range ids {
			ids[i] = snap.Sessions[i].ID
		}
		states, err := st.Find(ids)
		if err != nil {
			b.Fatal(err)
		}
		known := diff.Known{Find: func(id string) (events.State, bool) { s, ok := states[id]; return s, ok }}
		if err := st.Commit(store.Commit{Changes: diff.Compare(known, snap, diff.Rules{Account: "bench"})}); err != nil {
			b.Fatal(err)
		}
	}
	look(pagesOf(n, 0))
	var whole, plain time.Duration
	round := 0
	for b.Loop() {
		b.StopTimer()
		round++
		pages := pagesOf(n, round)
		b.StartTimer()
		start := time.Now()
		look(pages)
		whole += time.Since(start)
		start = time.Now()
		for _, body := range pages {
			var page bare
			if err := json.Unmarshal(body, &page); err != nil {
				b.Fatal(err)
			}
		}
		plain += time.Since(start)
	}
	b.ReportMetric(float64(plain)/float64(whole), "of-bare-decoding")
	b.ReportMetric(n*float64(round)/whole.Seconds(), "records/s")
}

// TestIdlePollWritesNothing: looks that find no change leave the file alone.
func TestIdlePollWritesNothing(t *testing.T) {
	cfg := town()
	// Nobody comes, goes or moves any data for a long time.
	for i := range cfg.Locations {
		cfg.Locations[i].Stay = simulator.Stay{Mean: 1000 * time.Hour}
	}
	cfg.AccountingInterval, cfg.ChangeProbability = 10_000*time.Hour, 0
	for name, planner := range map[string]func() plan.Strategy{"round robin": roundRobin, "adaptive": adaptive} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, cfg, planner)
			l.run(5 * time.Minute)
			before, events := contents(t, l.path), l.store.Outbox().Last
			l.run(long.Of(20*time.Minute, time.Hour))
			if l.store.Outbox().Last != events {
				t.Fatal("somebody came or went: the platform was not idle")
			}
			if !bytes.Equal(before, contents(t, l.path)) {
				t.Error("looks without a change wrote to the file")
			}
		})
	}
}

func contents(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
