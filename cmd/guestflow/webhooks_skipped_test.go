package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/consumers/webhook"
	"github.com/guestflow/guestflow/events"
)

// TestSkippedEventsAreListed: what was too old for an endpoint can be looked up.
func TestSkippedEventsAreListed(t *testing.T) {
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("an event of last hour was sent") }))
	defer receiver.Close()
	file := endpointsFile(t, receiver.URL, "max_age: 15m")
	url := natsServer(t, server.Options{})
	js := jetStreamAt(t, url)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: events.DefaultStream, Subjects: []string{events.DefaultPrefix + ".>"}}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	skipped, ended := make(chan struct{}, 1), make(chan error, 1)
	d := webhook.Dispatcher{JetStream: js, Path: file, Observe: func(o webhook.Observation) {
		if o.Result == webhook.Skipped {
			skipped <- struct{}{}
		}
	}}
	go func() { ended <- d.Run(ctx) }()
	end := sync.OnceFunc(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	defer end()
	eventually(t, func() string {
		if _, err := js.Consumer(t.Context(), events.DefaultStream, webhook.Durable("a")); err != nil {
			return err.Error()
		}
		return ""
	})
	e := webhook.SampleEvent(events.Started, time.Now().Add(-time.Hour))
	body, err := events.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), events.Subjects{}.Of(e), body); err != nil {
		t.Fatal(err)
	}
	select {
	case <-skipped:
	case <-time.After(time.Minute):
		t.Fatal("the event is not skipped")
	}
	environment(t, "GUESTFLOW_NATS_URL="+url)
	for _, tc := range []struct{ args, want string }{
		{"skipped a", e.ID},
		{"skipped a --json", `"event_id":"` + e.ID + `"`},
		{"skipped a --json", `"max_age_seconds":900`},
		{"check --file " + file, "ok    a: every kind, no older than 15m0s to "},
	} {
		code, out, errs := invoke(append([]string{"webhooks"}, strings.Fields(tc.args)...)...)
		if code != 0 || !strings.Contains(out, tc.want) {
			t.Errorf("%s: exit code %d, %s, %s; want %s", tc.args, code, out, errs, tc.want)
		}
	}
	for args, want := range map[string]string{
		"skipped nobody":                `"nobody": no such webhook endpoint; known are a; where it is in an endpoints file, give that with --file or GUESTFLOW_WEBHOOKS_FILE`,
		"dead nobody":                   `"nobody": no such webhook endpoint; nothing is kept of any; where it is in an endpoints file, give that with --file`,
		"purge nobody --all":            `"nobody": no such webhook endpoint; nothing is kept of any; where it is in an endpoints file, give that with --file`,
		"skipped nobody --file " + file: `"nobody": no such webhook endpoint; known are a`,
		"dead nobody --file " + file:    `"nobody": no such webhook endpoint; known are a`,
		"forget nobody --file " + file:  `"nobody": no such webhook endpoint; known are a`,
		"enable nobody --file " + file:  file + `: no webhook endpoint "nobody" in the file; known are a`,
		"test nobody --file " + file:    file + `: no webhook endpoint "nobody" in the file; known are a`,
		"skipped >":                     `">": no such webhook endpoint`,
	} {
		if code, _, errs := invoke(append([]string{"webhooks"}, strings.Fields(args)...)...); code != 1 || !strings.Contains(errs, want) {
			t.Errorf("%s: exit code %d, %s; want %s", args, code, errs, want)
		}
	}
	end() // What was skipped outlives its endpoint.
	if err := js.DeleteConsumer(t.Context(), events.DefaultStream, webhook.Durable("a")); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := invoke("webhooks", "skipped", "a"); code != 0 || !strings.Contains(out, e.ID) {
		t.Errorf("of an endpoint that is forgotten: exit code %d, %s, %s", code, out, errs)
	}
}
