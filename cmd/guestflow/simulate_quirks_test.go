package main

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/internal/simulator"
)

func quirks(t *testing.T, estate string, args ...string) (simulator.Config, error) {
	t.Helper()
	var f quirkFlags
	c := &cobra.Command{}
	f.register(c)
	if err := c.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	cfg, err := simulator.Estate(estate)
	if err != nil {
		t.Fatal(err)
	}
	return cfg, f.apply(&cfg)
}

// TestNoQuirkChangesNothing: each estate simulates what it is for.
func TestNoQuirkChangesNothing(t *testing.T) {
	for _, estate := range append(simulator.Estates(), "demo") {
		got, err := quirks(t, estate)
		want, _ := simulator.Estate(estate)
		want.DayZone = time.UTC
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v %v", estate, got, err)
		}
	}
}

func TestQuirksAreSet(t *testing.T) {
	got, err := quirks(t, "E1", "--ties", "--reboots=2", "--largest=1500", "--start-grain=1m", "--day-zone=-08:00", "--exclusive-dates",
		"--zoneless", "--null-date=now", "--wrap-durations", "--cut-figures", "--decimal-comma", "--unreadable=location", "--unreadable=id:2%",
		"--addresses=half", "--gone-address=stale", "--address-grain=1m", "--address-lies=0.01", "--replica-lag=5s")
	if err != nil {
		t.Fatal(err)
	}
	if _, offset := time.Now().In(got.DayZone).Zone(); offset != -8*3600 {
		t.Errorf("zone %v", got.DayZone)
	}
	want, _ := simulator.Estate("E1")
	want.Ties, want.RebootsPerHour, want.StartGrain, want.ExclusiveDates, want.Zoneless = true, 2, time.Minute, true, true
	want.NullDate, want.DurationWraps, want.CutFigures, want.DecimalComma = simulator.NullDateNow, true, true, true
	want.Unreadable = []simulator.Unreadable{{Field: "location_id", First: 1}, {Field: "id", Share: 0.02}}
	want.Addresses, want.AddressGone, want.AddressGrain, want.AddressLies = simulator.AddressesHalf, simulator.GoneStale, time.Minute, 0.01
	want.ReplicaLag = 5 * time.Second
	want.Locations[0].MeanOnline, want.DayZone = 1500, got.DayZone
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
}

func TestQuirksSayWhatIsWrong(t *testing.T) {
	for _, arg := range []string{
		"--reboots=-1", "--reboots=NaN", "--largest=-1", "--largest=+Inf", "--start-grain=-1s", "--day-zone=Atlantis", "--day-zone=Local",
		"--null-date=never", "--addresses=none", "--gone-address=never", "--unreadable=guest", "--unreadable=id:0",
	} {
		if _, err := quirks(t, "E1", arg); err == nil || !strings.Contains(err.Error(), "use ") {
			t.Errorf("%s: %v", arg, err)
		}
	}
}
