package poller

import (
	"encoding/json"
	"time"

	"github.com/guestflow/guestflow/diff"
)

// resumeSlack is how much earlier than the last event the history is read again by a
// poller that resumes: arrivals that were not told of yet lie in it.
const resumeSlack = time.Hour

// Resumed are the values of a store whose states were rebuilt from events: who arrived
// since the first of them, at since, is no discovery, and the platform's history is read
// again from somewhat before the last, at until. Both are on the platform's clock. What
// the store knows of earlier times stays, and is not among them; kept is how it is read.
func Resumed(since, until time.Time, kept func(key string) ([]byte, error)) (map[string][]byte, error) {
	values := make(map[string][]byte)
	put := func(key string, former, v any, stays func() bool) error {
		b, err := kept(key)
		if err != nil || len(b) > 0 && json.Unmarshal(b, former) == nil && stays() {
			return err
		}
		values[key], err = json.Marshal(v)
		return err
	}
	var tracking diff.Tracking
	if err := put(wideKey, &tracking, diff.Tracking{Since: since}, func() bool { return !tracking.Since.IsZero() && !tracking.Since.After(since) }); err != nil {
		return nil, err
	}
	frontier := until.Add(-resumeSlack)
	if frontier.Before(since) {
		frontier = since
	}
	var arrivals probe
	if err := put(probeKey, &arrivals, probe{Frontier: frontier}, func() bool { return !arrivals.Frontier.IsZero() && !arrivals.Frontier.After(until) }); err != nil {
		return nil, err
	}
	return values, nil
}
