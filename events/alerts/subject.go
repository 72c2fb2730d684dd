package alerts

import (
	"fmt"
	"strings"

	"github.com/guestflow/guestflow/events"
)

// DefaultPrefix and DefaultStream are used where none is configured.
const (
	DefaultPrefix = "guest.alerts"
	DefaultStream = "GUEST_ALERTS"
)

// Subjects builds the subjects below one prefix: <prefix>.<account>.<location>.<kind>, the
// account and the location encoded as events.EncodeToken does.
type Subjects struct{ prefix string }

// NewSubjects checks a prefix as events.NewSubjects does; empty means DefaultPrefix.
func NewSubjects(prefix string) (Subjects, error) {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	if _, err := events.NewSubjects(prefix); err != nil {
		return Subjects{}, fmt.Errorf("of alerts: %w", err)
	}
	return Subjects{prefix}, nil
}

// Prefix returns the prefix, DefaultPrefix for the zero Subjects.
func (s Subjects) Prefix() string {
	if s.prefix == "" {
		return DefaultPrefix
	}
	return s.prefix
}

// Of returns the subject that e is published on.
func (s Subjects) Of(e Event) string { return s.Filter(e.Account, e.Data.Alert.LocationID, e.Kind) }

// All returns the filter that matches every subject below the prefix: what the stream
// is bound to.
func (s Subjects) All() string { return s.Prefix() + ".*.*.*" }

// Filter returns the filter for one account, location and kind; an empty argument matches
// any.
func (s Subjects) Filter(account, location string, kind Kind) string {
	token := func(v string) string {
		if v == "" {
			return "*"
		}
		return events.EncodeToken(v).String()
	}
	return strings.Join([]string{s.Prefix(), token(account), token(location), token(string(kind))}, ".")
}

// Parse splits a subject into what Of put together.
func (s Subjects) Parse(subject string) (account, location string, kind Kind, err error) {
	rest, ok := strings.CutPrefix(subject, s.Prefix()+".")
	tokens := strings.Split(rest, ".")
	if !ok || len(tokens) != 3 {
		return "", "", "", fmt.Errorf("subject %q: want %s.<account>.<location>.<kind>", subject, s.Prefix())
	}
	if account, err = events.DecodeToken(tokens[0]); err != nil {
		return "", "", "", fmt.Errorf("subject %q: account: %w", subject, err)
	}
	if location, err = events.DecodeToken(tokens[1]); err != nil {
		return "", "", "", fmt.Errorf("subject %q: location: %w", subject, err)
	}
	if kind = Kind(tokens[2]); !kind.Valid() {
		return "", "", "", fmt.Errorf("subject %q: unknown kind %q", subject, tokens[2])
	}
	return account, location, kind, nil
}
