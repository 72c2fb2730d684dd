package events

import "encoding/json"

// MarshalJSON writes the value alone.
func (b Bytes) MarshalJSON() ([]byte, error) { return json.Marshal(b.Value) }

// UnmarshalJSON reads the value; Decode fills in the error.
func (b *Bytes) UnmarshalJSON(p []byte) error { return json.Unmarshal(p, &b.Value) }
