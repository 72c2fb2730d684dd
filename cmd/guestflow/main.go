// Command guestflow turns a guest Wi-Fi platform's list of online sessions into a
// durable, ordered, exactly-once stream of events in NATS JetStream.
//
// This package wires the others together and holds no logic of its own.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

func main() { os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) }

// execute runs one command line and returns its exit code. Signals end it, see
// signals.
func execute(args []string, stdout, stderr io.Writer) int {
	ctx, stop := watchSignals()
	defer stop()

	root, ran := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case !*ran:
		fmt.Fprintf(stderr, "guestflow: %v; see %s --help\n", err, cmd.CommandPath())
		return exitUsage
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "guestflow: %v\n", err)
		return exitUsage
	default:
		fmt.Fprintf(stderr, "guestflow: %v\n", err)
		return exitFailure
	}
}

// usageError is a mistake in the command line or the configuration.
type usageError string

func (e usageError) Error() string { return string(e) }

// rootCommand returns the command line. What fails before ran is set is a mistake
// in flags or arguments.
func rootCommand() (root *cobra.Command, ran *bool) {
	root = &cobra.Command{
		Use:   "guestflow",
		Short: "Guest Wi-Fi sessions as a stream of events",
		Long: `guestflow polls the sessions that are online on a guest Wi-Fi platform and
publishes what changed (starts, ends, traffic) to NATS JetStream: nothing lost,
nothing twice, in order, as soon as the platform's rate limit lets it be seen.

Try it without a platform:   guestflow demo
Configure it:                guestflow config
Check the configuration:     guestflow check`,
		Version:       versionText(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(demoCommand(), runCommand(), simulateCommand(), tailCommand(), checkCommand(),
		configCommand(), planCommand(), benchCommand(), webhooksCommand(), occupancyCommand(), visitsCommand(), alertsCommand(), groupsCommand(), explainCommand(), exportCommand(), subjectCommand(), healthCommand(), logLevelCommand(), backfillCommand(), stateCommand(), versionCommand())
	root.SetVersionTemplate("guestflow {{.Version}}\n")
	root.SetFlagErrorFunc(plainFlag)
	ran = new(bool)
	prepare(root, ran)
	return root, ran
}

// service is the annotation of commands that run until they are stopped.
const service = "service"

// prepare makes c and what is below it note that they run. A command that only
// groups others shows its help, and refuses what it does not know.
func prepare(c *cobra.Command, ran *bool) {
	if c.RunE == nil {
		c.Args = knownCommand
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	} else if c.Args != nil {
		c.Args = plainArguments(c.Args)
	}
	before, run := c.PreRunE, c.RunE
	c.PreRunE = func(c *cobra.Command, args []string) error { // before cobra says which flags are missing
		if err := flagsHaveValues(c); err != nil || before == nil {
			return err
		}
		return before(c, args)
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		*ran = true
		if c.Annotations[service] != "" {
			outliveHangup(c.Context(), c.ErrOrStderr(), func() {})
		}
		return run(c, args)
	}
	for _, sub := range c.Commands() {
		prepare(sub, ran)
	}
}

func knownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Errorf("there is no command %q; did you mean %s?", args[0], strings.Join(near, " or "))
	}
	return fmt.Errorf("there is no command %q", args[0])
}

// misconfigured is the usageError of what is wrong with the configuration, nil
// where nothing is.
func misconfigured(err error) error {
	if err == nil {
		return nil
	}
	return usageError("configuration:\n" + indent(err))
}

// configured loads the configuration for a command that needs some things of it.
// The error names all that is wrong.
func configured(cmd *cobra.Command, needs ...func(*Config) error) (Config, error) {
	cfg, warnings, err := loadConfig(os.Environ())
	for _, w := range warnings {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", w)
	}
	var missing []error
	for _, need := range needs {
		missing = append(missing, need(&cfg))
	}
	return cfg, misconfigured(together(err, missing...))
}
