package platform

import (
	"testing"

	"github.com/guestflow/guestflow/events"
)

// TestHiddenAddressIsRememberedForLookupsAlone: the record does not have it, and
// without look-ups nothing does.
func TestHiddenAddressIsRememberedForLookupsAlone(t *testing.T) {
	const body = `{"data":[{"id":"a","location_id":"l","guest_device_ip":"::ffff:10.1.1.5","connection_status_value":1},` +
		`{"id":"gone","location_id":"l","guest_device_ip":"10.1.1.6","connection_status_value":0}]}`
	for _, c := range []struct {
		mode   Mode
		guests bool
		want   string
	}{{Keep, true, "10.1.1.5"}, {Hash, true, "10.1.1.5"}, {Drop, true, "10.1.1.5"}, {Drop, false, ""}} {
		cl := client(t, "http://h", func(cfg *Config) {
			cfg.Transport, cfg.Guests, cfg.Privacy = answering(200, body, nil), c.guests, Privacy{IP: c.mode, Key: "k"}
		})
		page, err := cl.Sessions(t.Context(), Query{})
		if err != nil || len(page.Sessions) != 2 {
			t.Fatalf("%+v, %v", page, err)
		}
		s := page.Sessions[0]
		if (s.DeviceIP == "10.1.1.5") != (c.mode == Keep) {
			t.Errorf("%s: the record has %q", c.mode, s.DeviceIP)
		}
		if got := cl.Address(&s); got != c.want {
			t.Errorf("%s, look-ups %t: remembered %q, want %q", c.mode, c.guests, got, c.want)
		}
		if got := cl.Address(&page.Sessions[1]); c.mode == Drop && got != "" {
			t.Errorf("remembered %q of a session that has ended", got)
		}
	}
}

func TestRememberedAddressesAreBounded(t *testing.T) {
	c := client(t, "http://h", func(cfg *Config) { cfg.Guests, cfg.Privacy = true, Privacy{IP: Drop} })
	id := func(i int) string { return string([]rune{rune('A' + i%50), rune('A' + i/50%50), rune('A' + i/2500)}) }
	const many = 2 * addressesKept
	for i := range many {
		c.addresses.set(id(i), "10.1.1.5")
	}
	if n := len(c.addresses.newer) + len(c.addresses.older); n > addressesKept {
		t.Errorf("%d addresses are kept", n)
	}
	if c.Address(&events.Session{ID: id(many - 1)}) == "" || c.Address(&events.Session{ID: id(0)}) != "" {
		t.Error("not the newest are kept")
	}
}
