//go:build trial

package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

var (
	trialAccounts = flag.Int("accounts", 50, "accounts of the long trial")
	trialLife     = flag.Duration("life", 30*time.Minute, "simulated life of the long trial")
	trialSpeed    = flag.Float64("speed", 3, "how much faster than real the simulated life is")
	trialSeed     = flag.Uint64("seed", 1, "what happens when")
	trialKills    = flag.Int("kills", 20, "kills of which the time until events resume is taken")
)

// TestProviderOutlivesFaults: processes of guestflow and NATS are killed, paused, stopped
// and cut off at random; the stream is as if nothing had happened.
func TestProviderOutlivesFaults(t *testing.T) {
	p := newProvider(t, shape{accounts: *trialAccounts, venues: 3, online: 10, speed: *trialSpeed, lease: 6 * time.Second})
	p.settled(p.connect())
	pause(20 * time.Second)
	ends := time.Now().Add(time.Duration(float64(*trialLife) / *trialSpeed))
	var striking sync.WaitGroup
	for i, strike := range []func(*rand.Rand){p.strike, p.strikeServer} {
		r := rand.New(rand.NewPCG(*trialSeed, uint64(i)))
		striking.Go(func() {
			for time.Now().Before(ends) {
				strike(r)
				pause(10*time.Second + upTo(r, 20*time.Second))
			}
		})
	}
	striking.Wait()
	p.settled(p.connect())
	pause(45 * time.Second)
	until := time.Now().Add(-settling)
	for i := range p.processes {
		p.stop(i)
	}
	p.verify(until)
}

// strike does one harm to a guestflow.
func (p *provider) strike(r *rand.Rand) {
	i := r.IntN(len(p.processes))
	switch r.IntN(4) {
	case 0:
		p.during(fmt.Sprintf("guestflow %d: kill -9, and a new data directory", i), p.lease, func() { p.kill(i); pause(upTo(r, 2*p.lease)); p.start(i, true) })
	case 1:
		p.during(fmt.Sprintf("guestflow %d: kill -9", i), p.lease, func() { p.kill(i); pause(upTo(r, p.lease)); p.start(i, false) })
	case 2:
		p.during(fmt.Sprintf("guestflow %d: paused, mostly for longer than the lease", i), p.lease, func() { p.freeze(r, p.processes[i].child, p.lease/2, 2*p.lease) })
	case 3:
		p.during(fmt.Sprintf("guestflow %d: stopped in good order, and started", i), p.lease, func() { p.stop(i); p.start(i, false) })
	}
}

// strikeServer does one harm to a NATS server or the way to it.
func (p *provider) strikeServer(r *rand.Rand) {
	i := r.IntN(len(p.servers))
	s := p.servers[i]
	switch r.IntN(3) {
	case 0:
		p.during(fmt.Sprintf("nats %d: kill -9", i), p.lease, func() { s.child.kill(); pause(upTo(r, p.lease)); s.child = start(p.t, s.environ) })
	case 1:
		p.during(fmt.Sprintf("nats %d: paused", i), p.lease, func() { p.freeze(r, s.child, time.Second, 2*p.lease) })
	case 2:
		p.during(fmt.Sprintf("nats %d: the way to it is cut", i), p.lease, func() {
			mend := p.cut(i)
			pause(upTo(r, p.lease))
			mend()
		})
	}
}

func (p *provider) freeze(r *rand.Rand, c *child, least, most time.Duration) {
	sendTo(p.t, c, syscall.SIGSTOP)
	pause(least + upTo(r, most-least))
	sendTo(p.t, c, syscall.SIGCONT)
}

func upTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }

// taken adds the accounts that have another process than before, and when that was seen.
func (p *provider) taken(js jetstream.JetStream, before map[string]string, by map[string]time.Time) {
	for name, owner := range p.holders(js) {
		if _, known := by[name]; !known && owner != before[name] {
			by[name] = time.Now()
		}
	}
}

// arrivals note when events of each account came.
type arrivals struct {
	mu    sync.Mutex
	times map[string][]time.Time
}

func (a *arrivals) note(m *nats.Msg) {
	e, err := events.Decode(m.Data)
	if err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.times[e.Account] = append(a.times[e.Account], time.Now())
}

// first is when the first event of an account came after a time; zero for none yet.
func (a *arrivals) first(account string, after time.Time) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, at := range a.times[account] {
		if at.After(after) {
			return at
		}
	}
	return time.Time{}
}

// TestFailoverTimes prints how long events of an account stay away when its process is
// killed, or stopped in good order.
func TestFailoverTimes(t *testing.T) {
	p := newProvider(t, shape{accounts: 12, venues: 3, online: 40, speed: 20, lease: 10 * time.Second})
	t.Cleanup(func() {
		for i, g := range p.processes {
			if t.Failed() {
				t.Logf("process %d: %s", i, g.output)
			}
		}
	})
	js := p.connect()
	p.settled(js)
	came := &arrivals{times: map[string][]time.Time{}}
	conn := js.Conn()
	if _, err := conn.Subscribe("guest.sessions.>", came.note); err != nil {
		t.Fatal(err)
	}
	measure := func(i int, end func()) (all []time.Duration) {
		before := p.settled(js)
		pause(5 * time.Second)
		ended, over := time.Now(), make(chan struct{})
		go func() { end(); close(over) }()
		taken := map[string]time.Time{}
		eventually(t, func() string {
			if p.taken(js, before, taken); len(taken) < len(p.platforms)/3 {
				return fmt.Sprintf("%d accounts have another process", len(taken))
			}
			return ""
		})
		for name, at := range taken {
			eventually(t, func() string {
				if came.first(name, at).IsZero() {
					return "no event of " + name + " since it was taken over"
				}
				return ""
			})
			all = append(all, came.first(name, at).Sub(ended))
		}
		<-over
		p.start(i, false)
		return all
	}
	kills, stops := spread{}, spread{}
	for n := range *trialKills {
		i := n % len(p.processes)
		t.Log(time.Now().Format(time.TimeOnly), "kill", n+1, "events so far stayed away for", kills.row(), "; stopped:", stops.row())
		kills.add(measure(i, func() { p.kill(i) }))
		if n%4 == 0 {
			stops.add(measure(i, func() { p.stop(i) }))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n| 12 accounts in 3 processes, lease of %v | times | accounts | median | worst |\n|---|---|---|---|---|\n", p.lease)
	fmt.Fprintf(&b, "| kill -9, until events resume | %s |\n| stopped in good order, until events resume | %s |\n", kills.row(), stops.row())
	t.Log(b.String())
}

// spread is how long accounts were without events.
type spread struct {
	times int
	all   []time.Duration
}

func (s *spread) add(of []time.Duration) {
	s.times++
	s.all = append(s.all, of...)
}

func (s *spread) row() string {
	if len(s.all) == 0 {
		return "0 | 0 | |"
	}
	slices.Sort(s.all)
	return fmt.Sprintf("%d | %d | %.1f s | %.1f s", s.times, len(s.all), s.all[len(s.all)/2].Seconds(), s.all[len(s.all)-1].Seconds())
}
