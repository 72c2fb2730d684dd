package poller

import (
	"encoding/json"
	"fmt"

	"github.com/guestflow/guestflow/poller/plan"
)

// RememberedRates are what a store holds of how often sessions start and end; the zero
// Memory where nothing was learned yet. get is the store's.
func RememberedRates(get func(key string) ([]byte, error)) (plan.Memory, error) {
	var m plan.Memory
	b, err := get(ratesKey)
	if err != nil || len(b) == 0 {
		return m, err
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("value %s: %w", ratesKey, err)
	}
	return m, nil
}
