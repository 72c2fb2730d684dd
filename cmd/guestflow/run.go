package main

import (
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/consumers/occupancy"
	"github.com/guestflow/guestflow/events/visits"
	"github.com/guestflow/guestflow/internal/group"
)

func runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Poll the platform and publish events until stopped",
		Long: `Polls the platform and publishes events until SIGTERM or SIGINT; then it finishes
what it does, publishes what is left for at most 10 s, and ends. A second signal
ends it at once; nothing is lost by that either.

The configuration comes from the environment: see guestflow config.`,
		Args:        cobra.NoArgs,
		Annotations: map[string]string{service: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := configured(cmd, (*Config).needAccounts, (*Config).needEndpoints, (*Config).needAlerts, (*Config).needGroups)
			if err != nil {
				return err
			}
			frugal()
			log, level := changingLogger(cmd.ErrOrStderr(), cfg)
			a, err := newApp(cmd.Context(), cfg, log)
			if err != nil {
				return err
			}
			a.level = level
			outliveHangup(cmd.Context(), cmd.ErrOrStderr(), func() {
				if level.file != "" || cfg.AccountsFile == "" {
					level.hangUp()
				}
				a.fleet.reload()
				if a.groups != nil {
					a.groups.Reload()
				}
			})
			log.Info("guestflow runs", "version", version(), cfg.who(), cfg.whoseName(), "nats", a.nats.URL(), "stream", cfg.Stream, "page", a.pageURL())
			if err := a.Run(cmd.Context()); err != nil {
				a.Close()
				return err
			}
			if err := a.Close(); err != nil {
				return fmt.Errorf("closing: %w", err)
			}
			log.Info("guestflow ended", cfg.who(), cfg.whoseName())
			return nil
		},
	}
}

// frugal has memory collected once it has grown by half, not when it has doubled, unless
// GOGC says otherwise: most of it are sessions, which stay, so that little is gained by
// waiting.
func frugal() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}

// pageURL is where the page is, empty where HTTP is off.
func (a *app) pageURL() string {
	if a.listener == nil {
		return ""
	}
	return "http://" + a.listener.Addr().String() + "/"
}

func occupancySettings(cfg Config, log *slog.Logger, pipelines occupancy.PipelineSource, groups *group.File) occupancy.Settings {
	s := occupancy.Settings{
		Stream: cfg.Stream, Prefix: cfg.SubjectPrefix, Replicas: cfg.StreamReplicas, Declared: !cfg.StreamManage,
		Token: cfg.OccupancyToken, Log: log, Pipelines: pipelines,
	}
	if groups != nil {
		s.Groups = groups
	}
	s.Limits.Zone, _ = cfg.baselineZone() // checked by loadConfig
	if cfg.Visits {
		s.Visits = visits.DefaultStream
	}
	if cfg.OccupancyCORS != "" {
		s.Origins = []string{cfg.OccupancyCORS}
	}
	return s
}
