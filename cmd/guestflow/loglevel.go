package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/consumers/occupancy"
	"github.com/guestflow/guestflow/internal/handwritten"
)

// logLevels are those that can be asked for.
var logLevels = []string{"debug", "info", "warn", "error"}

// logLevel is what a process logs from. It changes while the process runs: by
// HTTP, and at SIGHUP where a file holds it.
type logLevel struct {
	slog.LevelVar
	file  string // read at SIGHUP; empty for none
	token string // that a request to change it bears; empty lets this machine alone
	log   *slog.Logger
}

// newLogger writes from the configured level on.
func newLogger(w io.Writer, cfg Config) *slog.Logger {
	log, _ := changingLogger(w, cfg)
	return log
}

// changingLogger is newLogger for a service, which runs long enough for the level
// to be changed.
func changingLogger(w io.Writer, cfg Config) (*slog.Logger, *logLevel) {
	level := &logLevel{file: pathOf(os.Environ(), envPrefix+"_LOG_LEVEL_FILE"), token: cfg.OccupancyToken}
	_ = level.UnmarshalText([]byte(cfg.LogLevel)) // checked by loadConfig
	options := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		level.log = slog.New(slog.NewJSONHandler(w, options))
	} else {
		level.log = slog.New(slog.NewTextHandler(w, options))
	}
	return level.log, level
}

// name is the level as it is configured.
func (l *logLevel) name() string { return strings.ToLower(l.Level().String()) }

// set takes the name of a level, and logs the change whatever the level.
func (l *logLevel) set(name, by string) error {
	name = strings.ToLower(strings.TrimSpace(name))
	for _, known := range logLevels {
		if name != known {
			continue
		}
		was := l.name()
		_ = l.UnmarshalText([]byte(name)) // it is known
		if was != name {
			l.log.Log(context.Background(), max(l.Level(), slog.LevelInfo), "log level changed", "from", was, "to", name, "by", by)
		}
		return nil
	}
	return fmt.Errorf("%q is no log level: use %s", name, strings.Join(logLevels, ", "))
}

// hangUp is what SIGHUP does: it reads the file again. What cannot be read changes
// nothing.
func (l *logLevel) hangUp() {
	if l.file == "" {
		l.log.Info("hung up: nothing to do; the endpoints file is read when it changes, GUESTFLOW_LOG_LEVEL_FILE at each SIGHUP, and variables at the start")
		return
	}
	b, err := handwritten.ReadFile(l.file)
	if err == nil {
		err = l.set(unwrapped(string(b)), "SIGHUP")
	}
	if err != nil {
		l.log.Error("hung up: GUESTFLOW_LOG_LEVEL_FILE cannot be used, so the level stays", "file", l.file, "error", err, "level", l.name())
		return
	}
	l.log.Info("hung up: log level read again", "file", l.file, "level", l.name())
}

// logLevelPath is where a process tells its level, and takes another.
const logLevelPath = "/log-level"

// serve answers with the level, after changing it to the body of a PUT.
func (l *logLevel) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut {
		if !permits(r, l.token) {
			http.Error(w, "The level is changed from this machine alone (http://127.0.0.1), or with GUESTFLOW_OCCUPANCY_TOKEN where it is set, as \"Authorization: Bearer …\".", http.StatusForbidden)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64))
		if err == nil {
			err = l.set(string(body), "HTTP")
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	fmt.Fprintln(w, l.name())
}

// permits reports whether a request may change what the process does. Where no token
// is set it has to come from this machine.
func permits(r *http.Request, token string) bool {
	if token != "" {
		given := sha256.Sum256([]byte(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")))
		wanted := sha256.Sum256([]byte(token))
		return subtle.ConstantTimeCompare(given[:], wanted[:]) == 1
	}
	return occupancy.FromHere(r)
}

func logLevelCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "log-level [debug|info|warn|error]",
		Short: "Show or change what the running guestflow logs",
		Long: `Asks the guestflow that runs with this configuration, over HTTP, for the level that
it logs from, and changes it where one is given. The change lasts until it ends, or
until SIGHUP where GUESTFLOW_LOG_LEVEL_FILE is set.`,
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: logLevels,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := configured(cmd)
			if err != nil {
				return err
			}
			method, body := http.MethodGet, ""
			if len(args) > 0 {
				method, body = http.MethodPut, args[0]
			}
			text, err := askRunning(cmd.Context(), cfg, method, logLevelPath, body)
			if err != nil {
				return fmt.Errorf("log-level: %w", err)
			}
			fmt.Fprintln(cmd.OutOrStdout(), text)
			return nil
		},
	}
}
