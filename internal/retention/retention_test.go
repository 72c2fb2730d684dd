package retention

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/visits"
)

func TestAPolicyIsOneLine(t *testing.T) {
	const hour = time.Hour
	for text, want := range map[string][]Copy{
		"":                 nil,
		"events=17520h":    nil,
		"email,name=9000h": nil, // longer than events
		"email,name=720h":  {{[]Field{Email, Name}, 8000 * hour}},
		" Email , name = 720h; mac,ip=2160h ;events=17520h;": {{[]Field{Email, Name}, 2160 * hour}, {[]Field{Email, IP, MAC, Name}, 17520 * hour}},
		"guest=24h; email=48h; mac=24h":                      {{[]Field{Guest, MAC}, 48 * hour}, {[]Field{Email, Guest, MAC}, 8000 * hour}},
	} {
		p, err := Parse(text, 8000*hour)
		if got := p.Copies(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	p, _ := Parse("email,name=720h; mac,ip=2160h", 0)
	if got, want := p.String(), "email,name=720h; ip,mac=2160h; events=for ever"; got != want {
		t.Errorf("in words %q, want %q", got, want)
	}
	if p.Age() != 720*hour || p.Age(Email, Name) != 2160*hour || p.Age(Fields()...) != 0 || p.Of(Email) != 720*hour || p.Of(Guest) != 0 {
		t.Errorf("ages of %v are wrong", p)
	}
	if c := p.Copies()[1]; c.Stream("S") != "S_WITHOUT_EMAIL_IP_MAC_NAME" || c.Prefix("guest.sessions") != "guest.sessions-without-email-ip-mac-name" {
		t.Errorf("the last copy is %s, %s", c.Stream("S"), c.Prefix("guest.sessions"))
	}
	for text, says := range map[string]string{
		"email": "write fields", "email=x": "write fields", "email=-1h": "write fields", "e-mail=1h": "no field", "email=1h;email=2h": "twice", "events=1h;events=2h": "twice", "=1h": "no field",
	} {
		if _, err := Parse(text, 0); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want that it says %q", text, err, says)
		}
	}
}

// full is a session event that has every field.
func full() events.Event {
	was := "was"
	e := events.Event{Account: "default", Kind: events.Started, Time: noon, Data: events.Data{Revision: 1, Observed: events.Observed{At: noon, Guest: events.GuestConfirmed}}}
	e.Data.Guest = &events.Guest{Username: "annie", Name: "Ann", Email: "ann@x.org"}
	e.Data.Session = events.Session{
		ID: "1", LocationID: "bar", Online: true, GuestID: "guest 7", YasID: "yas", AccessCode: "code", DeviceMAC: "mac", DeviceDescription: "Ann's phone", DeviceIP: "ip",
		StartedAt: noon, DurationSeconds: 7, Downloaded: events.Bytes{Value: 5},
	}
	e.Data.Previous = &events.Previous{GuestID: &was, YasID: &was, AccessCode: &was, DeviceMAC: &was, DeviceIP: &was, DeviceDescription: &was}
	return e
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// TestEachFieldGoesAlone: what is taken out is out, what is not stays, and the id too.
func TestEachFieldGoesAlone(t *testing.T) {
	texts := map[Field][]string{
		Email: {`"ann@x.org"`}, Name: {`"Ann"`, `"annie"`}, MAC: {`"mac"`, `"Ann's phone"`}, IP: {`"ip"`}, Guest: {`"guest 7"`, `"yas"`, `"code"`},
	}
	for _, f := range append(Fields(), "") {
		e, c := full(), Copy{Without: []Field{f}}
		if f == "" {
			c.Without = Fields()
		}
		c.strip(&e)
		body, err := events.Encode(e.Sealed())
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		for of, values := range texts {
			for _, v := range values {
				if has := strings.Contains(string(body), v); has == c.lacks(of) {
					t.Errorf("without %v: it has %s: %v\n%s", c.Without, v, has, body)
				}
			}
		}
		if f != "" {
			continue
		}
		if p := e.Data.Previous; p.DeviceDescription == nil || *p.DeviceDescription != "" || e.Data.Observed.Guest != "" {
			t.Errorf("an event of which nothing is left to have changed names no change: %s", body)
		}
		if before := full(); *before.Data.Previous.GuestID != "was" || before.Data.Session.Downloaded != e.Data.Session.Downloaded {
			t.Error("another event has changed as well, or a figure")
		}
	}
	v := visits.Event{Data: visits.Data{Guest: full().Data.Guest}}
	v.Data.Visit.GuestID, v.Data.Visit.DeviceMAC = "guest", "mac"
	Copy{Without: []Field{Email, MAC}}.stripVisit(&v)
	if g := v.Data.Guest; g.Email != "" || g.Name != "Ann" || v.Data.Visit.DeviceMAC != "" || v.Data.Visit.GuestID != "guest" {
		t.Errorf("a visit without e-mail address and MAC is %+v", v.Data)
	}
}
