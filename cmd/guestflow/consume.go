package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/consumers/occupancy"
	"github.com/guestflow/guestflow/internal/group"
)

func occupancyCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "occupancy",
		Short: "Serve current occupancy, its API and the page, from the stream alone",
		Long: `Keeps the occupancy of every location from the stream alone, in the bucket
guest-occupancy and over HTTP on GUESTFLOW_HTTP_ADDR. guestflow run does the same;
this is for a process of its own. With --json it prints the present occupancy from
the bucket, one object a location, and ends.`,
		Args:        cobra.NoArgs,
		Annotations: map[string]string{service: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := configured(cmd, (*Config).needGroups)
			if err != nil {
				return err
			}
			if asJSON {
				conn, js, err := reachClient(cmd.Context(), cfg, "", bucketRights())
				if err != nil {
					return err
				}
				defer conn.Close()
				return printOccupancy(cmd, js)
			}
			conn, js, err := connectClient(cmd.Context(), cfg, "")
			if err != nil {
				return err
			}
			defer conn.Close()
			log, level := changingLogger(cmd.ErrOrStderr(), cfg)
			groups, err := openGroups(cfg, log)
			if err != nil {
				return err
			}
			defer followGroups(cmd, groups, level)()
			return serveOccupancy(cmd.Context(), cfg, js, log, groups)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the present occupancy and end")
	return c
}

func printOccupancy(cmd *cobra.Command, js jetstream.JetStream) error {
	bucket, err := js.KeyValue(cmd.Context(), "guest-occupancy")
	if err != nil {
		return fmt.Errorf("bucket guest-occupancy: %w; start guestflow run or guestflow occupancy first", err)
	}
	keys, err := bucket.ListKeys(cmd.Context())
	if err != nil {
		return fmt.Errorf("bucket guest-occupancy: %w", err)
	}
	for key := range keys.Keys() {
		v, err := bucket.Get(cmd.Context(), key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue // deleted since
		}
		if err != nil {
			return fmt.Errorf("bucket guest-occupancy, %s: %w", key, err)
		}
		if !json.Valid(v.Value()) {
			return fmt.Errorf("bucket guest-occupancy, %s: not JSON", key)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s\n", v.Value())
	}
	return nil
}

func serveOccupancy(ctx context.Context, cfg Config, js jetstream.JetStream, log *slog.Logger, groups *group.File) error {
	if cfg.HTTPAddr == "-" {
		return usageError("guestflow occupancy needs an address: set GUESTFLOW_HTTP_ADDR")
	}
	forget := newForgetter(cfg, js, log)
	settings := occupancySettings(cfg, log, nil, groups)
	settings.Forgotten, settings.Stories = forget.list, &stories{stream: cfg.Stream, js: js, prefix: cfg.SubjectPrefix}
	service := occupancy.New(settings)
	forget.alone, forget.web = "occupancy", service
	listener, err := listenForReaders(cfg.HTTPAddr)
	if err != nil {
		return fmt.Errorf("HTTP address: %w; set GUESTFLOW_HTTP_ADDR to a free one", err)
	}
	log.Info("occupancy is served", "page", "http://"+listener.Addr().String()+"/")
	server := newServer(service.Handler())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	err = forget.beside(ctx, func() error { return service.Run(ctx, js) })
	server.Close()
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}
