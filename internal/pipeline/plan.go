package pipeline

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Plan is what the benchmark runs.
type Plan struct {
	// Online are the estates to measure, each by its number of sessions.
	Online []int
	// Known measures nothing of the estates but how long it takes until every session is
	// known, and what that costs.
	Known bool
	// Tell, where it is set, is told how far that is.
	Tell func(string)
	// Publishing measures the publisher.
	Publishing bool
	// Limits measures a consumer at 12,000 and at 60 requests a minute as well.
	Limits bool
	// Repeat is how often each is measured; the figures are medians.
	Repeat int
	// Turn is how long one is measured each time.
	Turn time.Duration
	// Events is how many events one turn publishes.
	Events int
	// Program is the path of guestflow's binary.
	Program string
	// Dir is where state and streams lie while the benchmark runs; empty is the
	// system's place for temporary files.
	Dir string
}

// Full is the whole benchmark: minutes.
func Full() Plan {
	return Plan{Online: []int{1000, 20_000, 100_000, 200_000}, Publishing: true, Limits: true, Repeat: 5, Turn: 3 * time.Second, Events: 20_000}
}

// Short is enough to see the ratios.
func Short() Plan {
	return Plan{Online: []int{20_000}, Publishing: true, Repeat: 5, Turn: time.Second, Events: 10_000}
}

// Row is one figure of an estate. A figure that was not measured is nil.
type Row struct {
	Figure     string   `json:"figure"`
	Online     int      `json:"online"`
	Guestflow  *float64 `json:"guestflow"`
	Naive      *float64 `json:"naive"`
	Bare       *float64 `json:"bare"`
	RatioNaive *float64 `json:"ratio_naive"`
	RatioBare  *float64 `json:"ratio_bare"`
}

// The figures.
const (
	// RecordsPerS are session records read a second; bare is a loop that reads and
	// discards pages.
	RecordsPerS = "records_per_s"
	// CPUPer100k are seconds of CPU for 100,000 records; bare reads and decodes them.
	CPUPer100k = "cpu_s_per_100k"
	// PeakMB is the largest resident memory; bare is that of reading and decoding.
	PeakMB = "peak_mb"
	// WritePerEvent are kB handed to write calls for an event, sockets included.
	WritePerEvent = "write_kb_per_event"
	// KnownS are the seconds from the start of a process until every session is known:
	// for guestflow, until each is published as well.
	KnownS = "known_s"
	// KnownCPUS, KnownPeakMB and KnownDiskMB are what that took: seconds of CPU, resident
	// memory at most, and the size of the state file.
	KnownCPUS, KnownPeakMB, KnownDiskMB = "known_cpu_s", "known_peak_mb", "known_disk_mb"
	// PublishPerS are events published a second; naive waits for each answer, bare is
	// PublishAsync with 256 pending.
	PublishPerS = "publish_per_s"
	// LimitShare is the part of 12,000 requests a minute that is used.
	LimitShare = "limit_share"
	// CPUAt60 is the part of a core that is used at 60 requests a minute, in percent.
	CPUAt60 = "cpu_percent_at_60"
)

// row makes a Row of the medians of what was measured.
func row(figure string, online int, guestflow, naive, bare []float64) Row {
	r := Row{Figure: figure, Online: online, Guestflow: median(guestflow), Naive: median(naive), Bare: median(bare)}
	r.RatioNaive, r.RatioBare = ratio(r.Guestflow, r.Naive), ratio(r.Guestflow, r.Bare)
	return r
}

func median(v []float64) *float64 {
	if len(v) == 0 {
		return nil
	}
	v = slices.Sorted(slices.Values(v))
	m := (v[(len(v)-1)/2] + v[len(v)/2]) / 2
	return &m
}

func ratio(a, b *float64) *float64 {
	if a == nil || b == nil || *b == 0 {
		return nil
	}
	r := *a / *b
	return &r
}

// Run measures, and calls show with each row as it is known.
func (p Plan) Run(ctx context.Context, show func(Row)) error {
	for _, online := range p.Online {
		if err := p.estate(ctx, online, show); err != nil {
			return fmt.Errorf("%d online: %w", online, err)
		}
	}
	if p.Limits {
		if err := p.limits(ctx, show); err != nil {
			return fmt.Errorf("at a limit: %w", err)
		}
	}
	if p.Publishing {
		if err := p.publishing(ctx, show); err != nil {
			return fmt.Errorf("publishing: %w", err)
		}
	}
	return nil
}
