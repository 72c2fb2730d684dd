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
// again from somewhat before the last, at until. Both are on the platform's clock.
func Resumed(since, until time.Time) (map[string][]byte, error) {
	values := make(map[string][]byte)
	frontier := until.Add(-resumeSlack)
	if frontier.Before(since) {
		frontier = since
	}
	for key, v := range map[string]any{wideKey: diff.Tracking{Since: since}, probeKey: probe{Frontier: frontier}} {
		b, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		values[key] = b
	}
	return values, nil
}
