package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/consumers/webhook"
)

func statusCommand(file *string) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "status", Short: "Show how each endpoint fares", Args: cobra.NoArgs,
		RunE: webhookCommand(file, false, func(cmd *cobra.Command, _ []string, d *webhook.Dispatcher) error {
			all, err := d.Status(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				encoder := json.NewEncoder(cmd.OutOrStdout())
				for _, s := range all {
					if err := encoder.Encode(s); err != nil {
						return err
					}
				}
				return nil
			}
			return showStatus(cmd.OutOrStdout(), all, time.Now())
		}),
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one object an endpoint")
	return c
}

func showStatus(out io.Writer, all []webhook.EndpointStatus, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ENDPOINT\tSTATE\tWAITING\tOLDEST\tDELIVERED\tLAST SUCCESS\tDEAD\tSKIPPED\tHOST")
	for _, s := range all {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d\t%s\t%d\t%d\t%s\n", s.Name, s.State, waiting(s), ago(now, s.OldestWaiting), s.Delivered, ago(now, s.LastSuccess), s.DeadLetters, s.Skipped, s.Host)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, s := range all {
		if text := trouble(s, now); text != "" {
			fmt.Fprintf(out, "%s\n", printable(text))
		}
	}
	return nil
}

// waiting counts the events that an endpoint has not taken yet.
func waiting(s webhook.EndpointStatus) uint64 { return s.Backlog + uint64(max(0, s.Waiting)) }

func ago(now, at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return age(now, at).Round(time.Second).String() + " ago"
}

// trouble says what is the matter with an endpoint and what to do; empty where
// nothing is.
func trouble(s webhook.EndpointStatus, now time.Time) string {
	switch s.State {
	case webhook.Off:
		return fmt.Sprintf("endpoint %s is disabled since %s (%s): change its entry, or guestflow webhooks enable %s", s.Name, s.Disabled.Since.UTC().Format(time.RFC3339), s.Disabled.Reason, s.Name)
	case webhook.NotServed:
		return fmt.Sprintf("endpoint %s gets nothing, since no process sends to it: set GUESTFLOW_WEBHOOKS_FILE for guestflow run, or start guestflow webhooks run", s.Name)
	case webhook.Failing, webhook.Retrying:
		return fmt.Sprintf("endpoint %s: %d tries in a row failed, the last %s: %s", s.Name, s.Failures, ago(now, s.LastFailure), s.LastError)
	}
	return ""
}

// degraded says which endpoints get nothing at the moment.
func degraded(d *webhook.Dispatcher, now time.Time) []string {
	if d == nil {
		return nil
	}
	var out []string
	for _, s := range d.Served() {
		if !s.State.Well() {
			out = append(out, fmt.Sprintf("%s; %d events wait", trouble(s, now), waiting(s)))
		}
	}
	return out
}

// webhookGauges are read at each scrape.
var webhookGauges = []struct {
	name, help string
	labels     []string
}{
	{"webhook_state", "1 for the state that a webhook endpoint is in.", []string{"endpoint", "state"}},
	{"webhook_waiting_events", "Events that a webhook endpoint has not taken yet, before conditions.", []string{"endpoint"}},
	{"webhook_oldest_waiting_seconds", "Age of the oldest event that waits for a webhook endpoint.", []string{"endpoint"}},
	{"webhook_last_success_timestamp_seconds", "When a webhook endpoint last took an event; 0 for never.", []string{"endpoint"}},
	{"webhook_dead_letters", "Dead letters that a webhook endpoint has: events that it never took, to be replayed or purged.", []string{"endpoint"}},
	{"webhook_delivered_events", "Events that a webhook endpoint took, over restarts.", []string{"endpoint"}},
	{"webhook_skipped_events", "Events that were too old for a webhook endpoint and were not sent, over restarts.", []string{"endpoint"}},
}

func collectWebhooks(d *webhook.Dispatcher, now time.Time, gauge func(name string, v float64, labels ...string)) {
	for _, s := range d.Served() {
		for _, state := range webhook.States() {
			is := 0.0
			if s.State == state {
				is = 1
			}
			gauge("webhook_state", is, s.Name, string(state))
		}
		gauge("webhook_waiting_events", float64(waiting(s)), s.Name)
		gauge("webhook_oldest_waiting_seconds", age(now, s.OldestWaiting).Seconds(), s.Name)
		gauge("webhook_dead_letters", float64(s.DeadLetters), s.Name)
		last := 0.0
		if !s.LastSuccess.IsZero() {
			last = float64(s.LastSuccess.UnixMilli()) / 1000
		}
		gauge("webhook_last_success_timestamp_seconds", last, s.Name)
		gauge("webhook_delivered_events", float64(s.Delivered), s.Name)
		gauge("webhook_skipped_events", float64(s.Skipped), s.Name)
	}
}

func describeWebhooks(into map[string]*prometheus.Desc, constant prometheus.Labels) {
	for _, g := range webhookGauges {
		into[g.name] = prometheus.NewDesc("guestflow_"+g.name, g.help, g.labels, constant)
	}
}
