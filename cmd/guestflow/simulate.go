package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/internal/simulator"
)

// simulation is a simulated platform on a TCP address.
type simulation struct {
	sim      *simulator.Simulator
	listener net.Listener
	truth    *simulator.Log
	file     *os.File
}

// openSimulation listens; truth, where not empty, is the file of the ground
// truth.
func openSimulation(cfg simulator.Config, listen, truth string) (*simulation, error) {
	s := &simulation{}
	if truth != "" {
		f, err := os.Create(truth)
		if err != nil {
			return nil, fmt.Errorf("ground truth: %w; name a file that can be written", err)
		}
		s.file, s.truth = f, simulator.NewLog(f)
		cfg.Truth = s.truth.Record
	}
	if err := cfg.Validate(); err != nil {
		s.Close()
		return nil, usageError(err.Error())
	}
	var err error
	if s.listener, err = net.Listen("tcp", listen); err != nil {
		s.Close()
		return nil, fmt.Errorf("simulated platform: %w; use another --listen address", err)
	}
	s.sim = simulator.New(cfg, time.Now)
	return s, nil
}

// URL is the API's base URL.
func (s *simulation) URL() string { return "http://" + s.listener.Addr().String() }

// Run serves until ctx ends. The population lives on whether it is asked or not.
func (s *simulation) Run(ctx context.Context) error {
	server := &http.Server{Handler: s.sim, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("simulated platform: %w", err)
	}
	s.sim.Advance()
	return nil
}

// Close writes the rest of the ground truth.
func (s *simulation) Close() error {
	var errs []error
	if s.listener != nil {
		s.listener.Close() // closed already where it was served
	}
	if s.file != nil {
		errs = append(errs, s.truth.Flush(), s.file.Close())
	}
	return errors.Join(errs...)
}

// simulationFlags are the settings that simulate and demo share.
type simulationFlags struct {
	estate, order  string
	seed           uint64
	speed          float64
	rateLimit      int
	sharedLimit    bool
	faults         []string
	latency        time.Duration
	token          string
	noLocations    bool
	clockSkew      time.Duration
	roam, move, up float64
	historyDays    int
}

func (f *simulationFlags) register(c *cobra.Command, estate string) {
	flags := c.Flags()
	flags.StringVar(&f.estate, "estate", estate, "population:\n"+simulator.EstateHelp())
	flags.Uint64Var(&f.seed, "seed", 1, "decides everything that is random")
	flags.Float64Var(&f.speed, "speed", 0, "how much faster than real people come and go (default the estate's own)")
	flags.IntVar(&f.historyDays, "history-days", -1, "days of history from before the start (default the estate's own: 35 of demo, an hour of others)")
	flags.StringVar(&f.order, "order", "newest", "order of the lists: newest, oldest, id, none, shuffled or moving (the row updated last stands last)")
	flags.StringArrayVar(&f.faults, "fault", nil, "fault to play, repeatable:\n"+simulator.FaultHelp())
}

func (f *simulationFlags) config() (simulator.Config, error) {
	cfg, err := simulator.Estate(f.estate)
	if err != nil {
		return cfg, usageError(err.Error())
	}
	if cfg.Order, err = simulator.ParseOrder(f.order); err != nil {
		return cfg, usageError(err.Error())
	}
	if cfg.Faults, err = simulator.ParseFaults(f.faults); err != nil {
		return cfg, usageError(err.Error())
	}
	for _, v := range []struct {
		flag  string
		value float64
		least float64
	}{
		{"speed", f.speed, 0}, {"history-days", float64(f.historyDays), -1}, {"latency", f.latency.Seconds(), 0}, {"rate-limit", float64(f.rateLimit), -1},
		{"roam", f.roam, 0}, {"move", f.move, 0}, {"resume", f.up, 0},
	} {
		if v.value < v.least {
			return cfg, usageError(fmt.Sprintf("--%s is %v; use %v or more", v.flag, v.value, v.least))
		}
	}
	cfg.Seed, cfg.Token, cfg.ClockSkew = f.seed, f.token, f.clockSkew
	if f.speed > 0 {
		cfg.Speed = f.speed
	}
	if f.historyDays >= 0 {
		cfg.Archive = time.Duration(f.historyDays) * 24 * time.Hour
	}
	if f.rateLimit != 0 {
		cfg.RateLimit = f.rateLimit
	}
	cfg.SharedLimit = f.sharedLimit
	cfg.HasLocations, cfg.HasCount = !f.noLocations, true
	if f.latency > 0 {
		cfg.Latency = func(uint64) time.Duration { return f.latency }
	}
	if f.roam > 0 {
		cfg.RoamProbability = f.roam
	}
	if f.move > 0 {
		cfg.MoveProbability = f.move
	}
	if f.up > 0 {
		cfg.ResumeProbability = f.up
	}
	return cfg, nil
}

func simulateCommand() *cobra.Command {
	var (
		f             simulationFlags
		quirks        quirkFlags
		listen, truth string
	)
	c := &cobra.Command{
		Use:   "simulate",
		Short: "Serve a simulated platform",
		Long: `Serves the platform's API as it is documented, with a population that comes and
goes, the platform's rate limit, and faults on request. Everything is decided by
the seed. The ground truth says what really happened, one JSON object a line.`,
		Example: `  guestflow simulate --token secret --truth truth.jsonl
  GUESTFLOW_API_URL=http://127.0.0.1:8090 GUESTFLOW_API_TOKEN=secret guestflow run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.config()
			if err != nil {
				return err
			}
			if err := quirks.apply(&cfg); err != nil {
				return err
			}
			s, err := openSimulation(cfg, listen, truth)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "simulated platform: %s  (%d locations)\n", s.URL(), len(s.sim.Locations()))
			return errors.Join(s.Run(cmd.Context()), s.Close())
		},
	}
	f.register(c, "E1")
	quirks.register(c)
	flags := c.Flags()
	flags.StringVar(&listen, "listen", "127.0.0.1:8090", "address to serve on")
	flags.StringVar(&truth, "truth", "", "file for the ground truth")
	flags.StringVar(&f.token, "token", "", "token that requests must bear (default none)")
	flags.IntVar(&f.rateLimit, "rate-limit", 60, "requests a minute and endpoint; -1 for no limit")
	flags.BoolVar(&f.sharedLimit, "shared-limit", false, "count all endpoints against one limit")
	flags.BoolVar(&f.noLocations, "no-locations", false, "answer 404 to GET /locations")
	flags.DurationVar(&f.latency, "latency", 0, "time that a request takes")
	flags.DurationVar(&f.clockSkew, "clock-skew", 0, "how far the platform's clock is ahead")
	flags.Float64Var(&f.roam, "roam", 0, "share of sessions that go on as a new one at another location")
	flags.Float64Var(&f.move, "move", 0, "share of sessions that move to another location under their id")
	flags.Float64Var(&f.up, "resume", 0, "share of sessions that come back under their id")
	return c
}
