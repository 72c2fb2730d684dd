package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
)

// trial is a fault that is done to the real processes.
type trial struct {
	name        string
	short, long int // how many times
	// harm does it, and undoes it. Its error is a violation.
	harm func(m *machine, r *rand.Rand) error
	// missing is why it cannot be made here, with the remedy; empty when it can. Nil is
	// that it always can.
	missing func(m *machine) string
}

// between is a time in which a fault lasts, or that passes until it strikes.
func (m *machine) between(r *rand.Rand, low, high time.Duration) time.Duration {
	return (low + time.Duration(r.Int64N(int64(high-low)))) / m.haste
}

// trials are all of them. After each, an event has to come that was seen after it.
var trials = slices.Concat(processTrials, natsTrials, platformTrials, diskTrials, clockTrials)

var processTrials = []trial{
	{name: "kill -9 of guestflow", short: 6, long: 300, harm: func(m *machine, r *rand.Rand) error {
		time.Sleep(m.between(r, 50*time.Millisecond, 1500*time.Millisecond))
		m.kill()
		return m.start()
	}},
	{name: "SIGSTOP of guestflow", short: 1, long: 10, harm: func(m *machine, r *rand.Rand) error {
		return stopped(m.guestflow.Process, m.between(r, time.Second, 4*time.Second))
	}},
}

var platformTrials = []trial{
	{name: "TCP to the platform: cut", short: 1, long: 8, harm: cut(toPlatform)},
	{name: "TCP to the platform: half-open", short: 1, long: 6, harm: toxic(toPlatform, `{"type":"timeout","attributes":{"timeout":0}}`)},
	{name: "TCP to the platform: reset", long: 6, harm: toxic(toPlatform, `{"type":"reset_peer","attributes":{"timeout":50}}`)},
	{name: "TCP to the platform: slow", long: 6, harm: toxic(toPlatform, `{"type":"latency","attributes":{"latency":900,"jitter":500}}`)},
	{name: "TCP to the platform: slow close", long: 4, harm: both(toxic(toPlatform, `{"type":"slow_close","attributes":{"delay":2000}}`), cut(toPlatform))},
	{name: "TCP to the platform: 4 kB/s", long: 4, harm: toxic(toPlatform, `{"type":"bandwidth","attributes":{"rate":4}}`)},
	{name: "TCP to the platform: bodies broken off", long: 4, harm: toxic(toPlatform, `{"type":"limit_data","attributes":{"bytes":9000}}`)},
}

func stopped(p *os.Process, d time.Duration) error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	time.Sleep(d)
	return p.Signal(syscall.SIGCONT)
}

func both(a, b func(*machine, *rand.Rand) error) func(*machine, *rand.Rand) error {
	return func(m *machine, r *rand.Rand) error { return errors.Join(a(m, r), b(m, r)) }
}

func toNATS(m *machine) *toxiproxy.Proxy { return m.broker }

func toPlatform(m *machine) *toxiproxy.Proxy { return m.api }

// toxic poisons a way for some seconds.
func toxic(way func(*machine) *toxiproxy.Proxy, of string) func(*machine, *rand.Rand) error {
	return func(m *machine, r *rand.Rand) error {
		return poisoned(way(m), of, m.between(r, time.Second, 6*time.Second))
	}
}

func poisoned(p *toxiproxy.Proxy, of string, lasts time.Duration) error {
	t, err := p.Toxics.AddToxicJson(strings.NewReader(of))
	if err != nil {
		return err
	}
	time.Sleep(lasts)
	return p.Toxics.RemoveToxic(context.Background(), t.Name)
}

// cut ends the connections of a way, and refuses new ones for a while.
func cut(way func(*machine) *toxiproxy.Proxy) func(*machine, *rand.Rand) error {
	return func(m *machine, r *rand.Rand) error {
		way(m).Stop()
		time.Sleep(m.between(r, 0, 3*time.Second))
		return way(m).Start()
	}
}
