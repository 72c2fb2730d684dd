package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/forgotten"
	"github.com/guestflow/guestflow/events/visits"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller/platform"
)

// growing is a log that is read while it is written.
type growing struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *growing) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

func (w *growing) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// arrivedOnline is somebody with a name whose session has begun and goes on.
func (r *running) arrivedOnline(least int) (e events.Event) {
	r.t.Helper()
	eventually(r.t, func() string {
		named := 0
		for _, had := range kept(r.t, r.nats.conn) {
			if g := had.Data.Guest; g == nil || g.Email == "" || g.Name == "" || had.Data.Session.GuestID == "" {
				continue
			}
			named++
			if st, ok, err := r.only().Store.State(had.Data.Session.ID); ok && err == nil && st.Session.Online {
				e = had
			}
		}
		if e.ID == "" || named < least {
			return fmt.Sprintf("only %d guests with a name have arrived", named)
		}
		return ""
	})
	return e
}

// traces are where any of the texts is found: in files below a directory, and in texts.
func traces(t *testing.T, dir string, texts []string, more map[string]string) (found []string) {
	t.Helper()
	look := func(where string, in []byte) {
		for _, s := range texts {
			if bytes.Contains(in, []byte(s)) {
				found = append(found, fmt.Sprintf("%q in %s", s, where))
			}
		}
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // files come and go
		}
		b, err := os.ReadFile(path)
		if err == nil {
			look(path, b)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range more {
		look(where, []byte(text))
	}
	return found
}

// TestForgetLeavesNothing: neither e-mail, name, MAC nor guest id is found in files,
// streams, API or log once a person is forgotten, nor after further polls, a restart and a
// rebuild from the stream; and nothing is taken for a loss, nor counted wrongly.
func TestForgetLeavesNothing(t *testing.T) {
	t.Parallel()
	p := simulate(t, simulator.Config{Token: "right", Speed: 20, RateLimit: 1200, Locations: simulator.Venues("venue-%d", 3, 20),
		Stay: simulator.Stay{Mean: 6 * time.Hour, Sigma: 1}, AccountingInterval: time.Minute}) // The person is still there when forgotten.
	dir := t.TempDir()
	cfg := settings(t, p, "GUESTFLOW_DATA_DIR="+dir, "GUESTFLOW_API_RATE_LIMIT=1200", "GUESTFLOW_GUESTS=true", "GUESTFLOW_VISITS=true",
		"GUESTFLOW_OCCUPANCY_TOKEN=page", "GUESTFLOW_PRIVACY_KEY=0123456789abcdef")
	log := &growing{}
	r := launchLogging(t, cfg, log)
	r.eventuallyReady(http.StatusOK, "ready")
	person := r.arrivedOnline(1)
	s, g := &person.Data.Session, person.Data.Guest
	texts := []string{s.GuestID, s.DeviceMAC, g.Email}
	eventually(t, func() string {
		if found := traces(t, dir, texts, nil); len(found) < 3 {
			return fmt.Sprintf("the person is found in %v alone", found)
		}
		return ""
	})
	seen := func() map[string]string {
		more := map[string]string{"log": log.String()}
		for _, path := range []string{"/v1/locations/" + s.LocationID + "/sessions", "/v1/locations"} {
			_, more[path] = r.getAs("page", path)
		}
		return more
	}
	empty := t.TempDir()
	eventually(t, func() string {
		if len(traces(t, empty, texts, seen())) == 0 {
			return "the API does not show the person before"
		}
		return ""
	})

	ask := forgetting{asking: asking{guest: s.GuestID, server: r.nats.URL()}, cfg: cfg, wait: 2 * time.Minute}
	eventually(t, func() string { // until the visit is told of, too
		if err := ask.forget(t.Context()); err != nil || ask.report.Erased || ask.report.Sessions == 0 || ask.report.Visits == 0 {
			return fmt.Sprintf("without --yes: %v, %+v", err, ask.report)
		}
		return ""
	})
	ask.yes = true
	err := ask.forget(t.Context())
	out, _ := json.Marshal(ask.report)
	conforms(t, "subject-forget", string(out))
	if report := ask.report; err != nil || !report.Erased || len(report.Confirmed) != 1 || report.Deleted[events.DefaultStream] == 0 || report.Deleted[visits.DefaultStream] == 0 {
		t.Fatalf("%v, the report is %s", err, out)
	}
	gone := func(when string) {
		t.Helper()
		more := seen()
		more["report"] = string(out)
		all := texts
		if !r.shared(g.Name) { // nobody else is called so
			all = append(slices.Clip(texts), g.Name)
		}
		if found := traces(t, dir, all, more); len(found) > 0 {
			t.Errorf("%s there is %v", when, found)
		}
	}
	gone("at once")

	// Polling goes on, and tells that the session is there.
	sequence := r.streamEnd()
	eventually(t, func() string {
		for _, e := range kept(t, r.nats.conn) {
			if e.Data.Session.ID == s.ID && (e.Kind == events.Updated || e.Kind == events.Ended) && e.Data.Session.DeviceDescription == events.Forgotten && r.streamEnd() > sequence+20 {
				return ""
			}
		}
		return "the session is in the stream no more"
	})
	gone("after further polls")
	exact := func(when string) {
		t.Helper()
		r.eventuallyReady(http.StatusOK, "ready")
		eventually(t, func() string {
			if st := r.web.Status(); st.Behind > 0 || r.visits.Status().Behind > 0 || st.State != "live" || !st.Exact {
				return fmt.Sprintf("occupancy is %+v", st)
			}
			return ""
		})
		if c, uncertain := r.web.Gaps(); c.Missing > 0 || uncertain > 0 {
			t.Errorf("%s occupancy takes %d messages for lost, and %d sessions for uncertain", when, c.Missing, uncertain)
		}
	}
	exact("after further polls")

	restart := func() {
		r.end()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		r = launchLogging(t, cfg, log)
	}
	restart()
	exact("after a restart")
	gone("after a restart")

	// All that is derived is derived anew.
	for _, bucket := range []string{occupancyObject, "guest-visits-state"} {
		if err := r.nats.js.DeleteObjectStore(t.Context(), bucket); err != nil {
			t.Fatal(err)
		}
	}
	r.stop()
	<-r.ended
	r.ended = nil
	for _, bucket := range []string{occupancyObject, "guest-visits-state"} { // what was saved at the end
		if err := r.nats.js.DeleteObjectStore(t.Context(), bucket); err != nil && err != jetstream.ErrBucketNotFound && !strings.Contains(err.Error(), "not found") {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(cfg.statePath()); err != nil {
		t.Fatal(err)
	}
	r = launchLogging(t, cfg, log)
	exact("rebuilt from the stream")
	sequence = r.streamEnd()
	eventually(t, func() string {
		if r.streamEnd() < sequence+20 {
			return "no events come"
		}
		return ""
	})
	gone("rebuilt from the stream")
	r.end()
	if found := traces(t, dir, texts, nil); len(found) > 0 {
		t.Errorf("at the end there is %v", found)
	}
}

// shared reports whether somebody in the stream has the name.
func (r *running) shared(name string) bool {
	return r.ended != nil && slices.ContainsFunc(kept(r.t, r.nats.conn), func(e events.Event) bool { return e.Data.Guest != nil && e.Data.Guest.Name == name })
}

func (r *running) streamEnd() uint64 {
	r.t.Helper()
	stream, err := r.nats.js.Stream(r.t.Context(), events.DefaultStream)
	if err != nil {
		r.t.Fatal(err)
	}
	return stream.CachedInfo().State.LastSeq
}

// getAs is get with a token.
func (r *running) getAs(token, path string) (status int, body string) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.listener.Addr().String()+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(response.Body); err != nil {
		r.t.Fatal(err)
	}
	return response.StatusCode, b.String()
}

// TestForgetBeginsNothingThatCannotEnd: what was asked for wrongly is said before anything is
// erased, without --yes as well, and white space that was pasted along finds the person.
func TestForgetBeginsNothingThatCannotEnd(t *testing.T) {
	url := natsServer(t, server.Options{})
	js := jetStreamAt(t, url)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: events.DefaultStream, Subjects: []string{events.Subjects{}.All()}, AllowDirect: true}); err != nil {
		t.Fatal(err)
	}
	environment(t, "GUESTFLOW_NATS_URL="+url, "GUESTFLOW_API_URL=http://127.0.0.1:1", "GUESTFLOW_API_TOKEN=token",
		"GUESTFLOW_PRIVACY_KEY=0123456789abcdef", "GUESTFLOW_DATA_DIR="+t.TempDir())
	for _, guest := range []string{"g1", "g2"} {
		e := started("Phone")
		e.Data.Session.ID, e.Data.Session.GuestID = "of-"+guest, guest
		body, err := events.Encode(e.Sealed())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), events.Subjects{}.Of(e), body); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(exit int, told string, args ...string) {
		t.Helper()
		if code, _, errs := invoke(append([]string{"subject", "forget"}, args...)...); code != exit || !strings.Contains(errs, told) {
			t.Errorf("%q: exit code %d, %s; want %d, %s", args, code, errs, exit, told)
		}
	}
	ask(2, "is empty: say who it is", "--guest", "")
	ask(2, "is empty: say who it is", "--email", " ")
	ask(1, "--out", "--guest", "g1", "--yes", "--out", filepath.Join(t.TempDir(), "none", "report.json"))
	ask(0, "1 messages of 1 sessions would be erased", "--guest", " g1\t")
	report := filepath.Join(t.TempDir(), "report.json")
	ask(0, "1 messages of 1 sessions erased", "--guest", "g1", "--yes", "--out", report)
	text, err := os.ReadFile(report)
	if err == nil {
		conforms(t, "subject-forget", string(text))
	}
	if err != nil || !strings.Contains(string(text), `"erased": true`) {
		t.Errorf("the report is %s, %v", text, err)
	}
	t.Setenv("GUESTFLOW_PRIVACY_KEY", "fedcba9876543210")
	ask(1, "is not the one by which people were forgotten before; set it as it was\n", "--guest", "g2")
	ask(1, "is not the one by which people were forgotten before; set it as it was\n", "--guest", "g2", "--yes")
}

// TestFollowersAreToldWhatTheyMayKnow: the pseudonym of an address that no event ever had is
// nobody's, and whoever follows gets what was asked for and what events had.
func TestFollowersAreToldWhatTheyMayKnow(t *testing.T) {
	const key = "0123456789abcdef"
	url := natsServer(t, server.Options{})
	js := jetStreamAt(t, url)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: events.DefaultStream, Subjects: []string{events.Subjects{}.All()}, AllowDirect: true}); err != nil {
		t.Fatal(err)
	}
	environment(t, "GUESTFLOW_NATS_URL="+url, "GUESTFLOW_PRIVACY_KEY="+key, "GUESTFLOW_DATA_DIR="+t.TempDir())
	privacy := platform.Privacy{Key: key}
	macs := privacy.Forms("02:00:00:00:00:01")
	for i, of := range []struct{ email, mac string }{{"Ann@example.org", "02:00:00:00:00:09"}, {"", macs[1]}} {
		e := started("Phone")
		e.Data.Session.ID, e.Data.Session.GuestID, e.Data.Session.DeviceMAC = fmt.Sprint(i), fmt.Sprint("g", i), of.mac
		if of.email != "" {
			e.Data.Guest, e.Data.Observed.Guest = &events.Guest{Email: of.email}, events.GuestConfirmed
		}
		body, err := events.Encode(e.Sealed())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), events.Subjects{}.Of(e), body); err != nil {
			t.Fatal(err)
		}
	}
	told := func(args ...string) forgotten.Person {
		t.Helper()
		if code, _, errs := invoke(append([]string{"subject", "forget", "--yes"}, args...)...); code != 0 {
			t.Fatalf("%v: exit code %d, %s", args, code, errs)
		}
		stream, err := js.Stream(t.Context(), forgotten.DefaultStream)
		if err != nil {
			t.Fatal(err)
		}
		m, err := stream.GetLastMsgForSubject(t.Context(), forgotten.GuestSubject)
		if err != nil {
			t.Fatal(err)
		}
		e, err := forgotten.Decode(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Open(key); err != nil {
			t.Fatal(err)
		}
		return *e.Data.Person
	}
	if p := told("--email", "ann@example.org"); !slices.Equal(p.Emails, []string{"Ann@example.org", "ann@example.org"}) || len(p.SessionIDs) != 1 {
		t.Errorf("of an address that events have as it is: %+v", p)
	}
	if p := told("--email", "nobody@example.org"); !slices.Equal(p.Emails, []string{"nobody@example.org"}) {
		t.Errorf("of an address that no event has: %+v", p)
	}
	if p := told("--mac", "02:00:00:00:00:01"); !slices.Contains(p.DeviceMACs, macs[0]) || !slices.Contains(p.DeviceMACs, macs[1]) || len(p.SessionIDs) != 1 {
		t.Errorf("of a device that events have by its pseudonym %s: %+v", macs[1], p)
	}
}
