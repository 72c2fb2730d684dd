package events

import (
	"bytes"
	"testing"
	"time"
)

// TestForgottenEventsAreEvents of the contract still, whatever they tell of the past.
func TestForgottenEventsAreEvents(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	schema := compiled(t)["urn:guestflow:event:updated:v1"]
	secret, venue := "secret", "bar"
	for name, previous := range map[string]Previous{
		"guest":       {GuestID: &secret},
		"device":      {DeviceMAC: &secret, DeviceIP: &secret},
		"description": {DeviceDescription: &secret},
		"all":         {GuestID: &secret, YasID: &secret, DeviceMAC: &secret, DeviceIP: &secret, AccessCode: &secret, DeviceDescription: &secret, LocationID: &venue},
	} {
		e := Event{Account: "default", Kind: Updated, Time: at, Data: Data{Revision: 2, Previous: &previous, Observed: Observed{At: at}}}
		e.Data.Session = Session{
			ID: "s", LocationID: "pool", GuestID: secret, YasID: secret, DeviceMAC: secret, DeviceIP: secret, AccessCode: secret, DeviceDescription: secret, Online: true,
		}
		e = e.Sealed()
		id := e.ID
		e.Forget()
		body, err := Encode(e)
		if err != nil || e.ID != id || bytes.Contains(body, []byte(secret)) {
			t.Fatalf("%s: %s, %v", name, body, err)
		}
		if err := schema.Validate(document(t, body)); err != nil {
			t.Errorf("%s: %s: %v", name, body, err)
		}
		if p := e.Data.Previous; p.DeviceDescription == nil || *p.DeviceDescription != "" || (p.LocationID != nil) != (name == "all") {
			t.Errorf("%s: %s", name, body)
		}
		if previous.DeviceDescription != nil && *previous.DeviceDescription != secret {
			t.Errorf("%s: what it was made of changed", name)
		}
	}
}
