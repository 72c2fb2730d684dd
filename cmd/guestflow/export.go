package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/visits"
	"github.com/guestflow/guestflow/internal/export"
)

// tables are what can be exported.
var tables = map[string]func(context.Context, jetstream.Stream, export.Request, io.Writer) (export.Report, error){
	"sessions": export.Sessions, "visits": export.Visits, "occupancy": export.Occupancy,
}

// exporting are the flags of export.
type exporting struct {
	out, format, since, until, server string
	archive                           bool
	groups                            []string
	request                           export.Request
}

func exportCommand() *cobra.Command {
	var x exporting
	c := &cobra.Command{
		Use:   "export {sessions|visits|occupancy}",
		Short: "Write sessions, visits or occupancy by hour as CSV or Parquet",
		Long: `Writes a table from the streams: sessions or visits that are over, a row each, or
occupancy by hour and location. Beside a file FILE it writes FILE.json, which says up
to when the table is complete and behind which sequence (--after) the next run goes on;
Parquet has that in its metadata too. With --k nothing in the table stands for fewer
than so many people: ids, addresses and devices are left out, sessions and visits that
are alike become one row with means, and what is too rare is made coarser (no login and
profile, a day in place of an hour, no location) or left out. No name or e-mail is ever
exported; guestflow subject export does that for one person.`,
		Example: `  guestflow export sessions --out sessions.parquet
  guestflow export sessions --out more.parquet --after 81734
  guestflow export visits --since 2026-03-01 --until 2026-04-01 --out march.csv
  guestflow export occupancy --since 30d --k 10 > occupancy.csv`,
		Args: cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs), ValidArgs: []string{"sessions", "visits", "occupancy"},
		RunE: func(cmd *cobra.Command, args []string) error { return x.run(cmd, args[0]) },
	}
	r := &x.request
	c.Flags().StringVar(&x.out, "out", "", "file to write; it appears when it is whole (default standard output)")
	c.Flags().StringVar(&x.format, "format", "", "csv or parquet (default by the file's name, else csv)")
	c.Flags().StringVar(&x.since, "since", "", "what ended from a time on, or for a while back (2h, 7d)")
	c.Flags().StringVar(&x.until, "until", "", "what ended before a time, or a while back")
	c.Flags().Uint64Var(&r.After, "after", 0, "only what stands in the stream behind this sequence (sessions and visits)")
	c.Flags().StringVar(&r.Account, "account", "", "of this account only (default all)")
	c.Flags().StringVar(&r.Location, "location", "", "of this location only, for visits this place (default all)")
	c.Flags().StringSliceVar(&x.groups, "group", nil, "ids of groups whose locations are exported (default all)")
	c.Flags().IntVar(&r.K, "k", 0, "let every row stand for at least so many people (default rows as they are)")
	c.Flags().BoolVar(&x.archive, "archive", false, "from the stream that is kept longest, without what GUESTFLOW_RETENTION lets go before")
	c.Flags().StringVar(&x.server, "url", "", "NATS URL (default GUESTFLOW_NATS_URL, else the embedded server of a running guestflow)")
	return c
}

// settle reads the flags.
func (x *exporting) settle(cfg Config, table string) (err error) {
	r := &x.request
	if r.Sessions, err = events.NewSubjects(cfg.SubjectPrefix); err != nil {
		return usageError(err.Error())
	}
	in, err := cfg.inGroups(x.groups)
	if err != nil {
		return err
	}
	if in != nil {
		r.In = in.Has
	}
	r.Lateness, r.Gap = cfg.VisitLateness, cfg.VisitGap
	now := time.Now()
	if x.since != "" {
		if r.Since, err = parsePast("since", x.since, now); err != nil {
			return err
		}
	}
	if x.until != "" {
		if r.Until, err = parseTime("until", x.until, now); err != nil {
			return err
		}
		if !r.Until.After(r.Since) {
			return usageError(fmt.Sprintf("--until %s is not after --since %s", x.until, x.since))
		}
	}
	if x.format == "" {
		x.format = "csv"
		if strings.EqualFold(filepath.Ext(x.out), ".parquet") {
			x.format = "parquet"
		}
	}
	r.Format = export.Format(x.format)
	switch {
	case r.Format != export.CSV && r.Format != export.Parquet:
		return usageError(fmt.Sprintf("--format %s: use csv or parquet", x.format))
	case r.K < 0 || r.K == 1:
		return usageError(fmt.Sprintf("--k %d: use 2 or more, or leave it out", r.K))
	case r.After > 0 && table == "occupancy":
		return usageError("--after: occupancy counts who is there, so it reads the stream from its start; use --since with the complete_until of the last run")
	}
	return nil
}

// fromArchive has the table read from the stream that is kept longest, and returns its name.
func (x *exporting) fromArchive(cfg Config, ofVisits bool) (stream string, err error) {
	archive, err := cfg.archive(ofVisits)
	if err != nil {
		return "", err
	}
	if ofVisits {
		x.request.Visits, err = visits.NewSubjects(archive.prefix())
	} else {
		x.request.Sessions, err = events.NewSubjects(archive.prefix())
	}
	return archive.stream(), err
}

func (x *exporting) run(cmd *cobra.Command, table string) error {
	cfg, err := configured(cmd)
	if err != nil {
		return err
	}
	if err := x.settle(cfg, table); err != nil {
		return err
	}
	name, remedy := cfg.Stream, "guestflow run makes it"
	if table == "visits" {
		name, remedy = visits.DefaultStream, "guestflow run makes it where GUESTFLOW_VISITS is true"
	}
	if x.archive {
		if name, err = x.fromArchive(cfg, table == "visits"); err != nil {
			return err
		}
	}
	conn, js, err := reachClient(cmd.Context(), cfg, x.server, readingRights(Config{Stream: name}))
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := js.Stream(cmd.Context(), name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("stream %s does not exist; %s", name, remedy)
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", name, err)
	}
	state := stream.CachedInfo().State
	if x.request.After > state.LastSeq {
		return fmt.Errorf("--after %d: stream %s ends at %d, so the number is of another stream, or of one before it was deleted; leave --after out", x.request.After, name, state.LastSeq)
	}
	var report export.Report
	fill := func(out io.Writer) (err error) {
		report, err = tables[table](cmd.Context(), stream, x.request, out)
		return err
	}
	if x.out == "" {
		err = fill(cmd.OutOrStdout())
	} else {
		err = whole(x.out, fill)
	}
	if err != nil {
		return err
	}
	if x.out != "" {
		if err := whole(x.out+".json", func(out io.Writer) error { return json.NewEncoder(out).Encode(report) }); err != nil {
			return err
		}
	}
	told := inWords(report)
	if after := x.request.After; after > 0 && after+1 < state.FirstSeq {
		told += fmt.Sprintf("; what stood between %d and %d has left the stream and is not in the table: export more often, or with a longer GUESTFLOW_STREAM_MAX_AGE", after, state.FirstSeq)
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "guestflow: "+told)
	return nil
}

func inWords(r export.Report) string {
	text := fmt.Sprintf("%d rows of %s", r.Rows, r.Table)
	if r.CompleteUntil.IsZero() {
		text += "; the stream tells of no time yet"
	} else {
		text += ", complete until " + r.CompleteUntil.Format(time.RFC3339)
	}
	if r.Table != "occupancy" {
		text += fmt.Sprintf("; go on with --after %d", r.LastSequence)
	}
	if r.LeftOut > 0 {
		text += fmt.Sprintf("; %d left out, since fewer than %d people stand behind them", r.LeftOut, r.K)
	}
	if r.Unreadable > 0 {
		text += fmt.Sprintf("; %d messages are no events", r.Unreadable)
	}
	return text
}

// whole writes a file that appears when it is whole, for its owner alone, in place of
// what had its name.
func whole(path string, fill func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if err := errors.Join(fill(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
