package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/store"
)

// stateCopyPath is where a process hands out a copy of an account's state.
const stateCopyPath = "/state"

// serveState answers with a copy of the account's state file as it is now. It holds
// personal data, so only those get it who may change things.
func (a *app) serveState(w http.ResponseWriter, r *http.Request) {
	if !permits(r, a.cfg.OccupancyToken) {
		http.Error(w, "A copy of the state is handed to this machine alone (http://127.0.0.1), or with GUESTFLOW_OCCUPANCY_TOKEN where it is set, as \"Authorization: Bearer …\".", http.StatusForbidden)
		return
	}
	_, opened := a.asked(w, r)
	if opened == nil {
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(stateCopyTime))
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-store")
	if _, err := opened.Store.Backup(w); err != nil {
		a.log.Warn("a copy of the state was not handed out whole", "error", err)
		panic(http.ErrAbortHandler) // the client is not to take it for one
	}
}

// stateCopyTime bounds how long a copy may take on its way.
const stateCopyTime = 10 * time.Minute

func stateCommand() *cobra.Command {
	var account string
	c := &cobra.Command{
		Use:   "state",
		Short: "Back up, restore, compact, check or show the state files",
		Long: `Works on the state file of one account in GUESTFLOW_DATA_DIR, which says who is known to
be online, what the stream lacks, and what was learned. backup, verify and inspect may
be used while guestflow runs with this configuration, which hands out a copy over HTTP;
restore and compact want it stopped.`,
	}
	c.PersistentFlags().StringVar(&account, "account", "", "which account, where the data directory has several")
	c.AddCommand(stateBackupCommand(&account), stateRestoreCommand(&account), stateCompactCommand(&account), stateVerifyCommand(&account), stateInspectCommand(&account))
	return c
}

func stateBackupCommand(account *string) *cobra.Command {
	return &cobra.Command{
		Use:     "backup FILE",
		Short:   "Copy the state into a file, while guestflow runs too",
		Long:    "Writes a copy of the state as it is now into FILE, which must not exist, and checks it.",
		Example: "  guestflow state backup guestflow-$(date +%F).db",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := stateOf(cmd, *account)
			if err != nil {
				return err
			}
			size, err := s.backUp(cmd.Context(), args[0])
			if err != nil {
				return fmt.Errorf("state backup: %w", err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d bytes, checked\n", args[0], size)
			return nil
		},
	}
}

func stateRestoreCommand(account *string) *cobra.Command {
	return &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup in the place of the state",
		Long: `Puts a copy of FILE in the place of the state, and keeps what is there beside it. The
next guestflow run brings it up to date with the stream before it polls: what was
published since the backup is not published again, and what was not, is seen anew.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := stateOf(cmd, *account)
			if err != nil {
				return err
			}
			kept, err := store.Restore(s.path, args[0], time.Now())
			if err != nil {
				return fmt.Errorf("state restore: %w", s.unlocked(err))
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is restored from %s\n", s.path, args[0])
			if kept != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "the former one is %s\n", kept)
			}
			return nil
		},
	}
}

func stateCompactCommand(account *string) *cobra.Command {
	return &cobra.Command{
		Use:   "compact",
		Short: "Give back the room that the state file no longer needs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := stateOf(cmd, *account)
			if err != nil {
				return err
			}
			before, after, err := store.Compact(s.path)
			if err != nil {
				return fmt.Errorf("state compact: %w", s.unlocked(err))
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d bytes, were %d\n", s.path, after, before)
			return nil
		},
	}
}

func stateVerifyCommand(account *string) *cobra.Command {
	return &cobra.Command{
		Use:   "verify [FILE]",
		Short: "Read all of the state, or of a backup, and check that it agrees with itself",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := stateNamed(cmd, *account, args)
			if err != nil {
				return err
			}
			checked := s.path
			err = store.Check(s.path)
			if errors.Is(err, store.ErrLocked) && len(args) == 0 {
				err = s.withCopy(cmd.Context(), func(copied string) error { return store.Check(copied) })
				checked += ", as the running guestflow has it,"
			}
			if err != nil {
				return fmt.Errorf("state verify: %w", err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is whole\n", checked)
			return nil
		},
	}
}

// stateFile is the state of one account, in use or not.
type stateFile struct {
	cfg           Config
	account, path string
}

// stateNamed is the file that the arguments name, a backup as a rule, else the state's.
func stateNamed(cmd *cobra.Command, account string, args []string) (stateFile, error) {
	if len(args) > 0 {
		return stateFile{path: args[0]}, nil
	}
	return stateOf(cmd, account)
}

// stateOf finds the state file that a command is for. No accounts file is read: after a
// disaster it may not be there.
func stateOf(cmd *cobra.Command, account string) (stateFile, error) {
	cfg, err := configured(cmd)
	if err != nil {
		return stateFile{}, err
	}
	asked := account
	if account == "" && cfg.AccountsFile != "" {
		files, err := filepath.Glob(filepath.Join(cfg.DataDir, "*.db"))
		if err != nil || len(files) != 1 {
			for i, f := range files {
				files[i] = strings.TrimSuffix(filepath.Base(f), ".db")
			}
			return stateFile{}, usageError(fmt.Sprintf("state: name the account with --account; %s has state of %d: %s", cfg.DataDir, len(files), strings.Join(files, ", ")))
		}
		return stateFile{cfg: cfg, path: files[0]}, nil
	}
	if account != "" {
		cfg.Account = account
	}
	return stateFile{cfg: cfg, account: asked, path: cfg.statePath()}, nil
}

// unlocked is err, with the remedy where a guestflow has the file.
func (s *stateFile) unlocked(err error) error {
	if errors.Is(err, store.ErrLocked) {
		return fmt.Errorf("store %s: %w; stop the guestflow that uses it first, or use `guestflow state backup`, which works while it runs", s.path, store.ErrLocked)
	}
	return err
}

// backUp writes a copy of the state into a new file. A copy that is not whole gets no
// name.
func (s *stateFile) backUp(ctx context.Context, to string) (size int64, err error) {
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%s is there already; name another file", to)
	}
	f, err := os.CreateTemp(filepath.Dir(to), filepath.Base(to)+".part-*") // mode 0600
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	size, err = s.copyTo(ctx, f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	if err := store.Check(f.Name()); err != nil {
		return 0, err
	}
	return size, os.Rename(f.Name(), to)
}

// copyTo copies the file, or has the guestflow that uses it do so.
func (s *stateFile) copyTo(ctx context.Context, w io.Writer) (int64, error) {
	size, err := store.Copy(s.path, w)
	if !errors.Is(err, store.ErrLocked) {
		return size, err
	}
	ctx, cancel := context.WithTimeout(ctx, stateCopyTime)
	defer cancel()
	answer, err := requestRunning(ctx, s.cfg, http.MethodGet, stateCopyPath+ofAccount(s.account), "")
	if err != nil {
		return 0, fmt.Errorf("%s is in use: %w", s.path, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
		return 0, fmt.Errorf("%s is in use, and the guestflow that runs answers %s: %s", s.path, answer.Status, printable(strings.TrimSpace(string(text))))
	}
	return io.Copy(w, answer.Body)
}

// withCopy calls f with the name of a copy, which is gone afterwards.
func (s *stateFile) withCopy(ctx context.Context, f func(path string) error) error {
	dir, err := os.MkdirTemp("", "guestflow-state-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, filepath.Base(s.path))
	if _, err := s.backUp(ctx, path); err != nil {
		return err
	}
	return f(path)
}
