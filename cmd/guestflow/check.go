package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/store"
)

func checkCommand() *cobra.Command {
	var bundle string
	c := &cobra.Command{
		Use:   "check",
		Short: "Check configuration, platform, NATS and data directory",
		Long: `Checks what run would need, one line each, and says what to do about what is
wrong; of a page of records it says which figures, starts and durations could be
read. It spends some four of the platform's requests, and tries its rights on NATS with
messages that streams refuse. It changes nothing, but notes its requests in the data
directory, so that the next run keeps to the limit; a guestflow that runs meanwhile does
not know of them. Exit code 1 when something is wrong, 2 when it is the configuration.

With --bundle it also writes a file for a support case: version, configuration, what it
found, and what the running guestflow and the state files tell. Secrets, addresses, MACs
and e-mail addresses are left out of it; the log is not in it.`,
		Example: "  guestflow check\n  guestflow check --bundle guestflow.zip",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if bundle == "" {
				return check(cmd, cmd.OutOrStdout())
			}
			var found bytes.Buffer
			err := check(cmd, io.MultiWriter(cmd.OutOrStdout(), &found))
			if err != nil {
				fmt.Fprintf(&found, "%v\n", err)
			}
			cfg, _, _ := loadConfig(os.Environ()) // what is wrong with it was found
			if failed := writeBundle(cmd.Context(), cfg, found.String(), bundle); failed != nil {
				return errors.Join(err, failed)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%s is written; read it before you send it, and add the log\n", bundle)
			return err
		},
	}
	c.Flags().StringVar(&bundle, "bundle", "", "write a support bundle into this file, which must not exist")
	return c
}

func check(cmd *cobra.Command, out io.Writer) error {
	cfg, err := configured(cmd, (*Config).needAccounts, (*Config).needEndpoints, (*Config).needAlerts, (*Config).needGroups)
	if err != nil {
		fmt.Fprintln(out, "FAIL  configuration")
		return err
	}
	fmt.Fprintln(out, "ok    configuration")
	accounts, err := cfg.accounts()
	if err != nil {
		return err // it was read a moment ago
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute*time.Duration(1+len(accounts)))
	defer cancel()
	c := checker{out: out, accounts: accounts, many: cfg.AccountsFile != "", done: 1}
	samples := make([]platform.Page, len(accounts))
	c.each("platform", func(i int, cfg Config) (found string, err error) {
		found, samples[i], err = checkAsked(ctx, cfg)
		return found, err
	}, func(i int) { c.failed += checkRecords(out, c.prefix(accounts[i]), samples[i]) })
	var cautions []string
	c.once("NATS", func() (found string, err error) {
		found, cautions, err = checkNATS(ctx, cfg)
		return found, err
	})
	for _, caution := range cautions {
		fmt.Fprintf(out, "WARN  NATS: %s\n", caution)
	}
	if cfg.Retention != "" {
		c.once("retention", func() (string, error) { return checkRetention(cfg) })
	}
	c.each("data directory", func(_ int, cfg Config) (string, error) { return checkRoom(ctx, cfg) }, nil)
	c.once("HTTP address", func() (string, error) { return checkHTTP(ctx, cfg) })
	c.each("locations", func(_ int, cfg Config) (string, error) { return checkLocations(ctx, cfg) }, nil)
	c.groups(ctx, cfg)
	if c.failed > 0 {
		return fmt.Errorf("%d of %d checks failed", c.failed, c.done)
	}
	return nil
}

// checker tells what checks found, of the process and of each account.
type checker struct {
	out          io.Writer
	accounts     []Config
	many         bool // lines name their account
	done, failed int
}

// prefix is what begins the name of a check of one account.
func (c *checker) prefix(of Config) string {
	if !c.many {
		return ""
	}
	return "account " + of.Account + ": "
}

func (c *checker) once(name string, check func() (string, error)) (ok bool) {
	c.done++
	wrong := tell(c.out, name, check)
	c.failed += wrong
	return wrong == 0
}

// each checks every account, and goes on with then where that is well. Locations are
// checked where some are configured.
func (c *checker) each(name string, check func(i int, cfg Config) (string, error), then func(i int)) {
	for i, cfg := range c.accounts {
		if name == "locations" && len(cfg.Locations) == 0 {
			continue
		}
		ok := c.once(c.prefix(cfg)+name, func() (string, error) {
			found, err := check(i, cfg)
			if c.many && err != nil {
				err = errors.New(inKeys(err.Error()))
			}
			return found, err
		})
		if ok && then != nil {
			then(i)
		}
	}
}

func tell(out io.Writer, name string, check func() (string, error)) (failed int) {
	found, err := check()
	if err != nil {
		fmt.Fprintf(out, "FAIL  %s: %s\n", name, strings.TrimPrefix(err.Error(), name+" at "))
		return 1
	}
	fmt.Fprintf(out, "ok    %s: %s\n", name, found)
	return 0
}

// checkPlatform asks each endpoint once, and returns the page of sessions as a
// sample.
func checkPlatform(ctx context.Context, cfg Config) (found string, sample platform.Page, err error) {
	client, err := cfg.client(true)
	if err != nil {
		return "", sample, err
	}
	online := true
	page, err := client.Sessions(ctx, platform.Query{Online: &online, PerPage: platform.MaxPerPage, Page: 1})
	if err != nil {
		return "", sample, err
	}
	text := fmt.Sprintf("%d sessions on the first page of those online", page.Records)
	if page.Limit > 0 {
		text += fmt.Sprintf(", limit %d a minute", page.Limit)
		if page.Limit < cfg.APIRateLimit {
			text += fmt.Sprintf(" (GUESTFLOW_API_RATE_LIMIT is %d; the lower one is kept)", cfg.APIRateLimit)
		}
	}
	if offset, known := client.Clock().Offset(); known && offset.Abs() > 5*time.Second {
		text += fmt.Sprintf(", its clock is %v ahead of this machine's", offset.Round(time.Second))
	}
	if order := poller.Order(page.Sessions); order != "" {
		text += ", listed " + order
	}
	var fault *platform.Error
	n, count, err := client.Count(ctx, platform.Query{Online: &online})
	switch {
	case err == nil:
		text += fmt.Sprintf(", it counts %d online", n)
	case errors.As(err, &fault) && (fault.Kind == platform.NotFound || fault.Kind == platform.Forbidden):
		text += ", it does not count sessions (nothing needs it)"
	default:
		return "", sample, err
	}
	locations, err := client.Locations(ctx, 1)
	switch {
	case err == nil && locations.More:
		text += fmt.Sprintf(", more than %d locations", len(locations.Locations))
	case err == nil:
		text += fmt.Sprintf(", %d locations", len(locations.Locations))
	case errors.As(err, &fault) && (fault.Kind == platform.NotFound || fault.Kind == platform.Forbidden):
		text += ", it does not list locations (they are learned from the sessions)"
	default:
		return "", sample, err
	}
	told := sharing(cfg, page.Remaining, count.Remaining, locations.Remaining)
	if !cfg.APISharedLimit && told != "" && !shared(ctx, client, page.Remaining) {
		told = ""
	}
	return text + told, page, nil
}

// sharing says whether the endpoints' limit is configured as it seems to be, given
// what was left of it after one request each, the one after the other; -1 is not
// known.
func sharing(cfg Config, sessions, count, locations int) string {
	switch {
	case sessions < 0 || count < 0:
	case !cfg.APISharedLimit && locations >= 0 && locations < count && count < sessions:
		return ", its endpoints seem to share one limit (set GUESTFLOW_API_SHARED_LIMIT=true)"
	case cfg.APISharedLimit && count >= sessions:
		return ", each endpoint seems to have a limit of its own (GUESTFLOW_API_SHARED_LIMIT is true)"
	}
	return ""
}

func checkData(_ context.Context, cfg Config) (string, error) {
	path := cfg.statePath()
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return checkWritable(cfg.DataDir)
	}
	if err != nil {
		return "", fmt.Errorf("%w; make %s a directory that this user may read and write, or set GUESTFLOW_DATA_DIR to one", err, cfg.DataDir)
	}
	if err := store.Check(path); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s is sound, %s", path, size(info.Size())), nil
}

// checkWritable finds out without leaving anything behind whether the directory,
// or the one that it would be made in, can be written to.
func checkWritable(dir string) (string, error) {
	existing := existing(dir)
	f, err := os.CreateTemp(existing, ".check-")
	if err != nil {
		return "", fmt.Errorf("%w; make %s a directory that this user may write, or set GUESTFLOW_DATA_DIR to one", err, existing)
	}
	f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return "", err
	}
	if existing != dir {
		return dir + " will be created", nil
	}
	return dir + " is writable and empty of state", nil
}
