package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/internal/group"
)

// choice is which events tail shows, and where it ends.
type choice struct {
	consumer consume.Consumer
	subjects events.Subjects
	session  string     // id; empty for all
	in       *group.Set // nil for all locations
	limit    int        // 0 for none
	from     time.Time
	until    time.Time // zero for none
	noFollow bool
	none     func() // called at the end where no event was shown, though all were looked through
}

// wants reports whether an event is of the session and of the groups that were chosen.
func (c *choice) wants(d consume.Delivery) bool {
	if !c.in.Has(d.Account, d.Data.Session.LocationID) {
		return false
	}
	return c.session == "" || d.Data.Session.ID == c.session
}

// span sets from when to when events are shown.
func (c *choice) span(since, until string, fromStart bool) (err error) {
	now := time.Now()
	switch {
	case since != "":
		if c.from, err = parsePast("since", since, now); err != nil {
			return err
		}
		c.consumer.From = consume.FromTime(c.from)
	case fromStart || c.noFollow || until != "":
		c.consumer.From = consume.FromStart()
	}
	if until == "" {
		return nil
	}
	if c.until, err = parseTime("until", until, now); err != nil {
		return err
	}
	if c.until.Before(c.from) {
		return usageError(fmt.Sprintf("--until %s is before --since %s", until, since))
	}
	return nil
}

// run shows events until ctx ends, or there can be no more of those chosen.
func (c *choice) run(ctx context.Context, js jetstream.JetStream, show func(events.Event) error) error {
	stream, err := js.Stream(ctx, c.consumer.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("stream %s does not exist; guestflow run makes it", c.consumer.Stream)
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", c.consumer.Stream, err)
	}
	if err := c.knownLocations(ctx, stream); err != nil {
		return err
	}
	c.narrow()
	last := ^uint64(0)
	if c.noFollow || !c.until.IsZero() && !c.until.After(time.Now()) {
		last, err = c.last(ctx, stream)
	}
	switch {
	case err != nil:
		return err
	case last == 0:
		c.none()
		return nil
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	if last == ^uint64(0) && !c.until.IsZero() {
		var done context.CancelFunc
		ctx, done = context.WithDeadline(ctx, c.until)
		defer done()
	}
	shown := 0
	err = c.consumer.Run(ctx, js, func(_ context.Context, d consume.Delivery) error {
		if ctx.Err() != nil {
			return nil
		}
		late := !c.until.IsZero() && d.Stored.After(c.until)
		if !late && c.wants(d) {
			if err := show(d.Event); err != nil {
				return err
			}
			shown++
		}
		if late || d.Sequence >= last || c.limit > 0 && shown >= c.limit {
			end()
		}
		return nil
	})
	if err == nil && shown == 0 && last != ^uint64(0) {
		c.none()
	}
	return err
}

// mostOfGroups is how many locations of groups the server is asked for by themselves.
const mostOfGroups = 50

// narrow asks the server for the locations of the chosen groups alone, where that can be
// said in few words; what it sends besides is left out here.
func (c *choice) narrow() {
	places := c.in.Places()
	if len(c.consumer.Locations) > 0 || len(places) == 0 || len(places) > mostOfGroups {
		return
	}
	for _, p := range places {
		if p.Location == group.Every {
			c.consumer.Locations = nil
			return
		}
		c.consumer.Locations = append(c.consumer.Locations, p.Location)
	}
}

// last is the sequence of the newest event that is chosen, 0 where none is.
func (c *choice) last(ctx context.Context, stream jetstream.Stream) (uint64, error) {
	locations, kinds := c.consumer.Locations, c.consumer.Kinds
	if len(locations) == 0 {
		locations = []string{""}
	}
	if len(kinds) == 0 {
		kinds = []events.Kind{""}
	}
	var last uint64
	for _, location := range locations {
		for _, kind := range kinds {
			m, err := stream.GetLastMsgForSubject(ctx, c.subjects.Filter("", location, kind))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				continue
			}
			if err != nil {
				return 0, fmt.Errorf("stream %s: its last event: %w", c.consumer.Stream, err)
			}
			if !m.Time.Before(c.from) {
				last = max(last, m.Sequence)
			}
		}
	}
	return last, nil
}

// mostNamed is how many locations an error lists.
const mostNamed = 20

// knownLocations refuses a location of which the stream has nothing: a name in
// place of an id, or one that is misspelt, would be waited for in vain.
func (c *choice) knownLocations(ctx context.Context, stream jetstream.Stream) error {
	var unknown []string
	for _, id := range c.consumer.Locations {
		_, err := stream.GetLastMsgForSubject(ctx, c.subjects.Filter("", id, ""))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			unknown = append(unknown, fmt.Sprintf("%q", id))
		} else if err != nil {
			return fmt.Errorf("location %s: its last event: %w", id, err)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	known, err := c.locations(ctx, stream)
	if err != nil {
		return err
	}
	if len(known) == 0 {
		return fmt.Errorf("location %s: the stream holds no event at all yet", strings.Join(unknown, ", "))
	}
	if more := len(known) - mostNamed; more > 0 {
		known = append(known[:mostNamed], fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("location %s: the stream holds no event of it; --location takes the id: %s", strings.Join(unknown, ", "), strings.Join(known, ", "))
}

// locations are those in the stream, with their names.
func (c *choice) locations(ctx context.Context, stream jetstream.Stream) ([]string, error) {
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(c.subjects.All()))
	if err != nil {
		return nil, fmt.Errorf("stream %s: its subjects: %w", c.consumer.Stream, err)
	}
	var ids []string
	for subject := range info.State.Subjects {
		if _, id, _, err := c.subjects.Parse(subject); err == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	for i, id := range ids[:min(len(ids), mostNamed)] {
		m, err := stream.GetLastMsgForSubject(ctx, c.subjects.Filter("", id, ""))
		if err != nil {
			continue // its name is no matter of life and death
		}
		if e, err := events.Decode(m.Data); err == nil && e.Data.Session.LocationName != "" {
			ids[i] = fmt.Sprintf("%s (%s)", id, printable(e.Data.Session.LocationName))
		}
	}
	return ids, nil
}
