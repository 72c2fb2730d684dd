package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/consumers/visit"
	"github.com/guestflow/guestflow/consumers/webhook"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/alerts"
	"github.com/guestflow/guestflow/events/visits"
	"github.com/guestflow/guestflow/internal/baseline"
	"github.com/guestflow/guestflow/internal/lease"
	"github.com/guestflow/guestflow/publisher"
)

// checkNATS tells what it found of NATS and the stream, and of what an operator should
// beware.
func checkNATS(ctx context.Context, cfg Config) (found string, cautions []string, err error) {
	if cfg.NATSURL == "" {
		l, err := net.Listen("tcp", cfg.NATSListen)
		if err != nil {
			return "", nil, fmt.Errorf("embedded server: %w; stop what listens there (a running guestflow?), set GUESTFLOW_NATS_LISTEN to another address, or use that server by GUESTFLOW_NATS_URL", err)
		}
		return "embedded server, to listen on " + cfg.NATSListen, nil, l.Close()
	}
	reach, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := publisher.Reach(reach, connectSettings(cfg, slog.New(slog.DiscardHandler)))
	if err != nil {
		return "", nil, err
	}
	defer conn.Close()
	if err := publisher.TryRights(ctx, conn, neededRights(cfg)); err != nil {
		return "", nil, fmt.Errorf("NATS at %s: %w", hosts(cfg.NATSURL), err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return "", nil, err
	}
	stream, err := js.Stream(ctx, cfg.Stream)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound) && cfg.StreamManage:
		if err := publisher.TryRights(ctx, conn, creationRights(cfg)); err != nil {
			return "", nil, fmt.Errorf("NATS at %s: %w", hosts(cfg.NATSURL), err)
		}
		return fmt.Sprintf("server %s, stream %s will be created", conn.ConnectedServerVersion(), cfg.Stream), nil, nil
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, nats.ErrNoResponders):
		return "", nil, fmt.Errorf("JetStream at %s: %w; enable JetStream on the server (nats-server -js) and for the user's account", hosts(cfg.NATSURL), err)
	case err != nil && !errors.Is(err, jetstream.ErrStreamNotFound):
		return "", nil, fmt.Errorf("JetStream at %s: %w; see whether the server is overloaded, or a cluster has lost its majority", hosts(cfg.NATSURL), err)
	}
	// The stream exists, or is never made, so this only compares.
	subjects, err := events.NewSubjects(cfg.SubjectPrefix)
	if err != nil {
		return "", nil, err
	}
	if _, err := publisher.EnsureStream(ctx, js, publisher.StreamSettings{
		Name: cfg.Stream, Subjects: subjects, MaxAge: cfg.fullAge(), Replicas: cfg.StreamReplicas, Declared: !cfg.StreamManage,
	}); err != nil {
		return "", nil, err
	}
	info := stream.CachedInfo()
	if cautions, err = publisher.Cautions(info.Config); err != nil {
		return "", nil, err
	}
	more, err := checkState(ctx, js, cfg)
	if err != nil {
		return "", nil, err
	}
	long, err := keptTooLong(ctx, js, cfg)
	if err != nil {
		return "", nil, err
	}
	more = append(more, long...)
	found = fmt.Sprintf("server %s, stream %s holds %d events", conn.ConnectedServerVersion(), cfg.Stream, info.State.Msgs)
	if edit := publisher.WouldGain(info, conn); edit != "" {
		found += fmt.Sprintf(" (a backlog would go out faster after `nats stream edit %s %s`)", cfg.Stream, edit)
	}
	return found, append(cautions, more...), nil
}

// stateStreams are those that hold what run keeps beside the events.
func stateStreams(cfg Config) []string {
	streams := []string{"KV_" + occupancyBucket, "OBJ_" + occupancyObject}
	if cfg.Lease > 0 {
		streams = append(streams, "KV_"+lease.DefaultBucket)
	}
	if cfg.Visits {
		streams = append(streams, visits.DefaultStream, "OBJ_"+visit.DefaultState)
	}
	for _, c := range cfg.copies() {
		streams = append(streams, c.stream())
	}
	if cfg.AlertsFile != "" {
		streams = append(streams, alerts.DefaultStream)
		if cfg.BaselineDays > 0 {
			streams = append(streams, "KV_"+baseline.DefaultBucket)
		}
	}
	if cfg.WebhooksFile != "" {
		streams = append(streams, "KV_"+webhook.DefaultBucket, webhook.DefaultDeadStream)
	}
	if skipsOld(cfg) {
		streams = append(streams, webhook.DefaultSkippedStream)
	}
	return streams
}

// checkState finds out whether what run does not make is there, and of what is there
// whether it can be written to. Cautions are of streams in which a message is known by
// its id.
func checkState(ctx context.Context, js jetstream.JetStream, cfg Config) (cautions []string, err error) {
	var errs []error
	for _, name := range stateStreams(cfg) {
		stream, err := js.Stream(ctx, name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound) && cfg.StreamManage:
			continue // run makes it
		case errors.Is(err, jetstream.ErrStreamNotFound):
			errs = append(errs, fmt.Errorf("stream %s: %w; with GUESTFLOW_STREAM_MANAGE=false it is made elsewhere: declare it, or unset the variable", name, err))
			continue
		case err != nil:
			errs = append(errs, fmt.Errorf("stream %s: %w", name, err))
			continue
		}
		more, err := publisher.Cautions(stream.CachedInfo().Config)
		if err != nil {
			errs = append(errs, err)
		}
		if name == webhook.DefaultDeadStream || name == webhook.DefaultSkippedStream {
			cautions = append(cautions, more...)
		}
	}
	return cautions, errors.Join(errs...)
}
