package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/internal/simulator"
)

// quirkFlags are the ways in which a real platform differs from a tidy one.
type quirkFlags struct {
	ties                                bool
	reboots, largest                    float64
	startGrain, replicaLag              time.Duration
	dayZone                             string
	exclusiveDates, zoneless            bool
	nullDate                            string
	wrapDurations, cutFigures, decComma bool
	unreadable                          []string
	addresses, goneAddress              string
	addressGrain                        time.Duration
	addressLies                         float64
}

func (f *quirkFlags) register(c *cobra.Command) {
	flags := c.Flags()
	flags.BoolVar(&f.ties, "ties", false, "give equal starts another order in each page, size and filter, and at each update")
	flags.Float64Var(&f.reboots, "reboots", 0, "how often an hour each location's sessions all end and begin anew (default the estate's own)")
	flags.Float64Var(&f.largest, "largest", 0, "sessions online at the first location, on average (default the estate's own)")
	flags.DurationVar(&f.startGrain, "start-grain", 0, "what shown starts are cut to (default the estate's own, which is 1s unless it says so)")
	flags.DurationVar(&f.replicaLag, "replica-lag", 0, "answer every other request for sessions, at random, from a replica that is so far behind")
	flags.StringVar(&f.dayZone, "day-zone", "", "zone in which days are read, as a name or +hh:mm (default UTC)")
	flags.BoolVar(&f.exclusiveDates, "exclusive-dates", false, "read \"started after\" and \"ended before\" a day as not on that day")
	flags.BoolVar(&f.zoneless, "zoneless", false, "show start_time and end_time as local times of --day-zone, without a zone")
	flags.StringVar(&f.nullDate, "null-date", "null", "end_time of who is online: null, empty, zeros, carbon, epoch or now")
	flags.BoolVar(&f.wrapDurations, "wrap-durations", false, "show durations modulo 24 h")
	flags.BoolVar(&f.cutFigures, "cut-figures", false, "cut byte figures instead of rounding them")
	flags.BoolVar(&f.decComma, "decimal-comma", false, "write byte figures with a decimal comma")
	flags.StringVar(&f.addresses, "addresses", "unique", "IP addresses: unique, half (every other session's is in use at other venues too) or venue (all are)")
	flags.StringVar(&f.goneAddress, "gone-address", "left-out", "what the look-up by address answers for one whose session has ended: left-out, not-found (404, whatever else\nwas asked), latest (left out, even if an older session of the address is online), stale (that session) or\nlasting (that session, as if it were online)")
	flags.DurationVar(&f.addressGrain, "address-grain", time.Second, "what durations of the look-up by address are cut to")
	flags.Float64Var(&f.addressLies, "address-lies", 0, "share of the sessions online about which the look-up by address answers wrongly, each for a minute")
	flags.StringArrayVar(&f.unreadable, "unreadable", nil, "show the first session with null as its location or id, repeatable;\nlocation:3 is the first three, id:2% a share of all")
}

// apply sets what was asked for, and leaves the rest as the estate has it.
func (f *quirkFlags) apply(cfg *simulator.Config) error {
	for _, v := range []struct {
		flag        string
		value, most float64
	}{{"reboots", f.reboots, 3600}, {"largest", f.largest, 1e5}, {"start-grain", f.startGrain.Seconds(), 86400}, {"replica-lag", f.replicaLag.Seconds(), 3600}} {
		if !(v.value >= 0 && v.value <= v.most) {
			return usageError(fmt.Sprintf("--%s is %v; use 0 to %v", v.flag, v.value, v.most))
		}
	}
	if f.ties {
		cfg.Ties = true
	}
	if f.reboots > 0 {
		cfg.RebootsPerHour = f.reboots
	}
	if f.largest > 0 {
		cfg.Locations[0].MeanOnline = f.largest
	}
	if f.startGrain > 0 {
		cfg.StartGrain = f.startGrain
	}
	cfg.ReplicaLag = f.replicaLag
	cfg.ExclusiveDates, cfg.Zoneless = f.exclusiveDates, f.zoneless
	cfg.DurationWraps, cfg.CutFigures, cfg.DecimalComma = f.wrapDurations, f.cutFigures, f.decComma
	var err error
	if cfg.DayZone, err = zone(f.dayZone); err != nil {
		return usageError(err.Error())
	}
	if cfg.NullDate, err = simulator.ParseNullDate(f.nullDate); err != nil {
		return usageError(err.Error())
	}
	if cfg.Addresses, err = simulator.ParseAddressSharing(f.addresses); err != nil {
		return usageError(err.Error())
	}
	if cfg.AddressGone, err = simulator.ParseAddressGone(f.goneAddress); err != nil {
		return usageError(err.Error())
	}
	if f.addressGrain != time.Second {
		cfg.AddressGrain = f.addressGrain
	}
	cfg.AddressLies = f.addressLies
	for _, text := range f.unreadable {
		u, err := simulator.ParseUnreadable(text)
		if err != nil {
			return usageError(err.Error())
		}
		cfg.Unreadable = append(cfg.Unreadable, u)
	}
	return nil
}

// zone reads a name or an offset; none is UTC.
func zone(name string) (*time.Location, error) {
	if at, err := time.Parse("-07:00", name); err == nil {
		_, offset := at.Zone()
		return time.FixedZone(name, offset), nil
	}
	z, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, fmt.Errorf("--day-zone %q is not known; use a name such as America/New_York, or an offset such as -05:00", name)
	}
	return z, nil
}
