package events

import (
	"errors"
	"fmt"
	"strings"
)

// DefaultPrefix and DefaultAccount are used where none is configured.
const (
	DefaultPrefix  = "guest.sessions"
	DefaultAccount = "default"
	DefaultStream  = "GUEST_SESSIONS"
)

// MetadataMade is the key in the stream's metadata under which MadeAgain says that
// guestflow made it in place of one that had been deleted. It then holds what was
// still kept and all that came later, and its sequences begin anew. An operator says so of
// a mirror that was promoted, which goes on with the sequences of what it copied. Servers before
// 2.10 drop metadata.
const (
	MetadataMade = "guestflow.made"
	MadeAgain    = "again"
)

// Token is one subject token, encoded so that NATS reads it as one literal
// token. Only EncodeToken makes one that is not empty.
type Token struct{ s string }

func (t Token) String() string { return t.s }

const hexDigits = "0123456789ABCDEF"

// EncodeToken percent-encodes every byte of s that NATS could misread ('.', '*',
// '>', white space, control and non-ASCII bytes) and '%' itself. The empty
// string becomes "%". The encoding is injective: see DecodeToken.
func EncodeToken(s string) Token {
	if s == "" {
		return Token{"%"}
	}
	clean := true
	for i := 0; i < len(s); i++ {
		if !literal(s[i]) {
			clean = false
			break
		}
	}
	if clean {
		return Token{s}
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; literal(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return Token{b.String()}
}

func literal(c byte) bool {
	return c > ' ' && c < 0x7f && c != '.' && c != '*' && c != '>' && c != '%'
}

// ErrToken is returned for a token that EncodeToken cannot have made.
var ErrToken = errors.New("not an encoded subject token")

// DecodeToken is the inverse of EncodeToken.
func DecodeToken(t string) (string, error) {
	if t == "%" {
		return "", nil
	}
	var b strings.Builder
	for i := 0; i < len(t); i++ {
		c := t[i]
		if c != '%' {
			if !literal(c) {
				return "", fmt.Errorf("%q: %w", t, ErrToken)
			}
			b.WriteByte(c)
			continue
		}
		if i+2 >= len(t) {
			return "", fmt.Errorf("%q: %w", t, ErrToken)
		}
		hi, lo := strings.IndexByte(hexDigits, t[i+1]), strings.IndexByte(hexDigits, t[i+2])
		if hi < 0 || lo < 0 || literal(byte(hi<<4|lo)) {
			return "", fmt.Errorf("%q: %w", t, ErrToken)
		}
		b.WriteByte(byte(hi<<4 | lo))
		i += 2
	}
	if b.Len() == 0 {
		return "", fmt.Errorf("%q: %w", t, ErrToken)
	}
	return b.String(), nil
}

// Subjects builds and reads the subjects below one prefix:
// <prefix>.<account>.<location_id>.<kind>.
type Subjects struct{ prefix string }

// NewSubjects checks a prefix: one or more literal tokens joined by dots, none
// of which begins with '$'. Empty means DefaultPrefix.
func NewSubjects(prefix string) (Subjects, error) {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	for token := range strings.SplitSeq(prefix, ".") {
		if token == "" || EncodeToken(token).String() != token || token[0] == '$' {
			return Subjects{}, fmt.Errorf("subject prefix %q: token %q is empty or has a character that NATS does not take literally; use letters, digits, '-' and '_', joined by dots", prefix, token)
		}
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

// Of returns the subject that e is published on: that of the location in which
// the session is after the change.
func (s Subjects) Of(e Event) string {
	return s.Prefix() + "." + EncodeToken(e.Account).String() + "." +
		EncodeToken(e.Data.Session.LocationID).String() + "." + string(e.Kind)
}

// All returns the filter that matches every subject below the prefix: what the
// stream is bound to.
func (s Subjects) All() string { return s.Prefix() + ".*.*.*" }

// AccountFilter returns the filter that matches every event of one account.
func (s Subjects) AccountFilter(account string) string {
	return s.Prefix() + "." + EncodeToken(account).String() + ".*.*"
}

// Filter returns the filter for one location and kind of one account; an empty
// argument matches any.
func (s Subjects) Filter(account, location string, kind Kind) string {
	any := func(v string) string {
		if v == "" {
			return "*"
		}
		return EncodeToken(v).String()
	}
	return s.Prefix() + "." + any(account) + "." + any(location) + "." + any(string(kind))
}

// Parse splits a subject into what Of put together.
func (s Subjects) Parse(subject string) (account, location string, kind Kind, err error) {
	rest, ok := strings.CutPrefix(subject, s.Prefix()+".")
	tokens := strings.Split(rest, ".")
	if !ok || len(tokens) != 3 {
		return "", "", "", fmt.Errorf("subject %q: want %s.<account>.<location>.<kind>", subject, s.Prefix())
	}
	if account, err = DecodeToken(tokens[0]); err != nil {
		return "", "", "", fmt.Errorf("subject %q: account: %w", subject, err)
	}
	if location, err = DecodeToken(tokens[1]); err != nil {
		return "", "", "", fmt.Errorf("subject %q: location: %w", subject, err)
	}
	if kind = Kind(tokens[2]); !kind.Valid() {
		return "", "", "", fmt.Errorf("subject %q: unknown kind %q", subject, tokens[2])
	}
	return account, location, kind, nil
}
