package main

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/consumers/webhook"
	"github.com/guestflow/guestflow/internal/group"
	"github.com/guestflow/guestflow/internal/tracing"
)

func newDispatcher(cfg Config, js jetstream.JetStream, log *slog.Logger) *webhook.Dispatcher {
	dead := 30 * 24 * time.Hour
	if age := cfg.fullAge(); age > 0 && cfg.Retention != "" {
		dead = min(dead, age)
	}
	return &webhook.Dispatcher{
		Groups:     func() *group.Tree { return groupsAsTheyAre(cfg) },
		DeadMaxAge: dead,
		JetStream:  js, Path: cfg.WebhooksFile, Absent: absentFields(cfg), Stream: cfg.Stream, Prefix: cfg.SubjectPrefix, Replicas: cfg.StreamReplicas, Declared: !cfg.StreamManage, Key: cfg.PrivacyKey, Log: log,
	}
}

// absentFields are those that no event of any account has with this configuration.
func absentFields(cfg Config) webhook.Absent {
	configs, err := cfg.accounts()
	if err != nil || len(configs) == 0 {
		configs = []Config{cfg} // what is wrong with the file is told elsewhere
	}
	absent := absentOf(configs[0])
	for _, other := range configs[1:] {
		of := absentOf(other)
		maps.DeleteFunc(absent, func(path, _ string) bool { return of[path] == "" })
	}
	return absent
}

// absentOf are the fields that no event of one account has.
func absentOf(cfg Config) webhook.Absent {
	absent := webhook.Absent{}
	if !cfg.Guests {
		const remedy = "set GUESTFLOW_GUESTS=true, here as for the process that polls, so that guests are looked up"
		absent["guest"], absent["observed.guest"] = remedy, remedy
	}
	for _, f := range []struct {
		variable, mode string
		paths          []string
	}{
		{"GUESTFLOW_NAME", cfg.Name, []string{"guest.name", "guest.username"}},
		{"GUESTFLOW_EMAIL", cfg.Email, []string{"guest.email"}},
		{"GUESTFLOW_MAC", cfg.MAC, []string{"session.device_mac", "previous.device_mac", "visit.device_mac"}},
		{"GUESTFLOW_IP", cfg.IP, []string{"session.device_ip", "previous.device_ip"}},
	} {
		for _, path := range f.paths {
			if f.mode == "drop" {
				absent[path] = "set " + f.variable + " to keep or hash, or leave it out of the entry"
			}
		}
	}
	return absent
}

// webhookCommand is one that needs the endpoints file and, unless offline, NATS.
func webhookCommand(file *string, offline bool, do func(*cobra.Command, []string, *webhook.Dispatcher) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		cfg, err := configured(cmd)
		if err != nil {
			return err
		}
		if *file != "" {
			cfg.WebhooksFile = *file
		}
		if cfg.WebhooksFile == "" {
			return usageError("no endpoints file: give --file or set GUESTFLOW_WEBHOOKS_FILE")
		}
		if err := cfg.needEndpoints(); err != nil {
			return usageError(err.Error())
		}
		if offline {
			return do(cmd, args, newDispatcher(cfg, nil, newLogger(cmd.ErrOrStderr(), cfg)))
		}
		return dispatch(cmd, args, cfg, do)
	}
}

// dispatch does what needs NATS.
func dispatch(cmd *cobra.Command, args []string, cfg Config, do func(*cobra.Command, []string, *webhook.Dispatcher) error) error {
	conn, js, err := reachClient(cmd.Context(), cfg, "", webhookRights(cfg))
	if err != nil {
		return err
	}
	defer conn.Close()
	log, level := changingLogger(cmd.ErrOrStderr(), cfg)
	d := newDispatcher(cfg, js, log)
	if cmd.Annotations[service] != "" {
		groups, err := openGroups(cfg, log)
		if err != nil {
			return err
		}
		defer followGroups(cmd, groups, level)()
		d.Groups = inUse(groups)
		tracer, err := tracing.Start(cmd.Context(), version(), log)
		if err != nil {
			return usageError(err.Error())
		}
		if tracer != nil {
			defer tracer.Close()
			d.Span = tracer.Try
		}
	}
	return do(cmd, args, d)
}

func webhooksCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "webhooks",
		Short: "Send the stream's events as signed webhooks",
		Long: `Sends the stream's events to the endpoints of a file (consumers/webhook/README.md
describes it), signed by the Standard Webhooks specification. guestflow run does
the same where GUESTFLOW_WEBHOOKS_FILE is set.`,
	}
	c.PersistentFlags().StringVar(&file, "file", "", "endpoints file (default GUESTFLOW_WEBHOOKS_FILE)")
	c.AddCommand(
		&cobra.Command{
			Use: "run", Short: "Send webhooks until stopped", Args: cobra.NoArgs, Annotations: map[string]string{service: "yes"},
			RunE: webhookCommand(&file, false, func(cmd *cobra.Command, _ []string, d *webhook.Dispatcher) error {
				return d.Run(cmd.Context())
			}),
		},
		&cobra.Command{
			Use: "check", Short: "Check the endpoints file; nothing is sent", Args: cobra.NoArgs,
			RunE: webhookCommand(&file, true, checkWebhooks),
		},
		testCommand(&file),
		statusCommand(&file),
		&cobra.Command{
			Use: "enable NAME", Short: "Send again to an endpoint that answered 410", Args: cobra.ExactArgs(1),
			RunE: webhookCommand(&file, false, enableWebhook),
		},
		&cobra.Command{
			Use: "forget NAME", Short: "Forget the place of an endpoint that has left the file", Args: cobra.ExactArgs(1),
			Long: `Forgets the place in the stream of an endpoint that has left the file, and how it
fared. Should it come back, it begins with the next event. Its dead letters stay.`,
			RunE: webhookCommand(&file, false, forgetWebhook),
		},
		deadCommand(&file), skippedCommand(&file), purgeCommand(&file), replayCommand(&file),
	)
	return c
}

// checkWebhooks reads a file that webhookCommand has found to be right.
func checkWebhooks(cmd *cobra.Command, _ []string, d *webhook.Dispatcher) error {
	all, err := d.Check()
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	for _, c := range all {
		fmt.Fprintf(out, "ok    %s: %s to %s\n", c.Endpoint.Name, asksFor(c.Endpoint), c.URL)
		if c.Reason != "" {
			fmt.Fprintf(out, "note  %s: %s\n", c.Endpoint.Name, c.Reason)
		}
		if c.Hint != "" {
			fmt.Fprintf(out, "note  %s: %s\n", c.Endpoint.Name, c.Hint)
		}
	}
	if len(all) == 0 {
		fmt.Fprintln(out, "note  the file has no endpoints: nothing is sent")
	}
	return nil
}

// asksFor says which events an endpoint gets.
func asksFor(e webhook.Endpoint) string {
	text := "every kind"
	if len(e.Kinds) > 0 {
		text = strings.Join(e.Kinds, ", ")
	}
	if e.Stream == "visits" {
		text = "visits, " + text
	}
	if len(e.Locations) > 0 {
		text += " at " + strings.Join(e.Locations, ", ")
	}
	if len(e.Groups) > 0 {
		text += " in " + strings.Join(e.Groups, ", ")
	}
	if e.Condition != "" {
		text += " where " + e.Condition
	}
	if e.MaxAge > 0 {
		text += ", no older than " + e.MaxAge.String()
	}
	return text
}

func testCommand(file *string) *cobra.Command {
	var kind string
	c := &cobra.Command{
		Use: "test NAME", Short: "Send one sample event and show request and answer", Args: cobra.ExactArgs(1),
		Long: `Sends one made-up event that the endpoint's kinds, locations and condition let
through, or says why there is none. With --kind it is of that kind, whether the
endpoint asks for it or not.`,
		PreRunE: func(*cobra.Command, []string) error {
			if kind != "" && !slices.Contains(webhook.Kinds(), kind) {
				return usageError(fmt.Sprintf("--kind %q: use one of %s", kind, strings.Join(webhook.Kinds(), ", ")))
			}
			return nil
		},
		RunE: webhookCommand(file, true, func(cmd *cobra.Command, args []string, d *webhook.Dispatcher) error {
			return testWebhook(cmd, args[0], kind, d)
		}),
	}
	c.Flags().StringVar(&kind, "kind", "", "send an event of this kind")
	return c
}

func testWebhook(cmd *cobra.Command, name, kind string, d *webhook.Dispatcher) error {
	x, err := d.Test(cmd.Context(), name, kind)
	if errors.Is(err, webhook.ErrNoSample) {
		return fmt.Errorf("%w; correct the entry, or send any event with --kind", err)
	}
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if x.Unwanted != "" {
		fmt.Fprintf(out, "The endpoint would not get this event: %s.\n\n", x.Unwanted)
	}
	fmt.Fprintf(out, "%s %s\n", x.Method, x.URL)
	if err := x.RequestHeader.Write(out); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%s\n\n", x.RequestBody)
	if x.Status != 0 {
		fmt.Fprintf(out, "%d %s in %v\n", x.Status, http.StatusText(x.Status), x.Duration.Round(time.Millisecond))
		var answer strings.Builder
		if err := x.ResponseHeader.Write(&answer); err != nil {
			return err
		}
		fmt.Fprintf(&answer, "\n%s\n", x.ResponseBody)
		for line := range strings.Lines(answer.String()) { // the receiver's own words
			fmt.Fprintln(out, printable(strings.TrimRight(line, "\r\n")))
		}
		fmt.Fprintln(out)
	}
	if !x.Accepted {
		return fmt.Errorf("endpoint %s did not take the event: %s", name, x.Reason)
	}
	fmt.Fprintf(out, "endpoint %s took the event\n", name)
	return nil
}

func enableWebhook(cmd *cobra.Command, args []string, d *webhook.Dispatcher) error {
	was, err := d.Enable(cmd.Context(), args[0])
	if err != nil {
		return err
	}
	if was == nil {
		fmt.Fprintf(cmd.OutOrStdout(), "endpoint %s was not disabled; nothing is changed\n", args[0])
		return nil
	}
	fmt.Fprintf(cmd.OutOrStdout(), "endpoint %s is enabled again; it was disabled since %s: %s\n", args[0], was.Since.Format(time.RFC3339), printable(was.Reason))
	return nil
}

func forgetWebhook(cmd *cobra.Command, args []string, d *webhook.Dispatcher) error {
	if err := d.Forget(cmd.Context(), args[0]); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "endpoint %s is forgotten\n", args[0])
	return nil
}

func replayCommand(file *string) *cobra.Command {
	var (
		r            webhook.ReplayRequest
		since, until string
	)
	c := &cobra.Command{
		Use: "replay NAME", Short: "Send dead letters or a part of the stream again", Args: cobra.ExactArgs(1),
		Example: "  guestflow webhooks replay crm --all\n  guestflow webhooks replay crm --since 3h",
		PreRunE: func(*cobra.Command, []string) error {
			if until != "" && since == "" {
				return usageError("--until bounds --since; give that too")
			}
			for _, t := range []struct {
				flag, text string
				to         *time.Time
			}{{"since", since, &r.Since}, {"until", until, &r.Until}} {
				if t.text != "" {
					var err error
					read := parseTime
					if t.flag == "since" {
						read = parsePast
					}
					if *t.to, err = read(t.flag, t.text, time.Now()); err != nil {
						return err
					}
				}
			}
			return nil
		},
		RunE: webhookCommand(file, false, func(cmd *cobra.Command, args []string, d *webhook.Dispatcher) error {
			r.Endpoint = args[0]
			r.Each = func(e webhook.Replayed) {
				if e.Err != nil {
					fmt.Fprintln(cmd.OutOrStdout(), printable(e.EventID+": "+e.Err.Error()))
				}
			}
			report, err := d.Replay(cmd.Context(), r)
			if err == nil || report != (webhook.ReplayReport{}) {
				fmt.Fprintf(cmd.OutOrStdout(), "%d delivered, %d failed, %d not for this endpoint\n", report.Delivered, report.Failed, report.Skipped)
			}
			if err == nil && report.Failed > 0 {
				err = fmt.Errorf("endpoint %s did not take %d events; see guestflow webhooks dead %s", r.Endpoint, report.Failed, r.Endpoint)
			}
			return err
		}),
	}
	c.Flags().Uint64Var(&r.Sequence, "sequence", 0, "one dead letter, by its sequence")
	c.Flags().StringVar(&r.EventID, "event", "", "one dead letter, by its event's id")
	c.Flags().BoolVar(&r.All, "all", false, "all dead letters of the endpoint")
	c.Flags().StringVar(&since, "since", "", "the stream's events from a time or for a while back")
	c.Flags().StringVar(&until, "until", "", "with --since: up to a time")
	c.MarkFlagsOneRequired("sequence", "event", "all", "since")
	return c
}
