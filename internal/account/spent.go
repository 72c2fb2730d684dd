package account

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/store"
)

// MakeDir makes the data directory where there is none, for Spent. It belongs to whoever
// has the directory around it; where each user has files of their own there, root cannot
// tell whose it is to be, and the error says so.
func MakeDir(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := MakeDir(parent); err != nil {
		return err
	}
	if around, err := os.Stat(parent); err != nil || os.Geteuid() == 0 && around.Mode()&fs.ModeSticky != 0 {
		return errors.Join(err, fmt.Errorf("nobody knows whose %s is to be", dir))
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := handOver(dir); err != nil {
		return errors.Join(err, os.Remove(dir))
	}
	return nil
}

// Spent notes in the request logs of a data directory what a command asked of the platform,
// so that the next process of the account keeps to the limit. A process that runs already
// cannot be told: the error is then store.ErrLocked. A log that is new belongs to whoever
// has the directory.
func Spent(dir, name string, endpoint platform.Endpoint, limit int, shared bool, sent budget.Exchange) error {
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	if shared {
		endpoint = sharedLimit
	}
	path := requestsPath(dir, name, string(endpoint))
	return store.WhileUnused(StatePath(dir, name), func() error {
		_, err := os.Stat(path)
		made := errors.Is(err, fs.ErrNotExist)
		err = budget.Merge(path, limit, []budget.Exchange{sent})
		if made && err == nil {
			err = handOver(path)
		}
		if made && err != nil {
			err = errors.Join(err, os.Remove(path))
		}
		return err
	})
}
