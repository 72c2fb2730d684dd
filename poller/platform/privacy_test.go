package platform

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPseudonymsAreStableAndKeyed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value, other := rapid.StringN(1, -1, -1).Draw(t, "value"), rapid.StringN(1, -1, -1).Draw(t, "other")
		key := rapid.StringN(1, 64, -1).Draw(t, "key")
		p, again, q := Privacy{Key: key}, Privacy{Key: key}, Privacy{Key: key + "x"}
		name := p.apply(Hash, value)
		if name != again.apply(Hash, value) {
			t.Fatalf("%q got two pseudonyms", value)
		}
		if name == q.apply(Hash, value) || value != other && name == p.apply(Hash, other) {
			t.Fatalf("%q and %q, or two keys, share %s", value, other, name)
		}
		if len(name) != 2*pseudonymBytes || strings.Trim(name, "0123456789abcdef") != "" {
			t.Fatalf("pseudonym %q", name)
		}
		if p.apply(Keep, value) != value || p.apply("", value) != value || p.apply(Drop, value) != "" || p.apply(Hash, "") != "" {
			t.Fatalf("%q is not kept or dropped", value)
		}
	})
	// Pinned: who changes this breaks every stored pseudonym.
	p := Privacy{Key: "key"}
	if got := p.apply(Hash, "02:00:5e:10:00:7f"); got != pinnedPseudonym {
		t.Errorf("HMAC-SHA256 gave %s", got)
	}
}

// pinnedPseudonym: printf %s 02:00:5e:10:00:7f | openssl dgst -sha256 -hmac key | cut -c-32
const pinnedPseudonym = "950f40b76de3d38509cb6b16d91a7fad"

func TestSessionsPassThePrivacySettings(t *testing.T) {
	const spellings = `{"data":[{"id":"1","location_id":"l","guest_device_mac":"02-00-5E-10-00-7F","guest_device_ip":"::ffff:10.0.0.1"},
		{"id":"2","location_id":"l","guest_device_mac":"02:00:5e:10:00:7f","guest_device_ip":"10.0.0.1"},
		{"id":"3","location_id":"l","guest_device_mac":"02:00:5e:10:00:80","guest_device_ip":"10.0.0.2"},{"id":"4","location_id":"l"}]}`
	page := func(p Privacy) Page {
		page, err := client(t, "http://h", func(cfg *Config) { cfg.Privacy = p }).DecodePage([]byte(spellings), Query{})
		if err != nil || len(page.Sessions) != 4 {
			t.Fatalf("%+v %v", page, err)
		}
		return page
	}
	hashed := page(Privacy{MAC: Hash, IP: Hash, Key: "key"}).Sessions
	if hashed[0].DeviceMAC != pinnedPseudonym || hashed[1].DeviceMAC != pinnedPseudonym || hashed[2].DeviceMAC == pinnedPseudonym ||
		hashed[0].DeviceIP != hashed[1].DeviceIP || hashed[0].DeviceIP == hashed[2].DeviceIP || hashed[0].DeviceIP == "10.0.0.1" ||
		hashed[3].DeviceMAC != "" || hashed[3].DeviceIP != "" {
		t.Errorf("%+v", hashed)
	}
	for _, s := range page(Privacy{MAC: Drop, IP: Drop}).Sessions {
		if s.DeviceMAC != "" || s.DeviceIP != "" {
			t.Errorf("%+v", s)
		}
	}
	if kept := page(Privacy{MAC: Keep, IP: Hash, Key: "key"}).Sessions; kept[0].DeviceMAC != "02:00:5e:10:00:7f" || kept[0].DeviceIP != hashed[0].DeviceIP {
		t.Errorf("%+v", kept)
	}
}

func TestPrivacySettingsAreChecked(t *testing.T) {
	for _, tc := range []struct {
		p    Privacy
		want string
	}{
		{Privacy{}, ""}, {Privacy{MAC: Drop, IP: Keep}, ""}, {Privacy{MAC: Hash, IP: Hash, Name: Hash, Email: Hash, Key: "k"}, ""},
		{Privacy{MAC: Hash}, "MAC needs a key"}, {Privacy{IP: Hash}, "IP needs a key"}, {Privacy{Name: Hash}, "name needs a key"},
		{Privacy{Email: Hash}, "e-mail needs a key"}, {Privacy{Name: "HASH", Key: "k"}, `"HASH" for name`},
	} {
		_, err := New(Config{BaseURL: "http://h", Privacy: tc.p})
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: %v, want %q", tc.p, err, tc.want)
		}
	}
}
