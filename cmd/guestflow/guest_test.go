package main

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/simulator"
)

// TestGuestArrivedWebhook is the README's: a receiver of started events gets the
// name and e-mail of who arrived, signed, and by the privacy settings.
func TestGuestArrivedWebhook(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		variables []string
		fits      func(events.Guest) bool
	}{
		{"plain", nil, func(g events.Guest) bool {
			return len(g.Username) == 8 && strings.Contains(g.Name, " ") && strings.HasSuffix(g.Email, "@example.com")
		}},
		{"name hashed, IP dropped", []string{"GUESTFLOW_NAME=hash", "GUESTFLOW_IP=drop", "GUESTFLOW_PRIVACY_KEY=0123456789abcdef"}, func(g events.Guest) bool {
			return len(g.Username) == 32 && len(g.Name) == 32 && strings.HasSuffix(g.Email, "@example.com")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			secret := "whsec_" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef01234567"))
			wh, err := standardwebhooks.NewWebhook(secret)
			if err != nil {
				t.Fatal(err)
			}
			arrived := make(chan events.Event, 1000)
			receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err == nil {
					err = wh.Verify(body, r.Header)
				}
				e, decodeErr := events.Decode(body)
				if err != nil || decodeErr != nil {
					t.Errorf("%v, %v: %s", err, decodeErr, body)
				}
				arrived <- e
			}))
			defer receiver.Close()
			file := filepath.Join(t.TempDir(), "endpoints.yaml")
			text := "endpoints:\n- name: welcome\n  url: " + receiver.URL + "\n  secrets: [\"" + secret + "\"]\n  kinds: [started]\n  condition: guest.email != \"\"\n  fields: [guest]\n  allow_private: true\n"
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			p := simulate(t, simulator.Config{Token: "right", Speed: 20, RateLimit: 1200})
			r := launch(t, settings(t, p, append([]string{
				"GUESTFLOW_API_RATE_LIMIT=1200", "GUESTFLOW_GUESTS=true", "GUESTFLOW_WEBHOOKS_FILE=" + file,
			}, c.variables...)...))
			timeout := time.After(2 * time.Minute)
			for range 10 {
				select {
				case e := <-arrived:
					if g := e.Data.Guest; g == nil || !c.fits(*g) || e.Kind != events.Started || e.Data.Observed.Guest != events.GuestConfirmed {
						t.Errorf("%s names %+v (%s)", e.Kind, g, e.Data.Observed.Guest)
					}
				case <-timeout:
					t.Fatal("no guest arrived at the receiver")
				}
			}
			r.eventuallySees(`guestflow_guest_lookups_total{account="default",outcome="confirmed"}`, 10)
			r.eventuallySees(`guestflow_webhook_tries_total{account="default",endpoint="welcome",result="delivered"}`, 1)
			const page = "/v1/locations/venue-0/sessions"
			r.eventuallyGets(page, http.StatusOK, "venue-0")
			if _, body := r.get(page); strings.Contains(body, "@example.com") {
				t.Errorf("the page's API shows a guest: %s", body)
			}
		})
	}
}
