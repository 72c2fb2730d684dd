package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/internal/simulator"
)

// journal is a log that may be written and read at once.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// TestAddressChecksOverHTTP: they become proof, end sessions soon and rightly, and
// nothing of the people in their answers is kept anywhere.
func TestAddressChecksOverHTTP(t *testing.T) {
	t.Parallel()
	p := simulate(t, simulator.Config{Token: "right", Speed: 20, RateLimit: 240, Locations: simulator.Venues("venue-%d", 3, 600), Stay: simulator.Stay{Mean: 45 * time.Minute, Sigma: 1}})
	var log journal
	settings := settings(t, p, "GUESTFLOW_API_RATE_LIMIT=240", "GUESTFLOW_ADDRESS_CHECKS=true")
	r := launchLogging(t, settings, &log)
	metric := func(sample string) float64 {
		_, body := r.get("/metrics")
		return value(body, sample)
	}
	eventually(t, func() string {
		if n := metric(`guestflow_ends_total{account="default",proof="address"}`); !(n >= 20) {
			_, plan := r.get("/plan")
			at := max(0, strings.Index(plan, "address_checks"))
			return fmt.Sprintf("%v ends were proven by addresses: %s", n, plan[at:min(len(plan), at+300)])
		}
		return ""
	})
	var plan livePlan
	eventually(t, func() string {
		plan = livePlan{}
		if _, body := r.get("/plan"); json.Unmarshal([]byte(body), &plan) != nil || plan.AddressChecks.State != "established" || plan.AddressChecks.Alone < 0.9 ||
			plan.Ends.ExpectedMean != plan.AddressChecks.EndMean || plan.AddressChecks.EndMean >= plan.AddressChecks.ListEndMean {
			return fmt.Sprintf("the plan says %+v", plan.AddressChecks)
		}
		return ""
	})
	var printed bytes.Buffer
	if err := plan.write(&printed, 1); err != nil || !strings.Contains(printed.String(), "address checks: proof, by ") {
		t.Errorf("%v: %s", err, printed.String())
	}
	if n := metric(`guestflow_address_contradictions_total{account="default"}`); n != 0 {
		t.Errorf("%v contradictions", n)
	}
	if n := metric(`guestflow_requests_total{account="default",endpoint="guests",look="addresses",status="ok"}`); !(n > 20) {
		t.Errorf("%v requests about addresses", n)
	}
	conn := natstest.Connect(t, r.nats.URL())
	until := p.sim.Now().Add(-3 * time.Second)
	r.endPublished()
	all := kept(t, conn)
	verify(t, p, simulator.Checker{Until: until}, all)
	proofs := map[events.Proof]int{}
	for i := range all {
		if e := &all[i]; e.Kind == events.Ended {
			proofs[e.Data.Observed.Proof]++
		}
	}
	if proofs[events.ProofAddress] < 20 || proofs[""] > 0 {
		t.Errorf("ends by proof: %v", proofs)
	}
	nowhere(t, p, settings.DataDir, []byte(log.String()), all)
}

// nowhere fails where a guest of the platform is named in files, log or events.
func nowhere(t *testing.T, p *simulated, dir string, log []byte, all []events.Event) {
	t.Helper()
	people := make(map[string]bool)
	for _, x := range p.truth.All() {
		if x.Username != "" {
			people[x.Username] = true
		}
	}
	search := func(where string, text []byte) {
		if bytes.Contains(text, []byte("@example.com")) {
			t.Errorf("%s holds a guest's address", where)
		}
		digits := 0
		for i, c := range text { // a user name is eight of them
			if digits++; (c < '0' || c > '9') && (c < 'A' || c > 'F') {
				digits = 0
			} else if digits >= 8 && people[string(text[i-7:i+1])] {
				t.Errorf("%s names %s", where, text[i-7:i+1])
			}
		}
	}
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		search(path, text)
		return err
	})
	if err != nil || files < 3 || len(people) < 1000 || len(log) == 0 {
		t.Errorf("searched %d files for %d people, and %d bytes of log: %v", files, len(people), len(log), err)
	}
	search("the log", log)
	for i := range all {
		body, err := events.Encode(all[i])
		if err != nil {
			t.Fatal(err)
		}
		search("an event", body)
	}
}
