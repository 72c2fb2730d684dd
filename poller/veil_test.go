package poller

import (
	"strconv"
	"testing"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/platform"
)

// TestAnUnreadableRecordMayBeWhoComesNext: whom a record that could not be read may have
// been was not absent; all others were, also where the record stays for good.
func TestAnUnreadableRecordMayBeWhoComesNext(t *testing.T) {
	guest := &events.Session{ID: "s", GuestID: "g", DeviceMAC: "m", StartedAt: noon}
	at := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }
	for name, c := range map[string]struct {
		record platform.Skip
		want   time.Time // when the guest was not there
	}{
		"of the session":   {platform.Skip{ID: "s", Field: "location_id"}, at(0)},
		"of another one":   {platform.Skip{ID: "t", Field: "location_id"}, at(3)},
		"of the guest":     {platform.Skip{GuestID: "g", Field: "id"}, at(0)},
		"of another guest": {platform.Skip{GuestID: "h", Field: "id"}, at(3)},
		"of the start":     {platform.Skip{StartedAt: noon.In(time.FixedZone("", 3600)), Field: "id"}, at(0)},
		"of anybody":       {platform.Skip{Field: "record"}, at(0)},
	} {
		l := &location{tracking: diff.Tracking{Since: at(-9), SeenAt: at(0)}}
		for n := range 3 {
			l.veil.look(at(n+1), []platform.Skip{c.record})
		}
		if got := l.trackingOf(guest); !got.SeenAt.Equal(c.want) || !got.Since.Equal(at(-9)) {
			t.Errorf("%s: %+v, want it not to have been there at %v", name, got, c.want)
		}
		if n := len(l.veil.records); n != 1 {
			t.Errorf("%s: %d records are kept of one that stays", name, n)
		}
		l.veil.look(at(4), []platform.Skip{{ID: "other"}})
		if got := l.trackingOf(guest); c.want.Equal(at(0)) && !got.SeenAt.Equal(at(0)) {
			t.Errorf("%s: a later look, %v, forgot the record", name, got.SeenAt)
		}
	}
}

// TestAVeilIsBounded: of more records than are kept none is forgotten to have been there.
func TestAVeilIsBounded(t *testing.T) {
	l := &location{tracking: diff.Tracking{Since: noon, SeenAt: noon}}
	for n := range 2 * mostVeiled {
		l.veil.look(noon.Add(time.Duration(n+1)*time.Minute), []platform.Skip{{ID: strconv.Itoa(n)}})
	}
	last := noon.Add(mostVeiled * time.Minute)
	for _, id := range []string{strconv.Itoa(2*mostVeiled - 1), "nobody's"} {
		if got := l.trackingOf(&events.Session{ID: id}).SeenAt; !got.Equal(last) {
			t.Errorf("%s was not there at %v, want %v, the last look all of whose records are kept", id, got, last)
		}
	}
	if n := len(l.veil.records); n > mostVeiled+1 {
		t.Errorf("%d records are kept", n)
	}
	if l.veil.look(noon.Add(time.Hour), nil); len(l.veil.records) > 0 || !l.veil.seenAt.IsZero() {
		t.Errorf("a look whose records could all be read leaves %+v", l.veil)
	}
}
