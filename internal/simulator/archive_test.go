package simulator

import (
	"math"
	"testing"
	"time"
)

// withArchive is small with ten days of history, busy by day.
func withArchive() Config {
	cfg := small()
	cfg.Archive, cfg.ArchiveSpeed = 10*24*time.Hour, 0.2
	cfg.ReturnProbability = 0.5
	for i := range cfg.Locations {
		week := make([]float64, weekHours)
		for h := range week {
			week[h] = 1
			if h%24 >= 8 && h%24 < 20 {
				week[h] = 3
			}
			if h >= 5*24 {
				week[h] /= 2
			}
		}
		cfg.Locations[i].Week = week
	}
	return cfg
}

func TestUnmixUndoesMix(t *testing.T) {
	for i := range uint64(1000) {
		if v := i * 0x9e3779b97f4a7c15; unmix(mix(v)) != v {
			t.Fatalf("%x becomes %x", v, unmix(mix(v)))
		}
	}
}

// TestArchiveChangesNobody: who comes and goes from the start on is the same with any
// archive, and all of it ended before the other history begins.
func TestArchiveChangesNobody(t *testing.T) {
	lives := func(cfg Config) (all []Truth) {
		c := newClock()
		cfg.Truth = func(x Truth) { all = append(all, x) }
		s := New(cfg, c.now)
		if cfg.Archive > 0 {
			n, keep := 0, noon.Add(-time.Hour)
			for _, x := range all {
				if x.Kind == TruthEnd && !x.Time.After(keep) {
					n++
				}
			}
			if got := len(s.pop.archive.all); got < 1000 || n != got {
				t.Fatalf("%d of %d sessions of the archive ended before the other history", n, got)
			}
			all = all[:len(all)-2*len(s.pop.archive.all)]
		}
		c.add(10 * time.Minute)
		s.List(Query{PerPage: 100, Page: 30})
		c.add(10 * time.Minute)
		s.Advance()
		return all
	}
	cfg := withArchive()
	with := lives(cfg)
	cfg.Archive = 0
	without := lives(cfg)
	if len(with) != len(without) {
		t.Fatalf("%d records of the truth, without an archive %d", len(with), len(without))
	}
	for i := range with {
		if with[i].Kind != TruthServed && (with[i].Kind != without[i].Kind || with[i].Session != without[i].Session || !with[i].Time.Equal(without[i].Time)) {
			t.Fatalf("record %d is %+v, without an archive %+v", i, with[i], without[i])
		}
	}
}

// TestArchiveFollowsTheWeek: as many were online as the venue's mean and its week say.
func TestArchiveFollowsTheWeek(t *testing.T) {
	cfg := withArchive()
	s := New(cfg, newClock().now)
	s.pop.unpack()
	for _, v := range s.pop.venues {
		mean := v.MeanOnline
		if mean == 0 {
			mean = v.ArrivalsPerHour * v.stay.Mean.Hours()
		}
		var online [24]float64 // of workdays
		days := 0.0
		for day := noon.Add(-9*24*time.Hour - 12*time.Hour); day.Before(noon.Add(-24 * time.Hour)); day = day.Add(24 * time.Hour) {
			if w := day.Weekday(); w == time.Saturday || w == time.Sunday {
				continue
			}
			days++
			for h := range online {
				at := day.Add(time.Duration(h)*time.Hour + 30*time.Minute).UnixNano()
				for _, x := range s.pop.archive.all {
					if int(x.venue) == v.index && x.start <= at && x.end > at {
						online[h]++
					}
				}
			}
		}
		night, noon := (online[2]+online[3]+online[4])/3/days, (online[12]+online[13]+online[14])/3/days
		for what, is := range map[string][2]float64{"noon": {noon, mean * v.week[12]}, "night": {night, mean * v.week[3]}} {
			if math.Abs(is[0]-is[1]) > 4*math.Sqrt(is[1]/days)+0.1*is[1] {
				t.Errorf("%s at %s: %.1f online, want %.1f", what, v.Name, is[0], is[1])
			}
		}
	}
}

// TestRegularsCameBefore: who comes again has a history of as long as the archive reaches,
// and counts by guest and day are those of the list.
func TestRegularsCameBefore(t *testing.T) {
	s := New(withArchive(), newClock().now)
	online, _ := s.List(Query{Online: Online, PerPage: 100})
	regulars := 0
	for _, x := range online {
		before, more := s.List(Query{Guest: x.GuestID, Online: Offline, PerPage: 100})
		days := map[time.Time]int{}
		for _, was := range before {
			if was.GuestID != x.GuestID || was.Online {
				t.Fatalf("asked for guest %s, who is gone: %+v", x.GuestID, was)
			}
			days[was.StartedAt.Truncate(24*time.Hour)]++
		}
		for day, n := range days {
			from, after := s.Count(Query{Guest: x.GuestID, Online: Offline, StartDay: day}), s.Count(Query{Guest: x.GuestID, Online: Offline, StartDay: day.AddDate(0, 0, 1)})
			if !more && from-after != n {
				t.Errorf("guest %s on %v: %d by counts, %d in the list", x.GuestID, day, from-after, n)
			}
		}
		if len(days) > 5 {
			regulars++
		}
	}
	if regulars < len(online)/10 {
		t.Errorf("%d of %d guests came on more than five days", regulars, len(online))
	}
}
