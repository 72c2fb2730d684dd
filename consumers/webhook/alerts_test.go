package webhook

import (
	"strings"
	"testing"

	"github.com/guestflow/guestflow/events/alerts"
)

// TestAlertsAreATopic: an endpoint takes them by kind, location and condition, and a
// sample of each kind is found for it.
func TestAlertsAreATopic(t *testing.T) {
	l := loader{}
	cfg, err := l.parse([]byte(`
endpoints:
  - name: duty
    url: https://example.com/
    stream: alerts
    kinds: [raised]
    locations: [bar-*]
    condition: alert.what == "silent" && alert.usual > 20
    secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]
    body: '{"text": alert.rule + " at " + alert.location_name + ": " + string(alert.value)}'
`))
	if err != nil {
		t.Fatal(err)
	}
	e := cfg.Endpoints[0]
	n, err := sampleFor(e, "", sampledAt)
	if err != nil {
		t.Fatal(err)
	}
	made := n.of.(*alerts.Event)
	if a := made.Data.Alert; made.Kind != alerts.Raised || a.What != alerts.Silent || !strings.HasPrefix(a.LocationID, "bar-") || *a.Usual <= 20 {
		t.Errorf("%+v", made)
	}
	o, err := (&Dispatcher{}).options()
	if err != nil {
		t.Fatal(err)
	}
	if got := filters(o, e); len(got) != 1 || got[0] != "guest.alerts.*.*.raised" || o.streamOf(e.topic) != alerts.DefaultStream {
		t.Errorf("%q of %s", got, o.streamOf(e.topic))
	}
	if _, err := l.parse([]byte("endpoints: [{name: a, url: https://example.com/, kinds: [raised]}]")); err == nil || !strings.Contains(err.Error(), "add stream: alerts") {
		t.Errorf("the kind of another stream: %v", err)
	}
	if _, err := l.parse([]byte("endpoints: [{name: a, url: https://example.com/, stream: alerts, condition: session.id == ''}]")); err == nil {
		t.Error("an alert has no session")
	}
}
