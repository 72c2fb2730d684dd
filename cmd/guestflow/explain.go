package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/consumers/webhook"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/story"
)

func explainCommand() *cobra.Command {
	var (
		asJSON         bool
		file, since    string
		account, where string
	)
	c := &cobra.Command{
		Use: "explain SESSION", Short: "Tell everything about one session, in order", Args: cobra.ExactArgs(1),
		Long: `Tells the life of one session from the stream: each event with its sequence, when it
happened and between which looks that was seen, when it reached the stream and how
long that took, what proves its end, and what became of it at each webhook endpoint.
Looks that showed no change are not kept anywhere, so they are not told. It reads, and
changes nothing; guestflow may run meanwhile.`,
		Example: "  guestflow explain pR3zOK2aB\n  guestflow explain pR3zOK2aB --file endpoints.yaml --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := configured(cmd)
			if err != nil {
				return err
			}
			if file != "" {
				cfg.WebhooksFile = file
			}
			q := story.Query{Session: args[0], Account: account}
			if q.Subjects, err = events.NewSubjects(cfg.SubjectPrefix); err != nil {
				return usageError(err.Error())
			}
			if since != "" {
				if q.From, err = parsePast("since", since, time.Now()); err != nil {
					return err
				}
			}
			conn, js, err := reachClient(cmd.Context(), cfg, where, readingRights(cfg))
			if err != nil {
				return err
			}
			defer conn.Close()
			told, err := explain(cmd.Context(), cfg.Stream, js, newDispatcher(cfg, js, slog.New(slog.DiscardHandler)), q)
			if err != nil {
				return err
			}
			if asJSON {
				return writeTold(cmd.OutOrStdout(), told)
			}
			return showTold(cmd.OutOrStdout(), told)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object, and for each further account with such a session another")
	c.Flags().StringVar(&file, "file", "", "endpoints file of the webhooks (default GUESTFLOW_WEBHOOKS_FILE)")
	c.Flags().StringVar(&since, "since", "", "look only through what was stored from a time on, or for a while back (2h, 7d): faster")
	c.Flags().StringVar(&account, "account", "", "of this account only (default any)")
	c.Flags().StringVar(&where, "url", "", "NATS URL (default GUESTFLOW_NATS_URL, else the embedded server of a running guestflow)")
	return c
}

// told is a story with what became of its events at the webhooks.
type told struct {
	*story.Story
	traces [][]webhook.Trace // of each chapter
}

// explain tells the stories of a session; without a dispatcher not what became of its events
// at webhooks.
func explain(ctx context.Context, name string, js jetstream.JetStream, d *webhook.Dispatcher, q story.Query) ([]told, error) {
	stream, err := js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("stream %s does not exist; guestflow run makes it", name)
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, err)
	}
	stories, err := story.Tell(ctx, stream, q)
	if errors.Is(err, story.ErrNothing) {
		return nil, fmt.Errorf("%w; ids are case-sensitive, guestflow tail --json shows them, and the stream holds what is not older than %v", err, stream.CachedInfo().Config.MaxAge)
	}
	if err != nil {
		return nil, err
	}
	var all []told
	for _, s := range stories {
		of := make([]webhook.Traced, len(s.Chapters))
		for i := range s.Chapters {
			c := &s.Chapters[i]
			of[i] = webhook.Traced{Sequence: c.Sequence, Stored: c.Stored, Event: &c.Event}
		}
		traces := make([][]webhook.Trace, len(of))
		if d != nil {
			if traces, err = d.Trace(ctx, of); err != nil {
				return nil, err
			}
		}
		all = append(all, told{s, traces})
	}
	return all, nil
}

// writeTold prints each story as one object.
func writeTold(out io.Writer, all []told) error {
	type chapter struct {
		story.Chapter
		Webhooks []webhook.Trace `json:"webhooks,omitempty"`
		Event    json.RawMessage `json:"event"`
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	for _, t := range all {
		chapters := make([]chapter, len(t.Chapters))
		for i, c := range t.Chapters {
			body, err := events.Encode(c.Event)
			if err != nil {
				return err
			}
			chapters[i] = chapter{c, t.traces[i], body}
		}
		if err := encoder.Encode(struct {
			Account   string    `json:"account"`
			SessionID string    `json:"session_id"`
			Chapters  []chapter `json:"events"`
		}{t.Account, t.SessionID, chapters}); err != nil {
			return err
		}
	}
	return nil
}

func showTold(out io.Writer, all []told) error {
	var b strings.Builder
	line := func(indent int, format string, args ...any) {
		b.WriteString(strings.Repeat(" ", indent))
		b.WriteString(printable(fmt.Sprintf(format, args...)))
		b.WriteByte('\n')
	}
	for n, t := range all {
		if n > 0 {
			b.WriteByte('\n')
		}
		first := &t.Chapters[0].Event.Data.Session
		line(0, "session %s of account %s at %s, %d events", t.SessionID, t.Account, placeOf(first), len(t.Chapters))
		for i := range t.Chapters {
			c := &t.Chapters[i]
			b.WriteByte('\n')
			if c.Missing > 0 {
				line(2, "(%d events before this one are not in the stream any more)", c.Missing)
			}
			line(2, "%d  %s  %s", c.Event.Data.Revision, c.Event.Kind, describe(c.Event))
			for _, text := range howKnown(c) {
				line(5, "%s", text)
			}
			for _, w := range t.traces[i] {
				line(5, "webhook %s: %s", w.Endpoint, fateInWords(w))
			}
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func placeOf(s *events.Session) string {
	if s.LocationName == "" {
		return s.LocationID
	}
	return fmt.Sprintf("%s (%s)", s.LocationName, s.LocationID)
}

// moment is a time as it stands in the text.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000Z") }

// howKnown are the lines that say when a change happened, and how that is known.
func howKnown(c *story.Chapter) []string {
	o := &c.Event.Data.Observed
	var lines []string
	switch {
	case c.Happened.Exact():
		lines = append(lines, "happened "+moment(c.Happened.NotAfter)+", by the platform's own record")
	case c.Happened.NotBefore.IsZero():
		lines = append(lines, "happened "+moment(c.Happened.NotAfter)+" or before: there was no earlier look")
	default:
		lines = append(lines, fmt.Sprintf("happened between two looks, at %s and %s", moment(c.Happened.NotBefore), moment(c.Happened.NotAfter)))
	}
	seen := "seen     " + moment(o.At)
	switch {
	case o.Backfilled:
		seen += ", in the platform's history: no list of who is online showed it"
	case !o.NotYetAt.IsZero():
		seen += ", and not yet by the look at " + moment(o.NotYetAt)
	}
	lines = append(lines, seen, fmt.Sprintf("stored   %s, as sequence %d, %s", moment(c.Stored), c.Sequence, delayInWords(c.Delay)))
	if c.Event.Kind == events.Ended {
		lines = append(lines, "end      "+endInWords(o))
	}
	if g := c.Event.Data.Guest; g != nil {
		lines = append(lines, fmt.Sprintf("guest    %s, %s", o.Guest, strings.Join(nonEmpty(g.Username, g.Name, g.Email), ", ")))
	}
	if c.Wrong != "" {
		lines = append(lines, "WRONG    it cannot follow the event before it: "+c.Wrong)
	}
	return lines
}

func delayInWords(d story.Delay) string {
	least, most := d.AtLeast.Round(time.Millisecond), d.AtMost.Round(time.Millisecond)
	switch {
	case d.AtMost < 0:
		return fmt.Sprintf("%v after it happened, or more", least)
	case least == most:
		return fmt.Sprintf("%v after it happened", least)
	}
	return fmt.Sprintf("%v to %v after it happened", least, most)
}

// endInWords says what proves an end.
func endInWords(o *events.Observed) string {
	text := map[events.End]string{
		events.EndReported: "reported: the platform lists the session as offline",
		events.EndInferred: "inferred: one answer of the platform proves that it was not online",
		events.EndPresumed: "presumed: many readings of an unsorted list did not show it, which is no proof",
	}[o.End]
	if text == "" {
		text = string(o.End)
	}
	by := map[events.Proof]string{
		events.ProofRecord:  "its record",
		events.ProofList:    "a list that does not show it where it must have stood",
		events.ProofAddress: "the look-up by IP address, which lost its connection",
	}[o.Proof]
	if by != "" {
		text += "; by " + by
	}
	return text
}

func fateInWords(w webhook.Trace) string {
	text := string(w.Fate)
	switch w.Fate {
	case webhook.FateDead:
		text = fmt.Sprintf("dead since %s, after %d tries, as dead letter %d", moment(w.At), w.Tries, w.Letter)
	case webhook.FateSkipped:
		text = fmt.Sprintf("skipped %s, since it was %v old", moment(w.At), w.Age.Round(time.Second))
	case webhook.FateRetrying:
		text = fmt.Sprintf("%d tries failed, and the next one waits", w.Tries)
	}
	if w.Reason != "" {
		text += ": " + w.Reason
	}
	return text
}
