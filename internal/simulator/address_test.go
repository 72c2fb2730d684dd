package simulator

import (
	"net/http"
	"net/netip"
	"testing"
	"time"
)

// watchedAddresses lets a population live for minutes, and calls look with what the
// look-up answers for each address that was ever in use, and the sessions that truly have
// it.
func watchedAddresses(t *testing.T, cfg Config, look func(t int64, now []*session, last *session, found []AddressRecord, ok bool)) {
	t.Helper()
	c := newClock()
	s := New(cfg, c.now)
	last := map[netip.Addr]*session{}
	for range 60 {
		now := map[netip.Addr][]*session{}
		for _, x := range s.everything() {
			if x.online {
				a := netip.MustParseAddr(x.rec.DeviceIP)
				now[a], last[a] = append(now[a], x), x
			}
		}
		for a, x := range last {
			found, ok := s.LookUp([]netip.Addr{a})
			look(s.pop.now, now[a], x, found, ok)
		}
		c.add(5 * time.Second)
		s.Advance()
	}
}

func steady() Config {
	cfg := small()
	cfg.ResumeProbability, cfg.ChangeProbability, cfg.DevicesPerGuest, cfg.RoamProbability = 0, 0, 1, 0
	return cfg
}

func TestAddressesOfTheGone(t *testing.T) {
	for gone := GoneLeftOut; gone <= GoneLasting; gone++ {
		t.Run(gone.String(), func(t *testing.T) {
			cfg := steady()
			cfg.AddressGone = gone
			here, over := 0, 0
			watchedAddresses(t, cfg, func(at int64, now []*session, last *session, found []AddressRecord, ok bool) {
				if len(now) > 0 {
					if here++; !ok || len(found) != 1 || found[0].Duration != now[0].duration(at) {
						t.Fatalf("%s is online for %d s, told is %v", last.rec.ID, now[0].duration(at), found)
					}
					return
				}
				over++
				switch {
				case gone < GoneStale:
					if ok {
						t.Fatalf("%s is gone, told is %v", last.rec.ID, found)
					}
				case !ok || len(found) != 1:
					t.Fatalf("%s is gone, nothing is told", last.rec.ID)
				case gone == GoneStale && found[0].Duration != last.seconds:
					t.Fatalf("%s lasted %d s, told are %d", last.rec.ID, last.seconds, found[0].Duration)
				case gone == GoneLasting && found[0].Duration < last.seconds+(at-last.end)/int64(time.Second):
					t.Fatalf("%s lasted %d s and ended %d s ago, told are %d", last.rec.ID, last.seconds, (at-last.end)/1e9, found[0].Duration)
				}
			})
			if here < 1000 || over < 100 {
				t.Errorf("only %d answers for who is there, %d for who is gone", here, over)
			}
		})
	}
}

// TestSeveralAddresses: those that nobody has are left out, or cost all the answer.
func TestSeveralAddresses(t *testing.T) {
	nobody := netip.MustParseAddr("172.31.255.255")
	for gone, want := range map[AddressGone]int{GoneLeftOut: 2, GoneNotFound: -1} {
		cfg := unlimited(steady())
		cfg.AddressGone = gone
		s := New(cfg, newClock().now)
		online, _ := s.List(Query{Online: Online, PerPage: 2})
		a, b := netip.MustParseAddr(online[0].DeviceIP), netip.MustParseAddr(online[1].DeviceIP)
		if found, ok := s.LookUp([]netip.Addr{a, nobody, b}); ok != (want > 0) || ok && len(found) != want {
			t.Errorf("%v: %v, %t", gone, found, ok)
		}
		w := get(s, "/sessions/"+a.String()+","+nobody.String()+","+b.String())
		if status := map[bool]int{true: http.StatusOK, false: http.StatusNotFound}[want > 0]; w.Code != status {
			t.Errorf("%v: HTTP %d, want %d", gone, w.Code, status)
		}
		if found, ok := s.LookUp([]netip.Addr{a, b}); !ok || len(found) != 2 {
			t.Errorf("%v: %v, %t for two who are there", gone, found, ok)
		}
	}
}

// TestSharedAddresses: how many sessions have an address to themselves; it answers for
// one of those who have it.
func TestSharedAddresses(t *testing.T) {
	for sharing, want := range map[AddressSharing][2]float64{AddressesUnique: {1, 1}, AddressesHalf: {0.5, 0.65}, AddressesPerVenue: {0, 0.25}} {
		cfg, err := Estate("E2")
		if err != nil {
			t.Fatal(err)
		}
		cfg.Addresses, cfg.HistoryBefore = sharing, time.Minute
		s := New(cfg, newClock().now)
		holders := map[netip.Addr][]*session{}
		n := 0
		for _, x := range s.everything() {
			if x.online {
				a := netip.MustParseAddr(x.rec.DeviceIP)
				holders[a] = append(holders[a], x)
				n++
			}
		}
		alone := 0
		for a, of := range holders {
			if len(of) == 1 {
				alone++
			}
			venues := map[int]bool{}
			for _, x := range of {
				venues[x.venue] = true
			}
			found, ok := s.LookUp([]netip.Addr{a})
			matches := 0
			for _, x := range of {
				if ok && x.duration(s.pop.now) == found[0].Duration {
					matches++
				}
			}
			if matches == 0 {
				t.Fatalf("%v: %s is answered with %v", sharing, a, found)
			}
		}
		if share := float64(alone) / float64(n); share < want[0] || share > want[1] {
			t.Errorf("%v: %.2f of the sessions have an address to themselves, want %v", sharing, share, want)
		}
	}
}

// TestLatestDecides: an older session is not found once a younger one of its address has
// ended.
func TestLatestDecides(t *testing.T) {
	cfg := steady()
	cfg.Addresses, cfg.AddressGone = AddressesPerVenue, GoneLatest
	hidden := 0
	watchedAddresses(t, cfg, func(_ int64, now []*session, last *session, found []AddressRecord, ok bool) {
		if len(now) > 0 && !ok {
			hidden++
		}
	})
	if hidden == 0 {
		t.Error("everybody online was found")
	}
}

func TestCoarseDurations(t *testing.T) {
	cfg := steady()
	cfg.AddressGrain = time.Minute
	watchedAddresses(t, cfg, func(at int64, now []*session, _ *session, found []AddressRecord, ok bool) {
		if len(now) == 0 {
			return
		}
		if d := now[0].duration(at); !ok || found[0].Duration != d/60*60 {
			t.Fatalf("%d s are told as %v", d, found)
		}
	})
}

func TestAddressLies(t *testing.T) {
	cfg := steady()
	cfg.AddressLies = 0.05
	asked, wrong := 0.0, 0.0
	watchedAddresses(t, cfg, func(at int64, now []*session, _ *session, found []AddressRecord, ok bool) {
		if len(now) == 0 {
			return
		}
		asked++
		if !ok || found[0].Duration != now[0].duration(at) {
			wrong++
		}
	})
	if share := wrong / asked; share < 0.03 || share > 0.07 {
		t.Errorf("%.3f of %.0f answers are wrong, want 0.05", share, asked)
	}
}

func TestAddressNames(t *testing.T) {
	for g := GoneLeftOut; g <= GoneLasting; g++ {
		if got, err := ParseAddressGone(g.String()); err != nil || got != g {
			t.Errorf("%v: %v, %v", g, got, err)
		}
	}
	for a := AddressesUnique; a <= AddressesPerVenue; a++ {
		if got, err := ParseAddressSharing(a.String()); err != nil || got != a {
			t.Errorf("%v: %v, %v", a, got, err)
		}
	}
	if _, err := ParseAddressGone("x"); err == nil {
		t.Error("x is an answer")
	}
	if _, err := ParseAddressSharing("x"); err == nil {
		t.Error("x is a sharing")
	}
}
