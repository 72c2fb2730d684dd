package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/consumers/webhook"
)

func skippedCommand(file *string) *cobra.Command {
	var (
		limit  int
		asJSON bool
	)
	c := &cobra.Command{
		Use: "skipped [NAME]", Short: "List the events that were too old to be sent", Args: cobra.MaximumNArgs(1),
		Long: `Lists the events that were older than an endpoint's max_age when their first try was
due, so that they were not sent. The newest 10,000 of each endpoint are kept, for 30
days. guestflow webhooks replay NAME --since sends a part of the stream all the same.`,
		RunE: letterCommand(file, func(cmd *cobra.Command, args []string, d *webhook.Dispatcher) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			list, err := d.Skipped(cmd.Context(), name, limit)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			switch {
			case asJSON:
				return writeSkipped(out, list)
			case len(list) == 0:
				_, err = fmt.Fprintln(out, "nothing was skipped")
				return err
			}
			return listSkipped(out, list)
		}),
	}
	c.Flags().IntVar(&limit, "limit", 100, "list at most so many, oldest first; 0 for all")
	c.Flags().BoolVar(&asJSON, "json", false, "print one object an event")
	return c
}

func listSkipped(out io.Writer, list []webhook.SkippedEvent) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SEQUENCE\tENDPOINT\tKIND\tSUBJECT\tLOCATION\tEVENT\tHAPPENED\tAGE\tALLOWED\tSKIPPED")
	for _, s := range list {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.StreamSequence, s.Endpoint, orDash(s.Kind), orDash(s.Subject), orDash(s.Location),
			orDash(s.EventID), s.Happened.UTC().Format(time.RFC3339), s.Age.Round(time.Second), s.MaxAge, s.At.UTC().Format(time.RFC3339))
	}
	return w.Flush()
}

func writeSkipped(out io.Writer, list []webhook.SkippedEvent) error {
	encoder := json.NewEncoder(out)
	for _, s := range list {
		session, visit := sessionOrVisit(s.Stream, s.Subject)
		if err := encoder.Encode(struct {
			StreamSequence uint64    `json:"stream_sequence"`
			Endpoint       string    `json:"endpoint"`
			EventID        string    `json:"event_id"`
			Kind           string    `json:"kind"`
			Account        string    `json:"account"`
			Session        string    `json:"session_id,omitempty"`
			Visit          string    `json:"visit_id,omitempty"`
			Location       string    `json:"location_id"`
			Happened       time.Time `json:"happened_at"`
			Age            float64   `json:"age_seconds"`
			MaxAge         float64   `json:"max_age_seconds"`
			SkippedAt      time.Time `json:"skipped_at"`
		}{s.StreamSequence, s.Endpoint, s.EventID, s.Kind, s.Account, session, visit, s.Location, s.Happened.UTC(), s.Age.Seconds(), s.MaxAge.Seconds(), s.At.UTC()}); err != nil {
			return err
		}
	}
	return nil
}
