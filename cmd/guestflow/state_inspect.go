package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/store"
)

// stateReport is what inspect tells. Times are RFC 3339, zero where there is none; rates
// by the hour.
type stateReport struct {
	File     string         `json:"file"`
	Restored string         `json:"restored,omitempty"` // when; it is not up to date with the stream yet
	Online   int            `json:"online"`
	Outbox   outboxReport   `json:"outbox"`
	Stream   cursorReport   `json:"stream"`
	Suspects *suspectReport `json:"suspects"` // null unless a guestflow runs with the state
	Places   []placeReport  `json:"locations"`
	Sessions []sessionShown `json:"sessions,omitempty"`
}

type outboxReport struct {
	Unsent uint64    `json:"unsent"`
	Bytes  int64     `json:"unsent_bytes"`
	Oldest time.Time `json:"oldest"`
	Kept   uint64    `json:"sent_and_kept"`
	Last   uint64    `json:"last"`
}

type cursorReport struct {
	Sequence uint64    `json:"sequence"`
	At       time.Time `json:"at"`
	Created  time.Time `json:"created"`
}

// suspectReport are sessions that lists do not show and nobody has proven gone, and
// proven ends that wait for their figures.
type suspectReport struct {
	Missing  int `json:"missing"`
	HeldEnds int `json:"held_ends"`
}

type placeReport struct {
	ID           string    `json:"id"`
	Name         string    `json:"name,omitempty"`
	Online       int       `json:"online"`
	SeenAt       time.Time `json:"seen_at"`
	TrackedSince time.Time `json:"tracked_since"`
	Starts       float64   `json:"starts_per_hour"`
	Ends         float64   `json:"ends_per_hour"`
}

// sessionShown is a session as a support case needs it: nothing of it says who that is.
type sessionShown struct {
	ID        string    `json:"id"`
	Location  string    `json:"location"`
	StartedAt time.Time `json:"started_at"`
	SeenAt    time.Time `json:"seen_at"`
	Revision  int64     `json:"revision"`
	Download  int64     `json:"downloaded_bytes"`
	Upload    int64     `json:"uploaded_bytes"`
}

func stateInspectCommand(account *string) *cobra.Command {
	var asJSON, sessions bool
	c := &cobra.Command{
		Use:   "inspect [FILE]",
		Short: "Show what the state, or a backup, holds",
		Long: `Shows the outbox, the place in the stream, suspects, and of each location who is online
and what was learned; with --sessions every session online. Names, addresses and MACs
are never shown. Suspects are known to a running guestflow alone.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := stateNamed(cmd, *account, args)
			if err != nil {
				return err
			}
			r, err := s.inspect(cmd.Context(), sessions)
			if err != nil {
				return fmt.Errorf("state inspect: %w", err)
			}
			if len(args) == 0 {
				if plan, err := fetchPlan(cmd.Context(), s.cfg, s.account); err == nil {
					r.Suspects = &suspectReport{Missing: plan.Missing, HeldEnds: plan.HeldEnds}
				}
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(r)
			}
			return r.write(cmd.OutOrStdout(), time.Now())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	c.Flags().BoolVar(&sessions, "sessions", false, "list every session online, too")
	return c
}

// inspect reads a copy, so that nothing of the file changes.
func (s *stateFile) inspect(ctx context.Context, sessions bool) (r stateReport, err error) {
	err = s.withCopy(ctx, func(copied string) error {
		opened, err := store.Open(copied, store.Options{})
		if err != nil {
			return err
		}
		r, err = reportOf(opened, sessions)
		if closed := opened.Close(); err == nil {
			err = closed
		}
		return err
	})
	r.File = s.path
	return r, err
}

func reportOf(s *store.Store, sessions bool) (stateReport, error) {
	var r stateReport
	restored, err := s.Get(store.KeyRestored)
	if err != nil {
		return r, err
	}
	r.Restored = string(restored)
	box, cursor := s.Outbox(), s.Cursor()
	r.Outbox = outboxReport{Unsent: box.Depth, Bytes: box.Bytes, Oldest: box.Oldest, Kept: box.Kept, Last: box.Last}
	r.Stream = cursorReport{Sequence: cursor.StreamSeq, At: cursor.At, Created: cursor.StreamCreated}
	places, err := s.Locations()
	if err != nil {
		return r, err
	}
	rates, err := poller.RememberedRates(s.Get)
	if err != nil {
		return r, err
	}
	for _, p := range places {
		r.Online += p.Online
		shown := placeReport{ID: p.ID, Name: p.Name, Online: p.Online, SeenAt: p.SeenAt, TrackedSince: p.TrackedSince}
		if c := rates.Locations[p.ID]; c.Watched > 0 {
			shown.Starts, shown.Ends = 3600*c.Starts/c.Watched, 3600*c.Ends/c.Watched
		}
		r.Places = append(r.Places, shown)
	}
	slices.SortStableFunc(r.Places, func(a, b placeReport) int { return cmp.Compare(b.Online, a.Online) })
	if sessions {
		err = s.All(func(st events.State) bool {
			v := st.Session
			r.Sessions = append(r.Sessions, sessionShown{v.ID, v.LocationID, v.StartedAt, st.SeenAt, st.Revision, v.Downloaded.Value, v.Uploaded.Value})
			return true
		})
	}
	return r, err
}

func (r stateReport) write(out io.Writer, now time.Time) error {
	ago := func(t time.Time) string {
		if t.IsZero() {
			return "never"
		}
		return now.Sub(t).Round(time.Second).String() + " ago"
	}
	fmt.Fprintf(out, "%s: %d sessions online in %d locations\n", printable(r.File), r.Online, len(r.Places))
	if r.Restored != "" {
		fmt.Fprintf(out, "restored %s: the next guestflow run brings it up to date with the stream\n", printable(r.Restored))
	}
	fmt.Fprintf(out, "outbox: %d unsent, %d bytes", r.Outbox.Unsent, r.Outbox.Bytes)
	if r.Outbox.Unsent > 0 {
		fmt.Fprintf(out, ", the oldest from %s", ago(r.Outbox.Oldest))
	}
	fmt.Fprintf(out, "; %d sent and kept; the last is %d\n", r.Outbox.Kept, r.Outbox.Last)
	fmt.Fprintf(out, "stream: at sequence %d, confirmed %s\n", r.Stream.Sequence, ago(r.Stream.At))
	if r.Suspects != nil {
		fmt.Fprintf(out, "suspects: %d not shown by lists and not proven gone, %d proven ends wait for their figures\n", r.Suspects.Missing, r.Suspects.HeldEnds)
	} else {
		fmt.Fprintln(out, "suspects: no guestflow runs with this state, which alone knows")
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nlocation\tname\tonline\tseen\tstarts/h\tends/h")
	for _, p := range r.Places {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%.1f\t%.1f\n", printable(p.ID), printable(p.Name), p.Online, ago(p.SeenAt), p.Starts, p.Ends)
	}
	if len(r.Sessions) > 0 {
		fmt.Fprintln(w, "\nsession\tlocation\tstarted\tseen\trevision\tbytes")
	}
	for _, s := range r.Sessions {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\n", printable(s.ID), printable(s.Location), s.StartedAt.Format(time.RFC3339), ago(s.SeenAt), s.Revision, max(0, s.Download)+max(0, s.Upload))
	}
	return w.Flush()
}
