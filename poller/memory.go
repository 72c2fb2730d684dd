package poller

import (
	"encoding/json"
	"fmt"
)

func (s *Settings) remember(key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if err := s.Store.Put(key, b); err != nil {
		return fmt.Errorf("remembering %s: %w", key, err)
	}
	return nil
}

// recall reads what remember wrote; what cannot be read counts as never learned.
func (s *Settings) recall(key string, v any) error {
	b, err := s.Store.Get(key)
	if err != nil {
		return fmt.Errorf("recalling %s: %w", key, err)
	}
	if len(b) > 0 && json.Unmarshal(b, v) != nil {
		s.Logger.Warn("what was learned earlier cannot be read and is learned anew", "what", key)
	}
	return nil
}
