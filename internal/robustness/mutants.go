package main

import (
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/publisher"
)

// mutant is a mistake that the product could make, put in at one of its seams: the
// parts themselves are the real ones. The zero mutant makes none.
type mutant struct {
	name string
	// caught are the faults as one of which the checker has to find it.
	caught []Fault
	// need changes a script so that the mistake has an occasion.
	need func(*script)

	outboxes  func(publisher.Store) publisher.Store
	stores    func(poller.Store) poller.Store
	platforms func(poller.Platform) poller.Platform
	messages  func(*message)
	settings  func(*poller.Settings)
	publisher func(*publisher.Publisher)
	client    func(*platform.Config)
	leases    func(jetstream.KeyValue) jetstream.KeyValue // as the process that stands by has them
	forgets   []string                                    // files that a restart does not find
	tooMany   int                                         // requests a minute
}

func (m *mutant) shape(s *script) {
	if m.need != nil {
		m.need(s)
	}
}

func (m *mutant) outbox(s publisher.Store) publisher.Store {
	if m.outboxes == nil {
		return s
	}
	return m.outboxes(s)
}

func (m *mutant) states(s poller.Store) poller.Store {
	if m.stores == nil {
		return s
	}
	return m.stores(s)
}

func (m *mutant) asked(p poller.Platform) poller.Platform {
	if m.platforms == nil {
		return p
	}
	return m.platforms(p)
}

func (m *mutant) wire(msg *message) {
	if m.messages != nil {
		m.messages(msg)
	}
}

func (m *mutant) asking(c *platform.Config) {
	if m.client != nil {
		m.client(c)
	}
}

func (m *mutant) restart(dir string) {
	for _, pattern := range m.forgets {
		files, _ := filepath.Glob(filepath.Join(dir, pattern)) // The pattern is a constant.
		for _, f := range files {
			_ = os.Remove(f)
		}
	}
}

// mutants are all of them, by name.
var mutants = []mutant{
	{name: "an entry of the outbox is dropped", caught: []Fault{Lost, Reordered},
		outboxes: func(s publisher.Store) publisher.Store {
			return &tampered{Store: s, tamper: func(e []publisher.Entry) []publisher.Entry {
				return slices.DeleteFunc(e, func(e publisher.Entry) bool { return e.Seq%97 == 0 })
			}}
		}},
	{name: "two entries are swapped", caught: []Fault{Reordered}, need: backlog,
		outboxes: func(s publisher.Store) publisher.Store { return &tampered{Store: s, tamper: swapped} }},
	{name: "an entry is sent twice, and the server relied on to drop it", caught: []Fault{Duplicate}, need: shortWindow,
		outboxes: func(s publisher.Store) publisher.Store { return repeating{s} }},
	{name: "the messages are not tied to each other", caught: []Fault{Reordered, Lost}, need: func(s *script) {
		backlog(s)
		s.trip, s.atomic, s.batched, s.publish = 0.2, false, false, publisher.Chained
	},
		messages: func(m *message) {
			for _, h := range []string{"Nats-Expected-Last-Msg-Id", "Nats-Expected-Last-Sequence", "Nats-Expected-Last-Subject-Sequence"} {
				m.header.Del(h)
			}
		}},
	{name: "the outbox's name is not kept", caught: []Fault{Lost, Late, Stopped}, need: killed,
		outboxes: func(s publisher.Store) publisher.Store { return nameless{s} }},
	{name: "the cursor moves ahead of the answer", caught: []Fault{Lost, Reordered}, need: func(s *script) { killed(s); s.trip = 0.3 },
		outboxes: func(s publisher.Store) publisher.Store { return hasty{s} }},
	{name: "sent entries are not kept for a stream that loses its tail", caught: []Fault{Lost, Reordered}, need: tailLost,
		outboxes: func(s publisher.Store) publisher.Store { return &unkept{Store: s} }},
	{name: "a stream that was deleted is not made again", caught: []Fault{Lost, Late, Stopped}, need: deleted,
		publisher: func(p *publisher.Publisher) { p.Make = nil }},
	{name: "the state is not kept over a restart", caught: []Fault{Duplicate, Reordered}, need: killed, forgets: []string{"state.db"}},
	{name: "spent requests are not kept over a restart", caught: []Fault{OverLimit}, need: killed, forgets: []string{"*.requests"}},
	{name: "a lease ignored", caught: []Fault{OverLimit, Duplicate, Reordered, Stopped}, need: func(s *script) { healthy(s); s.standby = true },
		leases: func(kv jetstream.KeyValue) jetstream.KeyValue { return lawless{kv} }},
	{name: "a request too many", caught: []Fault{OverLimit}, need: healthy, tooMany: 1, platforms: edits(func(p *platform.Page) { p.Limit = -1 })},
	{name: "an unreadable record counts as absent", caught: []Fault{Premature}, need: func(s *script) {
		healthy(s)
		s.platform.Faults = append(s.platform.Faults, simulator.Fault{Kind: simulator.FaultDamaged, For: s.calm, Percent: 30})
	}, platforms: edits(func(p *platform.Page) { p.Skipped = nil })},
	{name: "an end at a tied border", caught: []Fault{Premature}, need: func(s *script) {
		healthy(s)
		s.platform.Ties, s.platform.StartGrain, s.platform.Order, s.platform.PerPageFixed = true, time.Minute, simulator.NewestFirst, 10
		s.platform.LastSessionFirst = false
	}, platforms: edits(untied)},
	{name: "a first page is taken for the whole list", caught: []Fault{Premature}, need: func(s *script) { healthy(s); s.platform.PerPageFixed = 10 },
		platforms: edits(func(p *platform.Page) { p.More = false })},
	{name: "an empty page is believed whatever came with it", caught: []Fault{Premature}, need: func(s *script) {
		healthy(s)
		s.platform.Faults = append(s.platform.Faults, simulator.Fault{Kind: simulator.FaultServer, For: s.calm, Percent: 10})
	}, platforms: func(p poller.Platform) poller.Platform { return credulous{p} }},
	{name: "an answer that comes late is taken for news", caught: []Fault{Premature, Wrong, Reordered}, need: func(s *script) {
		healthy(s)
		s.beside = true
		s.platform.Faults = append(s.platform.Faults, simulator.Fault{Kind: simulator.FaultStall, For: s.calm, Percent: 20, Amount: 12 * time.Second})
	}, platforms: func(p poller.Platform) poller.Platform { return &stale{Platform: p} }},
	{name: "the rounding error of figures is forgotten", caught: []Fault{Wrong}, need: healthy,
		platforms: edits(func(p *platform.Page) {
			for i := range p.Sessions {
				p.Sessions[i].Downloaded.Error, p.Sessions[i].Uploaded.Error = 0, 0
			}
		})},
	{name: "a kilobyte has another size", caught: []Fault{Wrong}, need: healthy,
		client: func(c *platform.Config) { c.ByteBase = 2024 - c.ByteBase }},
	{name: "the platform's clock is taken for one's own", caught: []Fault{Wrong}, need: func(s *script) { healthy(s); s.platform.ClockSkew = time.Minute },
		settings: func(s *poller.Settings) { s.Time = nil }},
	{name: "an update is swallowed", caught: []Fault{Lost, Stopped}, need: func(s *script) { healthy(s); s.platform.ChangeProbability = 0.9 },
		stores: func(s poller.Store) poller.Store {
			return swallowing{s, func(e *events.Event) bool { return e.Kind == events.Updated }}
		}},
	{name: "ends are not told", caught: []Fault{Lost}, need: healthy,
		stores: func(s poller.Store) poller.Store {
			return swallowing{s, func(e *events.Event) bool { return e.Kind == events.Ended }}
		}},
}
