package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/events"
)

func demoCommand() *cobra.Command {
	var (
		f   simulationFlags
		run time.Duration
	)
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run everything against a simulated platform, and show the events",
		Long: `Runs a simulated platform, an embedded NATS server and the very same poller as
guestflow run, and shows the events as they are published. Nothing is left behind:
the data directory is temporary. People come and go faster than in life. Like run,
it sends webhooks where GUESTFLOW_WEBHOOKS_FILE names an endpoints file.`,
		Example: `  guestflow demo --for 60s
  GUESTFLOW_WEBHOOKS_FILE=endpoints.yaml guestflow demo
  nats sub 'guest.sessions.>'          # in a second terminal`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if run < 0 {
				return usageError(fmt.Sprintf("--for %v: use a positive duration such as 60s", run))
			}
			if run > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, run)
				defer cancel()
			}
			return demo(ctx, cmd, f)
		},
	}
	f.register(c, "demo")
	c.Flags().DurationVar(&run, "for", 0, "end after this time (default: at Ctrl-C)")
	return c
}

// demo runs until ctx ends.
func demo(ctx context.Context, cmd *cobra.Command, f simulationFlags) error {
	cfg, err := configured(cmd, (*Config).needEndpoints)
	if err != nil {
		return err
	}
	simCfg, err := f.config()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "guestflow-demo-")
	if err != nil {
		return fmt.Errorf("temporary data directory: %w", err)
	}
	defer os.RemoveAll(dir)
	sim, err := openSimulation(simCfg, "127.0.0.1:0", "")
	if err != nil {
		return err
	}
	defer sim.Close()
	cfg.APIURL, cfg.APIToken, cfg.DataDir, cfg.NATSURL = sim.URL(), "demo", dir, ""
	if os.Getenv("GUESTFLOW_GUESTS") == "" {
		cfg.Guests = true // they are made up
	}
	if os.Getenv("GUESTFLOW_LOG_LEVEL") == "" {
		cfg.LogLevel = "error" // the events are what is to be seen
	}
	cfg.NATSListen = freeAddress(cfg.NATSListen)
	if cfg.HTTPAddr != "-" {
		cfg.HTTPAddr = freeAddress(cfg.HTTPAddr)
	}
	a, err := newApp(ctx, cfg, newLogger(cmd.ErrOrStderr(), cfg))
	if err != nil {
		return err
	}
	out := &screen{w: cmd.OutOrStdout(), live: isTerminal(cmd.OutOrStdout())}
	sub := "nats sub '" + cfg.SubjectPrefix + ".>'"
	if a.nats.URL() != nats.DefaultURL {
		sub = "nats sub -s " + a.nats.URL() + " '" + cfg.SubjectPrefix + ".>'"
	}
	out.line(fmt.Sprintf("simulated platform  %s, %d locations\npage                %s\nthe same events     %s\n",
		sim.URL(), len(sim.sim.Locations()), a.pageURL(), sub))

	d := &demonstration{app: a, out: out, began: time.Now(), kinds: make(map[events.Kind]int)}
	var wg sync.WaitGroup
	var simErr error
	wg.Go(func() { simErr = sim.Run(context.WithoutCancel(ctx)) })
	shown, stopShowing := context.WithCancel(context.WithoutCancel(ctx))
	var watching sync.WaitGroup
	watching.Go(func() { d.watch(shown) })
	watching.Go(func() { d.status(shown) })
	err = a.Run(ctx)
	stopShowing()
	watching.Wait()
	sim.listener.Close()
	wg.Wait()
	out.line(d.summary())
	if simErr != nil && !errors.Is(simErr, net.ErrClosed) {
		err = errors.Join(err, simErr)
	}
	return errors.Join(err, a.Close())
}

// freeAddress returns addr, or the same host with a port that the system picks
// where addr is taken.
func freeAddress(addr string) string {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		host, _, splitErr := net.SplitHostPort(addr)
		if splitErr != nil {
			return addr
		}
		return net.JoinHostPort(host, "0")
	}
	l.Close()
	return addr
}

// demonstration is what a person sees of a demo.
type demonstration struct {
	app   *app
	out   *screen
	began time.Time

	mu    sync.Mutex
	kinds map[events.Kind]int
	times []time.Time // of the events of the last minute
}

// watch shows the stream's events.
func (d *demonstration) watch(ctx context.Context) {
	consumer := events.Consumer{Stream: d.app.cfg.Stream, Prefix: d.app.cfg.SubjectPrefix, From: events.FromStart()}
	discovered := 0
	for ctx.Err() == nil {
		err := consumer.Run(ctx, d.app.nats.js, func(_ context.Context, v events.Delivery) error {
			d.count(v.Kind)
			if v.Kind == events.Discovered {
				// Hundreds at once: who was there already is told as a number.
				discovered++
				return nil
			}
			if discovered > 0 {
				d.out.line(fmt.Sprintf("%d sessions were online already\n", discovered))
				discovered = 0
			}
			return showEvent(d.out, v.Event)
		})
		if err != nil {
			// The stream is being set up.
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
}

func (d *demonstration) count(k events.Kind) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kinds[k]++
	now := time.Now()
	d.times = append(d.times, now)
	for len(d.times) > 0 && now.Sub(d.times[0]) > time.Minute {
		d.times = d.times[1:]
	}
}

// status shows how it goes: on a terminal as a line that is drawn anew, else now
// and then.
func (d *demonstration) status(ctx context.Context) {
	every := 10 * time.Second
	if d.out.live {
		every = time.Second
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			d.out.status(d.statusLine(now))
		}
	}
}

func (d *demonstration) statusLine(now time.Time) string {
	s := d.app.polling(now)
	used, limit := 0, 0
	for _, b := range s.Budgets {
		if b.Endpoint == "sessions" {
			used, limit = b.Used, b.Limit
		}
	}
	d.mu.Lock()
	perMinute := len(d.times)
	d.mu.Unlock()
	p50, p95, _ := d.app.metrics.recent.quantiles(events.Started, events.Ended)
	return fmt.Sprintf("── %s · %d locations · %d online · %d events/min · budget %d/%d · staleness %.0f s · seen after %.1f s (p95 %.1f s)",
		s.State, len(s.Locations), s.Online(), perMinute, used, limit, s.Staleness().Seconds(), p50, p95)
}

func (d *demonstration) summary() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	total := 0
	for _, n := range d.kinds {
		total += n
	}
	text := fmt.Sprintf("\n%d events in %v:", total, time.Since(d.began).Round(time.Second))
	for _, k := range events.Kinds() {
		text += fmt.Sprintf(" %s %d", k, d.kinds[k])
	}
	return text + "\n"
}

// screen writes lines, and below them a status line where it is a terminal.
type screen struct {
	mu    sync.Mutex
	w     io.Writer
	live  bool
	below string
}

const (
	eraseLine = "\r\x1b[2K"
	dim       = "\x1b[2m"
	plain     = "\x1b[0m"
)

// Write writes whole lines above the status line.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live && s.below != "" {
		fmt.Fprint(s.w, eraseLine)
	}
	n, err := s.w.Write(p)
	if s.live && s.below != "" {
		fmt.Fprint(s.w, dim+s.below+plain)
	}
	return n, err
}

func (s *screen) line(text string) { fmt.Fprintln(s, text) }

func (s *screen) status(text string) {
	if !s.live {
		fmt.Fprintln(s, text)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.below = text
	fmt.Fprint(s.w, eraseLine+dim+text+plain)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
