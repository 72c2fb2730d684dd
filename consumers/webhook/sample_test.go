package webhook

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

var sampleTime = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// TestSampleIsOneThatTheEndpointAsksFor: a test that sends what the entry never
// gets tests nothing.
func TestSampleIsOneThatTheEndpointAsksFor(t *testing.T) {
	t.Parallel()
	for lines, want := range map[string]events.Kind{
		``:                                   events.Started,
		`kinds: [ended]`:                     events.Ended,
		`kinds: [traffic, updated]`:          events.Traffic,
		`condition: kind == "updated"`:       events.Updated,
		`condition: kind not in ["started"]`: events.Resumed,
		`condition: session.duration_seconds >= 600 && session.guest_id != ""`:                       events.Resumed,
		`condition: kind != "traffic" || change.downloaded_bytes + change.uploaded_bytes >= 1000000`: events.Started,
		`condition: change.downloaded_bytes + change.uploaded_bytes >= 99000000`:                     events.Traffic,
		`condition: session.downloaded_bytes / 1000000 >= 700`:                                       events.Started,
		`condition: guest.email endsWith "@acme.example" and observed.guest == "likely"`:             events.Started,
		`condition: session.location_name startsWith "Hotel" && session.service_profile == "gold"`:   events.Started,
		`condition: session.guest_id == "" && revision > 7`:                                          events.Started,
		`condition: previous.service_profile == "bronze"`:                                            events.Updated,
		`condition: previous.device_ip != nil`:                                                       events.Updated,
		`condition: previous.duration_seconds != nil && previous.duration_seconds > 5`:               events.Traffic,
		`condition: observed.end == "inferred"`:                                                      events.Ended,
		`condition: session.started_at > date("2030-01-01T00:00:00Z")`:                               events.Started,
		`condition: account == "north" && episode == 4`:                                              events.Started,
		`condition: observed.backfilled && session.ended_at > session.started_at`:                    events.Ended,
		`locations: ["hotel-[^a]-*", x?]`:                                                            events.Started,
		`locations: [0123]`:                                                                          events.Started,
	} {
		cfg, err := parse(t, "endpoints:\n  - GOOD\n    "+lines)
		if err != nil {
			t.Errorf("%s: %v", lines, err)
			continue
		}
		e := cfg.Endpoints[0]
		n, err := sampleFor(e, "", sampleTime)
		if err != nil {
			t.Errorf("%s: %v", lines, err)
			continue
		}
		ev := *n.of.(*events.Event)
		if wanted, err := e.match(n); !wanted || err != nil || ev.Kind != want || ev.ID != ev.Sealed().ID {
			t.Errorf("%s: a sample of kind %s, wanted %v, %v; want %s", lines, ev.Kind, wanted, err, want)
		}
		if body, err := events.Encode(ev); err != nil {
			t.Errorf("%s: %v", lines, err)
		} else if _, err := events.Decode(body); err != nil {
			t.Errorf("%s: %v", lines, err)
		}
	}
}

func TestWhereNoSampleIsFoundTheReasonIsNamed(t *testing.T) {
	t.Parallel()
	for lines, want := range map[string]string{
		`condition: kind == "begun" && session.online`:                       `kind == "begun"`,
		"kinds: [started]\n    condition: session.online && kind == 'ended'": `none of the kinds started was found to meet kind == "ended"`,
		`condition: revision == 2 && revision == 3`:                          `each part of the condition can be met`,
	} {
		cfg, err := parse(t, "endpoints:\n  - GOOD\n    "+lines)
		if err != nil {
			t.Errorf("%s: %v", lines, err)
			continue
		}
		_, err = sampleFor(cfg.Endpoints[0], "", sampleTime)
		if !errors.Is(err, ErrNoSample) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", lines, err, want)
		}
	}
}

// TestSampleOfAKindIsSentWhetherWantedOrNot, and says so.
func TestSampleOfAKindIsSentWhetherWantedOrNot(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, accept)
	tr := newTrial(t, &broker{}, endpointYAML("a", r.URL, "kinds: [ended]", `condition: session.duration_seconds > 90000`))
	x, err := tr.Test(t.Context(), "a", "")
	if err != nil || !x.Accepted || x.Unwanted != "" {
		t.Errorf("the kind that is wanted: %+v, %v", x, err)
	}
	if x, err = tr.Test(t.Context(), "a", "started"); err != nil || !x.Accepted || !strings.Contains(x.Unwanted, "kinds ended alone") {
		t.Errorf("another kind: %+v, %v", x, err)
	}
	if got := r.asked(); len(got) != 2 || got[0].kind != "ended" || got[1].kind != "started" {
		t.Errorf("sent %d requests: %v", len(got), got)
	}
}
