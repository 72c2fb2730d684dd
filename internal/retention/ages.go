package retention

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Metadata of a copy's stream: which stream it is of, and what it lacks.
const (
	MetadataOf      = "guestflow.copy-of"
	MetadataWithout = "guestflow.without"
)

// ensure finds the copy's stream, or makes it.
func (c *copying) ensure(ctx context.Context, js jetstream.JetStream) (jetstream.Stream, error) {
	name := c.status.Stream
	stream, err := js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) && !c.settings.Declared {
		stream, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name: name, Description: "guestflow: " + c.source.Stream + " without " + c.copy.join(", "),
			Subjects: []string{c.source.filter(c.copy.Prefix(c.source.Prefix))},
			Storage:  jetstream.FileStorage, MaxAge: c.copy.Age, Replicas: c.settings.Replicas, AllowDirect: true, AllowMsgTTL: true,
			Metadata: map[string]string{MetadataOf: c.source.Stream, MetadataWithout: c.copy.join(",")},
		})
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was first
			stream, err = js.Stream(ctx, name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, err)
	}
	if config := stream.CachedInfo().Config; config.MaxAge != c.copy.Age {
		return stream, c.keepFor(ctx, js, config, c.copy.Age)
	}
	return stream, nil
}

// whole notes that a copy has all. Once every copy of a stream does, that stream keeps its
// own for no longer than it may.
func (c *copying) whole(ctx context.Context, js jetstream.JetStream) {
	now := time.Now()
	c.mu.Lock()
	c.status.Whole, c.status.Behind, c.status.Error = now, 0, c.longer
	lacking := func(o *copying) bool { return o.source == c.source && o.status.Whole.IsZero() }
	ready := !now.Before(c.again) && !slices.ContainsFunc(c.copies, lacking)
	if ready {
		c.again = now.Add(shortenAgain)
	}
	c.mu.Unlock()
	if !ready {
		return
	}
	longer := ""
	if err := c.shorten(ctx, js, append([]string{c.source.Stream}, c.settings.Others...)); err != nil && ctx.Err() == nil {
		longer = err.Error()
		c.settings.Log.Error("retention: what is to go stays", "error", err)
	}
	c.mu.Lock()
	c.longer, c.status.Error = longer, longer
	c.mu.Unlock()
}

// shortenAgain is after which time is looked again whether streams keep nothing for too long:
// somebody may have changed one.
const shortenAgain = 10 * time.Minute

// shorten has streams with all fields keep them for no longer than the shortest-lived may
// be, and copies of a former policy likewise.
func (c *copying) shorten(ctx context.Context, js jetstream.JetStream, names []string) error {
	for _, name := range names {
		stream, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("stream %s: %w", name, err)
		}
		if err := c.keepForNoLonger(ctx, js, stream.CachedInfo().Config, c.settings.Policy.Age()); err != nil {
			return err
		}
	}
	former, err := c.former(ctx, js)
	if err != nil { // this takes a right that nothing else needs
		c.settings.Log.Debug("retention: whether there are streams of a former policy does not show", "error", err)
	}
	for _, config := range former {
		var without []Field
		for f := range strings.SplitSeq(config.Metadata[MetadataWithout], ",") {
			without = append(without, Field(f))
		}
		c.settings.Log.Warn("retention: this stream is of a former policy, and gets no more events; delete it when it is not needed: nats stream rm "+config.Name, "stream", config.Name)
		if err := c.keepForNoLonger(ctx, js, config, c.settings.Policy.Age(without...)); err != nil {
			return err
		}
	}
	return nil
}

// former are the copies of the source that the policy no longer has.
func (c *copying) former(ctx context.Context, js jetstream.JetStream) (all []jetstream.StreamConfig, err error) {
	streams := js.ListStreams(ctx)
	for info := range streams.Info() {
		is := func(o *copying) bool { return o.status.Stream == info.Config.Name }
		if info.Config.Metadata[MetadataOf] == c.source.Stream && !slices.ContainsFunc(c.copies, is) {
			all = append(all, info.Config)
		}
	}
	return all, streams.Err()
}

func (c *copying) keepForNoLonger(ctx context.Context, js jetstream.JetStream, config jetstream.StreamConfig, age time.Duration) error {
	if age == 0 || config.MaxAge > 0 && config.MaxAge <= age {
		return nil
	}
	return c.keepFor(ctx, js, config, age)
}

func (c *copying) keepFor(ctx context.Context, js jetstream.JetStream, config jetstream.StreamConfig, age time.Duration) error {
	edit := fmt.Sprintf("nats stream edit %s --max-age=%s", config.Name, short(age))
	if age == 0 {
		edit = fmt.Sprintf("nats stream edit %s --max-age=-1", config.Name)
	}
	if c.settings.Declared {
		return fmt.Errorf("stream %s keeps messages for %s, and is to for %s: %s", config.Name, short(config.MaxAge), short(age), edit)
	}
	was := config.MaxAge
	if config.MaxAge = age; age > 0 && config.Duplicates > age {
		config.Duplicates = age // the server refuses a longer one
	}
	if _, err := js.UpdateStream(ctx, config); err != nil {
		return fmt.Errorf("stream %s keeps messages for %s, and is to for %s: %w; %s", config.Name, short(was), short(age), err, edit)
	}
	c.settings.Log.Info("retention: a stream keeps messages for another time", "stream", config.Name, "was", short(was), "is", short(age))
	return nil
}
