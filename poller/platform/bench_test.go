package platform

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/guestflow/guestflow/internal/simulator"
)

// bareRecord is a session as encoding/json reads it without any care.
type bareRecord struct {
	ID             string `json:"id"`
	LocationID     string `json:"location_id"`
	LocationName   string `json:"location_name"`
	Description    string `json:"guest_device_description"`
	MAC            string `json:"guest_device_mac"`
	IP             string `json:"guest_device_ip"`
	AccessCode     string `json:"access_code"`
	LoginType      string `json:"login_type_name"`
	Profile        string `json:"service_profile_name"`
	Duration       string `json:"total_duration"`
	Downloaded     string `json:"downloaded_data"`
	Uploaded       string `json:"uploaded_data"`
	Status         string `json:"connection_status"`
	StatusValue    int    `json:"connection_status_value"`
	Start          string `json:"start_time"`
	StartForPeople string `json:"start_time_formatted"`
	End            string `json:"end_time"`
	EndForPeople   string `json:"end_time_formatted"`
	GuestID        string `json:"guest_id"`
	YasID          string `json:"yas_id"`
}

type barePage struct {
	Data  []bareRecord `json:"data"`
	Links struct {
		Next *string `json:"next"`
	} `json:"links"`
	Meta struct {
		PerPage int `json:"per_page"`
		Page    int `json:"current_page"`
	} `json:"meta"`
}

// BenchmarkDecodePage compares DecodePage with bare encoding/json on the same
// full page, in turn, so that both meet the same machine. ratio is DecodePage's
// rate by encoding/json's.
func BenchmarkDecodePage(b *testing.B) {
	sim := simulator.New(simulator.Config{
		Seed: 1, Locations: []simulator.Location{{ID: "loc-a", Name: "Harbour", MeanOnline: 300}},
	}, func() time.Time { return noon })
	w := httptest.NewRecorder()
	sim.ServeHTTP(w, httptest.NewRequest("GET", fmt.Sprintf("/sessions?online=true&per_page=%d", MaxPerPage), nil))
	body := w.Body.Bytes()
	c := client(b, "http://example.com", nil)
	var ours, bare time.Duration
	for b.Loop() {
		began := time.Now()
		page, err := c.DecodePage(body, Query{Online: &isOnline})
		middle := time.Now()
		var plain barePage
		plainErr := json.Unmarshal(body, &plain)
		ended := time.Now()
		if err != nil || plainErr != nil || len(page.Sessions) != MaxPerPage || len(plain.Data) != MaxPerPage {
			b.Fatal(len(page.Sessions), err, len(plain.Data), plainErr)
		}
		ours, bare = ours+middle.Sub(began), bare+ended.Sub(middle)
	}
	records := float64(b.N * MaxPerPage)
	b.ReportMetric(bare.Seconds()/ours.Seconds(), "ratio")
	b.ReportMetric(records/ours.Seconds(), "records/s")
	b.ReportMetric(records/bare.Seconds(), "bare-records/s")
}
