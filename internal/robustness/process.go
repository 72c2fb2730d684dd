package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/internal/simulator"
)

// processes does what may befall them to the real processes.
func processes(_ *testing.T, all *table) { try(all, trials, realProcesses) }

const realProcesses = "the real processes"

// hostility lets others mean harm to them.
func hostility(_ *testing.T, all *table) { try(all, hostileTrials, "those who mean harm") }

// try does every trial to the real processes, in an order that a seed decides, and
// holds the stream against the truth at the end. A violation counts for the trial that
// it is seen in; those of the stream as a whole have a row of their own.
func try(all *table, trials []trial, with string) {
	seed := all.options.from
	m, err := newMachine(seed, with == realProcesses && !all.options.short && all.options.needsClock())
	if err != nil {
		all.fail(with, err)
		return
	}
	defer m.close()
	calm := 8 * time.Second
	if all.options.short {
		m.haste, calm = 3, 8*time.Second
	}
	if err := m.start(); err != nil {
		all.fail(with, err)
		return
	}
	if err := m.goesOn(time.Minute); err != nil {
		all.fail(with, err)
		return
	}
	rows := make([]row, len(trials))
	r := rand.New(rand.NewPCG(seed, 17))
	for n, i := range m.schedule(trials, all.options, r) {
		if n%20 == 19 {
			time.Sleep(calm) // What is served between faults has to be in the stream.
		}
		t := &trials[i]
		rows[i].Guarantee, rows[i].Faults = "all of these, with "+with, t.name
		rows[i].Trials++
		began := m.sim.Now()
		m.tried = append(m.tried, began.Format(time.TimeOnly)+" "+t.name)
		err := t.harm(m, r)
		m.excuse(began)
		if err == nil {
			err = m.goesOn(30 * time.Second)
		}
		if err != nil {
			rows[i].Violations++
			all.tell("%s: %v", t.name, err)
			if m.lives() != nil && (m.start() != nil || m.goesOn(30*time.Second) != nil) {
				break
			}
		}
	}
	total := row{Guarantee: "the stream equals the truth after all that", Faults: fmt.Sprintf("with %s: guestflow killed %d times, NATS %d times", with, m.killed, m.natsKilled)}
	for _, r := range rows {
		if r.Trials > 0 {
			all.add(r)
			total.Trials += r.Trials
		}
	}
	total.Violations = m.verdict(all, calm)
	all.add(total)
}

// schedule mixes the trials.
func (m *machine) schedule(trials []trial, o *options, r *rand.Rand) []int {
	var order []int
	for i, t := range trials {
		n := t.long
		if o.short {
			n = t.short
		}
		if o.trial != "" {
			n = 0
			if t.name == o.trial {
				n = max(1, o.lives)
			}
		}
		n = o.share(n)
		if n == 0 {
			continue
		}
		if t.missing != nil {
			if why := t.missing(m); why != "" {
				fmt.Fprintf(os.Stderr, "left out: %s, since %s\n", t.name, why)
				continue
			}
		}
		for range n {
			order = append(order, i)
		}
	}
	r.Shuffle(len(order), func(i, k int) { order[i], order[k] = order[k], order[i] })
	return order
}

// verdict stops guestflow and holds what the recorder read against the truth.
func (m *machine) verdict(all *table, calm time.Duration) int {
	time.Sleep(calm)
	until := m.sim.Now().Add(-3 * time.Second)
	ended := m.stop()
	if err := m.recorder.catchUp(); err != nil && ended == nil {
		ended = err
	}
	m.recorder.mu.Lock()
	defer m.recorder.mu.Unlock()
	if m.recorder.odd != nil && ended == nil {
		ended = m.recorder.odd
	}
	report := Checker{
		Checker: simulator.Checker{Kills: m.kills, Until: until, Lag: 15 * time.Second, Presumed: true}, Late: time.Hour,
	}.Check(m.truth.All(), m.recorder.all, nil, ended)
	for _, t := range m.truth.All() {
		if t.Kind == simulator.TruthLimited {
			report.Faults[OverLimit]++
			report.First = cmp.Or(report.First, fmt.Sprintf("over the limit: %s was refused at %v; tried: %v", t.Endpoint, t.Time.Format(time.TimeOnly), strings.Join(m.tried, ", ")))
		}
	}
	n := 0
	for _, of := range report.Faults {
		n += of
	}
	if n > 0 {
		all.tell("%v\n%s\n%v", report, report.First, report.Report)
	}
	return n
}
