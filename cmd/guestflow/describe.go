package main

import (
	"fmt"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func configCommand() *cobra.Command {
	var markdown bool
	c := &cobra.Command{
		Use:   "config",
		Short: "List every variable of the configuration, with default and meaning",
		Long: `Lists the environment variables that configure guestflow. Where it says
so, the same name with _FILE names a file that holds the value. Values that are set
are not shown.`,
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
				if mayBeFile(f) {
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
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "guestflow", versionText())
			return err
		},
	}
}

// versionText is the version, and what it was built with. Where the build names no
// commit, as go run's does not, it is told apart by its time.
func versionText() string {
	parts := []string{version()}
	if parts[0] == unnamed {
		if path, err := os.Executable(); err == nil {
			if info, err := os.Stat(path); err == nil {
				parts = append(parts, "built "+info.ModTime().UTC().Format("2006-01-02 15:04:05 UTC"))
			}
		}
	}
	return strings.Join(append(parts, runtime.Version()+" "+runtime.GOOS+"/"+runtime.GOARCH), ", ")
}

// unnamed is the version of a build that names no commit.
const unnamed = "devel"

// stamped is the version that a release was built as: -ldflags "-X main.stamped=v1.2.3".
var stamped string

// version is what a release was built as, the module's, or the commit that was built.
func version() string {
	if stamped != "" {
		return stamped
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	revision, dirty := unnamed, ""
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
