package simulator

import (
	"encoding/json"
	"slices"
	"testing"
)

// TestGuestFaultNamesSomebodyElse: never the guest of the address alone with the
// right duration, and in each of its forms.
func TestGuestFaultNamesSomebodyElse(t *testing.T) {
	cfg := unlimited(small())
	var truth Recorder
	cfg.Truth = truth.Record
	cfg.Faults = []Fault{{Kind: FaultGuest}}
	s := New(cfg, newClock().now)
	usernames := map[string]string{}
	for _, x := range truth.All() {
		if x.Username != "" {
			usernames[x.Session] = x.Username
		}
	}
	forms := map[string]int{}
	online, _ := s.List(Query{Online: Online, PerPage: 100})
	for _, r := range online {
		body := get(s, "/sessions/"+r.DeviceIP).Body.Bytes()
		var several []ipRecord
		if json.Unmarshal(body, &several) != nil {
			several = make([]ipRecord, 1)
			if err := json.Unmarshal(body, &several[0]); err != nil {
				t.Fatal(err)
			}
		}
		right := func(x ipRecord) bool { return x.Username == usernames[r.ID] }
		switch first := several[0]; {
		case first.IP != r.DeviceIP || usernames[r.ID] == "":
			t.Fatalf("%s for %+v", body, r)
		case len(several) == 2 && slices.ContainsFunc(several, right):
			forms["disputed"]++
		case len(several) == 1 && !right(first) && first.Duration == 0:
			forms["passed on"]++
		case len(several) == 1 && !right(first) && first.Duration >= r.DurationSeconds+60:
			forms["elsewhere"]++
		default:
			t.Errorf("%s for %+v", body, r)
		}
	}
	if len(forms) != 3 {
		t.Errorf("of %d answers: %v", len(online), forms)
	}
}
