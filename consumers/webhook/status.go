package webhook

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// EndpointStatus is one endpoint as it stands.
type EndpointStatus struct {
	Name     string
	Host     string    // of the URL
	Disabled *Disabled // nil when enabled
	// Started is whether the endpoint has a place in the stream yet.
	Started bool
	// Backlog counts events of the stream that were not handed out yet, before
	// conditions; Waiting those that wait for a try or are under way.
	Backlog     uint64
	Waiting     int
	DeadLetters uint64
	Standing
}

// Status returns every endpoint of the file, in its order.
func (d *Dispatcher) Status(ctx context.Context) ([]EndpointStatus, error) {
	o, err := d.options()
	if err != nil {
		return nil, err
	}
	cfg, err := Load(d.Path, d.Absent)
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
	info, err := graves.stream.Info(ctx, jetstream.WithSubjectFilter(o.DeadPrefix+".*"))
	if err != nil {
		return nil, fmt.Errorf("stream of dead letters %s: %w", o.DeadStream, err)
	}
	var out []EndpointStatus
	for _, e := range cfg.Endpoints {
		s := EndpointStatus{Name: e.Name, Host: e.URL.Host, DeadLetters: info.State.Subjects[graves.subject(e.Name)]}
		if s.Disabled, err = records.disabled(ctx, e); err != nil {
			return nil, fmt.Errorf("endpoint %s: %w", e.Name, err)
		}
		c, err := d.JetStream.Consumer(ctx, o.Stream, Durable(e.Name))
		switch {
		case err == nil:
			i := c.CachedInfo()
			s.Started, s.Backlog, s.Waiting = true, i.NumPending, i.NumAckPending
		case errors.Is(err, jetstream.ErrStreamNotFound):
			return nil, fmt.Errorf("stream %s: %w; start guestflow run, or correct the stream's name", o.Stream, err)
		case !errors.Is(err, jetstream.ErrConsumerNotFound):
			return nil, fmt.Errorf("endpoint %s: %w", e.Name, err)
		}
		if s.Standing, _, err = records.standing(ctx, e.Name); err != nil {
			return nil, fmt.Errorf("endpoint %s: %w", e.Name, err)
		}
		out = append(out, s)
	}
	return out, nil
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
// is still in the file, since a running dispatcher would skip events.
func (d *Dispatcher) Forget(ctx context.Context, name string) error {
	o, err := d.options()
	if err != nil {
		return err
	}
	cfg, err := Load(d.Path, d.Absent)
	if err != nil {
		return err
	}
	if _, err := cfg.Find(name); err == nil {
		return fmt.Errorf("endpoint %s is still in %s; remove it there first", name, d.Path)
	}
	if !validName.MatchString(name) {
		return fmt.Errorf("%q cannot be an endpoint's name", name)
	}
	records, _, err := d.stores(ctx, o)
	if err != nil {
		return err
	}
	err = d.JetStream.DeleteConsumer(ctx, o.Stream, Durable(name))
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("forget endpoint %s: %w", name, err)
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
