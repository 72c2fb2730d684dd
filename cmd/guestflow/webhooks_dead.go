package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/consumers/webhook"
)

// letterCommand needs NATS, and looks at the endpoints file only where there is
// one: letters outlive entries.
func letterCommand(file *string, do func(*cobra.Command, []string, *webhook.Dispatcher) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		cfg, err := configured(cmd)
		if err != nil {
			return err
		}
		if *file != "" {
			cfg.WebhooksFile = *file
		}
		err = dispatch(cmd, args, cfg, do)
		if errors.Is(err, webhook.ErrUnknownEndpoint) && cfg.WebhooksFile == "" {
			err = fmt.Errorf("%w; where it is in an endpoints file, give that with --file or GUESTFLOW_WEBHOOKS_FILE", err)
		}
		return err
	}
}

func deadCommand(file *string) *cobra.Command {
	var (
		limit        int
		asJSON, body bool
	)
	c := &cobra.Command{
		Use: "dead [NAME]", Short: "List the events that an endpoint never took", Args: cobra.MaximumNArgs(1),
		RunE: letterCommand(file, func(cmd *cobra.Command, args []string, d *webhook.Dispatcher) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			letters, err := d.DeadLetters(cmd.Context(), name, limit)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			switch {
			case asJSON:
				return writeLetters(out, letters)
			case len(letters) == 0:
				_, err = fmt.Fprintln(out, "no dead letters")
				return err
			case body:
				return showBodies(out, letters)
			}
			return listLetters(out, letters)
		}),
	}
	c.Flags().IntVar(&limit, "limit", 100, "list at most so many, oldest first; 0 for all")
	c.Flags().BoolVar(&body, "body", false, "show each event too")
	c.Flags().BoolVar(&asJSON, "json", false, "print one object a letter, with its event")
	c.MarkFlagsMutuallyExclusive("body", "json")
	return c
}

func listLetters(out io.Writer, letters []webhook.DeadLetter) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SEQUENCE\tENDPOINT\tKIND\tSUBJECT\tLOCATION\tEVENT\tDIED\tTRIES\tREASON")
	for _, l := range letters {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", l.Sequence, l.Endpoint, orDash(l.Kind), orDash(l.Subject), orDash(l.Location),
			orDash(l.EventID), l.DiedAt.UTC().Format(time.RFC3339), l.Tries, printable(l.Reason))
	}
	return w.Flush()
}

// orDash is text for one column of a table.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return printable(text)
}

func showBodies(out io.Writer, letters []webhook.DeadLetter) error {
	for _, l := range letters {
		if err := listLetters(out, []webhook.DeadLetter{l}); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "%s\n\n", printable(string(l.Event))); err != nil {
			return err
		}
	}
	return nil
}

// writeLetters prints a letter a line. An event that is not JSON is a text.
func writeLetters(out io.Writer, letters []webhook.DeadLetter) error {
	encoder := json.NewEncoder(out)
	for _, l := range letters {
		session, visit := sessionOrVisit(l.Stream, l.Subject)
		var event any = json.RawMessage(l.Event)
		if !json.Valid(l.Event) {
			event = string(l.Event)
		}
		if err := encoder.Encode(struct {
			Sequence       uint64    `json:"sequence"`
			Endpoint       string    `json:"endpoint"`
			EventID        string    `json:"event_id,omitempty"`
			Kind           string    `json:"kind,omitempty"`
			Session        string    `json:"session_id,omitempty"`
			Visit          string    `json:"visit_id,omitempty"`
			Location       string    `json:"location_id,omitempty"`
			DiedAt         time.Time `json:"died_at"`
			Tries          int       `json:"tries"`
			Status         int       `json:"status,omitempty"`
			Reason         string    `json:"reason"`
			StreamSequence uint64    `json:"stream_sequence"`
			Event          any       `json:"event"`
		}{l.Sequence, l.Endpoint, l.EventID, l.Kind, session, visit, l.Location, l.DiedAt.UTC(), l.Tries, l.Status, l.Reason, l.StreamSequence, event}); err != nil {
			return err
		}
	}
	return nil
}

// sessionOrVisit tells the id of what an event is about as a session's or a visit's.
func sessionOrVisit(stream, subject string) (session, visit string) {
	if stream == "visits" {
		return "", subject
	}
	return subject, ""
}

func purgeCommand(file *string) *cobra.Command {
	var r webhook.PurgeRequest
	c := &cobra.Command{
		Use: "purge NAME", Short: "Remove dead letters for good, without sending them", Args: cobra.ExactArgs(1),
		Example: "  guestflow webhooks purge crm --sequence 7\n  guestflow webhooks purge crm --all",
		RunE: letterCommand(file, func(cmd *cobra.Command, args []string, d *webhook.Dispatcher) error {
			r.Endpoint = args[0]
			n, err := d.Purge(cmd.Context(), r)
			if err == nil || n > 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "removed %d dead letters of endpoint %s\n", n, r.Endpoint)
			}
			return err
		}),
	}
	c.Flags().Uint64Var(&r.Sequence, "sequence", 0, "one dead letter, by its sequence")
	c.Flags().StringVar(&r.EventID, "event", "", "one dead letter, by its event's id")
	c.Flags().BoolVar(&r.All, "all", false, "all dead letters of the endpoint")
	c.MarkFlagsOneRequired("sequence", "event", "all")
	c.MarkFlagsMutuallyExclusive("sequence", "event", "all")
	return c
}
