package simulator

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestConfigErrorsListAllThatIsWrong(t *testing.T) {
	cfg := Config{
		Locations: []Location{{ID: "a"}, {ID: "a", MeanOnline: -1}, {}},
		Rhythm:    []float64{1, 2}, Stay: Stay{Mean: -time.Second}, AccountingInterval: -1, DevicesPerGuest: 0.5,
		Speed: -1, IPPool: 1 << 30, ByteBase: 1001, Order: 9, Window: time.Millisecond, PerPageFixed: -1,
		RebootsPerHour: -1, StartGrain: 90 * time.Millisecond, Addresses: 7, AddressGone: 9, AddressGrain: time.Millisecond, AddressLies: 2,
		RoamProbability: 0.6, ResumeProbability: 0.6, MoveProbability: 2,
		Bursts: []Burst{{Location: 3}, {Leave: 2}},
	}
	err := cfg.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"Locations[1]: id", "Locations[2]: id", "Locations[1]: MeanOnline", "Rhythm has 2", "Stay is", "AccountingInterval",
		"DevicesPerGuest", "Speed", "IPPool", "ByteBase", "Order", "Window", "PerPageFixed", "RebootsPerHour", "StartGrain", "MoveProbability",
		"Addresses is", "AddressGone", "AddressGrain", "AddressLies",
		"RoamProbability + ResumeProbability", "Bursts[0]", "Bursts[1]",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if err := (Config{}).Validate(); err == nil || !strings.Contains(err.Error(), "Locations is empty") {
		t.Errorf("no venue: %v", err)
	}
	if err := (Config{Locations: []Location{{ID: "x"}}, Rhythm: make([]float64, 24)}).Validate(); err == nil {
		t.Error("an endless night is accepted")
	}
	defer func() {
		if recover() == nil {
			t.Error("New takes what Validate refuses")
		}
	}()
	New(cfg, newClock().now)
}

func TestEstatesAreThoseOfTheBenchmark(t *testing.T) {
	for name, want := range map[string]struct {
		venues int
		online float64
	}{
		"E1": {20, 600}, "e2": {200, 3000}, "E3": {1000, 3820}, "E4": {51, 6000}, "E5": {5, 1500},
		"E6": {300, 12000}, "E7": {200, 3000}, "E8": {11, 5800}, "E9": {200, 3000}, "E10": {200, 3000}, "demo": {20, 435},
	} {
		cfg, err := Estate(name)
		if err != nil || cfg.Validate() != nil {
			t.Fatal(err, cfg.Validate())
		}
		sum := 0.0
		for _, l := range cfg.Locations {
			sum += l.MeanOnline
		}
		if len(cfg.Locations) != want.venues || math.Abs(sum-want.online) > 0.5 {
			t.Errorf("%s: %d venues, %.1f online", name, len(cfg.Locations), sum)
		}
	}
	if _, err := Estate("E11"); err == nil || !strings.Contains(err.Error(), "E1, E2") {
		t.Errorf("E11: %v", err)
	}
	e9, _ := Estate("E9")
	e10, _ := Estate("E10")
	if !e9.Ties || e9.RebootsPerHour != 1 || !e10.Ties || e10.StartGrain != time.Minute {
		t.Errorf("E9: ties %t, %v reboots; E10: ties %t, grain %v", e9.Ties, e9.RebootsPerHour, e10.Ties, e10.StartGrain)
	}
	for _, name := range append(Estates(), "demo") {
		if !strings.Contains(EstateHelp(), name) {
			t.Errorf("the help leaves out %s", name)
		}
	}
}

func TestDemoIsLively(t *testing.T) {
	cfg := Demo()
	c := newClock()
	kinds := map[TruthKind]int{}
	venues := map[string]bool{}
	live := false
	cfg.Truth = func(x Truth) {
		if live {
			kinds[x.Kind]++
			venues[x.Location] = true
		}
	}
	s := New(cfg, c.now)
	live = true
	c.add(time.Minute)
	s.Advance()
	if kinds[TruthStart] < 20 || kinds[TruthEnd] < 20 || kinds[TruthTraffic] < 500 || kinds[TruthUpdate] == 0 || kinds[TruthResume] == 0 || len(venues) != 20 {
		t.Errorf("in a minute at %d venues: %v", len(venues), kinds)
	}
}

func TestOrdersParse(t *testing.T) {
	for o := NewestFirst; o <= Moving; o++ {
		if got, err := ParseOrder(o.String()); err != nil || got != o {
			t.Errorf("%v: %v %v", o, got, err)
		}
	}
	if _, err := ParseOrder("random"); err == nil || !strings.Contains(err.Error(), "shuffled") {
		t.Errorf("%v", err)
	}
}
