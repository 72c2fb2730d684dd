package poller_test

import (
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/long"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller/guest"
	"github.com/guestflow/guestflow/poller/platform"
)

const guestWait = 5 * time.Second

// guestLab looks guests up.
func guestLab(t *testing.T, cfg simulator.Config) *lab {
	t.Helper()
	l := newLab(t, cfg, adaptive)
	l.hold = guestWait
	l.reopen()
	return l
}

// named counts the arrivals of a kind, and those with a guest.
func (l *lab) named(kind events.Kind) (named, all int) {
	for _, e := range l.events() {
		if e.Kind != kind {
			continue
		}
		all++
		if e.Data.Guest != nil {
			named++
		}
	}
	return named, all
}

// TestArrivalsNameTheirGuest: nearly all of them, with certainty, and nobody else.
func TestArrivalsNameTheirGuest(t *testing.T) {
	cfg := town()
	cfg.ResumeProbability, cfg.RoamProbability = 0.2, 0.1
	l := guestLab(t, cfg)
	l.run(12 * time.Minute)
	l.check(simulator.Checker{Until: l.clock.Now().Add(-time.Minute)})
	t.Log(l.outcomes, l.asked)
	for _, kind := range []events.Kind{events.Discovered, events.Started, events.Resumed} {
		if named, all := l.named(kind); all == 0 || named < all*80/100 {
			t.Errorf("%d of %d %s events name a guest", named, all, kind)
		}
	}
	for _, e := range l.events() {
		g := e.Data.Guest
		switch {
		case (g != nil) != (e.Data.Observed.Guest == events.GuestConfirmed):
			t.Errorf("%s: guest %v, sure %q", e.Kind, g, e.Data.Observed.Guest)
		case g != nil && (!e.Kind.Arrival() || g.Name == "" || !strings.Contains(g.Email, "@")):
			t.Errorf("%s: guest %+v", e.Kind, g)
		}
	}
	if l.outcomes[guest.Cached] == 0 {
		t.Error("nobody who came back was known")
	}
	if l.requests["rate limited"] > 0 {
		t.Error("the limit was exceeded")
	}
}

// TestWrongGuestIsAttachedToNobody: addresses pass from guest to guest between the
// poll and the look-up, are in use at several venues at once, and answers are
// wrong in other ways; no event ever names somebody else.
func TestWrongGuestIsAttachedToNobody(t *testing.T) {
	for name, change := range map[string]func(*simulator.Config){
		"addresses pass on": func(cfg *simulator.Config) {
			// Stays of less than a minute in the mean, and an address is free for
			// moments. Two that begin within one second cannot be told apart.
			cfg.Speed, cfg.IPPool = 50, 220
		},
		"addresses are shared": func(cfg *simulator.Config) { cfg.Speed, cfg.IPPool = 10, 60 },
		"answers are wrong": func(cfg *simulator.Config) {
			cfg.Faults, _ = simulator.ParseFaults([]string{"guest%60"})
		},
		"answers are late": func(cfg *simulator.Config) {
			cfg.Speed, cfg.IPPool = 100, 220
			cfg.Faults, _ = simulator.ParseFaults([]string{"stall=3s%50/" + string(simulator.EndpointIP)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := town()
			cfg.ChangeProbability = 0.3
			change(&cfg)
			l := guestLab(t, cfg)
			l.run(4 * time.Minute)
			t.Log(l.outcomes)
			report := simulator.Checker{}.Check(l.truth.All(), l.events())
			if n := report.Counts[simulator.WrongGuest]; n > 0 {
				t.Errorf("%d events name somebody else: %v", n, report.Samples)
			}
			if l.outcomes[guest.Another] == 0 && l.outcomes[guest.Nobody] == 0 {
				t.Error("no answer was ever wrong, so nothing is shown")
			}
			if l.outcomes[guest.Confirmed] == 0 {
				t.Error("nobody was attached at all")
			}
		})
	}
}

// TestLookupsLeaveTheLooksTheirBudget where all endpoints share one limit.
func TestLookupsLeaveTheLooksTheirBudget(t *testing.T) {
	cfg := town()
	cfg.Speed, cfg.SharedLimit = 20, true
	l := guestLab(t, cfg)
	l.shared = true
	l.reopen()
	l.run(10 * time.Minute)
	t.Log(l.outcomes, l.asked)
	total, lookups := 0, l.asked[platform.Guests]
	for _, n := range l.asked {
		total += n
	}
	if lookups == 0 || lookups*5 > total {
		t.Errorf("%d look-ups of %d requests", lookups, total)
	}
	if total < 10*60*95/100 {
		t.Errorf("%d requests in 10 minutes, the limit is 60 a minute", total)
	}
	if l.requests["rate limited"] > 0 {
		t.Errorf("the limit was exceeded: %v", l.requests)
	}
	l.check(simulator.Checker{Until: l.clock.Now().Add(-time.Minute)})
}

// TestFailingLookupsHarmNothing: polling goes on at its pace, all events are right,
// go out in time without a guest, and with one again when the fault is over.
func TestFailingLookupsHarmNothing(t *testing.T) {
	for _, fault := range long.Of([]string{"429", "html"}, []string{"429", "5xx", "html", "forbidden"}) {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			cfg := town()
			var err error
			if cfg.Faults, err = simulator.ParseFaults([]string{fault + ":2m@3m/" + string(simulator.EndpointIP)}); err != nil {
				t.Fatal(err)
			}
			l := guestLab(t, cfg)
			var slowest, apart time.Duration // of events, and between two tries to take some
			after, end := uint64(0), l.began.Add(13*time.Minute)
			for was := l.clock.Now(); was.Before(end); was = l.clock.Now() {
				l.run(time.Second)
				apart = max(apart, l.clock.Now().Sub(was))
				entries, err := l.store.Take(after, 1000)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range entries {
					slowest, after = max(slowest, l.clock.Now().Sub(e.CommittedAt)), e.Seq
				}
			}
			if slowest > guestWait+apart {
				t.Errorf("an event waited for %v; it was tried every %v at least", slowest, apart)
			}
			if l.asked[platform.Sessions] < 13*60*95/100 {
				t.Errorf("%d looks in 13 minutes", l.asked[platform.Sessions])
			}
			l.check(simulator.Checker{Until: l.clock.Now().Add(-time.Minute)})
			during, later := 0, 0
			for _, e := range l.events() {
				switch at := e.Data.Observed.At.Sub(l.began); {
				case e.Data.Guest == nil:
				case at > 3*time.Minute+2*time.Second && at < 5*time.Minute-guestWait:
					during++
				case at > 12*time.Minute:
					later++
				}
			}
			// Who is in the cache is named all the same.
			if during > l.outcomes[guest.Cached] || later == 0 || l.outcomes[guest.Unanswered] == 0 {
				t.Errorf("%d guests during the fault, %d long after; %v", during, later, l.outcomes)
			}
		})
	}
}

// TestHiddenAddressesAreAskedByAllTheSame, and never stored.
func TestHiddenAddressesAreAskedByAllTheSame(t *testing.T) {
	for _, mode := range []platform.Mode{platform.Hash, platform.Drop} {
		t.Run(string(mode), func(t *testing.T) {
			l := newLab(t, town(), adaptive)
			var err error
			l.client, err = platform.New(platform.Config{
				BaseURL: "http://platform.test/api", Token: "secret", Timeout: time.Hour, Transport: l, Now: l.clock.Now,
				Guests: true, Privacy: platform.Privacy{IP: mode, Email: platform.Drop, Key: "sixteen or more!"},
			})
			if err != nil {
				t.Fatal(err)
			}
			l.hold = guestWait
			l.reopen()
			l.run(5 * time.Minute)
			l.check(simulator.Checker{Until: l.clock.Now().Add(-time.Minute), IgnoreIP: true})
			if named, all := l.named(events.Started); named < all*75/100 {
				t.Errorf("%d of %d name a guest", named, all)
			}
			for _, e := range l.events() {
				if strings.HasPrefix(e.Data.Session.DeviceIP, "172.") || e.Data.Guest != nil && e.Data.Guest.Email != "" {
					t.Fatalf("%+v %+v", e.Data.Session, e.Data.Guest)
				}
			}
		})
	}
}

// TestRestartsWhileArrivalsWait: the next process sends them as they are.
func TestRestartsWhileArrivalsWait(t *testing.T) {
	cfg := town()
	cfg.Speed = 20
	l := guestLab(t, cfg)
	restarts := 0
	for range 200 {
		l.run(time.Second)
		if err := l.poller.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		held, err := l.store.Held()
		if err != nil {
			t.Fatal(err)
		}
		if len(held) == 0 || restarts == 10 {
			continue
		}
		restarts++
		l.restart()
		entries, err := l.store.Take(held[len(held)-1].Seq-1, 1)
		if err != nil || len(entries) != 1 || entries[0].ID != held[len(held)-1].Event.ID {
			t.Fatalf("after a restart: %d entries, error %v", len(entries), err)
		}
	}
	if restarts == 0 {
		t.Error("no arrival ever waited")
	}
	l.check(simulator.Checker{Until: l.clock.Now().Add(-time.Minute), Passes: 5})
}
