package account

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/platform"
)

// requestsPath is the request log of an endpoint, or of all where they share a limit.
func requestsPath(dir, name, endpoint string) string {
	return filepath.Join(dir, events.EncodeToken(name).String()+"."+endpoint+".requests")
}

// sharedLimit is in the name of a log that all endpoints share.
const sharedLimit = "all"

// Requests are the request logs of an account, for a process that takes it over; nil
// where there are none.
func Requests(dir, name string) []byte {
	logs := make(map[string][]budget.Exchange)
	for _, endpoint := range append(platform.Endpoints(), sharedLimit) {
		log, err := budget.Recorded(requestsPath(dir, name, string(endpoint)))
		if err == nil && len(log) > 0 {
			logs[string(endpoint)] = log
		}
	}
	if len(logs) == 0 {
		return nil
	}
	b, _ := json.Marshal(logs) // texts and times: cannot fail
	return b
}

// TakeRequests adds what the former process of an account left to the request logs here,
// before Open: what it asked of each endpoint, or of all where they share a limit. Where it
// did not end in good order, it counts as having asked as often as it may since at, when
// that was written down, until now; a zero at is for a process of which nothing is known.
func TakeRequests(dir, name string, carried []byte, limit int, shared, clean bool, at time.Time) error {
	logs := make(map[string][]budget.Exchange)
	var errs []error
	if len(carried) > 0 {
		if err := json.Unmarshal(carried, &logs); err != nil {
			errs = append(errs, fmt.Errorf("requests of the former process: %w", err))
			clean, at = false, time.Time{}
		}
	}
	limited := []string{sharedLimit}
	if !shared {
		limited = nil
		for _, endpoint := range platform.Endpoints() {
			limited = append(limited, string(endpoint))
		}
	}
	for _, endpoint := range limited {
		path := requestsPath(dir, name, endpoint)
		if clean {
			errs = append(errs, budget.Merge(path, limit, logs[endpoint]))
		} else {
			errs = append(errs, budget.MergeUntil(path, limit, logs[endpoint], at))
		}
	}
	return errors.Join(errs...)
}
