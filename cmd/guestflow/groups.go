package main

import (
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"

	"github.com/guestflow/guestflow/internal/group"
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
	if err == nil && c.OccupancyToken != "" && tree.Bearer(c.OccupancyToken) != nil {
		err = errors.New("groups file " + c.GroupsFile + ": token " + tree.Bearer(c.OccupancyToken).Name + ": it is GUESTFLOW_OCCUPANCY_TOKEN, which shows everything; give it another")
	}
	return tree, err
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
