package main

import (
	"fmt"
	"reflect"
	"runtime/debug"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func configCommand() *cobra.Command {
	var markdown bool
	c := &cobra.Command{
		Use:   "config",
		Short: "List every variable of the configuration, with default and meaning",
		Long: `Lists the environment variables that configure guestflow. For each secret, the
same name with _FILE names a file that holds it. Values that are set are not
shown.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
			if markdown {
				fmt.Fprintln(out, "| variable | default | meaning |\n|---|---|---|")
			} else {
				fmt.Fprintln(w, "VARIABLE\tDEFAULT\tMEANING")
			}
			for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
				name, meaning := variable(f), f.Tag.Get("desc")
				if f.Tag.Get("secret") != "" {
					meaning += " (or " + name + "_FILE)"
				}
				if markdown {
					fmt.Fprintf(out, "| `%s` | %s | %s |\n", name, f.Tag.Get("default"), meaning)
				} else {
					fmt.Fprintf(w, "%s\t%s\t%s\n", name, f.Tag.Get("default"), meaning)
				}
			}
			return w.Flush()
		},
	}
	c.Flags().BoolVar(&markdown, "markdown", false, "as a Markdown table")
	return c
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "guestflow", version())
			return err
		},
	}
}

// version is the module's, or the commit that was built.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	revision, dirty := "devel", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			revision = s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changes"
		}
	}
	return revision + dirty
}
