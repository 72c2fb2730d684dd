package webhook

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// State says in a word how an endpoint fares.
type State string

const (
	Idle       State = "idle"       // served, and nothing was sent to it yet
	Delivering State = "delivering" // the last try succeeded
	Retrying   State = "retrying"   // the last try or two failed
	Failing    State = "failing"    // three tries or more in a row failed
	NotServed  State = "not served" // no process sends to it
	Off        State = "disabled"   // it answered 410
)

// States are all that there are.
func States() []State { return []State{Idle, Delivering, Retrying, Failing, NotServed, Off} }

// Well reports whether nobody needs to look.
func (s State) Well() bool { return s == Idle || s == Delivering || s == Retrying }

// servedFor is how long a record says that an endpoint is served: three times as
// long as a process that lives takes to write the next.
const servedFor = 3 * measureEvery

// EndpointStatus is one endpoint as it stands.
type EndpointStatus struct {
	Name     string    `json:"name"`
	Host     string    `json:"host"`   // of the URL
	Stream   string    `json:"stream"` // "sessions" or "visits"
	State    State     `json:"state"`
	Disabled *Disabled `json:"disabled,omitempty"`
	// Started is whether the endpoint has a place in the stream yet.
	Started bool `json:"started"`
	// Backlog counts events of the stream that were not handed out yet, before
	// conditions; Waiting those that wait for a try or are under way.
	Backlog uint64 `json:"backlog"`
	Waiting int    `json:"waiting"`
	// OldestWaiting is when the oldest event of both was stored; zero without any.
	OldestWaiting time.Time `json:"oldest_waiting,omitzero"`
	DeadLetters   uint64    `json:"dead_letters"`
	Standing

	topic *topic
}

func (s *EndpointStatus) state(now time.Time) State {
	switch {
	case s.Disabled != nil:
		return Off
	case !s.Served || now.Sub(s.written) > servedFor:
		return NotServed
	case s.Failures >= failingAfter:
		return Failing
	case s.Failures > 0:
		return Retrying
	case s.LastSuccess.IsZero():
		return Idle
	}
	return Delivering
}

func (s *EndpointStatus) waits(p pending) {
	s.Backlog, s.Waiting, s.OldestWaiting = p.backlog, p.waiting, p.oldest
}

// Served returns the endpoints of the file that Run follows in this process, by
// name and without asking NATS: what waits and what died is as of some seconds ago.
func (d *Dispatcher) Served() []EndpointStatus {
	now := time.Now
	if d.Now != nil {
		now = d.Now
	}
	return d.standings.list(now())
}

// Status returns every endpoint of the file, in its order.
func (d *Dispatcher) Status(ctx context.Context) ([]EndpointStatus, error) {
	o, err := d.options()
	if err != nil {
		return nil, err
	}
	cfg, err := d.load()
	if err != nil {
		return nil, err
	}
	records, graves, err := d.stores(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := d.standings.write(ctx, records); err != nil {
		return nil, fmt.Errorf("how the endpoints fare: %w", err)
	}
	dead, err := graves.count(ctx)
	if err != nil {
		return nil, err
	}
	streams, err := d.streamsOf(ctx, o, cfg)
	if err != nil {
		return nil, err
	}
	var out []EndpointStatus
	for _, e := range cfg.Endpoints {
		stream := streams[e.topic]
		s := EndpointStatus{Name: e.Name, Host: e.URL.Host, Stream: e.Stream, topic: e.topic, DeadLetters: dead[graves.subject(e.Name)]}
		if s.Disabled, err = records.disabled(ctx, e); err != nil {
			return nil, fmt.Errorf("endpoint %s: %w", e.Name, err)
		}
		c, err := stream.Consumer(ctx, Durable(e.Name))
		switch {
		case err == nil:
			s.Started = true
			p, err := pendingOf(ctx, stream, c.CachedInfo())
			if err != nil {
				return nil, fmt.Errorf("endpoint %s: %w", e.Name, err)
			}
			s.waits(p)
		case !errors.Is(err, jetstream.ErrConsumerNotFound):
			return nil, fmt.Errorf("endpoint %s: %w", e.Name, err)
		}
		if s.Standing, _, err = records.standing(ctx, e.Name); err != nil {
			return nil, fmt.Errorf("endpoint %s: %w", e.Name, err)
		}
		s.State = s.state(o.Now())
		out = append(out, s)
	}
	return out, nil
}

// streamsOf are the streams that the endpoints subscribe to.
func (d *Dispatcher) streamsOf(ctx context.Context, o options, cfg Config) (map[*topic]jetstream.Stream, error) {
	streams := map[*topic]jetstream.Stream{}
	for _, e := range cfg.Endpoints {
		if streams[e.topic] != nil {
			continue
		}
		stream, err := d.JetStream.Stream(ctx, o.streamOf(e.topic))
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, fmt.Errorf("endpoint %s: stream %s: %w; %s, or correct the stream's name", e.Name, o.streamOf(e.topic), err, e.topic.maker)
		}
		if err != nil {
			return nil, fmt.Errorf("endpoint %s: stream %s: %w", e.Name, o.streamOf(e.topic), err)
		}
		streams[e.topic] = stream
	}
	return streams, nil
}

// Enable lifts the state that a 410 put an endpoint of the file in, and returns it;
// nil when the endpoint was not disabled. A dispatcher that runs goes on with the
// endpoint at once, from where it stopped.
func (d *Dispatcher) Enable(ctx context.Context, name string) (*Disabled, error) {
	o, err := d.options()
	if err != nil {
		return nil, err
	}
	e, err := d.endpoint(name)
	if err != nil {
		return nil, err
	}
	records, _, err := d.stores(ctx, o)
	if err != nil {
		return nil, err
	}
	was, err := records.disabled(ctx, e)
	if err == nil && was != nil {
		err = records.enable(ctx, name)
	}
	if err != nil {
		return nil, fmt.Errorf("enable endpoint %s: %w", name, err)
	}
	return was, nil
}

// Forget removes an endpoint's place in the stream and its records, for one that
// has left the file for good. Its dead letters stay. It refuses an endpoint that
// is still in the file, since a running dispatcher would skip events; one that is
// known nowhere is ErrUnknownEndpoint.
func (d *Dispatcher) Forget(ctx context.Context, name string) error {
	o, err := d.options()
	if err != nil {
		return err
	}
	cfg, err := d.load()
	if err != nil {
		return err
	}
	if _, err := cfg.Find(name); err == nil {
		return fmt.Errorf("endpoint %s is still in %s; remove it there first", name, d.Path)
	}
	if !validName.MatchString(name) {
		return fmt.Errorf("%q cannot be an endpoint's name", name)
	}
	records, graves, err := d.stores(ctx, o)
	if err != nil {
		return err
	}
	standing, written, err := records.standing(ctx, name)
	if err != nil {
		return fmt.Errorf("forget endpoint %s: %w", name, err)
	}
	if written == 0 {
		left, err := graves.left(ctx)
		if err != nil {
			return err
		}
		if err := d.known(ctx, o, left, name); err != nil {
			return err
		}
	}
	for _, t := range standing.topics() {
		if err := dropConsumer(ctx, o, t, name); err != nil {
			return fmt.Errorf("forget endpoint %s: %w", name, err)
		}
	}
	if _, err := records.tries(ctx, name, ^uint64(0)); err != nil {
		return fmt.Errorf("forget endpoint %s: %w", name, err)
	}
	if err := records.dropStanding(ctx, name); err != nil {
		return fmt.Errorf("forget endpoint %s: %w", name, err)
	}
	d.standings.forget(name)
	return records.enable(ctx, name)
}
