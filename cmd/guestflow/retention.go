package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/guestflow/guestflow/consumers/webhook"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/forgotten"
	"github.com/guestflow/guestflow/events/visits"
	"github.com/guestflow/guestflow/internal/retention"
	"github.com/guestflow/guestflow/internal/subject"
	"github.com/guestflow/guestflow/publisher"
)

// retention is how long what is kept.
func (c *Config) retention() (retention.Policy, error) {
	return retention.Parse(c.Retention, c.StreamMaxAge)
}

// fullAge is how long streams with all fields keep what they hold.
func (c *Config) fullAge() time.Duration {
	p, err := c.retention()
	if err != nil {
		return c.StreamMaxAge // loadConfig has told
	}
	return p.Age()
}

// leastKept is the shortest time that a field can be kept: consumers read the stream with
// all fields, and need them after an outage.
const leastKept = 24 * time.Hour

// retentionFaults checks how long what is to be kept.
func (c *Config) retentionFaults() (errs []error) {
	p, err := c.retention()
	if err != nil {
		return []error{fmt.Errorf(envPrefix+"_RETENTION: %w", err)}
	}
	if c.Retention != "" && p.Age() > 0 && p.Age() < leastKept {
		errs = append(errs, fmt.Errorf(envPrefix+"_RETENTION=%q: keep everything for %v or longer, since consumers that were away read on from there; what is not to be kept at all is dropped by GUESTFLOW_EMAIL, NAME, MAC or IP", c.Retention, leastKept))
	}
	if of := p.Of(retention.Guest); c.Visits && p.Fields[retention.Guest] > 0 && c.VisitMemory > of {
		errs = append(errs, fmt.Errorf(envPrefix+"_VISIT_MEMORY=%v: guests would be remembered by their ids for longer than GUESTFLOW_RETENTION keeps these, %v; set it to that or less", c.VisitMemory, of))
	}
	return errs
}

// copied are the streams that copies are made of.
func (c *Config) copied() []retention.Source {
	all := []retention.Source{{Stream: c.Stream, Prefix: c.SubjectPrefix}}
	if c.Visits {
		all = append(all, retention.Source{Stream: visits.DefaultStream, Prefix: visits.DefaultPrefix, Visits: true})
	}
	return all
}

// retained is a copy that the configuration has.
type retained struct {
	retention.Copy
	of retention.Source
}

func (r retained) stream() string { return r.Copy.Stream(r.of.Stream) }
func (r retained) prefix() string { return r.Copy.Prefix(r.of.Prefix) }

// copies are all that the configuration has.
func (c *Config) copies() (all []retained) {
	p, err := c.retention()
	if err != nil {
		return nil // loadConfig has told
	}
	for _, of := range c.copied() {
		for _, copied := range p.Copies() {
			all = append(all, retained{copied, of})
		}
	}
	return all
}

// archive is the copy that is kept longest of the streams of session events, or of visits.
func (c *Config) archive(ofVisits bool) (retained, error) {
	all := slices.DeleteFunc(c.copies(), func(r retained) bool { return r.of.Visits != ofVisits })
	if len(all) == 0 {
		if ofVisits && !c.Visits && c.Retention != "" {
			return retained{}, usageError("--archive: set GUESTFLOW_VISITS=true, as for the process that makes the visits")
		}
		return retained{}, usageError("--archive: no field is kept for less long than events are; set GUESTFLOW_RETENTION as for guestflow run")
	}
	return all[len(all)-1], nil
}

// newKeeper returns nil where everything is kept equally long.
func newKeeper(cfg Config, list *forgotten.List, log *slog.Logger) *retention.Keeper {
	p, err := cfg.retention()
	if err != nil || len(p.Copies()) == 0 {
		return nil
	}
	return retention.New(retention.Settings{
		Policy: p, Sources: cfg.copied(), Others: []string{webhook.DefaultDeadStream, webhook.DefaultSkippedStream},
		Replicas: cfg.StreamReplicas, Declared: !cfg.StreamManage, Forgotten: list, Log: log,
	})
}

// retain keeps what is kept longer, once the stream is there.
func (a *app) retain(ctx context.Context) error {
	if a.AwaitStream(ctx) != nil {
		return nil
	}
	return a.keeper.Run(ctx, a.nats.js)
}

// retentionRights are what keeping some fields for less long needs beside.
func retentionRights(cfg Config) (rights []publisher.Right) {
	for _, c := range cfg.copies() {
		what := "what is kept of " + c.of.Stream
		for _, account := range accountTokens(cfg) {
			rights = append(rights, publisher.Right{Subject: c.prefix() + "." + account + ".>", For: what})
		}
		rights = append(rights, publisher.Right{Subject: "$JS.API.CONSUMER.MSG.NEXT." + c.stream() + ".>", For: what})
		rights = append(rights, stateRights(cfg, c.stream())...)
	}
	return rights
}

// checkRetention says how long what is kept, and where.
func checkRetention(cfg Config) (string, error) {
	p, err := cfg.retention()
	if err != nil {
		return "", err
	}
	parts := []string{p.String()}
	for _, of := range cfg.copied() {
		parts = append(parts, fmt.Sprintf("%s keeps everything for %s", of.Stream, inHours(p.Age())))
	}
	for _, c := range cfg.copies() {
		parts = append(parts, c.stream()+" the rest for "+inHours(c.Age))
	}
	return strings.Join(parts, "; "), nil
}

func inHours(d time.Duration) string {
	if d == 0 {
		return "ever"
	}
	return strings.TrimSuffix(d.String(), "0m0s")
}

// keptTooLong are cautions of streams that hold fields for longer than they are to be kept.
func keptTooLong(ctx context.Context, js jetstream.JetStream, cfg Config) (cautions []string, err error) {
	if len(cfg.copies()) == 0 {
		return nil, nil
	}
	age := cfg.fullAge()
	for _, name := range []string{cfg.Stream, visits.DefaultStream, webhook.DefaultDeadStream, webhook.DefaultSkippedStream} {
		stream, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", name, err)
		}
		if is := stream.CachedInfo().Config.MaxAge; is == 0 || is > age {
			edit := "guestflow run shortens that once the copies have all events"
			if !cfg.StreamManage {
				edit = fmt.Sprintf("once the copies have all events: nats stream edit %s --max-age=%s", name, inHours(age))
			}
			cautions = append(cautions, fmt.Sprintf("stream %s keeps messages for %s, and GUESTFLOW_RETENTION lets some of their fields go after %s; %s", name, inHours(is), inHours(age), edit))
		}
	}
	return cautions, nil
}

// keptPlaces are where else something of a person may be.
func keptPlaces(cfg Config) (all []subject.Place, err error) {
	for _, c := range cfg.copies() {
		p := subject.Place{Stream: c.stream(), Holds: subject.Events}
		if c.of.Visits {
			subjects, err := visits.NewSubjects(c.prefix())
			if err != nil {
				return nil, err
			}
			p.Holds, p.Subject = subject.Visits, subjects.All()
		} else {
			subjects, err := events.NewSubjects(c.prefix())
			if err != nil {
				return nil, err
			}
			p.Subject = subjects.All()
		}
		all = append(all, p)
	}
	return all, nil
}

func describeRetention(into map[string]*prometheus.Desc, constant prometheus.Labels) {
	describeGauges(into, constant, map[string]gaugeText{
		"retention_behind_events":           {"Events that a copy without some fields does not have yet.", []string{"stream"}},
		"retention_whole_timestamp_seconds": {"When a copy without some fields last got an event and had all; 0 before that.", []string{"stream"}},
	})
}

func collectRetention(k *retention.Keeper, gauge sample) {
	for _, s := range k.Status() {
		gauge("retention_behind_events", float64(s.Behind), s.Stream)
		at := 0.0
		if !s.Whole.IsZero() {
			at = float64(s.Whole.UnixMilli()) / 1000
		}
		gauge("retention_whole_timestamp_seconds", at, s.Stream)
	}
}
