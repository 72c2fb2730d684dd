package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/poller/plan"
)

func planCommand() *cobra.Command {
	var (
		online, locations int
		alone             float64
		limits            []float64
		weight            float64
		asJSON            bool
		most              int
		account           string
	)
	c := &cobra.Command{
		Use:   "plan",
		Short: "Show what is looked at how often and why, or reckon what an estate permits",
		Long: `Without --online and --locations: asks the guestflow that runs with this
configuration what it looks at, why, and how soon it sees changes.

With one of them, --limit, --start-weight or --alone: reckons, for an estate of --online sessions in --locations
locations, how the planner would split the requests and how soon it would see
changes, for each --limit in requests a minute. So it tells what a second API key
or a higher limit would bring. Delays are in seconds. The last three columns are those
with GUESTFLOW_ADDRESS_CHECKS=true, where --alone is the share of the sessions whose
IP address nobody else has, and the look-up by address has a limit of its own.`,
		Example: "  guestflow plan\n  guestflow plan --online 3000 --locations 200 --limit 60,120",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			whatIf := slices.ContainsFunc([]string{"online", "locations", "limit", "start-weight", "alone"}, cmd.Flags().Changed)
			if !whatIf {
				cfg, err := configured(cmd)
				if err != nil {
					return err
				}
				plan, err := fetchPlan(cmd.Context(), cfg, account)
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(cmd.OutOrStdout()).Encode(plan)
				}
				return plan.write(cmd.OutOrStdout(), most)
			}
			if online < 0 || locations < 1 || weight <= 0 || !(alone >= 0 && alone <= 1) {
				return usageError("plan: use --online from 0 on, --locations from 1 on, a --start-weight above 0 and --alone from 0 to 1")
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "limit/min\tpages\tprobes/min\tpages/min\tstarts mean\tp95\tends mean\tp95\tall mean\tround robin\tbound for ends\tstaleness\tby address: starts\tends\tall")
			for _, limit := range limits {
				if limit < 2 {
					return usageError(fmt.Sprintf("plan: --limit %v: use 2 or more", limit))
				}
				f := plan.NewForecast(online, locations, limit, weight)
				a := plan.NewAddressForecast(online, limit, alone, weight)
				fmt.Fprintf(w, "%.0f\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.0f\t%.1f\t%.0f\t%.1f\t%.1f\t%.1f\n",
					limit, f.Pages, f.Probes, f.Sweeps, f.StartMean, f.StartP95, f.EndMean, f.EndP95, f.AllMean, f.RoundRobin, f.Bound, f.Staleness, a.StartMean, a.EndMean, a.AllMean)
			}
			return w.Flush()
		},
	}
	c.Flags().IntVar(&online, "online", 3000, "sessions online at a time")
	c.Flags().IntVar(&locations, "locations", 200, "locations")
	c.Flags().Float64SliceVar(&limits, "limit", []float64{60, 120}, "requests a minute that the platform allows")
	c.Flags().Float64Var(&weight, "start-weight", 1, "how much more a late start costs than a late end")
	c.Flags().Float64Var(&alone, "alone", 1, "share of the sessions whose IP address nobody else has")
	c.Flags().BoolVar(&asJSON, "json", false, "print the running guestflow's plan as one JSON object")
	c.Flags().StringVar(&account, "account", "", "which account of the running guestflow's GUESTFLOW_ACCOUNTS_FILE")
	c.Flags().IntVar(&most, "top", 10, "locations of the running guestflow to print, the stalest first")
	return c
}
