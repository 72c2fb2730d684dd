// Command guestflow turns a guest Wi-Fi platform's list of online sessions into a
// durable, ordered, exactly-once stream of events in NATS JetStream.
//
// This package wires the others together and holds no logic of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

func main() { os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) }

// execute runs one command line and returns its exit code. The first SIGINT or
// SIGTERM ends the command in good order, a second one at once.
func execute(args []string, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(exitFailure)
	}()

	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
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

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "guestflow",
		Short: "Guest Wi-Fi sessions as a stream of events",
		Long: `guestflow polls the sessions that are online on a guest Wi-Fi platform and
publishes what changed (starts, ends, traffic) to NATS JetStream: nothing lost,
nothing twice, in order, as soon as the platform's rate limit lets it be seen.

Try it without a platform:   guestflow demo
Configure it:                guestflow config
Check the configuration:     guestflow check`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError(fmt.Sprintf("%v; see %s --help", err, cmd.CommandPath()))
	})
	root.AddCommand(demoCommand(), runCommand(), simulateCommand(), tailCommand(), checkCommand(),
		configCommand(), planCommand(), benchCommand(), webhooksCommand(), occupancyCommand(), versionCommand())
	markUsage(root)
	return root
}

// markUsage makes wrong arguments usage errors, for every command below.
func markUsage(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError(fmt.Sprintf("%v; see %s --help", err, cmd.CommandPath()))
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		markUsage(sub)
	}
}

// configured loads the configuration for a command.
func configured(cmd *cobra.Command) (Config, error) {
	cfg, warnings, err := loadConfig(os.Environ())
	for _, w := range warnings {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", w)
	}
	if err != nil {
		return cfg, usageError("configuration:\n" + indent(err))
	}
	return cfg, nil
}
