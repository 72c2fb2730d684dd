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
// before Open. Where it did not end in good order, it counts as having asked as often as
// it may since at, when it wrote them down, until now.
func TakeRequests(dir, name string, carried []byte, limit int, clean bool, at time.Time) error {
	var logs map[string][]budget.Exchange
	if err := json.Unmarshal(carried, &logs); err != nil {
		return fmt.Errorf("requests of the former process: %w", err)
	}
	var errs []error
	now := time.Now()
	for endpoint, log := range logs {
		if !clean {
			log = append(log, budget.Assumed(limit, at, now)...)
		}
		errs = append(errs, budget.Merge(requestsPath(dir, name, events.EncodeToken(endpoint).String()), limit, log))
	}
	return errors.Join(errs...)
}
