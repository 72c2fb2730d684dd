package events

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func TestIDsOfALifeAreDistinctAndStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seen := map[string]int{}
		for i, e := range life(t) {
			if j, ok := seen[e.ID]; ok {
				t.Fatalf("events %d and %d have id %s", j, i, e.ID)
			}
			seen[e.ID] = i
			if again := e.Sealed().ID; again != e.ID {
				t.Fatalf("event %d sealed to %s and to %s", i, e.ID, again)
			}
		}
	})
}

// TestIDNamesTheChange says what of an event makes another change of it, and what
// is only how the change was seen.
func TestIDNamesTheChange(t *testing.T) {
	for _, c := range []struct {
		name                    string
		damage                  func(*Event)
		presence, figures, text bool // does the id of a started, traffic, updated event change?
	}{
		{"account", func(e *Event) { e.Account = "x" }, true, true, true},
		{"session", func(e *Event) { e.Data.Session.ID = "x" }, true, true, true},
		{"episode", func(e *Event) { e.Data.Episode++ }, true, true, true},
		{"kind", func(e *Event) { e.Kind = Ended }, true, true, true},
		{"revision", func(e *Event) { e.Data.Revision++ }, false, true, true},
		{"download", func(e *Event) { e.Data.Session.Downloaded.Value++ }, false, true, true},
		{"upload", func(e *Event) { e.Data.Session.Uploaded.Value++ }, false, true, true},
		{"attribute", func(e *Event) { e.Data.Session.DeviceIP = "10.0.0.1" }, false, true, true},
		{"start", func(e *Event) { e.Data.Session.StartedAt = e.Data.Session.StartedAt.Add(1) }, false, true, true},
		{"rounding", func(e *Event) { e.Data.Session.Downloaded.Error++ }, false, false, false},
		{"time seen", func(e *Event) { e.Data.Observed.At = e.Data.Observed.At.Add(1) }, false, false, false},
		{"time", func(e *Event) { e.Time = e.Time.Add(1) }, false, false, false},
		{"previous", func(e *Event) { e.Data.Previous = nil }, false, false, false},
	} {
		for i, want := range []bool{c.presence, c.figures, c.text} {
			e := samples()[i]
			was := e.ID
			c.damage(&e)
			if got := e.Sealed().ID != was; got != want {
				t.Errorf("%s of a %s event: another id is %t, want %t", c.name, samples()[i].Kind, got, want)
			}
		}
	}
}

func TestIDsDoNotRunIntoEachOther(t *testing.T) {
	a, b := sample(), sample()
	a.Account, a.Data.Session.ID = "ab", "c"
	b.Account, b.Data.Session.ID = "a", "bc"
	if a.Sealed().ID == b.Sealed().ID {
		t.Error("account ab, session c has the id of account a, session bc")
	}
}

func TestIDIsThatOfVersion1(t *testing.T) {
	// Published ids must never change: consumers deduplicate by them.
	const want = "rtm3lh76axbubwd42lbk6uycty"
	if got := sample().ID; got != want {
		t.Errorf("id %s, want %s", got, want)
	}
}

// restore puts the values of p back into s.
func restore(s Session, p *Previous) Session {
	if p == nil {
		return s
	}
	into := s.attributes()
	for i, v := range p.attributes() {
		if *v != nil {
			*into[i] = **v
		}
	}
	if p.StartedAt != nil {
		s.StartedAt = *p.StartedAt
	}
	if p.DurationSeconds != nil {
		s.DurationSeconds = *p.DurationSeconds
	}
	if p.DownloadedBytes != nil {
		s.Downloaded.Value = *p.DownloadedBytes
	}
	if p.UploadedBytes != nil {
		s.Uploaded.Value = *p.UploadedBytes
	}
	return s
}

func TestPreviousRestoresTheOldSession(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old := genSession().Draw(t, "old")
		s := old
		if rapid.Bool().Draw(t, "another") {
			s = altered(t, old)
		}
		if rapid.Bool().Draw(t, "same figures") {
			s.Downloaded, s.Uploaded, s.DurationSeconds = old.Downloaded, old.Uploaded, old.DurationSeconds
		}
		p := s.Replaced(&old)
		back, want := restore(s, p), old
		want.Downloaded.Error, want.Uploaded.Error = s.Downloaded.Error, s.Uploaded.Error
		if s.Downloaded.Value == old.Downloaded.Value && s.Uploaded.Value == old.Uploaded.Value {
			want.DurationSeconds = s.DurationSeconds // it grows with time alone
		}
		if !reflect.DeepEqual(back, want) {
			t.Fatalf("restored %v, want %v", back, want)
		}
	})
}

func TestNothingReplacedIsNil(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old := genSession().Draw(t, "old")
		s := old
		s.DurationSeconds++
		s.Downloaded.Error++
		if p := s.Replaced(&old); p != nil {
			t.Fatalf("a session that only grew older replaced %v", p)
		}
	})
}

func TestKindsAreTheValidOnes(t *testing.T) {
	arrivals := map[Kind]bool{Discovered: true, Started: true, Resumed: true}
	for _, k := range Kinds() {
		if !k.Valid() || k.Arrival() != arrivals[k] {
			t.Errorf("%s: valid %t, arrival %t", k, k.Valid(), k.Arrival())
		}
	}
	if len(Kinds()) != 6 || Kind("").Valid() || Kind("merged").Valid() || Kind("merged").Arrival() {
		t.Error("there are other kinds than the six")
	}
}
