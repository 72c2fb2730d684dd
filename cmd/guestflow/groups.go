package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/internal/group"
	"github.com/guestflow/guestflow/internal/handwritten"
)

// needGroups checks the groups file, where one is named.
func (c *Config) needGroups() error {
	_, err := c.groupTree()
	return err
}

// groupTree reads the groups file; nil where none is named.
func (c *Config) groupTree() (*group.Tree, error) {
	if c.GroupsFile == "" {
		return nil, nil
	}
	tree, err := group.Load(c.GroupsFile, c.onlyAccount())
	if unread := (*fs.PathError)(nil); errors.As(err, &unread) && unread.Path == c.GroupsFile {
		return nil, errors.New(envPrefix + "_GROUPS_FILE: " + err.Error())
	}
	if err == nil && c.VisitGroups != "" && len(tree.Roaming()) > 0 {
		err = errors.New("groups file " + c.GroupsFile + ": group " + tree.Roaming()[0].ID + " is roaming, and GUESTFLOW_VISIT_GROUPS has groups of visits, too; say it in one place, and leave the variable out")
	}
	if err == nil && c.OccupancyToken != "" && tree.Bearer(c.OccupancyToken) != nil {
		err = errors.New("groups file " + c.GroupsFile + ": token " + tree.Bearer(c.OccupancyToken).Name + ": it is GUESTFLOW_OCCUPANCY_TOKEN, which shows everything; give it another")
	}
	return tree, err
}

// inGroups are the locations of groups that a command was told; nil where it was told none.
func (c *Config) inGroups(ids []string) (*group.Set, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	tree, err := c.groupTree()
	if err != nil {
		return nil, usageError(err.Error())
	}
	if tree == nil {
		return nil, usageError("--group: there is no file of groups; set GUESTFLOW_GROUPS_FILE")
	}
	set, unknown := tree.Of(ids...)
	if unknown != "" {
		return nil, usageError(fmt.Sprintf("--group: there is no group %q%s", unknown, handwritten.DidYouMean(unknown, tree.IDs())))
	}
	return set, nil
}

// onlyAccount is the account of locations that the groups file has without one.
func (c *Config) onlyAccount() group.Only {
	accounts, err := c.accounts()
	if err != nil || len(accounts) != 1 {
		return "" // the error is told elsewhere
	}
	return group.Only(accounts[0].Account)
}

// openGroups follows the groups file; nil where none is named.
func openGroups(cfg Config, log *slog.Logger) (*group.File, error) {
	if cfg.GroupsFile == "" {
		return nil, nil
	}
	return group.Open(cfg.GroupsFile, cfg.onlyAccount, log)
}

// followGroups has a service of its own read the groups file (nil where there is none) when it
// changes, and at SIGHUP what can be read again, until what it returns is called.
func followGroups(cmd *cobra.Command, groups *group.File, level *logLevel) (end func()) {
	outliveHangup(cmd.Context(), cmd.ErrOrStderr(), func() {
		if level.file != "" || groups == nil {
			level.hangUp()
		}
		if groups != nil {
			groups.Reload()
		}
	})
	if groups == nil {
		return func() {}
	}
	ctx, stop := context.WithCancel(cmd.Context())
	var following sync.WaitGroup
	following.Go(func() { _ = groups.Run(ctx) }) // it ends with ctx
	return func() {
		stop()
		following.Wait()
	}
}

// groupsAsTheyAre are those of the file; nil where it cannot be used, which is told elsewhere.
func groupsAsTheyAre(cfg Config) *group.Tree {
	tree, err := cfg.groupTree()
	if err != nil {
		return nil
	}
	return tree
}

// inUse returns the groups that are in use at the moment; nil where there is no file.
func inUse(groups *group.File) func() *group.Tree {
	if groups == nil {
		return nil
	}
	return func() *group.Tree {
		tree, _ := groups.Tree()
		return tree
	}
}

// confined reports whether the file has tokens that show some locations alone: then what
// tells of others is for operators.
func confined(groups *group.File) bool {
	if groups == nil {
		return false
	}
	tree, _ := groups.Tree()
	return len(tree.Grants) > 0
}

// operator reports whether a request may be told of every location and account.
func (a *app) operator(r *http.Request) bool {
	return !confined(a.groups) || permits(r, a.cfg.OccupancyToken)
}

// forOperators answers those alone who may be told of every location and account.
func (a *app) forOperators(handle http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !a.operator(r) {
			http.Error(w, "The groups file has tokens, so this is told to this machine alone (http://127.0.0.1), or with GUESTFLOW_OCCUPANCY_TOKEN where it is set, as \"Authorization: Bearer …\".", http.StatusForbidden)
			return
		}
		handle(w, r)
	}
}

// oneLine is an error of several lines.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
