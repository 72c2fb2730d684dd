package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/poller"
)

// backfillPath is where a process tells how far the history from before tracking began
// was read, and takes since when to read it.
const backfillPath = "/backfill"

// serveBackfill answers with how far it is, after asking for more in a PUT: a time in
// RFC 3339.
func (a *app) serveBackfill(w http.ResponseWriter, r *http.Request) {
	_, opened := a.asked(w, r)
	if opened == nil {
		return
	}
	if r.Method == http.MethodPut {
		if !permits(r, a.cfg.OccupancyToken) {
			http.Error(w, "A backfill is asked for from this machine alone (http://127.0.0.1), or with GUESTFLOW_OCCUPANCY_TOKEN where it is set, as \"Authorization: Bearer …\".", http.StatusForbidden)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64))
		var since time.Time
		if err == nil {
			since, err = time.Parse(time.RFC3339, strings.TrimSpace(string(body)))
		}
		if err == nil {
			err = opened.Poller.Backfill(since)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "asked for: the history since %s is read beside everything else, one request in ten\n", since.UTC().Format(time.RFC3339))
		return
	}
	fmt.Fprintln(w, explainPast(opened.Status(time.Now()).Plan.Past))
}

// explainPast says how far the history from before tracking began was read.
func explainPast(s poller.PastStatus) string {
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch {
	case s.From.IsZero():
		return "nothing from before tracking began was asked for"
	case s.Done.Equal(s.From):
		return fmt.Sprintf("complete since %s: %d sessions", at(s.Done), s.Sessions)
	case s.Waits != "":
		return fmt.Sprintf("since %s: waits, since %s; %d sessions so far", at(s.From), s.Waits, s.Sessions)
	case s.Reached.IsZero():
		return fmt.Sprintf("since %s: begins; %d sessions so far", at(s.From), s.Sessions)
	}
	return fmt.Sprintf("since %s: has come to sessions of %s, %d so far", at(s.From), at(s.Reached), s.Sessions)
}

func backfillCommand() *cobra.Command {
	var since, account string
	c := &cobra.Command{
		Use:   "backfill [--since TIME]",
		Short: "Publish the platform's history from before guestflow began, or say how far that is",
		Long: `Asks the guestflow that runs with this configuration to read the platform's history
back to a time, and to publish each session that had ended before it began to watch:
started and ended, marked as backfilled, with the platform's own times and figures. It
takes one request in ten, goes on after a restart, and tells of nobody twice. Webhooks
leave out what is older than a day, unless their max_age says otherwise.

Without --since it says how far that is.`,
		Example: "  guestflow backfill --since 2026-01-01\n  guestflow backfill --since 30d",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := configured(cmd)
			if err != nil {
				return err
			}
			method, body := http.MethodGet, ""
			if since != "" {
				from, err := parsePast("since", since, time.Now())
				if err != nil {
					return err
				}
				method, body = http.MethodPut, from.UTC().Format(time.RFC3339)
			}
			text, err := askRunning(cmd.Context(), cfg, method, backfillPath+ofAccount(account), body)
			if err != nil {
				return fmt.Errorf("backfill: %w", err)
			}
			fmt.Fprintln(cmd.OutOrStdout(), text)
			return nil
		},
	}
	c.Flags().StringVar(&since, "since", "", "a day (2026-01-01), a time (RFC 3339), or for how long back (30d)")
	c.Flags().StringVar(&account, "account", "", "which account of GUESTFLOW_ACCOUNTS_FILE")
	return c
}
