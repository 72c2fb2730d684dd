package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/internal/figures"
	"github.com/guestflow/guestflow/internal/freshness"
)

func benchCommand() *cobra.Command {
	bench := &cobra.Command{
		Use:   "bench",
		Short: "Measure guestflow itself",
	}
	var (
		short, asJSON bool
		estates       []string
		weights       []float64
		seeds         int
		into          string
	)
	run := &cobra.Command{
		Use:   "freshness",
		Short: "Measure how soon changes are seen, by estate and policy, in simulated time",
		Long: `Runs the real planner, budgets, paging, diff and proof against the simulated
platform under virtual time, and compares each event with the ground truth. In
the middle of each run guestflow is killed, and begins anew 30 s later. The whole
takes some minutes of two cores, --short less than one. Delays are in seconds,
from the change at the source to the committed event; those around the restart
have columns of their own.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			plan := freshness.Full()
			if short {
				plan = freshness.Short()
			}
			if len(estates) > 0 {
				plan.Estates = estates
			}
			if cmd.Flags().Changed("seeds") {
				if seeds < 1 {
					return usageError("--seeds: use 1 or more")
				}
				plan.Seeds = freshness.Seeds(seeds)
			}
			if len(weights) > 0 {
				if slices.Min(weights) <= 0 {
					return usageError("--start-weights: use numbers above 0")
				}
				plan.Weigh(weights)
			}
			if asJSON && into != "" {
				return usageError("--into: it takes the table, so leave out --json")
			}
			if asJSON {
				return eachAsJSON(cmd, plan.Run)
			}
			var measured bytes.Buffer
			table := freshness.NewTable(io.MultiWriter(cmd.OutOrStdout(), &measured))
			if err := plan.Run(cmd.Context(), table.Row); err != nil {
				return err
			}
			if err := table.Err(); err != nil || into == "" {
				return err
			}
			return figures.Into(into, "bench freshness", measured.Bytes())
		},
	}
	run.Flags().BoolVar(&short, "short", false, "one seed, half a simulated hour, fewer policies")
	run.Flags().BoolVar(&asJSON, "json", false, "one JSON object a row")
	run.Flags().StringVar(&into, "into", "", "a file to write the table into as well, between its marks (internal/freshness/README.md)")
	run.Flags().StringSliceVar(&estates, "estates", nil, "estates to run, for instance E2,E4 (default all)")
	run.Flags().IntVar(&seeds, "seeds", 0, "seeds to take the mean of (default 3, with --short 1)")
	run.Flags().Float64SliceVar(&weights, "start-weights", nil, "run the adaptive policy alone, with each of these values of START_WEIGHT")
	bench.AddCommand(run, benchPipelineCommand(), benchPartCommand())
	return bench
}

// eachAsJSON writes each row of a benchmark as an object on a line of its own.
func eachAsJSON[R any](cmd *cobra.Command, run func(context.Context, func(R)) error) error {
	enc := json.NewEncoder(cmd.OutOrStdout())
	var failed error
	err := run(cmd.Context(), func(r R) {
		if err := enc.Encode(r); err != nil && failed == nil {
			failed = fmt.Errorf("writing: %w", err)
		}
	})
	return cmp.Or(err, failed)
}
