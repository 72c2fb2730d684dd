package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/internal/figures"
	"github.com/guestflow/guestflow/internal/pipeline"
)

func benchPipelineCommand() *cobra.Command {
	var (
		short, asJSON bool
		known         bool
		online        []int
		repeat        int
		into, dir     string
	)
	c := &cobra.Command{
		Use:   "pipeline",
		Short: "Measure what guestflow costs beside a naive poller and bare loops",
		Long: `Runs guestflow, a naive poller that keeps its state in bbolt, a loop that reads
pages and one that decodes them, in turns, on one simulated platform and NATS
server without a limit, and then the publisher beside bare publish loops. Figures
are medians. With --known nothing is measured but how long it takes until all
sessions are known, and what that costs. How far that is goes to standard error.
Linux only: what a process uses is read from /proc.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			plan := pipeline.Full()
			if short {
				plan = pipeline.Short()
			}
			if len(online) > 0 {
				if slices.Min(online) < 1 {
					return usageError("--online: use 1 or more")
				}
				plan.Online = online
			}
			if repeat > 0 {
				plan.Repeat = repeat
			}
			plan.Dir, plan.Tell = dir, func(text string) { fmt.Fprintln(cmd.ErrOrStderr(), text) }
			if known {
				plan.Known, plan.Publishing, plan.Limits = true, false, false
			}
			if asJSON && into != "" {
				return usageError("--into: it takes the table, so leave out --json")
			}
			if plan.Program, err = os.Executable(); err != nil {
				return fmt.Errorf("the program's own path: %w", err)
			}
			if asJSON {
				return eachAsJSON(cmd, plan.Run)
			}
			var measured bytes.Buffer
			table := pipeline.NewTable(io.MultiWriter(cmd.OutOrStdout(), &measured))
			if err := plan.Run(cmd.Context(), table.Row); err != nil {
				return err
			}
			if err := table.Err(); err != nil || into == "" {
				return err
			}
			return figures.Into(into, "bench pipeline", measured.Bytes())
		},
	}
	flags := c.Flags()
	flags.BoolVar(&short, "short", false, "20,000 online and publishing, in less than 45 s")
	flags.BoolVar(&known, "known", false, "only how long it takes until all sessions are known")
	flags.BoolVar(&asJSON, "json", false, "one JSON object a row")
	flags.IntSliceVar(&online, "online", nil, "sessions online, one estate each, for instance 20000,100000")
	flags.IntVar(&repeat, "repeat", 0, "how often each is measured (default 5)")
	flags.StringVar(&dir, "dir", "", "where state and streams lie meanwhile (default the system's temporary directory)")
	flags.StringVar(&into, "into", "", "a file to write the table into as well, between its marks (internal/pipeline/README.md)")
	return c
}

// benchPartCommand is what the benchmark runs as processes of their own.
func benchPartCommand() *cobra.Command {
	part := &cobra.Command{Use: "part", Hidden: true, Short: "Run one part of bench pipeline"}
	part.AddCommand(
		&cobra.Command{
			Use: "naive API NATS FILE LIMIT", Short: "Run the naive poller", Args: cobra.ExactArgs(4),
			RunE: func(cmd *cobra.Command, args []string) error {
				limit, err := strconv.Atoi(args[3])
				if err != nil || limit < 1 {
					return usageError("LIMIT: use a number of requests a minute")
				}
				return pipeline.Naive(cmd.Context(), args[0], args[1], args[2], limit)
			},
		},
		&cobra.Command{
			Use: "read API", Short: "Read pages", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return pipeline.Read(cmd.Context(), args[0]) },
		},
		&cobra.Command{
			Use: "decode API", Short: "Read and decode pages", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return pipeline.Decode(cmd.Context(), args[0]) },
		},
	)
	return part
}
